/**
 * A client of the chat protocol `chat.v1.json`: one module, no dependency, for browsers and every runtime with their
 * WebSocket. It keeps one socket, comes back when that is lost, resumes each subscription where it was and repeats
 * what got no reply: each event of a group is delivered once and in order, each message is posted once.
 *
 *     const client = new Client("ws://127.0.0.1:8080/v1/ws", { user: "alice" });
 *     await client.connect();
 *     client.subscribe("g1", { last: 50 }, (event) => console.log(event.seq, event.kind, event.data));
 *     await client.send("g1", "hello");
 *
 * @typedef {import("./auerbach.js").ChangeOptions} ChangeOptions
 * @typedef {import("./auerbach.js").ChangeReply} ChangeReply
 * @typedef {import("./auerbach.js").ClientOptions} ClientOptions
 * @typedef {import("./auerbach.js").GroupEvent} GroupEvent
 * @typedef {import("./auerbach.js").GroupSettings} GroupSettings
 * @typedef {import("./auerbach.js").Handlers} Handlers
 * @typedef {import("./auerbach.js").Hello} Hello
 * @typedef {import("./auerbach.js").Reply} Reply
 * @typedef {import("./auerbach.js").Role} Role
 * @typedef {import("./auerbach.js").SendOptions} SendOptions
 * @typedef {import("./auerbach.js").SendReply} SendReply
 * @typedef {import("./auerbach.js").Start} Start
 * @typedef {import("./auerbach.js").Status} Status
 * @typedef {import("./auerbach.js").SubscribeReply} SubscribeReply
 * @typedef {import("./auerbach.js").Withheld} Withheld
 */

const SUBPROTOCOL = "chat.v1.json";

/** The types that change a group: they get a `client_msg_id`, so that repeating them is safe (protocol §2). */
const CHANGING = new Set([
  "create_group", "update_group", "delete_group", "join", "leave", "add_member", "remove_member", "unban", "set_role",
  "send", "edit", "delete", "react", "unreact",
]);
/** The types that mean this moment and this socket only: never repeated on another. */
const MOMENTARY = new Set(["ping", "typing", "auth", "unsubscribe"]);

const MAX_REQUESTS = 1000;
const REQUEST_MS = 60_000;
/** As long as the server knows a `client_msg_id`: a repetition after that might post a second message. */
const SEND_MS = 24 * 60 * 60 * 1000;
/** The server answers within 10 s, if only with `timeout`; a socket on which it does not is dead. */
const PATIENCE_MS = 15_000;
const CHECK_MS = 5_000;
/** A connection that lasted this long was a good one: the next loss starts with quick tries again. */
const STABLE_MS = 10_000;
const MAX_DELAY_MS = 30_000;
/** A server that keeps leaving gaps is given a new socket instead of a loop of subscriptions. */
const MAX_GAPS = 3;

const EXPIRED = 4401;
const RATE_LIMITED = 4429;
const REVOKED = 4510;
/** What to say where the server gives no reason. */
const FINAL = new Map([[EXPIRED, "the token has expired"], [REVOKED, "the session was revoked"]]);

/** A request without success; see auerbach.d.ts for the codes that this client adds to the server's. */
export class ChatError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{ temporary?: boolean, field?: string, retry_after_ms?: number }} [details]
   */
  constructor(code, message, { temporary = false, field, retry_after_ms } = {}) {
    super(message);
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

/**
 * A request that waits for its reply. `sentAt`: when it left on the present socket, 0 before that.
 * @typedef {{ frame: Record<string, any>, repeat: boolean, sentAt: number, timer: any,
 *   done: (reply: any) => void, fail: (error: ChatError) => void }} Request
 *
 * One connection, from the first try to its loss. `watch` is the timer of its check.
 * @typedef {{ socket: WebSocket | null, hello: Hello | null, startedAt: number, heardAt: number, watch: any,
 *   byeMs: number | null }} Link
 *
 * A subscription: `next` is the seq that must come next, `head` the group's seq when it was joined last.
 * @typedef {{ group: string, start: Start, on: Handlers, next: number | null, log: string | undefined, head: number,
 *   joining: boolean, gaps: number, refusals: number, timer: any }} Run
 */

export class Client {
  #url;
  #options;
  /** @type {Status} */
  #status = { state: "idle" };
  /** @type {Link | null} */
  #link = null;
  /** In the order made, which is the order in which they are repeated. @type {Map<number, Request>} */
  #requests = new Map();
  /** @type {Map<string, Run>} */
  #runs = new Map();
  #lastId = 0;
  #tries = 0;
  /** @type {any} */
  #retry;
  /** @type {{ promise: Promise<Hello>, resolve: (hello: Hello) => void, reject: (error: ChatError) => void } | null} */
  #connected = null;

  /**
   * @param {string | URL} url
   * @param {ClientOptions} [options]
   */
  constructor(url, options = {}) {
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    if (options.user !== undefined) this.#url.searchParams.set("user", options.user);
    this.#options = options;
  }

  get status() {
    return this.#status;
  }

  /** @returns {Promise<Hello>} */
  connect() {
    if (this.#connected) return this.#connected.promise;
    const { promise } = (this.#connected = deferred());
    this.#open();
    return promise;
  }

  close() {
    this.#finish(new ChatError("closed", "the client was closed"), 1000);
  }

  wake() {
    if (this.#status.state === "waiting") {
      clearTimeout(this.#retry);
      this.#open();
    } else if (this.#status.state === "online") {
      this.request("ping").catch(ignore); // without a reply, the check finds the socket dead
    }
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} [fields]
   * @param {{ timeoutMs?: number }} [options]
   * @returns {Promise<Reply>}
   */
  request(type, fields = {}, { timeoutMs = REQUEST_MS } = {}) {
    const frame = CHANGING.has(type) ? { client_msg_id: newId(), ...fields, type } : { ...fields, type };
    return new Promise((done, fail) => this.#ask(frame, !MOMENTARY.has(type), timeoutMs, done, fail));
  }

  /**
   * @param {string} group
   * @param {string} text
   * @param {SendOptions} [options]
   * @returns {Promise<SendReply>}
   */
  async send(group, text, { timeoutMs = SEND_MS, ...options } = {}) {
    return /** @type {SendReply} */ (await this.#change("send", { group, text }, { timeoutMs, ...options }));
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
   * Repeats a request that was refused for now, with the same `client_msg_id`, until there is an outcome that lasts.
   * @param {string} type
   * @param {Record<string, unknown>} asked
   * @param {SendOptions} [options]
   * @returns {Promise<ChangeReply>}
   */
  async #change(type, asked, { timeoutMs = REQUEST_MS, ...options } = {}) {
    const fields = { client_msg_id: newId(), ...options, ...asked };
    const deadline = performance.now() + timeoutMs;
    for (let refusals = 0; ; refusals++) {
      try {
        return await this.request(type, fields, { timeoutMs: deadline - performance.now() });
      } catch (error) {
        if (!(error instanceof ChatError && error.temporary)) throw error;
        const delay = error.retryAfterMs ?? this.#jitter(refusals + 1);
        if (performance.now() + delay >= deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, delay));
      }
    }
  }

  /**
   * @param {string} group
   * @param {Start} start
   * @param {Handlers | ((event: GroupEvent) => void)} on
   */
  subscribe(group, start, on) {
    this.#forget(this.#runs.get(group));
    /** @type {Run} */
    const run = {
      group, start, on: typeof on === "function" ? { onEvent: on } : on, next: null, log: undefined, head: 0,
      joining: false, gaps: 0, refusals: 0, timer: undefined,
    };
    this.#runs.set(group, run);
    if (this.#link?.hello) this.#join(run);
    return {
      group,
      get cursor() {
        return run.next === null ? undefined : run.next - 1;
      },
      get log() {
        return run.log;
      },
      close: () => {
        if (this.#forget(run) && this.#link?.hello) this.request("unsubscribe", { group }).catch(ignore);
      },
    };
  }

  // The connection: open, kept, lost, open again.

  async #open() {
    /** @type {Link} */
    const link = { socket: null, hello: null, startedAt: performance.now(), heardAt: 0, watch: undefined, byeMs: null };
    this.#link = link;
    link.watch = setInterval(() => this.#check(link), CHECK_MS);
    this.#become({ state: "connecting" });
    try {
      const token = this.#options.getToken ? await this.#options.getToken() : this.#options.token;
      if (this.#link !== link) return;
      const socket = new (this.#options.WebSocket ?? WebSocket)(this.#url, [SUBPROTOCOL]);
      link.socket = socket;
      socket.onopen = () => {
        if (token !== undefined) socket.send(JSON.stringify({ type: "auth", id: "auth", token }));
      };
      socket.onmessage = ({ data }) => this.#receive(link, data);
      socket.onclose = ({ code, reason }) => this.#lost(link, code, reason);
    } catch (error) {
      this.#lost(link, 1006, String(error)); // no token now, or no socket: try again later
    }
  }

  /**
   * A browser cannot see the server's pings: ask when nothing was heard for long, and do not wait for a dead socket.
   * @param {Link} link
   */
  #check(link) {
    const now = performance.now();
    if (link.hello === null) {
      if (now - link.startedAt > PATIENCE_MS) this.#lost(link, 1006, "no answer");
      return;
    }
    const silentMs = now - link.heardAt;
    const sent = [...this.#requests.values()].filter((request) => request.sentAt > 0);
    if (silentMs > PATIENCE_MS && sent.some((request) => now - request.sentAt > PATIENCE_MS)) {
      this.#lost(link, 1006, "no answer");
    } else if (silentMs > link.hello.heartbeat_ms && sent.length === 0) {
      this.request("ping").catch(ignore);
    }
  }

  /**
   * @param {Link} link
   * @param {number} code
   * @param {string} reason
   */
  #lost(link, code, reason) {
    if (this.#link !== link) return;
    const stayed = link.hello !== null && performance.now() - link.startedAt > STABLE_MS;
    this.#unlink(1000);
    if ((code >= 4500 && code <= 4599) || (code === EXPIRED && !this.#options.getToken)) {
      const meaning = FINAL.get(code) ?? "not authenticated";
      this.#finish(new ChatError(code === REVOKED ? "revoked" : "unauthorized", reason || meaning), 1000);
      return;
    }
    if (stayed) this.#tries = 0;
    if (code === RATE_LIMITED) this.#tries = Math.max(this.#tries, 4);
    const delay = link.byeMs ?? this.#jitter(this.#tries);
    this.#tries += 1;
    this.#retry = setTimeout(() => this.#open(), delay);
    for (const request of [...this.#requests.values()]) {
      request.sentAt = 0;
      if (!request.repeat) {
        this.#settle(request)?.fail(new ChatError("disconnected", "the connection was lost", { temporary: true }));
      }
    }
    this.#become({ state: "waiting", retryAt: Date.now() + delay, code, reason });
  }

  /**
   * The end, until `connect` is called again.
   * @param {ChatError} error
   * @param {number} code
   */
  #finish(error, code) {
    if (this.#status.state === "closed") return;
    clearTimeout(this.#retry);
    this.#unlink(code);
    this.#tries = 0;
    this.#connected?.reject(error);
    this.#connected = null;
    for (const run of [...this.#runs.values()]) this.#end(run, error);
    for (const request of [...this.#requests.values()]) this.#settle(request)?.fail(error);
    this.#become({ state: "closed", error });
  }

  /** @param {number} code */
  #unlink(code) {
    const link = this.#link;
    this.#link = null;
    clearInterval(link?.watch);
    if (!link?.socket) return;
    // A dead network lets a close take minutes; what it still says is about a past connection.
    link.socket.onopen = link.socket.onmessage = link.socket.onclose = null;
    link.socket.close(code);
  }

  /**
   * Full jitter up to 30 s (protocol §6), from 1 s on but for a first quick try.
   * @param {number} tries
   */
  #jitter(tries) {
    const random = this.#options.random ?? Math.random;
    if (tries === 0) return random() * 1000;
    return 1000 + random() * (Math.min(MAX_DELAY_MS, 2000 * 2 ** Math.min(tries, 10)) - 1000);
  }

  /** @param {Status} status */
  #become(status) {
    this.#status = status;
    this.#options.onStatus?.(status);
  }

  // Requests and frames.

  /**
   * @param {Record<string, any>} frame
   * @param {boolean} repeat
   * @param {number} timeoutMs
   * @param {(reply: any) => void} done
   * @param {(error: ChatError) => void} fail
   */
  #ask(frame, repeat, timeoutMs, done, fail) {
    if (this.#status.state === "closed") return fail(this.#status.error);
    if (this.#requests.size >= MAX_REQUESTS) {
      return fail(new ChatError("overloaded", `${MAX_REQUESTS} requests are waiting`, { temporary: true }));
    }
    frame.id = ++this.#lastId;
    /** @type {Request} */
    const request = { frame, repeat, sentAt: 0, timer: undefined, done, fail };
    request.timer = setTimeout(() => {
      const message = "no reply in time: the outcome is unknown";
      this.#settle(request)?.fail(new ChatError("timeout", message, { temporary: true }));
    }, timeoutMs);
    this.#requests.set(frame.id, request);
    if (this.#link?.hello) this.#transmit(this.#link, request);
  }

  /**
   * @param {Link} link
   * @param {Request} request
   */
  #transmit(link, request) {
    const text = JSON.stringify(request.frame);
    const limit = link.hello?.limits?.frame_bytes ?? Infinity;
    if (text.length > limit / 4 && new TextEncoder().encode(text).length > limit) {
      // The server would close the socket for it, and what else is on its way would be late.
      this.#settle(request)?.fail(new ChatError("too_large", `the frame has more than ${limit} bytes`));
      return;
    }
    request.sentAt = performance.now();
    link.socket?.send(text);
  }

  /**
   * Takes a request from those that wait; null if it did not.
   * @param {Request | undefined} request
   */
  #settle(request) {
    if (!request || !this.#requests.delete(request.frame.id)) return null;
    clearTimeout(request.timer);
    return request;
  }

  /**
   * @param {Link} link
   * @param {unknown} text
   */
  #receive(link, text) {
    link.heardAt = performance.now();
    const frame = parse(text);
    switch (frame?.type) {
      case "hello": return this.#welcome(link, frame);
      case "reply": return this.#reply(frame);
      case "event": return this.#deliver(frame, frame.seq, frame.seq);
      case "withheld": return this.#deliver(frame, frame.from, frame.through);
      case "signal": return this.#options.onSignal?.(frame);
      case "bye": link.byeMs = Math.min(Number(frame.reconnect_after_ms) || 0, MAX_DELAY_MS);
    }
  }

  /**
   * @param {Link} link
   * @param {Hello} hello
   */
  #welcome(link, hello) {
    link.hello = hello;
    // First the places in the groups, then what got no reply (protocol §6).
    for (const run of this.#runs.values()) this.#join(run);
    for (const request of [...this.#requests.values()]) if (request.sentAt === 0) this.#transmit(link, request);
    this.#connected?.resolve(hello);
    this.#become({ state: "online", hello });
  }

  /** @param {any} reply */
  #reply(reply) {
    const request = this.#settle(this.#requests.get(reply.id));
    if (reply.ok) request?.done(reply);
    else request?.fail(new ChatError(reply.error?.code ?? "internal", reply.error?.message ?? "", reply.error));
  }

  // Subscriptions: one unbroken run of events a group.

  /** @param {Run} run */
  #join(run) {
    clearTimeout(run.timer);
    run.joining = true;
    const place = run.next === null ? run.start : { after: run.next - 1, log: run.log, state: run.start.state };
    this.#ask(
      { type: "subscribe", group: run.group, ...place }, false, REQUEST_MS,
      (reply) => this.#joined(run, reply),
      (error) => this.#refused(run, error),
    );
  }

  /**
   * @param {Run} run
   * @param {SubscribeReply} reply
   */
  #joined(run, reply) {
    if (this.#runs.get(run.group) !== run) return;
    run.joining = false;
    run.refusals = 0;
    run.head = reply.seq;
    run.log = this.#link?.hello?.log;
    if (run.next === null || !reply.recovered) run.next = reply.from;
    if (!reply.recovered) run.on.onReset?.(reply);
    if (reply.state) run.on.onState?.(reply.state);
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
      if (this.#link?.hello && !run.joining) this.#join(run);
    }, error.retryAfterMs ?? this.#jitter(run.refusals));
  }

  /**
   * @param {GroupEvent | Withheld} frame
   * @param {number} from
   * @param {number} through
   */
  #deliver(frame, from, through) {
    const run = this.#runs.get(frame.group);
    if (!run || run.next === null || through < run.next) return;
    if (from > run.next) return this.#gap(run);
    run.next = through + 1;
    run.gaps = 0;
    if (frame.type === "withheld") return run.on.onWithheld?.(frame);
    run.on.onEvent?.(frame);
    // A replay runs on after one's own leaving, if one has joined again since; a live run does not.
    if (through > run.head && endsMembership(frame, this.#link?.hello?.user)) this.#end(run, frame);
  }

  /** @param {Run} run */
  #gap(run) {
    if (run.joining || this.#link === null) return;
    run.gaps += 1;
    if (run.gaps > MAX_GAPS) this.#lost(this.#link, 4409, "the run of events is broken");
    else this.#join(run);
  }

  /**
   * @param {Run} run
   * @param {ChatError | GroupEvent} why
   */
  #end(run, why) {
    if (this.#forget(run)) run.on.onEnd?.(why);
  }

  /** @param {Run | undefined} run */
  #forget(run) {
    if (!run || this.#runs.get(run.group) !== run) return false;
    clearTimeout(run.timer);
    return this.#runs.delete(run.group);
  }
}

/**
 * @param {GroupEvent} event
 * @param {string | undefined} me
 */
function endsMembership(event, me) {
  if (event.kind === "group.deleted") return true;
  return (event.kind === "member.left" || event.kind === "member.removed") && event.data?.user === me;
}

/** @param {unknown} text */
function parse(text) {
  try {
    return JSON.parse(String(text));
  } catch {
    return null; // not of this protocol: ignored like an unknown type
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
