/** Types of `auerbach.js`: the protocol `chat.v1.json` as a client sees it. */

/** The server's first frame once a socket is authenticated (protocol §1). */
export interface Hello {
  protocol: string;
  session: string;
  /** The log's incarnation: when it changes, every seq that was held is void. */
  log: string;
  user: string;
  heartbeat_ms: number;
  limits: { frame_bytes: number; text_bytes: number; groups: number; requests_per_second: number };
}

export type Role = "reader" | "member" | "admin" | "owner";

export interface Member {
  user: string;
  role: Role;
  /** The seq up to which this member has read. */
  read?: number;
}

/** A group at `seq`; `first` is the seq of the current life's `group.created` (protocol §4). */
export interface GroupState {
  name: string;
  topic: string;
  join: "open" | "invite";
  history: "all" | "joined";
  first: number;
  seq: number;
  members: Member[];
  members_more?: boolean;
  /** Cut at 1,000, then with `online_more`; not there in an old state. */
  online?: string[];
  online_more?: boolean;
}

/** Who is online in a group, cut at 1,000. */
export interface Presence {
  online: string[];
  online_more: boolean;
}

/** One change of a group. Kinds that a client does not know are to be ignored (protocol §3). */
export interface GroupEvent {
  type: "event";
  group: string;
  seq: number;
  id: string;
  kind: string;
  by: string | null;
  /** RFC 3339, UTC, milliseconds. */
  at: string;
  client_msg_id?: string | null;
  data: Record<string, any>;
}

/** Stands for the events `from`..`through`, which this member may not read. */
export interface Withheld {
  type: "withheld";
  group: string;
  from: number;
  through: number;
}

/** Typing, presence and the like: not durable, may be dropped (protocol §5). */
export interface Signal {
  type: "signal";
  kind: string;
  group?: string;
  [field: string]: unknown;
}

/** A message as it is now: what was edited has its last text, what was deleted has none (protocol §9). */
export interface HistoryItem {
  seq: number;
  id: string;
  by: string | null;
  at: string;
  client_msg_id?: string | null;
  /** null where the message was deleted. */
  text: string | null;
  reply_to?: number;
  mentions?: string[];
  attributes?: Record<string, unknown>;
  edited_at?: string;
  /** Emoji → users. */
  reactions?: Record<string, string[]>;
  /** The emoji whose users were cut. */
  reactions_more?: string[];
  deleted?: boolean;
}

/** Messages, oldest first, and whether there are more in the direction asked for. */
export interface HistoryPage {
  messages: HistoryItem[];
  more: boolean;
}

/** Members in the order of joining; `cursor` is for the next page, and absent behind the last. */
export interface MembersPage {
  members: Member[];
  cursor: string | undefined;
}

/** A reply with `ok: true`; which fields it has depends on the request (protocol §2). */
export interface Reply {
  type: "reply";
  id: number | string;
  ok: true;
  [field: string]: any;
}

/** The reply to a request that changes a group. */
export interface ChangeReply extends Reply {
  /** The event that it became; absent where nothing had to change. */
  seq?: number;
  /** This `client_msg_id` had been accepted before, as that event. */
  duplicate?: boolean;
}

export interface CreateReply extends ChangeReply {
  /** Its id: the one asked for, or one that the server made. */
  group: string;
  seq: number;
}

export interface SendReply extends ChangeReply {
  seq: number;
  at: string;
  /** This `client_msg_id` had been accepted before. */
  duplicate: boolean;
}

export interface SubscribeReply extends Reply {
  group: string;
  /** The group's head; the state, if asked for, contains the events up to it. */
  seq: number;
  /** The seq of the first event that follows. */
  from: number;
  /** false: what was held before is void. */
  recovered: boolean;
  state?: GroupState;
}

/** What the connection is doing. `waiting` has the time of the next try, in ms since 1970. */
export type Status =
  | { state: "idle" | "connecting" }
  | { state: "online"; hello: Hello }
  | { state: "waiting"; retryAt: number; code: number; reason: string }
  | { state: "closed"; error: ChatError };

export interface Listeners {
  onStatus?: (status: Status) => void;
  onSignal?: (signal: Signal) => void;
}

/** What the client uses of a WebSocket. */
export interface SocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export interface ClientOptions extends Listeners {
  /** Development mode only: who to be. */
  user?: string;
  /** A JWT. Use `getToken` where the socket may outlive it. */
  token?: string;
  /** Asked for a fresh JWT at every connection, and on an open one before the last expires. */
  getToken?: () => string | Promise<string>;
  /** A class with the browser's WebSocket interface, where there is no global one. */
  WebSocket?: new (url: URL, protocols: string[]) => SocketLike;
  /** A source of jitter, 0 ≤ x < 1. */
  random?: () => number;
}

/** Where a subscription begins: behind the seq `after` of the log `log`, `last` events back, or now. */
export interface Start {
  after?: number;
  log?: string;
  last?: number;
  /** false leaves the state out. */
  state?: boolean;
}

export interface Handlers {
  /** Each event of the run, once and in order. */
  onEvent?: (event: GroupEvent) => void;
  /**
   * The state, before the events that follow: at the beginning, and after `onReset`. After a reconnection the run just
   * goes on, and the state is what its events make of it.
   */
  onState?: (state: GroupState) => void;
  /** What was shown of this group is void: drop it. State and events follow anew. */
  onReset?: (reply: SubscribeReply) => void;
  onWithheld?: (withheld: Withheld) => void;
  /** The subscription is over: refused (an error), or the own membership ended (the event that ended it). */
  onEnd?: (why: ChatError | GroupEvent) => void;
}

export interface Subscription {
  readonly group: string;
  /** The seq of the last event delivered; undefined before the server's first reply, and from `onReset` to the next. */
  readonly cursor: number | undefined;
  /** The log that `cursor` belongs to; undefined where that is. */
  readonly log: string | undefined;
  close(): void;
}

/** Settings of a group: those that are to change, at least one. */
export interface GroupSettings {
  name?: string;
  topic?: string;
  join?: "open" | "invite";
  history?: "all" | "joined";
}

export interface NewGroup extends GroupSettings {
  /** By default the server makes an id. */
  group?: string;
  name: string;
  members?: { user: string; role?: Exclude<Role, "owner"> }[];
}

export interface AskOptions {
  /** How long an outcome is waited for, by default a minute. */
  timeoutMs?: number;
  /** Ends the waiting with `aborted`; what was sent already may take effect. */
  signal?: AbortSignal;
}

/**
 * Once a change was sent and its outcome is not known, it is repeated for at most 10 minutes, whatever `timeoutMs` is:
 * for so long the server surely knows its `client_msg_id` (protocol §2), longer only in a group with less than 10,000
 * events since, and no longer than 24 h. Then it rejects with `timeout`.
 */
export interface ChangeOptions extends AskOptions {
  /** Made once for a request and kept for every repetition of it; by default a new one. */
  client_msg_id?: string;
}

/** What a message may have beside its text. */
export interface MessageOptions {
  /** Made once for a message and kept for every repetition of it; by default a new one. */
  client_msg_id?: string;
  /** The seq of the message that it answers. */
  reply_to?: number;
  /** Users. */
  mentions?: string[];
  attributes?: Record<string, unknown>;
}

/** `timeoutMs` is by default 24 h, for a message that waits for a connection; once it was sent, see `ChangeOptions`. */
export interface SendOptions extends MessageOptions, AskOptions {}

export interface ConversationOptions {
  /** So many of the newest messages are fetched at the beginning and after a reset, by default 50. */
  recent?: number;
  /** See `Conversation.most`; by default 2,000. */
  most?: number;
}

/** One's own message from the moment it is written until its event takes its place. */
export interface Pending {
  readonly client_msg_id: string;
  /** Oneself; undefined before the first hello. */
  readonly by: string | undefined;
  /** When it was written, by this machine's clock. */
  readonly at: string;
  readonly text: string;
  readonly reply_to?: number;
  readonly mentions?: string[];
  readonly attributes?: Record<string, unknown>;
  /** `sent`: it is in the log as `seq`, and its event is on the way. */
  readonly status: "sending" | "sent" | "failed";
  readonly seq?: number;
  /**
   * Why it failed. `temporary`: it may be in the log, and is shown if it is; `retry` posts it no second time while the
   * server knows its id, as `ChangeOptions` says.
   */
  readonly error: ChatError | null;
}

/** What made a `Conversation` another one. Expect new kinds. */
export type ConversationChange =
  | { kind: "state" }
  | { kind: "event"; event: GroupEvent }
  | { kind: "withheld"; withheld: Withheld }
  | { kind: "history"; count: number }
  | { kind: "pending" }
  | { kind: "presence" }
  | { kind: "reset" }
  | { kind: "ended"; why: ChatError | GroupEvent };

/**
 * A request without success. `code` is the server's (protocol §2), or of this client: `timeout` (no outcome in
 * time: it is unknown), `disconnected` (the socket was lost under a request that means this socket only), `closed`
 * (by `close()`), `aborted` (by the signal), `unauthorized` or `revoked` (the server closed for good, protocol §6),
 * `overloaded` (too many requests are waiting).
 */
export class ChatError extends Error {
  constructor(
    code: string,
    message: string,
    details?: { temporary?: boolean; field?: string; retry_after_ms?: number; cause?: unknown },
  );
  readonly code: string;
  /** The same request, with the same `client_msg_id`, may succeed later. */
  readonly temporary: boolean;
  readonly field: string | undefined;
  readonly retryAfterMs: number | undefined;
}

/** 32 random hexadecimal digits, good as a `client_msg_id`. */
export function newId(): string;

/**
 * One user's connection. Every method that asks the server returns a promise of the reply, which rejects with a
 * `ChatError`. While offline a request waits; a socket lost before its reply, and a refusal for now, have it repeated,
 * safely, because every changing request carries a `client_msg_id`, which stays the same. Changes of one group
 * take effect in the order asked for; only those on their way already may overtake one that is refused for now.
 */
export class Client {
  /**
   * `url` is a gateway's address or that of its `/v1/ws`, as ws:, wss:, http: or https:, or several of one service,
   * taken in turn at each connection. Nothing is opened before `connect`.
   */
  constructor(url: string | URL | readonly (string | URL)[], options?: ClientOptions);
  readonly status: Status;
  /** What the server said when it last said hello. */
  readonly hello: Hello | undefined;
  /** Has `listeners` told, too. Returns what ends that. */
  listen(listeners: Listeners): () => void;
  /** Opens the connection and keeps it. Resolves when first online; rejects when closed for good. */
  connect(): Promise<Hello>;
  /** Ends the connection and every timer; what waits for an outcome is rejected with `closed`. */
  close(): void;
  /**
   * Tries now instead of later, or looks whether the server still answers. The browser's `online`, `offline` and
   * `visibilitychange` do so by themselves.
   */
  wake(): void;
  /** Any request of the protocol. What changes a group gets a `client_msg_id`. */
  request(type: string, fields?: Record<string, unknown>, options?: AskOptions): Promise<Reply>;

  createGroup(group: NewGroup, options?: ChangeOptions): Promise<CreateReply>;
  updateGroup(group: string, settings: GroupSettings, options?: ChangeOptions): Promise<ChangeReply>;
  /** Ends the group for all of its members. */
  deleteGroup(group: string, options?: ChangeOptions): Promise<ChangeReply>;
  join(group: string, options?: ChangeOptions): Promise<ChangeReply>;
  leave(group: string, options?: ChangeOptions): Promise<ChangeReply>;
  addMember(
    group: string,
    user: string,
    options?: ChangeOptions & { role?: Exclude<Role, "owner"> },
  ): Promise<ChangeReply>;
  /** `ban` keeps them out, also who is no member. */
  removeMember(group: string, user: string, options?: ChangeOptions & { ban?: boolean }): Promise<ChangeReply>;
  unban(group: string, user: string, options?: ChangeOptions): Promise<ChangeReply>;
  /** `owner` transfers the ownership. */
  setRole(group: string, user: string, role: Role, options?: ChangeOptions): Promise<ChangeReply>;
  /** Posts a message exactly once. */
  send(group: string, text: string, options?: SendOptions): Promise<SendReply>;
  /** Gives one's own message `seq` another text. */
  edit(group: string, seq: number, text: string, options?: ChangeOptions): Promise<ChangeReply>;
  /** Takes back the content of the message `seq`. */
  delete(group: string, seq: number, options?: ChangeOptions): Promise<ChangeReply>;
  react(group: string, seq: number, emoji: string, options?: ChangeOptions): Promise<ChangeReply>;
  unreact(group: string, seq: number, emoji: string, options?: ChangeOptions): Promise<ChangeReply>;

  /** A page of messages: the newest below `before`, or the oldest above `after`, at most `limit` (1–200). */
  history(
    group: string,
    options?: AskOptions & { before?: number; after?: number; limit?: number },
  ): Promise<HistoryPage>;
  /** All messages above `after`, oldest first, fetched in pages of `limit` as they are asked for. */
  eachMessage(
    group: string,
    options?: AskOptions & { after?: number; limit?: number },
  ): AsyncGenerator<HistoryItem, void, undefined>;
  /** The group's state, now or as it was at `at_seq`. */
  state(group: string, options?: AskOptions & { at_seq?: number }): Promise<GroupState>;
  members(group: string, options?: AskOptions & { cursor?: string; limit?: number }): Promise<MembersPage>;
  /** All members in the order of joining, fetched in pages of `limit` as they are asked for. */
  eachMember(
    group: string,
    options?: AskOptions & { limit?: number },
  ): AsyncGenerator<Member, void, undefined>;
  /** Who is online now. */
  presence(group: string, options?: AskOptions): Promise<Presence>;
  /** A sign of life, there and back. */
  ping(options?: AskOptions): Promise<void>;

  /**
   * Follows a group until `close`, through reconnections: each event once and in order. Replaces an earlier
   * subscription to the group, that of a `Conversation` too.
   */
  subscribe(group: string, start: Start, on: Handlers | ((event: GroupEvent) => void)): Subscription;
  /** The group as it is shown, followed until `close`. */
  conversation(group: string, options?: ConversationOptions): Conversation;
}

/**
 * Who is online in a group that is followed: `take` gives it the state's `online`; signals change it, and after a
 * reconnection it asks anew. `onChange` is told of each change, after it.
 */
export class Online {
  constructor(client: Client, group: string, onChange?: () => void);
  users: Set<string>;
  /** There are more than `users` has. */
  more: boolean;
  take(told: { online?: string[]; online_more?: boolean }): void;
  /** Asks the server; rejects as any request. */
  refresh(): Promise<void>;
  /** Hears no more signals. */
  close(): void;
}

/**
 * A group as one user sees it: its state, its newest messages as they are now, and what is on its way from here. Its
 * fields are for reading, `most` excepted; a message that changes is another object.
 */
export class Conversation {
  /** Follows `group` at once, as `client.conversation` does. */
  constructor(client: Client, group: string, options?: ConversationOptions);
  readonly group: string;
  /** `opening` before the first state, and after a reset; `ended` has its reason in `ended`. */
  phase: "opening" | "live" | "ended";
  /** Why it is over: refused, or the event that ended the own membership or the group. */
  ended: ChatError | GroupEvent | null;
  name: string;
  topic: string;
  join: "open" | "invite";
  history: "all" | "joined";
  /** The seq of the current life's `group.created`. */
  first: number;
  /** The last event that is taken in. */
  seq: number;
  /** By user, in the order of joining. */
  members: Map<string, Member>;
  /** There are members that are not in `members`: `loadMembers` fetches them. */
  membersMore: boolean;
  /** In the order of their seq. */
  posted: HistoryItem[];
  /** One's own messages that are not in `posted` yet, in the order written. */
  pending: Pending[];
  /** There are older messages than those held, as far as is known. */
  more: boolean;
  /**
   * So many messages are held, and up to a quarter more between two trims; the oldest go first, and come again with
   * `older`, which stops here. May be set at any time.
   */
  most: number;
  /** Who is online. */
  readonly online: Online;
  /** The user that this is for; undefined before the first hello. */
  readonly me: string | undefined;
  /** What to show: `posted`, then `pending`. An own message has the same `client_msg_id` before and after its event. */
  readonly messages: (HistoryItem | Pending)[];
  /** Has `listener` told of every change, after it. Returns what ends that. */
  listen(listener: (change: ConversationChange) => void): () => void;
  /** The message `seq`, if it is in `posted`. */
  message(seq: number): HistoryItem | undefined;
  /**
   * Shows a message at once and sends it until there is an outcome. Throws `overloaded` where a thousand are pending.
   * With the `client_msg_id` of an earlier try, of before a reload say, it is the same message.
   */
  post(text: string, options?: MessageOptions): Pending;
  /** Sends again what failed, as the same message; false if there is no such failure. */
  retry(client_msg_id: string): boolean;
  /** Takes back a pending message: what was sent already may be posted, and is shown then. */
  discard(client_msg_id: string): boolean;
  /**
   * Scrolls back: fetches up to `limit` messages (200 at most) before the first, within `most`. Resolves with how many
   * there were; rejects as `history` does.
   */
  older(limit?: number): Promise<number>;
  /** Fetches the members that the state left out. */
  loadMembers(): Promise<void>;
  /** Follows the group again after the end, after one has joined again say. */
  reopen(): void;
  /** Stops following, and tells no listener any more. What is being sent is sent. */
  close(): void;
}
