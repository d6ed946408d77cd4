/**
 * A client of the chat protocol `chat.v1.json`: one module, no dependency, for browsers and every runtime with their
 * WebSocket. It keeps one socket, comes back when that is lost, resumes each subscription where it was and repeats
 * what got no outcome: each event of a group is delivered once and in order, each message is posted and shown once.
 *
 *     const client = new Client("http://127.0.0.1:8080", { user: "alice" });
 *     await client.connect();
 *     const g1 = client.conversation("g1");
 *     g1.listen(() => console.log(g1.messages.map(({ by, text }) => `${by}: ${text}`)));
 *     g1.post("hello");
 *
 * From the outside in: `Client` (the connection and a method for each request), `Conversation` (a group as it is
 * shown), `Runs` (subscriptions), `Requests` (what waits for an outcome), frames and times.
 *
 * @typedef {import("./auerbach.js").AskOptions} AskOptions
 * @typedef {import("./auerbach.js").ChangeOptions} ChangeOptions
 * @typedef {import("./auerbach.js").ChangeReply} ChangeReply
 * @typedef {import("./auerbach.js").ClientOptions} ClientOptions
 * @typedef {import("./auerbach.js").CreateReply} CreateReply
 * @typedef {import("./auerbach.js").GroupEvent} GroupEvent
 * @typedef {import("./auerbach.js").GroupSettings} GroupSettings
 * @typedef {import("./auerbach.js").GroupState} GroupState
 * @typedef {import("./auerbach.js").Handlers} Handlers
 * @typedef {import("./auerbach.js").Hello} Hello
 * @typedef {import("./auerbach.js").HistoryItem} HistoryItem
 * @typedef {import("./auerbach.js").HistoryPage} HistoryPage
 * @typedef {import("./auerbach.js").Listeners} Listeners
 * @typedef {import("./auerbach.js").Member} Member
 * @typedef {import("./auerbach.js").MembersPage} MembersPage
 * @typedef {import("./auerbach.js").MessageOptions} MessageOptions
 * @typedef {import("./auerbach.js").NewGroup} NewGroup
 * @typedef {import("./auerbach.js").Pending} Pending
 * @typedef {import("./auerbach.js").Reply} Reply
 * @typedef {import("./auerbach.js").Role} Role
 * @typedef {import("./auerbach.js").SendOptions} SendOptions
 * @typedef {import("./auerbach.js").SendReply} SendReply
 * @typedef {import("./auerbach.js").Signal} Signal
 * @typedef {import("./auerbach.js").Presence} Presence
 * @typedef {import("./auerbach.js").SocketLike} SocketLike
 * @typedef {import("./auerbach.js").Start} Start
 * @typedef {import("./auerbach.js").Status} Status
 * @typedef {import("./auerbach.js").SubscribeReply} SubscribeReply
 * @typedef {import("./auerbach.js").Subscription} Subscription
 * @typedef {import("./auerbach.js").ConversationChange} ConversationChange
 * @typedef {import("./auerbach.js").ConversationOptions} ConversationOptions
 * @typedef {import("./auerbach.js").Withheld} Withheld
 */

const SUBPROTOCOL = "chat.v1.json";
const PATH = "/v1/ws";

/** The types that change a group: they get a `client_msg_id`, so that repeating them is safe (protocol §2). */
const CHANGING = new Set([
  "create_group", "update_group", "delete_group", "join", "leave", "add_member", "remove_member", "unban", "set_role",
  "send", "edit", "delete", "react", "unreact",
]);
/** The types that mean this moment and this socket only: never repeated on another. */
const MOMENTARY = new Set(["ping", "typing", "auth", "unsubscribe", "subscribe"]);
/** One's place in groups: asked for before anything else, and bounded by the number of groups. */
const PLACES = new Set(["subscribe", "unsubscribe"]);
/** What the server counts towards no rate (protocol §9): sent at once. */
const FREE = new Set(["ping", "auth"]);

const MAX_REQUESTS = 1000;
const REQUEST_MS = 60_000;
/** A message that was never sent may wait for a connection as long as this. */
const SEND_MS = 24 * 60 * 60 * 1000;
/**
 * The server knows a `client_msg_id` for 24 h and the group's last 10,000 events; in a busy group only this is assured
 * (protocol §2). A repetition after that might take effect a second time.
 */
const KNOWN_MS = 10 * 60 * 1000;
/** The refusals that say that nothing came of it (protocol §9); after any other that is temporary, something may. */
const WITHOUT_EFFECT = new Set(["unavailable", "rate_limited"]);
/** The server answers within 10 s, if only with `timeout`; a socket on which it does not is dead. */
const PATIENCE_MS = 15_000;
const CHECK_MS = 5_000;
/** A connection that lasted this long was a good one: the next loss starts with quick tries again. */
const STABLE_MS = 10_000;
const MIN_DELAY_MS = 1_000;
const MAX_DELAY_MS = 30_000;
/** A draining server spreads its clients over time; no drain takes longer than this. */
const MAX_BYE_MS = 300_000;
/** Who is sent away at once again and again comes back ever later: from this on, doubling as any wait. */
const MIN_BYE_MS = 50;
const MIN_REPEAT_MS = 100;
const MAX_REPEAT_MS = 5_000;
/** Browsers run a timer of more at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** The server's bucket holds two seconds' worth (protocol §9); a little less here, as frames bunch up on their way. */
const BURST_S = 1.8;
const SHARE_OF_RATE = 0.95;
/** `subscribe` takes so many groups at once (protocol §4). */
const BATCH = 100;
/** A server that keeps leaving gaps is given a new socket instead of a loop of subscriptions. */
const MAX_GAPS = 3;
/** A tab that stays open for weeks keeps the newest; the rest is fetched again when it is scrolled to. */
const MOST_MESSAGES = 2000;
/** `history` gives so many at once (protocol §2). */
const MAX_PAGE = 200;
const MAX_PENDING = 1000;
/** So many changes of messages that are not there yet are kept for the page of history that is on its way. */
const MAX_LATE = 1000;

const PROTOCOL_ERROR = 1002;
const NO_CLOSE_FRAME = 1006;
const TOO_BIG = 1009;
const EXPIRED = 4401;
const LOST_PLACE = 4409;
const RATE_LIMITED = 4429;
const REVOKED = 4510;
/** What to say where the server gives no reason. */
const FINAL = new Map([[EXPIRED, "the token has expired"], [REVOKED, "the session was revoked"]]);

/** A request without success; see auerbach.d.ts for the codes that this client adds to the server's. */
export class ChatError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{ temporary?: boolean, field?: string, retry_after_ms?: number, cause?: unknown }} [details]
   */
  constructor(code, message, { temporary = false, field, retry_after_ms, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "ChatError";
    this.code = code;
    this.temporary = temporary;
    this.field = field;
    this.retryAfterMs = retry_after_ms;
  }
}

/** 32 random hexadecimal digits. (`crypto.randomUUID` is missing on pages served by plain http.) */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// ---- The client: the connection, open, kept, lost and open again; and a method for each request. ----

/**
 * One connection, from the first try to its loss. `watch` and `refresh` are timers: its check, its next token.
 * @typedef {{ socket: SocketLike | null, hello: Hello | null, startedAt: number, heardAt: number, watch: any,
 *   refresh: any, byeMs: number | null }} Link
 */

export class Client {
  /** @type {URL[]} */
  #urls;
  /** How many connections were tried: each takes the next of the URLs. */
  #turn = 0;
  #options;
  /** @type {Status} */
  #status = { state: "idle" };
  /** @type {Set<Listeners>} */
  #listeners = new Set();
  /** @type {Hello | undefined} */
  #hello;
  /** @type {Link | null} */
  #link = null;
  #requests;
  #runs;
  #tries = 0;
  /** @type {any} */
  #retry;
  /** @type {{ promise: Promise<Hello>, resolve: (hello: Hello) => void, reject: (error: ChatError) => void } | null} */
  #connected = null;
  #onOnline = () => this.wake();
  #onOffline = () => this.#probe();
  #onVisible = () => {
    if (globalThis.document?.visibilityState === "visible") this.wake();
  };

  /**
   * @param {string | URL | readonly (string | URL)[]} url
   * @param {ClientOptions} [options]
   */
  constructor(url, options = {}) {
    this.#urls = [url].flat().map((each) => socketUrl(each, options.user));
    if (this.#urls.length === 0) throw new TypeError("at least one url is needed");
    this.#options = options;
    if (options.onStatus || options.onSignal) this.#listeners.add(options);
    const random = options.random ?? Math.random;
    this.#requests = new Requests(random);
    this.#runs = new Runs(this.#requests, random, (why) => {
      if (this.#link) this.#lost(this.#link, LOST_PLACE, why);
    });
  }

  get status() {
    return this.#status;
  }

  get hello() {
    return this.#hello;
  }

  /** @param {Listeners} listeners */
  listen({ onStatus, onSignal }) {
    const own = { onStatus, onSignal };
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  /** @returns {Promise<Hello>} */
  connect() {
    if (this.#connected) return this.#connected.promise;
    const { promise } = (this.#connected = deferred());
    this.#requests.begin();
    globalThis.addEventListener?.("online", this.#onOnline);
    globalThis.addEventListener?.("offline", this.#onOffline);
    globalThis.document?.addEventListener?.("visibilitychange", this.#onVisible);
    this.#open();
    return promise;
  }

  close() {
    this.#finish(new ChatError("closed", "the client was closed"));
  }

  wake() {
    if (this.#status.state === "waiting") {
      clearTimeout(this.#retry);
      this.#open();
    } else this.#probe();
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} [fields]
   * @param {AskOptions} [options]
   * @returns {Promise<Reply>}
   */
  request(type, fields = {}, options = {}) {
    return new Promise((done, fail) => void this.#requests.ask(type, fields, options, done, fail));
  }

  /**
   * @param {NewGroup} group
   * @param {ChangeOptions} [options]
   */
  async createGroup({ group, name, topic, join, history, members }, options) {
    const asked = { group, name, topic, join, history, members };
    return /** @type {CreateReply} */ (await this.#change("create_group", asked, options));
  }

  /**
   * @param {string} group
   * @param {GroupSettings} settings
   * @param {ChangeOptions} [options]
   */
  updateGroup(group, { name, topic, join, history }, options) {
    return this.#change("update_group", { group, name, topic, join, history }, options);
  }

  /**
   * @param {string} group
   * @param {ChangeOptions} [options]
   */
  deleteGroup(group, options) {
    return this.#change("delete_group", { group }, options);
  }

  /**
   * @param {string} group
   * @param {ChangeOptions} [options]
   */
  join(group, options) {
    return this.#change("join", { group }, options);
  }

  /**
   * @param {string} group
   * @param {ChangeOptions} [options]
   */
  leave(group, options) {
    return this.#change("leave", { group }, options);
  }

  /**
   * @param {string} group
   * @param {string} user
   * @param {ChangeOptions & { role?: Exclude<Role, "owner"> }} [options]
   */
  addMember(group, user, { role, ...options } = {}) {
    return this.#change("add_member", { group, user, role }, options);
  }

  /**
   * @param {string} group
   * @param {string} user
   * @param {ChangeOptions & { ban?: boolean }} [options]
   */
  removeMember(group, user, { ban, ...options } = {}) {
    return this.#change("remove_member", { group, user, ban }, options);
  }

  /**
   * @param {string} group
   * @param {string} user
   * @param {ChangeOptions} [options]
   */
  unban(group, user, options) {
    return this.#change("unban", { group, user }, options);
  }

  /**
   * @param {string} group
   * @param {string} user
   * @param {Role} role
   * @param {ChangeOptions} [options]
   */
  setRole(group, user, role, options) {
    return this.#change("set_role", { group, user, role }, options);
  }

  /**
   * @param {string} group
   * @param {string} text
   * @param {SendOptions} [options]
   * @returns {Promise<SendReply>}
   */
  async send(group, text, { reply_to, mentions, attributes, timeoutMs = SEND_MS, ...options } = {}) {
    const asked = { group, text, reply_to, mentions, attributes };
    return /** @type {SendReply} */ (await this.#change("send", asked, { timeoutMs, ...options }));
  }

  /**
   * @param {string} group
   * @param {number} seq
   * @param {string} text
   * @param {ChangeOptions} [options]
   */
  edit(group, seq, text, options) {
    return this.#change("edit", { group, seq, text }, options);
  }

  /**
   * @param {string} group
   * @param {number} seq
   * @param {ChangeOptions} [options]
   */
  delete(group, seq, options) {
    return this.#change("delete", { group, seq }, options);
  }

  /**
   * @param {string} group
   * @param {number} seq
   * @param {string} emoji
   * @param {ChangeOptions} [options]
   */
  react(group, seq, emoji, options) {
    return this.#change("react", { group, seq, emoji }, options);
  }

  /**
   * @param {string} group
   * @param {number} seq
   * @param {string} emoji
   * @param {ChangeOptions} [options]
   */
  unreact(group, seq, emoji, options) {
    return this.#change("unreact", { group, seq, emoji }, options);
  }

  /**
   * @param {string} group
   * @param {AskOptions & { before?: number, after?: number, limit?: number }} [options]
   * @returns {Promise<HistoryPage>}
   */
  async history(group, { before, after, limit, ...options } = {}) {
    const { messages, more } = await this.request("history", { group, before, after, limit }, options);
    return { messages, more };
  }

  /**
   * @param {string} group
   * @param {AskOptions & { after?: number, limit?: number }} [options]
   * @returns {AsyncGenerator<HistoryItem, void, undefined>}
   */
  async *eachMessage(group, { after = 0, limit = MAX_PAGE, ...options } = {}) {
    for (let more = true; more; ) {
      const page = await this.history(group, { after, limit, ...options });
      yield* page.messages;
      more = page.more && page.messages.length > 0;
      after = page.messages.at(-1)?.seq ?? after;
    }
  }

  /**
   * @param {string} group
   * @param {AskOptions & { at_seq?: number }} [options]
   * @returns {Promise<GroupState>}
   */
  async state(group, { at_seq, ...options } = {}) {
    return (await this.request("state", { group, at_seq }, options)).state;
  }

  /**
   * @param {string} group
   * @param {AskOptions & { cursor?: string, limit?: number }} [options]
   * @returns {Promise<MembersPage>}
   */
  async members(group, { cursor, limit, ...options } = {}) {
    const reply = await this.request("members", { group, cursor, limit }, options);
    return { members: reply.members, cursor: reply.cursor };
  }

  /**
   * @param {string} group
   * @param {AskOptions & { limit?: number }} [options]
   * @returns {AsyncGenerator<Member, void, undefined>}
   */
  async *eachMember(group, options = {}) {
    let cursor;
    do {
      const page = await this.members(group, { ...options, cursor });
      yield* page.members;
      cursor = page.cursor;
    } while (cursor !== undefined);
  }

  /**
   * @param {string} group
   * @param {AskOptions} [options]
   * @returns {Promise<Presence>}
   */
  async presence(group, options) {
    const { online, online_more = false } = await this.request("presence", { group }, options);
    return { online, online_more };
  }

  /** @param {AskOptions} [options] */
  async ping(options) {
    await this.request("ping", {}, options);
  }

  /**
   * @param {string} group
   * @param {Start} start
   * @param {Handlers | ((event: GroupEvent) => void)} on
   * @returns {Subscription}
   */
  subscribe(group, start, on) {
    return this.#runs.add(group, start, typeof on === "function" ? { onEvent: on } : on);
  }

  /**
   * @param {string} group
   * @param {ConversationOptions} [options]
   */
  conversation(group, options) {
    return new Conversation(this, group, options);
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} asked
   * @param {ChangeOptions} [options]
   * @returns {Promise<ChangeReply>}
   */
  #change(type, asked, { client_msg_id = newId(), ...options } = {}) {
    return this.request(type, { client_msg_id, ...asked }, options);
  }

  async #open() {
    /** @type {Link} */
    const link = {
      socket: null, hello: null, startedAt: performance.now(), heardAt: 0, byeMs: null,
      watch: undefined, refresh: undefined,
    };
    this.#link = link;
    link.watch = setInterval(() => this.#check(link), CHECK_MS);
    this.#become({ state: "connecting" });
    try {
      const token = this.#options.getToken ? await this.#options.getToken() : this.#options.token;
      if (this.#link !== link) return;
      const url = this.#urls[this.#turn++ % this.#urls.length];
      /** @type {SocketLike} */
      const socket = new (this.#options.WebSocket ?? WebSocket)(url, [SUBPROTOCOL]);
      link.socket = socket;
      socket.onopen = () => {
        if (token !== undefined) socket.send(JSON.stringify({ type: "auth", id: "auth", token }));
      };
      socket.onmessage = ({ data }) => this.#receive(link, data, token);
      socket.onclose = ({ code, reason }) => this.#lost(link, code, reason);
      socket.onerror = ignore; // a close follows; in Node's `ws` an error that nobody hears ends the process
    } catch (error) {
      this.#lost(link, NO_CLOSE_FRAME, String(error)); // no token now, or no socket: try again later
    }
  }

  /**
   * A browser cannot see the server's pings: ask when nothing was heard for long, and do not wait for a dead socket.
   * @param {Link} link
   */
  #check(link) {
    const now = performance.now();
    if (link.hello === null) {
      if (now - link.startedAt > PATIENCE_MS) this.#lost(link, NO_CLOSE_FRAME, "no answer");
      return;
    }
    const silentMs = now - link.heardAt;
    const sentAt = this.#requests.firstSentAt();
    // Also where events go on coming: a reply that was lost does not come on this socket any more.
    if (now - sentAt > PATIENCE_MS) this.#lost(link, NO_CLOSE_FRAME, "no answer");
    else if (silentMs > link.hello.heartbeat_ms) this.#probe();
  }

  /** Without a reply, the check finds the socket dead. */
  #probe() {
    if (this.#link?.hello && this.#requests.firstSentAt() === Infinity) this.request("ping").catch(ignore);
  }

  /**
   * @param {Link} link
   * @param {unknown} text
   * @param {string | undefined} token
   */
  #receive(link, text, token) {
    link.heardAt = performance.now();
    const frame = parse(text);
    switch (frame?.type) {
      case undefined: // by a proxy, say: what else this socket brings cannot be trusted
        return this.#lost(link, PROTOCOL_ERROR, "not a frame of this protocol");
      case "hello": return this.#welcome(link, frame, token);
      case "reply": return this.#requests.answered(frame);
      case "event": return this.#runs.deliver(frame, frame.seq, frame.seq);
      case "withheld": return this.#runs.deliver(frame, frame.from, frame.through);
      case "signal": return this.#tell((listener) => listener.onSignal?.(frame));
      case "bye": link.byeMs = within(frame.reconnect_after_ms, MAX_BYE_MS) ?? null;
    }
  }

  /**
   * @param {Link} link
   * @param {Hello} hello
   * @param {string | undefined} token
   */
  #welcome(link, hello, token) {
    this.#hello = hello;
    if (link.hello !== null) return; // said again after a fresh token: the places are held
    link.hello = hello;
    this.#refreshLater(link, token);
    // First the places in the groups, then what got no reply (protocol §6).
    this.#runs.connected(hello);
    this.#requests.connected((text) => link.socket?.send(text), hello);
    this.#connected?.resolve(hello);
    this.#become({ state: "online", hello });
  }

  /**
   * Has a fresh token take the place of `token` before that expires, so that the socket outlives it.
   * @param {Link} link
   * @param {string | undefined} token
   */
  #refreshLater(link, token) {
    const delay = refreshDelay(token, Date.now());
    if (this.#options.getToken && delay !== null) link.refresh = setTimeout(() => this.#refresh(link, token), delay);
  }

  /**
   * @param {Link} link
   * @param {string | undefined} old
   */
  async #refresh(link, old) {
    let token = old;
    try {
      token = await this.#options.getToken?.();
      if (this.#link !== link) return;
      if (token !== old) await this.request("auth", { token }, { timeoutMs: PATIENCE_MS });
    } catch {
      token = old; // none now, or refused: asked for again until the server closes with 4401 or 4501
    }
    if (this.#link === link) this.#refreshLater(link, token);
  }

  /**
   * @param {Link} link
   * @param {number} code
   * @param {string} reason
   */
  #lost(link, code, reason) {
    if (this.#link !== link) return;
    const stayed = link.hello !== null && performance.now() - link.startedAt > STABLE_MS;
    this.#unlink();
    if ((code >= 4500 && code <= 4599) || (code === EXPIRED && !this.#options.getToken)) {
      const meaning = FINAL.get(code) ?? "not authenticated";
      this.#finish(new ChatError(code === REVOKED ? "revoked" : "unauthorized", reason || meaning));
      return;
    }
    if (stayed) this.#tries = 0;
    if (code === RATE_LIMITED) this.#tries = Math.max(this.#tries, 4);
    const least = link.byeMs === null ? MIN_DELAY_MS : MIN_BYE_MS;
    const own = jitter(this.#options.random ?? Math.random, this.#tries, least, MAX_DELAY_MS);
    const delay = Math.max(link.byeMs ?? 0, own);
    this.#tries += 1;
    this.#retry = setTimeout(() => this.#open(), delay);
    this.#runs.disconnected();
    this.#requests.disconnected(code);
    this.#become({ state: "waiting", retryAt: Date.now() + delay, code, reason });
  }

  /**
   * The end, until `connect` is called again.
   * @param {ChatError} error
   */
  #finish(error) {
    if (this.#status.state === "closed") return;
    clearTimeout(this.#retry);
    globalThis.removeEventListener?.("online", this.#onOnline);
    globalThis.removeEventListener?.("offline", this.#onOffline);
    globalThis.document?.removeEventListener?.("visibilitychange", this.#onVisible);
    this.#unlink();
    this.#tries = 0;
    this.#connected?.reject(error);
    this.#connected = null;
    this.#status = { state: "closed", error };
    this.#runs.end(error);
    this.#requests.end(error);
    this.#become(this.#status);
  }

  #unlink() {
    const link = this.#link;
    this.#link = null;
    clearInterval(link?.watch);
    clearTimeout(link?.refresh);
    if (!link?.socket) return;
    // A dead network lets a close take minutes; what it still says is about a past connection.
    link.socket.onopen = link.socket.onmessage = link.socket.onclose = null;
    link.socket.close(1000);
  }

  /** @param {Status} status */
  #become(status) {
    this.#status = status;
    this.#tell((listener) => listener.onStatus?.(status));
  }

  /** @param {(listener: Listeners) => void} what */
  #tell(what) {
    for (const listener of [...this.#listeners]) guarded(() => what(listener));
  }
}

// ---- Who is online in a group: from its state, and from the signals since. ----

export class Online {
  /** @type {Set<string>} */
  users = new Set();
  more = false;
  #client;
  #group;
  #onChange;
  #stop;
  #known = false;

  /**
   * @param {Client} client
   * @param {string} group
   * @param {() => void} [onChange]
   */
  constructor(client, group, onChange = () => {}) {
    this.#client = client;
    this.#group = group;
    this.#onChange = onChange;
    this.#stop = client.listen({
      onSignal: (signal) => this.#hear(signal),
      // A connection that goes on with its subscription brings no state, and signals were missed.
      onStatus: (status) => void (status.state === "online" && this.#known && this.refresh().catch(ignore)),
    });
  }

  /** @param {{ online?: string[], online_more?: boolean }} told */
  take({ online = [], online_more = false }) {
    this.#known = true;
    this.users = new Set(online);
    this.more = online_more;
    this.#onChange();
  }

  async refresh() {
    this.take(await this.#client.presence(this.#group));
  }

  close() {
    this.#stop();
  }

  /** @param {Signal} signal */
  #hear({ kind, group, joined, left }) {
    if (kind !== "presence" || group !== this.#group || !this.#known) return;
    for (const user of names(left)) this.users.delete(user);
    for (const user of names(joined)) this.users.add(user);
    this.#onChange();
  }
}

/** @param {unknown} given @returns {string[]} */
const names = (given) => (Array.isArray(given) ? given : []);

// ---- A group as it is shown: the fold of its events, history that was scrolled to, and what is being sent. ----

export class Conversation {
  /** @type {"opening" | "live" | "ended"} */
  phase = "opening";
  /** @type {ChatError | GroupEvent | null} */
  ended = null;
  name = "";
  topic = "";
  /** @type {"open" | "invite"} */
  join = "invite";
  /** @type {"all" | "joined"} */
  history = "all";
  first = 1;
  seq = 0;
  /** @type {Map<string, Member>} */
  members = new Map();
  membersMore = false;
  /** @type {HistoryItem[]} */
  posted = [];
  /** @type {Pending[]} */
  pending = [];
  more = false;
  /** @type {Online} */
  online;
  #client;
  #recent;
  /** @type {Subscription | null} */
  #subscription = null;
  /** @type {Set<(change: ConversationChange) => void>} */
  #listeners = new Set();
  /** By `client_msg_id`: ends the sending. @type {Map<string, AbortController>} */
  #sending = new Map();
  /** The seq before which nothing was fetched yet. @type {number | null} */
  #earliest = null;
  /** Another one whenever all that was shown is void. */
  #life = 0;
  /** Another one whenever the oldest message changes otherwise than by `older`: the page on its way is void then. */
  #epoch = 0;
  /** @type {Promise<number> | null} */
  #loading = null;
  /** Changes of messages that are not here, while a page that may have them, but not the changes, is on its way. */
  #late = /** @type {GroupEvent[]} */ ([]);
  /** Who changed while pages of members are on their way. @type {Set<string> | null} */
  #changed = null;

  /**
   * @param {Client} client
   * @param {string} group
   * @param {ConversationOptions} [options]
   */
  constructor(client, group, { recent = 50, most = MOST_MESSAGES } = {}) {
    this.#client = client;
    this.group = group;
    this.most = most;
    this.#recent = recent;
    this.online = new Online(client, group, () => this.#tell({ kind: "presence" }));
    this.reopen();
  }

  get me() {
    return this.#client.hello?.user;
  }

  get messages() {
    return [...this.posted, ...this.pending];
  }

  reopen() {
    if (this.#subscription !== null && this.phase !== "ended") return;
    this.#clear();
    this.phase = "opening";
    this.ended = null;
    this.#subscription = this.#client.subscribe(this.group, {}, {
      onEvent: (event) => this.#apply(event),
      onWithheld: (withheld) => this.#withhold(withheld),
      onState: (state) => this.#setState(state),
      onReset: () => this.#reset(),
      onEnd: (why) => this.#end(why),
    });
  }

  close() {
    this.#subscription?.close();
    this.#subscription = null;
    this.online.close();
    this.#listeners.clear();
  }

  /** @param {(change: ConversationChange) => void} listener */
  listen(listener) {
    /** @param {ConversationChange} change */
    const own = (change) => listener(change);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  /** @param {number} seq */
  message(seq) {
    const at = this.#place(seq);
    return this.posted[at]?.seq === seq ? this.posted[at] : undefined;
  }

  /**
   * @param {string} text
   * @param {MessageOptions} [options]
   * @returns {Pending}
   */
  post(text, { client_msg_id = newId(), ...content } = {}) {
    const known = this.pending.find((each) => each.client_msg_id === client_msg_id);
    if (known) return known;
    if (this.pending.length >= MAX_PENDING) {
      throw new ChatError("overloaded", `${MAX_PENDING} messages are waiting`, { temporary: true });
    }
    const at = new Date().toISOString();
    /** @type {Pending} */
    const pending = { client_msg_id, by: this.me, at, text, ...content, status: "sending", error: null };
    this.pending.push(pending);
    this.#transmit(pending);
    return pending;
  }

  /** @param {string} client_msg_id */
  retry(client_msg_id) {
    const failed = this.pending.find((each) => each.client_msg_id === client_msg_id && each.status === "failed");
    if (!failed) return false;
    this.#transmit(this.#mark(failed, { status: "sending", error: null }));
    return true;
  }

  /** @param {string} client_msg_id */
  discard(client_msg_id) {
    if (!this.#drop((each) => each.client_msg_id === client_msg_id)) return false;
    this.#sending.get(client_msg_id)?.abort();
    this.#tell({ kind: "pending" });
    return true;
  }

  /** @param {number} [limit] */
  older(limit = 50) {
    if (this.#loading) return this.#loading;
    const loading = this.#older(limit).finally(() => {
      if (this.#loading !== loading) return;
      this.#loading = null;
      this.#late = [];
    });
    return (this.#loading = loading);
  }

  async loadMembers() {
    const changed = (this.#changed ??= new Set());
    try {
      for await (const member of this.#client.eachMember(this.group)) {
        if (!changed.has(member.user) && !this.members.has(member.user)) this.members.set(member.user, member);
      }
      this.membersMore = false;
      this.#tell({ kind: "state" });
    } finally {
      if (this.#changed === changed) this.#changed = null;
    }
  }

  /** @param {number} asked */
  async #older(asked) {
    const life = this.#life;
    while (this.more && this.#earliest !== null) {
      const limit = Math.min(asked, this.most - this.posted.length, MAX_PAGE);
      if (limit <= 0) break;
      const epoch = this.#epoch;
      this.#late = [];
      const page = await this.#client.history(this.group, { before: this.#earliest, limit });
      if (life !== this.#life) break;
      if (epoch === this.#epoch) return this.#prepend(page);
      // The page's end is no longer our beginning: once more.
    }
    return 0;
  }

  /** @param {HistoryPage} page */
  #prepend({ messages, more }) {
    const earlier = messages.map(ownReactions);
    this.posted.unshift(...earlier);
    this.#earliest = earlier[0]?.seq ?? this.#earliest;
    this.more = more;
    for (const event of this.#late) this.#amend(event);
    this.#drop((each) => earlier.some((item) => this.#isOwn(item, each)));
    this.#tell({ kind: "history", count: earlier.length });
    return earlier.length;
  }

  /** @param {Pending} pending */
  async #transmit(pending) {
    const { client_msg_id, text, reply_to, mentions, attributes } = pending;
    const ending = new AbortController();
    this.#sending.set(client_msg_id, ending);
    this.#tell({ kind: "pending" });
    const options = { client_msg_id, reply_to, mentions, attributes, signal: ending.signal };
    try {
      const { seq } = await this.#client.send(this.group, text, options);
      if (this.#sending.get(client_msg_id) !== ending) return; // discarded, and posted anew since
      // Its event may have come before this, be one of the older ones that are not shown, or come with the run.
      if (seq <= this.seq) this.#drop((each) => each.client_msg_id === client_msg_id);
      else this.#mark(pending, { status: "sent", seq, error: null });
    } catch (error) {
      if (this.#sending.get(client_msg_id) !== ending) return;
      this.#mark(pending, { status: "failed", error: /** @type {ChatError} */ (error) });
    }
    this.#sending.delete(client_msg_id);
    this.#tell({ kind: "pending" });
  }

  /**
   * @param {Pending} pending
   * @param {Partial<Pending>} fields
   */
  #mark(pending, fields) {
    const place = this.pending.findIndex((each) => each.client_msg_id === pending.client_msg_id);
    if (place >= 0) this.pending[place] = { ...this.pending[place], ...fields };
    return this.pending[place] ?? pending;
  }

  /** @param {(pending: Pending) => boolean} which */
  #drop(which) {
    const before = this.pending.length;
    this.pending = this.pending.filter((each) => !which(each));
    return this.pending.length < before;
  }

  /**
   * @param {{ by: string | null, client_msg_id?: string | null }} shown
   * @param {Pending} pending
   */
  #isOwn({ by, client_msg_id }, pending) {
    return by === this.me && client_msg_id === pending.client_msg_id;
  }

  #clear() {
    this.posted = [];
    this.seq = 0;
    this.#earliest = null;
    this.more = false;
    this.#life += 1;
    this.#loading = null;
    this.#late = [];
    this.#changed = null;
  }

  #reset() {
    this.#clear();
    this.phase = "opening";
    this.#drop(({ seq }) => seq !== undefined); // accepted by what is void now: history has it, or it is lost
    this.#tell({ kind: "reset" });
  }

  /** @param {GroupState} state */
  #setState(state) {
    this.phase = "live";
    this.name = state.name;
    this.topic = state.topic;
    this.join = state.join;
    this.history = state.history;
    this.first = state.first;
    this.members = new Map(state.members.map((member) => [member.user, { ...member }]));
    this.membersMore = Boolean(state.members_more);
    this.#changed = null;
    this.seq = state.seq;
    this.#earliest = state.seq + 1;
    this.more = true; // as far as is known: the first page tells
    this.#drop(({ seq }) => seq !== undefined && seq <= state.seq);
    if (this.#recent > 0) this.older(this.#recent).catch(ignore); // refused: it can be asked for as any older page
    this.online.take(state);
    this.#tell({ kind: "state" });
  }

  /** @param {ChatError | GroupEvent} why */
  #end(why) {
    this.phase = "ended";
    this.ended = why;
    this.#subscription = null;
    this.#tell({ kind: "ended", why });
  }

  /** @param {Withheld} withheld */
  #withhold(withheld) {
    this.seq = withheld.through;
    this.#tell({ kind: "withheld", withheld });
  }

  /** @param {GroupEvent} event */
  #apply(event) {
    this.seq = event.seq;
    this.#changeState(event);
    if (event.kind === "message.posted") this.#append(event);
    else if (event.kind === "history.pruned") this.#prune(event.data.through);
    else if (!this.#amend(event) && this.#loading !== null) this.#keepLate(event);
    this.#drop(({ seq }) => seq !== undefined && seq <= this.seq);
    this.#tell({ kind: "event", event });
  }

  /** @param {GroupEvent} event */
  #append(event) {
    const { seq, id, by, at, client_msg_id = null, data } = event;
    this.#drop((each) => this.#isOwn(event, each));
    /** @type {HistoryItem} */
    const item = { seq, id, by, at, client_msg_id, text: data.text ?? null, reactions: Object.create(null) };
    for (const option of /** @type {const} */ (["reply_to", "mentions", "attributes", "deleted"])) {
      if (data[option] !== undefined) item[option] = data[option];
    }
    this.posted.push(item);
    // In steps, so that a long run does not move the whole array for each event.
    if (this.posted.length < this.most + Math.max(1, this.most >> 2)) return;
    this.posted.splice(0, this.posted.length - this.most);
    this.#earliest = this.posted[0]?.seq ?? seq + 1;
    this.more = true;
    this.#epoch += 1;
  }

  /**
   * Changes the message that `event` is about; false if that is not here.
   * @param {GroupEvent} event
   */
  #amend({ kind, by, at, data }) {
    const place = this.#place(data.target);
    const item = this.posted[place];
    if (item === undefined || item.seq !== data.target) return false;
    if (item.deleted) return true;
    if (kind === "message.edited" && typeof data.text === "string") {
      this.posted[place] = { ...item, text: data.text, edited_at: at };
    } else if (kind === "message.deleted") {
      const { seq, id, by: author, at: posted, client_msg_id } = item;
      const reactions = Object.create(null);
      this.posted[place] = { seq, id, by: author, at: posted, client_msg_id, text: null, reactions, deleted: true };
    } else if (kind === "reaction.added" || kind === "reaction.removed") {
      const before = item.reactions?.[data.emoji] ?? [];
      if (before.includes(String(by)) === (kind === "reaction.added")) return true;
      const users = kind === "reaction.added" ? [...before, String(by)] : before.filter((user) => user !== by);
      const reactions = Object.assign(Object.create(null), item.reactions, { [data.emoji]: users });
      if (users.length === 0) delete reactions[data.emoji];
      this.posted[place] = { ...item, reactions };
    }
    return true;
  }

  /** @param {GroupEvent} event */
  #keepLate(event) {
    if (event.data.target === undefined) return;
    this.#late.push(event);
    if (this.#late.length <= MAX_LATE) return;
    this.#late = [];
    this.#epoch += 1;
  }

  /** @param {number} through */
  #prune(through) {
    if (!isSeq(through)) return;
    this.posted = this.posted.filter(({ seq }) => seq > through);
    if (this.#earliest !== null && this.#earliest > through + 1) return;
    this.#earliest = through + 1;
    this.more = false;
    this.#epoch += 1;
  }

  /** @param {GroupEvent} event */
  #changeState({ kind, data }) {
    if (kind === "group.updated") {
      for (const setting of /** @type {const} */ (["name", "topic", "join", "history"])) {
        if (data[setting] !== undefined) this[setting] = /** @type {never} */ (data[setting]);
      }
    } else if (kind === "member.joined") {
      this.#changed?.add(data.user);
      this.members.set(data.user, { user: data.user, role: data.role });
    } else if (kind === "member.left" || kind === "member.removed") {
      this.#changed?.add(data.user);
      this.members.delete(data.user);
      if (data.owner) this.#setRole(data.owner, "owner");
    } else if (kind === "member.role_changed") {
      if (data.from) this.#setRole(data.from, "admin");
      this.#setRole(data.user, data.role);
    }
  }

  /**
   * @param {string} user
   * @param {Role} role
   */
  #setRole(user, role) {
    this.#changed?.add(user);
    this.members.set(user, { ...this.members.get(user), user, role });
  }

  /**
   * Where in `messages` the one with `seq` is, or would be.
   * @param {number} seq
   */
  #place(seq) {
    let low = 0;
    let high = this.posted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.posted[middle].seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {ConversationChange} change */
  #tell(change) {
    for (const listener of [...this.#listeners]) guarded(() => listener(change));
  }
}

// ---- Subscriptions: one unbroken run of events a group, over all connections. ----

/**
 * A subscription: `next` is the seq that must come next, `head` the group's seq when it was joined last.
 * @typedef {{ group: string, start: Start, on: Handlers, next: number | null, log: string | undefined, head: number,
 *   joining: boolean, gaps: number, refusals: number, timer: any }} Run
 */

class Runs {
  #requests;
  #random;
  #giveUp;
  /** @type {Map<string, Run>} */
  #runs = new Map();
  /** Of the present connection. @type {Hello | null} */
  #hello = null;

  /**
   * @param {Requests} requests
   * @param {() => number} random
   * @param {(why: string) => void} giveUp ends the connection
   */
  constructor(requests, random, giveUp) {
    this.#requests = requests;
    this.#random = random;
    this.#giveUp = giveUp;
  }

  /**
   * @param {string} group
   * @param {Start} start
   * @param {Handlers} on
   */
  add(group, start, on) {
    this.#forget(this.#runs.get(group));
    /** @type {Run} */
    const run = {
      group, start, on, next: null, log: undefined, head: 0, joining: false, gaps: 0, refusals: 0, timer: undefined,
    };
    this.#runs.set(group, run);
    if (this.#hello) this.#join(run);
    return {
      group,
      get cursor() {
        return run.next === null ? undefined : run.next - 1;
      },
      get log() {
        return run.next === null ? undefined : run.log;
      },
      close: () => {
        if (this.#forget(run) && this.#hello) this.#requests.ask("unsubscribe", { group }, {}, ignore, ignore);
      },
    };
  }

  /** @param {Hello} hello */
  connected(hello) {
    this.#hello = hello;
    const runs = [...this.#runs.values()];
    const held = runs.filter(({ next }) => next !== null);
    for (let at = 0; at < held.length; at += BATCH) this.#resume(held.slice(at, at + BATCH));
    for (const run of runs) if (run.next === null) this.#join(run);
  }

  disconnected() {
    this.#hello = null;
  }

  /** @param {ChatError} error */
  end(error) {
    this.#hello = null;
    for (const run of [...this.#runs.values()]) this.#end(run, error);
  }

  /**
   * @param {GroupEvent | Withheld} frame
   * @param {number} from
   * @param {number} through
   */
  deliver(frame, from, through) {
    const run = this.#runs.get(frame.group);
    if (!run || run.next === null || through < run.next) return;
    if (from > run.next) return this.#gap(run);
    run.next = through + 1;
    run.gaps = 0;
    if (frame.type === "withheld") return guarded(() => run.on.onWithheld?.(frame));
    guarded(() => run.on.onEvent?.(frame));
    // A replay runs on after one's own leaving, if one has joined again since; a live run does not.
    if (through > run.head && endsMembership(frame, this.#hello?.user)) this.#end(run, frame);
  }

  /** @param {Run} run */
  #join(run) {
    if (run.next !== null) return this.#resume([run]);
    this.#ask([run], { group: run.group, ...run.start });
  }

  /**
   * Goes on where the runs were; a batch never carries states, and none is needed.
   * @param {Run[]} runs
   */
  #resume(runs) {
    const places = runs.map((run) => ({ group: run.group, after: Number(run.next) - 1, log: run.log }));
    this.#ask(runs, places.length === 1 ? { ...places[0], state: false } : { groups: places, state: false });
  }

  /**
   * @param {Run[]} runs
   * @param {Record<string, unknown>} fields
   */
  #ask(runs, fields) {
    for (const run of runs) {
      clearTimeout(run.timer);
      run.joining = true;
    }
    this.#requests.ask("subscribe", fields, {}, (reply) => {
      const results = runs.length === 1 ? [reply] : entries(runs, reply.results);
      for (const [n, run] of runs.entries()) this.#outcome(run, results[n]);
    }, (error) => {
      for (const run of runs) this.#refused(run, error);
    });
  }

  /**
   * @param {Run} run
   * @param {any} result
   */
  #outcome(run, result) {
    if (this.#runs.get(run.group) !== run) return;
    if (result?.ok === false) this.#refused(run, toError(result.error));
    else if (isSeq(result?.seq) && isSeq(result.from)) this.#joined(run, result);
    else this.#giveUp("a reply to subscribe that is none");
  }

  /**
   * @param {Run} run
   * @param {SubscribeReply} reply
   */
  #joined(run, reply) {
    const resumed = run.next !== null;
    run.joining = false;
    run.refusals = 0;
    run.head = reply.seq;
    // Before a handler is called: a place of the old log with the new log's name would skip events, once it is saved.
    if (!resumed) run.next = reply.from;
    else if (!reply.recovered) run.next = null;
    run.log = this.#hello?.log;
    if (!reply.recovered) guarded(() => run.on.onReset?.(reply));
    if (this.#runs.get(run.group) !== run) return;
    if (resumed && !reply.recovered) {
      // Anew, this time with the state. A cursor that the app had brought is void now, too.
      const { after, log, ...start } = run.start;
      run.start = after === undefined ? start : { ...start, after: reply.from - 1, log: run.log };
      this.#join(run);
    } else if (reply.state) guarded(() => run.on.onState?.(/** @type {GroupState} */ (reply.state)));
  }

  /**
   * @param {Run} run
   * @param {ChatError} error
   */
  #refused(run, error) {
    if (this.#runs.get(run.group) !== run) return;
    run.joining = false;
    if (!error.temporary) return this.#end(run, error);
    run.refusals += 1;
    // After a loss of the connection the next hello joins it, and stops this timer.
    run.timer = setTimeout(() => {
      if (this.#hello && !run.joining) this.#join(run);
    }, error.retryAfterMs ?? jitter(this.#random, run.refusals, MIN_DELAY_MS, MAX_DELAY_MS));
  }

  /** @param {Run} run */
  #gap(run) {
    if (run.joining || this.#hello === null) return;
    run.gaps += 1;
    if (run.gaps > MAX_GAPS) this.#giveUp("the run of events is broken");
    else this.#join(run);
  }

  /**
   * @param {Run} run
   * @param {ChatError | GroupEvent} why
   */
  #end(run, why) {
    if (this.#forget(run)) guarded(() => run.on.onEnd?.(why));
  }

  /** @param {Run | undefined} run */
  #forget(run) {
    if (!run || this.#runs.get(run.group) !== run) return false;
    clearTimeout(run.timer);
    return this.#runs.delete(run.group);
  }
}

// ---- Requests: each is sent, and sent again, until it has its outcome. ----

/**
 * A time by both clocks: the steady one may stand while the machine sleeps, and the other may be set back.
 * @typedef {{ at: number, date: number }} Doubt
 */

/**
 * A request without an outcome. `lane`: the group whose order it keeps. `sentAt`: when it left on the present socket, 0
 * before that. `again`: the timer of its repetition, after it was refused for now. `doubt`: since when it may have
 * taken effect without our knowledge, null where it has not.
 * @typedef {{ id: number, type: string, text: string, lane: string | null, sentAt: number, refusals: number,
 *   doubt: Doubt | null, again: any, timer: any, deadline: number, signal: AbortSignal | undefined,
 *   onAbort: () => void, done: (reply: any) => void, fail: (error: ChatError) => void }} Request
 */

class Requests {
  #random;
  /** In the order made, which is the order in which they are sent and repeated. @type {Map<number, Request>} */
  #open = new Map();
  #lastId = 0;
  /** Writes to the present socket. @type {((text: string) => void) | null} */
  #write = null;
  #frameBytes = Infinity;
  #pace = new Pace(Infinity);
  /** @type {any} */
  #timer;
  /** @type {ChatError | null} */
  #ended = null;

  /** @param {() => number} random */
  constructor(random) {
    this.#random = random;
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} fields
   * @param {AskOptions} options
   * @param {(reply: any) => void} done
   * @param {(error: ChatError) => void} fail
   */
  ask(type, fields, { timeoutMs = REQUEST_MS, signal }, done, fail) {
    if (this.#ended) return fail(this.#ended);
    if (signal?.aborted) return fail(aborted(signal));
    if (this.#open.size >= MAX_REQUESTS && !PLACES.has(type)) {
      return fail(new ChatError("overloaded", `${MAX_REQUESTS} requests are waiting`, { temporary: true }));
    }
    const id = ++this.#lastId;
    const lane = CHANGING.has(type) && typeof fields.group === "string" ? fields.group : null;
    let text = "";
    try {
      const key = CHANGING.has(type) ? { client_msg_id: fields.client_msg_id ?? newId() } : {};
      text = JSON.stringify({ ...fields, ...key, type, id }); // now, so that every repetition says the same
    } catch (error) {
      return fail(new ChatError("invalid", `this is no JSON: ${error}`, { cause: error }));
    }
    /** @type {Request} */
    const request = {
      id, type, text, lane, sentAt: 0, refusals: 0, doubt: null, again: undefined, timer: undefined, signal, done, fail,
      deadline: performance.now() + timeoutMs, onAbort: () => this.#giveUp(request),
    };
    this.#limit(request);
    signal?.addEventListener("abort", request.onAbort, { once: true });
    this.#open.set(id, request);
    this.pump();
  }

  /** Takes requests, which wait for a connection. */
  begin() {
    this.#ended = null;
  }

  /**
   * A connection: from now on requests are sent by `write`.
   * @param {(text: string) => void} write
   * @param {Hello} hello
   */
  connected(write, hello) {
    this.#frameBytes = hello.limits?.frame_bytes ?? Infinity;
    this.#pace = new Pace(hello.limits?.requests_per_second ?? Infinity);
    this.#write = write;
    this.pump();
  }

  /**
   * The connection is lost: what it was asked is asked again on the next, but for what was about this one.
   * @param {number} code
   */
  disconnected(code) {
    this.#write = null;
    clearTimeout(this.#timer);
    const sent = [...this.#open.values()].filter(({ sentAt }) => sentAt > 0);
    if (code === TOO_BIG && sent.length > 0) {
      // One of these was too big for what is between us and the server. Repeated for ever, it would hold up all others.
      const biggest = sent.reduce((one, other) => (other.text.length > one.text.length ? other : one));
      this.#fail(biggest, new ChatError("too_large", "the connection was closed because of the frame's size"));
    }
    for (const request of [...this.#open.values()]) {
      request.sentAt = 0;
      if (!MOMENTARY.has(request.type)) continue;
      this.#fail(request, new ChatError("disconnected", "the connection was lost", { temporary: true }));
    }
  }

  /** @param {ChatError} error */
  end(error) {
    this.#ended = error;
    this.#write = null;
    clearTimeout(this.#timer);
    for (const request of [...this.#open.values()]) this.#fail(request, error);
  }

  /** When the oldest of those that wait for a reply was sent; Infinity if none does. */
  firstSentAt() {
    let first = Infinity;
    for (const { sentAt } of this.#open.values()) if (sentAt > 0 && sentAt < first) first = sentAt;
    return first;
  }

  /** @param {any} reply */
  answered(reply) {
    const request = this.#open.get(reply.id);
    if (!request || request.sentAt === 0) return;
    if (reply.ok === true) {
      this.#settle(request);
      request.done(reply);
    } else this.#refused(request, toError(reply.error));
    this.pump();
  }

  /** Sends what may be sent now: subscriptions first, then the others in order. */
  pump() {
    clearTimeout(this.#timer);
    if (!this.#write) return;
    /** Groups with a request that was refused for now: what comes after it waits for its outcome, to keep the order. */
    const held = new Set();
    let waitMs = 0;
    for (const request of inOrder(this.#open)) {
      if (request.sentAt === 0 && request.again === undefined) {
        if (FREE.has(request.type)) this.#transmit(request);
        else if (waitMs === 0 && (request.lane === null || !held.has(request.lane))) {
          waitMs = this.#pace.turn();
          if (waitMs === 0) this.#transmit(request);
        }
      }
      if (request.refusals > 0 && this.#open.has(request.id)) held.add(request.lane);
    }
    clearTimeout(this.#timer); // what was told on the way here may have asked, too
    if (waitMs > 0) this.#timer = setTimeout(() => this.pump(), waitMs);
  }

  /** @param {Request} request */
  #transmit(request) {
    const { text } = request;
    if (text.length > this.#frameBytes / 4 && new TextEncoder().encode(text).length > this.#frameBytes) {
      // The server would close the socket for it, and what else is on its way would be late.
      const message = `the frame has more than ${this.#frameBytes} bytes`;
      return this.#fail(request, new ChatError("too_large", message));
    }
    const now = performance.now();
    if (request.doubt === null && CHANGING.has(request.type)) {
      request.doubt = { at: now, date: Date.now() };
      this.#limit(request);
    } else if (request.doubt !== null && doubtLeft(request.doubt) <= 0) return this.#late(request); // we slept
    request.sentAt = now;
    this.#write?.(text);
  }

  /**
   * Ends the waiting at the request's deadline, or when the server might no longer know it.
   * @param {Request} request
   */
  #limit(request) {
    clearTimeout(request.timer);
    const left = request.deadline - performance.now();
    request.timer = setTimeout(() => {
      this.#late(request);
      this.pump(); // what had to wait behind it
    }, Math.min(left, MAX_TIMER_MS, request.doubt === null ? Infinity : doubtLeft(request.doubt)));
  }

  /** @param {Request} request */
  #late(request) {
    this.#fail(request, new ChatError("timeout", "no reply in time: the outcome is unknown", { temporary: true }));
  }

  /**
   * @param {Request} request
   * @param {ChatError} error
   */
  #refused(request, error) {
    request.refusals += 1;
    const delay = error.retryAfterMs ?? jitter(this.#random, request.refusals, MIN_REPEAT_MS, MAX_REPEAT_MS);
    const late = performance.now() + delay >= request.deadline;
    if (!error.temporary || MOMENTARY.has(request.type) || late) return this.#fail(request, error);
    if (request.doubt?.at === request.sentAt && WITHOUT_EFFECT.has(error.code)) {
      request.doubt = null; // it was sent once, and that had no effect
      this.#limit(request);
    }
    request.sentAt = 0;
    request.again = setTimeout(() => {
      request.again = undefined;
      this.pump();
    }, delay);
  }

  /** @param {Request} request */
  #giveUp(request) {
    this.#fail(request, aborted(request.signal));
    this.pump(); // what had to wait behind it
  }

  /**
   * @param {Request} request
   * @param {ChatError} error
   */
  #fail(request, error) {
    if (this.#settle(request)) request.fail(error);
  }

  /** @param {Request} request */
  #settle(request) {
    clearTimeout(request.timer);
    clearTimeout(request.again);
    request.signal?.removeEventListener("abort", request.onAbort);
    return this.#open.delete(request.id);
  }
}

/** The server's rate limit, kept on our side: who never exceeds it is never refused, and keeps the order sent. */
class Pace {
  #perMs;
  #most;
  #left;
  #at = performance.now();

  /** @param {number} perSecond */
  constructor(perSecond) {
    this.#perMs = perSecond > 0 ? (perSecond * SHARE_OF_RATE) / 1000 : Infinity;
    this.#most = this.#left = Math.max(1, perSecond * BURST_S);
  }

  /** Takes the turn of one request, and is 0; or the ms until there is one. */
  turn() {
    if (this.#perMs === Infinity) return 0;
    const now = performance.now();
    this.#left = Math.min(this.#most, this.#left + (now - this.#at) * this.#perMs);
    this.#at = now;
    if (this.#left < 1) return Math.ceil((1 - this.#left) / this.#perMs);
    this.#left -= 1;
    return 0;
  }
}

/**
 * Places in groups before everything else, each kind in the order made.
 * @param {Map<number, Request>} open
 */
function* inOrder(open) {
  for (const request of open.values()) if (PLACES.has(request.type)) yield request;
  for (const request of open.values()) if (!PLACES.has(request.type)) yield request;
}

// ---- Frames, addresses and times. ----

/**
 * What a frame of each type must have for us to go by it. Types that are not known are ignored (protocol, preface).
 * @type {Map<string, (frame: any) => boolean>}
 */
const SHAPES = new Map([
  ["hello", (frame) => isText(frame.log) && isText(frame.user)],
  ["reply", (frame) => frame.ok === true || isObject(frame.error)],
  ["event", (frame) => isText(frame.group) && isText(frame.kind) && isSeq(frame.seq)],
  ["withheld", (frame) => isText(frame.group) && isSeq(frame.from) && isSeq(frame.through)],
]);

/**
 * The frame, or null for what is none of this protocol.
 * @param {unknown} text
 */
function parse(text) {
  let frame;
  try {
    frame = JSON.parse(String(text));
  } catch {
    return null;
  }
  if (!isObject(frame) || !isText(frame.type) || SHAPES.get(frame.type)?.(frame) === false) return null;
  if (frame.type === "event" && !isObject(frame.data)) frame.data = {};
  if (frame.type === "hello" && !(frame.heartbeat_ms > 0)) frame.heartbeat_ms = 25_000;
  return frame;
}

/** @param {unknown} value */
const isText = (value) => typeof value === "string";

/** @param {unknown} value */
const isSeq = (value) => Number.isSafeInteger(value) && Number(value) >= 0;

/** @param {unknown} value */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {any} error */
function toError(error) {
  const code = isText(error?.code) ? error.code : "internal";
  const temporary = error?.temporary === true;
  const retry_after_ms = within(error?.retry_after_ms, MAX_BYE_MS);
  return new ChatError(code, String(error?.message ?? ""), { temporary, field: error?.field, retry_after_ms });
}

/** @param {AbortSignal | undefined} signal */
function aborted(signal) {
  return new ChatError("aborted", "given up: what was sent already may take effect", { cause: signal?.reason });
}

/**
 * The entry of each run in the results of a batch.
 * @param {Run[]} runs
 * @param {unknown} results
 */
function entries(runs, results) {
  const list = Array.isArray(results) ? results : [];
  const byGroup = new Map(list.map((result) => [result?.group, result]));
  return runs.map(({ group }) => byGroup.get(group));
}

/**
 * @param {GroupEvent} event
 * @param {string | undefined} me
 */
function endsMembership(event, me) {
  if (event.kind === "group.deleted") return true;
  return (event.kind === "member.left" || event.kind === "member.removed") && event.data.user === me;
}

/**
 * An item whose reactions have no inherited names: an emoji may be any text, `__proto__` too.
 * @param {HistoryItem} item
 */
function ownReactions(item) {
  return { ...item, reactions: Object.assign(Object.create(null), item.reactions) };
}

/**
 * @param {string | URL} url
 * @param {string | undefined} user
 */
function socketUrl(url, user) {
  const made = new URL(url, globalThis.location?.href);
  made.protocol = made.protocol.replace("http", "ws");
  if (made.pathname === "/") made.pathname = PATH;
  made.hash = "";
  if (user !== undefined) made.searchParams.set("user", user);
  return made;
}

/**
 * Full jitter (protocol §6): from `least` to a ceiling that doubles with each try up to `most`, in ms.
 * @param {() => number} random
 * @param {number} tries
 * @param {number} least
 * @param {number} most
 */
function jitter(random, tries, least, most) {
  return least + random() * (Math.min(most, least * 2 ** (Math.min(tries, 20) + 1)) - least);
}

/**
 * When to ask for the next token, in ms from `now`; null where the token does not say, or our clock cannot be right.
 * @param {string | undefined} token
 * @param {number} now
 */
function refreshDelay(token, now) {
  let expiry;
  try {
    expiry = JSON.parse(atob(String(token).split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).exp;
  } catch {
    return null;
  }
  const left = expiry * 1000 - now;
  if (!(left > 0)) return null;
  return Math.min(MAX_TIMER_MS, Math.max(1000, left / 2, Math.min(left * 0.8, left - 30_000)));
}

/**
 * For how many ms more the server surely knows a request that was first sent then.
 * @param {Doubt} since
 */
function doubtLeft({ at, date }) {
  return KNOWN_MS - Math.max(performance.now() - at, Date.now() - date);
}

/**
 * @param {any} value
 * @param {number} most
 */
function within(value, most) {
  return Number.isFinite(value) && value >= 0 ? Math.min(value, most) : undefined;
}

/**
 * Calls what belongs to the app: its errors are the app's, and must not cost us our place.
 * @param {() => void} what
 */
function guarded(what) {
  try {
    what();
  } catch (error) {
    if (globalThis.reportError) globalThis.reportError(error);
    else console.error(error);
  }
}

function deferred() {
  /** @type {any} */
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  parts.promise.catch(ignore); // who does not await `connect` hears of the end by `onStatus`
  return parts;
}

function ignore() {}
