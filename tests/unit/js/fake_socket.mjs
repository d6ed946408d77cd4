/** The browser's WebSocket as the client sees it, with the server's side in the test's hands. */

import { Client } from "../../../clients/js/auerbach.js";

export const HELLO = {
  type: "hello", protocol: "chat.v1.json", session: "s", log: "log-1", user: "alice", heartbeat_ms: 25_000,
  limits: { frame_bytes: 65_536, text_bytes: 16_384, groups: 1000, requests_per_second: 50 },
};

/** A class of sockets of its own, so that tests share nothing; `Socket.all` are those that were made. */
export function socketClass() {
  return class Socket {
    /** @type {Socket[]} */
    static all = [];
    static get last() {
      return this.all.at(-1);
    }

    constructor(url, protocols) {
      Object.assign(this, { url: new URL(url), protocols, sent: [], closedWith: undefined });
      Socket.all.push(this);
    }

    send(text) {
      this.sent.push(JSON.parse(text));
    }

    close(code) {
      this.closedWith = code;
    }

    /** The server opens the socket and says hello. */
    accept(hello = {}) {
      this.onopen?.({});
      this.receive({ ...HELLO, ...hello });
    }

    receive(...frames) {
      for (const frame of frames) this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
    }

    /** The server answers the last request of `type`. */
    reply(type, fields = {}) {
      this.receive({ type: "reply", id: this.asked(type).id, ok: true, ...fields });
    }

    refuse(type, error) {
      this.receive({ type: "reply", id: this.asked(type).id, ok: false, error: { message: "no", temporary: false, ...error } });
    }

    asked(type) {
      return this.sent.findLast((frame) => frame.type === type);
    }

    drop(code = 1006) {
      this.onclose?.({ code, reason: "" });
    }
  };
}

/** A client on mocked timers and clock; it is closed when the test ends. */
export function setUp(t, options = {}, url = "ws://chat.test/v1/ws") {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  t.mock.method(performance, "now", () => Date.now() + 1);
  const Socket = socketClass();
  const client = new Client(url, { user: "alice", WebSocket: Socket, random: () => 0.5, ...options });
  t.after(() => client.close());
  return { client, Socket, tick: (ms) => tick(t, ms) };
}

/** In small steps: Node's mocked clock stands at a tick's end already when the tick's timers run. */
function tick(t, ms) {
  const step = Math.max(100, Math.ceil(ms / 1000));
  for (let left = ms; left > 0; left -= step) t.mock.timers.tick(Math.min(step, left));
}

/** `setUp`, connected. */
export function online(t, options = {}) {
  const parts = setUp(t, options);
  parts.client.connect();
  parts.Socket.last.accept();
  return parts;
}

export function event(seq, fields = {}) {
  const at = "2026-11-25T01:20:00.000Z";
  return { type: "event", group: "g", seq, id: `e${seq}`, kind: "message.posted", by: "bob", at, data: { text: `m${seq}` }, ...fields };
}

/** Lets what waits for promises go on; mocked timers stand still. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));
