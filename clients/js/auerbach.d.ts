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
  online?: string[];
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
  client_msg_id?: string;
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

export interface HistoryItem {
  seq: number;
  id: string;
  by: string | null;
  at: string;
  client_msg_id?: string;
  /** null where the message was deleted. */
  text: string | null;
  reply_to?: number;
  mentions?: string[];
  attributes?: Record<string, unknown>;
  edited_at?: string;
  reactions?: Record<string, string[]>;
  deleted?: boolean;
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

export interface ClientOptions {
  /** Development mode only: who to be. */
  user?: string;
  /** A JWT. Use `getToken` where the socket may outlive it. */
  token?: string;
  /** Asked for a JWT at every connection. */
  getToken?: () => string | Promise<string>;
  onStatus?: (status: Status) => void;
  onSignal?: (signal: Signal) => void;
  /** A class with the browser's WebSocket interface, where there is no global one. */
  WebSocket?: typeof WebSocket;
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
  /** The state, before the events that follow; again after each reconnection, with the state of then. */
  onState?: (state: GroupState) => void;
  /** What was shown of this group is void: drop it. State and events follow anew. */
  onReset?: (reply: SubscribeReply) => void;
  onWithheld?: (withheld: Withheld) => void;
  /** The subscription is over: refused (an error), or the own membership ended (the event that ended it). */
  onEnd?: (why: ChatError | GroupEvent) => void;
}

export interface Subscription {
  readonly group: string;
  /** The seq of the last event delivered; undefined before the server's first reply. */
  readonly cursor: number | undefined;
  /** The log that `cursor` belongs to. */
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

export interface ChangeOptions {
  /** Made once for a request and kept for every repetition of it; by default a new one. */
  client_msg_id?: string;
  /** How long an outcome is waited for, by default a minute. */
  timeoutMs?: number;
}

export interface SendOptions {
  /** Made once for a message and kept for every repetition of it; by default a new one. */
  client_msg_id?: string;
  reply_to?: number;
  mentions?: string[];
  attributes?: Record<string, unknown>;
  /** How long an outcome is waited for, by default 24 h: as long as the server knows a `client_msg_id`. */
  timeoutMs?: number;
}

/**
 * A request without success. `code` is the server's (protocol §2), or of this client: `timeout` (no reply in
 * time: the outcome is unknown), `disconnected` (the socket was lost), `closed` (by `close()`), `unauthorized` or
 * `revoked` (the server closed for good, protocol §6), `overloaded` (too many requests are waiting).
 */
export class ChatError extends Error {
  constructor(
    code: string,
    message: string,
    details?: { temporary?: boolean; field?: string; retry_after_ms?: number },
  );
  readonly code: string;
  /** The same request, with the same `client_msg_id`, may succeed later. */
  readonly temporary: boolean;
  readonly field: string | undefined;
  readonly retryAfterMs: number | undefined;
}

/** 32 random hexadecimal digits, good as a `client_msg_id`. */
export function newId(): string;

export class Client {
  /** `url` is the gateway's `/v1/ws`, as ws:, wss:, http: or https:. Nothing is opened before `connect`. */
  constructor(url: string | URL, options?: ClientOptions);
  readonly status: Status;
  /** Opens the connection and keeps it. Resolves when first online; rejects when closed for good. */
  connect(): Promise<Hello>;
  /** Ends the connection; what waits for an outcome is rejected with `closed`. */
  close(): void;
  /** The network may be back or gone: try now instead of later, or look whether the server still answers. */
  wake(): void;
  /**
   * One request, one reply. While offline it waits; a socket lost before the reply repeats it, safely, because
   * every changing request carries a `client_msg_id`. Rejects with a `ChatError`.
   */
  request(type: string, fields?: Record<string, unknown>, options?: { timeoutMs?: number }): Promise<Reply>;
  /**
   * Posts a message exactly once: repeated through reconnections and temporary errors until there is an outcome. Messages
   * to a group are posted in the order sent, but for one that is refused for now: await the reply where order matters.
   */
  send(group: string, text: string, options?: SendOptions): Promise<SendReply>;
  /**
   * The other changes of a group (protocol §2). As `send` they are repeated, with the same `client_msg_id`, through
   * reconnections and temporary errors until there is an outcome.
   */
  updateGroup(group: string, settings: GroupSettings, options?: ChangeOptions): Promise<ChangeReply>;
  /** Ends the group for all of its members. */
  deleteGroup(group: string, options?: ChangeOptions): Promise<ChangeReply>;
  unban(group: string, user: string, options?: ChangeOptions): Promise<ChangeReply>;
  /** `owner` transfers the ownership. */
  setRole(group: string, user: string, role: Role, options?: ChangeOptions): Promise<ChangeReply>;
  /** Gives one's own message `seq` another text. */
  edit(group: string, seq: number, text: string, options?: ChangeOptions): Promise<ChangeReply>;
  /** Takes back the content of the message `seq`. */
  delete(group: string, seq: number, options?: ChangeOptions): Promise<ChangeReply>;
  react(group: string, seq: number, emoji: string, options?: ChangeOptions): Promise<ChangeReply>;
  unreact(group: string, seq: number, emoji: string, options?: ChangeOptions): Promise<ChangeReply>;
  /** Follows a group until `close`, through reconnections. Replaces an earlier subscription to the group. */
  subscribe(group: string, start: Start, on: Handlers | ((event: GroupEvent) => void)): Subscription;
}
