import assert from "node:assert/strict";
import { test } from "node:test";

import { Client } from "../../../clients/js/auerbach.js";
import { event, HELLO, online, settled, setUp, socketClass } from "./fake_socket.mjs";

test("connects with the user and the subprotocol, and resolves with the hello", async (t) => {
  const { client, Socket } = setUp(t);

  const connected = client.connect();
  Socket.last.accept();

  assert.deepEqual(await connected, HELLO);
  assert.equal(Socket.last.url.href, "ws://chat.test/v1/ws?user=alice");
  assert.deepEqual(Socket.last.protocols, ["chat.v1.json"]);
  assert.equal(client.status.state, "online");
});

test("a token is the first frame", (t) => {
  const { client, Socket } = setUp(t, { user: undefined, token: "jwt" });

  client.connect();
  Socket.last.accept();

  assert.deepEqual(Socket.last.sent, [{ type: "auth", id: "auth", token: "jwt" }]);
});

test("every connection asks for a new token, also after the old one expired", async (t) => {
  let made = 0;
  const { client, Socket, tick } = setUp(t, { user: undefined, getToken: async () => `jwt-${++made}` });
  client.connect();
  await settled();
  Socket.last.accept();

  Socket.last.drop(4401);
  tick(2000);
  await settled();
  Socket.last.accept();

  assert.deepEqual(Socket.all.map((socket) => socket.sent[0].token), ["jwt-1", "jwt-2"]);
});

test("a token that cannot be had now is asked for again later", async (t) => {
  let asked = 0;
  const getToken = async () => {
    if (++asked === 1) throw new Error("offline");
    return "jwt";
  };
  const { client, Socket, tick } = setUp(t, { user: undefined, getToken });

  client.connect();
  await settled();
  assert.equal(client.status.state, "waiting");
  tick(2000);
  await settled();

  assert.equal(Socket.all.length, 1);
});

for (const [code, error] of [[4501, "unauthorized"], [4510, "revoked"], [4599, "unauthorized"], [4401, "unauthorized"]]) {
  test(`close ${code} is the end where no new token can be had`, async (t) => {
    const { client, Socket, tick } = setUp(t);
    const connected = client.connect();
    const waiting = client.request("state", { group: "g" });
    Socket.last.accept();

    Socket.last.drop(code);
    tick(120_000);

    assert.equal(Socket.all.length, 1);
    assert.equal(client.status.state, "closed");
    assert.equal(client.status.error.code, error);
    await connected;
    await assert.rejects(waiting, { code: error });
    await assert.rejects(client.request("ping"), { code: error });
  });
}

test("a connection refused for good before the hello rejects connect", async (t) => {
  const { client, Socket } = setUp(t);
  const connected = client.connect();

  Socket.last.drop(4501);

  await assert.rejects(connected, { code: "unauthorized" });
});

test("the waits have full jitter between 1 and 30 s, their ceiling doubling", (t) => {
  let chance = 0;
  const { client, Socket, tick } = setUp(t, { random: () => chance });
  client.connect();
  const delays = [];
  for (const [much, times] of [[0, 3], [0.999_999, 6]]) {
    chance = much;
    for (let n = 0; n < times; n++) {
      Socket.last.drop();
      delays.push(Math.round(client.status.retryAt - Date.now()));
      tick(delays.at(-1) + 1);
    }
  }

  assert.deepEqual(delays, [1000, 1000, 1000, 16_000, 30_000, 30_000, 30_000, 30_000, 30_000]);
});

test("a connection that held begins with a quick try again, one that did not goes on waiting longer", (t) => {
  const { client, Socket, tick } = setUp(t, { random: () => 1 });
  client.connect();
  const delayAfter = (ms) => {
    Socket.last.accept();
    tick(ms);
    Socket.last.drop();
    const delay = client.status.retryAt - Date.now();
    tick(delay);
    return delay;
  };

  assert.deepEqual([delayAfter(100), delayAfter(100), delayAfter(100), delayAfter(20_000)], [2000, 4000, 8000, 2000]);
});

test("a bye names the delay", (t) => {
  const { client, Socket } = online(t);

  Socket.last.receive({ type: "bye", reconnect_after_ms: 7300 });
  Socket.last.drop(1001);

  assert.equal(client.status.retryAt - Date.now(), 7300);
});

test("a bye that sends everybody away at once is no loop: the waits have a floor and grow", (t) => {
  const { client, Socket, tick } = online(t, { random: () => 1 });
  const delayAfter = (ms) => {
    tick(ms);
    Socket.last.receive({ type: "bye", reconnect_after_ms: 0 });
    Socket.last.drop(1001);
    const delay = client.status.retryAt - Date.now();
    tick(delay);
    Socket.last.accept();
    return delay;
  };

  const waits = Array.from({ length: 11 }, () => delayAfter(0));

  assert.deepEqual(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
  assert.equal(delayAfter(20_000), 100);
});

test("a bye's wait is never less than its floor, whatever chance says", (t) => {
  const { client, Socket } = online(t, { random: () => 0 });

  Socket.last.receive({ type: "bye", reconnect_after_ms: 0 });
  Socket.last.drop(1001);

  assert.equal(client.status.retryAt - Date.now(), 50);
});

test("far over the rate limit, the next try is a late one", (t) => {
  const { client, Socket } = online(t, { random: () => 1 });

  Socket.last.drop(4429);

  assert.equal(client.status.retryAt - Date.now(), 30_000);
});

test("a silent server is asked, and without an answer the socket is left", (t) => {
  const { Socket, tick } = online(t);

  tick(44_000);
  assert.deepEqual(Socket.last.sent.map((frame) => frame.type), ["ping"]);
  tick(8000);

  assert.ok(Socket.all[0].closedWith);
  assert.equal(Socket.all.length, 2);
});

test("a silent server that answers is kept", (t) => {
  const { Socket, tick } = online(t);
  let pings = 0;

  for (let n = 0; n < 20; n++) {
    tick(10_000);
    for (const { id } of Socket.last.sent.slice(pings)) Socket.last.receive({ type: "reply", id, ok: true });
    pings = Socket.last.sent.length;
  }

  assert.equal(Socket.all.length, 1);
  assert.ok(pings >= 4);
});

test("a reply that is lost in a busy group is noticed: the socket is left, and the request repeated", async (t) => {
  const { client, Socket, tick } = online(t);
  const sent = client.send("g", "hello");
  const [lost] = Socket.all;
  const listen = (seconds) => {
    for (let n = 0; n < seconds; n++) {
      tick(1000);
      lost.onmessage?.({ data: JSON.stringify(event(n + 1)) });
    }
  };

  listen(14);
  assert.equal(Socket.all.length, 1);
  listen(8);
  Socket.last.accept();
  Socket.last.reply("send", { seq: 9, duplicate: true });

  assert.ok(lost.closedWith);
  assert.equal((await sent).seq, 9);
});

test("a handshake that never ends is given up", (t) => {
  const { client, Socket, tick } = setUp(t);
  client.connect();

  tick(22_000);

  assert.equal(Socket.all.length, 2);
});

test("what a socket says that was left is not heard", (t) => {
  const { client, Socket, tick } = online(t);
  const heard = [];
  client.subscribe("g", {}, (e) => heard.push(e.seq));
  Socket.last.reply("subscribe", { group: "g", seq: 0, from: 1, recovered: true });
  tick(52_000);
  const [left, kept, ...more] = Socket.all;
  assert.deepEqual(more, []);
  kept.accept();

  left.receive({ type: "event", group: "g", seq: 1, kind: "message.posted", data: {} });
  left.drop();

  assert.deepEqual(heard, []);
  assert.equal(client.status.state, "online");
});

test("a token that comes too late, or not at all, disturbs no later connection", async (t) => {
  const asked = [];
  const getToken = () => new Promise((resolve, reject) => asked.push({ resolve, reject }));
  const { client, Socket } = setUp(t, { user: undefined, getToken });
  for (const end of ["resolve", "reject"]) {
    client.connect().catch(() => {});
    client.close();
    client.connect().catch(() => {});
    asked.at(-1).resolve("new");
    await settled();
    Socket.last.accept();

    asked.at(-2)[end]("old");
    await settled();

    assert.equal(client.status.state, "online");
    assert.equal(Socket.last.sent[0].token, "new");
    client.close();
  }
});

test("the error of a socket is heard, before and after it was left, and its close is what counts", (t) => {
  const { client, Socket } = online(t);

  Socket.last.onerror({});
  assert.equal(client.status.state, "online");
  Socket.last.drop();
  Socket.last.onerror({});

  assert.equal(client.status.state, "waiting");
});

test("a fresh token that gets no answer is not taken for the one that holds", async (t) => {
  const tokens = [];
  const getToken = () => (tokens.push(jwt(tokens.length === 0 ? 100 : 10_000)), tokens.at(-1));
  const { client, Socket, tick } = setUp(t, { user: undefined, getToken });
  client.connect();
  await settled();
  Socket.last.accept(PATIENT);

  for (let n = 0; n < 95; n++) {
    tick(1000);
    await settled();
    const auth = Socket.last.asked("auth");
    Socket.last.receive({ type: "reply", id: auth.id, ok: false, error: { code: "unavailable", temporary: true } });
    await settled();
  }

  assert.ok(tokens.length > 2);
});

test("a hello that is said again changes no place and repeats nothing", (t) => {
  const { client, Socket } = online(t);
  client.subscribe("g", {}, () => {});
  client.send("g", "hello").catch(() => {});

  Socket.last.receive({ ...HELLO, session: "renewed" });

  assert.deepEqual(Socket.last.sent.map(({ type }) => type), ["subscribe", "send"]);
  assert.equal(client.hello.session, "renewed");
});

test("wake tries at once instead of later", (t) => {
  const { client, Socket } = online(t, { random: () => 1 });
  Socket.last.drop(4429);

  client.wake();

  assert.equal(Socket.all.length, 2);
});

test("close ends everything and what waits is told", async (t) => {
  const { client, Socket, tick } = online(t);
  const waiting = client.send("g", "hello");
  const ends = [];
  client.subscribe("g", {}, { onEnd: (why) => ends.push(why.code) });

  client.close();
  tick(120_000);

  await assert.rejects(waiting, { code: "closed" });
  assert.deepEqual(ends, ["closed"]);
  assert.equal(Socket.last.closedWith, 1000);
  assert.equal(Socket.all.length, 1);
});

test("frames of unknown types, and of what is not ours, are ignored", async (t) => {
  const { client, Socket } = online(t);
  const waiting = client.request("state", { group: "g" });

  Socket.last.receive(
    { type: "poem" },
    { type: "reply", id: null, ok: false, error: { code: "invalid" } },
    { type: "reply", id: 99, ok: true },
    { type: "event", group: "?", seq: 1, kind: "message.posted" },
  );
  Socket.last.reply("state", { state: { seq: 1 } });

  assert.equal((await waiting).state.seq, 1);
});

for (const hostile of [
  "{", "<html>", "null", "[]", "7", { user: "alice" }, { type: 7 }, { type: "reply", id: 1 },
  { type: "event", group: "g", seq: 2 ** 53, kind: "message.posted", data: {} },
  { type: "event", group: "g", seq: -1, kind: "message.posted" },
  { type: "withheld", group: "g", from: 1 }, { type: "hello" },
]) {
  test(`what is no frame of the protocol gets a new socket: ${JSON.stringify(hostile)}`, (t) => {
    const { client, Socket, tick } = online(t);

    Socket.last.receive(hostile);
    assert.equal(client.status.state, "waiting");
    tick(2000);
    Socket.last.accept();

    assert.equal(client.status.state, "online");
    assert.ok(Socket.all[0].closedWith);
  });
}

test("gateways are taken in turn, and an address without a path is that of the socket", (t) => {
  const { client, Socket, tick } = setUp(t, {}, ["http://one.test", "https://two.test/chat/ws#x"]);
  client.connect();

  for (let n = 0; n < 3; n++) {
    Socket.last.drop();
    tick(8000);
  }

  const urls = Socket.all.map(({ url }) => url.href);
  assert.deepEqual(urls.slice(0, 2), ["ws://one.test/v1/ws?user=alice", "wss://two.test/chat/ws?user=alice"]);
  assert.deepEqual(urls.slice(2), urls.slice(0, 2));
});

/** A server that does not want to be asked whether it is there. */
const PATIENT = { heartbeat_ms: 1e9 };

/** A JWT that ends `seconds` from now; the signature is the server's business. */
const jwt = (seconds, name = "") => {
  const claims = { sub: "alice", exp: Date.now() / 1000 + seconds, name };
  return `h.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.s`;
};

test("a fresh token takes the old one's place before that expires, on the same socket", async (t) => {
  const tokens = [];
  const getToken = () => (tokens.push(jwt(100, `ÿ?>${tokens.length}`)), tokens.at(-1));
  const { client, Socket, tick } = setUp(t, { user: undefined, getToken });
  client.connect();
  await settled();
  Socket.last.accept(PATIENT);
  const answer = () => Socket.last.reply("auth");

  tick(69_000);
  await settled();
  assert.equal(Socket.last.sent.filter(({ type }) => type === "auth").length, 1);
  tick(2000);
  await settled();
  answer();
  await settled();
  tick(71_000);
  await settled();

  const auths = Socket.last.sent.filter(({ type }) => type === "auth");
  assert.deepEqual(auths.map(({ token }) => token), tokens);
  assert.equal(tokens.length, 3);
  assert.equal(Socket.all.length, 1);
});

test("a fresh token that cannot be had is asked for again, ever sooner, and the old one is not sent again", async (t) => {
  let asked = 0;
  let first;
  const getToken = async () => {
    if (++asked === 1 || asked === 3) return (first ??= jwt(100));
    throw new Error("offline");
  };
  const { client, Socket, tick } = setUp(t, { user: undefined, getToken });
  client.connect();
  await settled();
  Socket.last.accept(PATIENT);

  for (let n = 0; n < 120; n++) {
    tick(1000);
    await settled();
  }

  assert.ok(asked > 3 && asked < 20, `asked ${asked} times`);
  assert.equal(Socket.last.sent.filter(({ type }) => type === "auth").length, 1);
});

for (const token of ["opaque", "a.b.c", `h.${btoa('{"exp":"soon"}')}.s`, `h.${btoa('{"exp":-9}')}.s`]) {
  test(`a token whose end is not known is not replaced: ${token}`, async (t) => {
    let asked = 0;
    const { client, Socket, tick } = setUp(t, { user: undefined, getToken: () => (asked++, token) });
    client.connect();
    await settled();
    Socket.last.accept();

    tick(20_000);
    await settled();

    assert.equal(asked, 1);
    assert.equal(client.status.state, "online");
  });
}

/** The events of a browser's window and document, for the clients made until the test ends. */
function browser(t) {
  const [window, document] = [new EventTarget(), Object.assign(new EventTarget(), { visibilityState: "hidden" })];
  const listening = new Set();
  for (const [target, add, remove] of [[window, globalThis, globalThis], [document, document, document]]) {
    const own = { add: target.addEventListener.bind(target), remove: target.removeEventListener.bind(target) };
    add.addEventListener = (type, on) => (listening.add(type), own.add(type, on));
    remove.removeEventListener = (type, on) => (listening.delete(type), own.remove(type, on));
  }
  globalThis.document = document;
  t.after(() => ["document", "addEventListener", "removeEventListener"].forEach((name) => delete globalThis[name]));
  return {
    listening,
    network: (type) => window.dispatchEvent(new Event(type)),
    show: (state) => {
      document.visibilityState = state;
      document.dispatchEvent(new Event("visibilitychange"));
    },
  };
}

for (const [name, happens] of [
  ["the network is back", ({ network }) => network("online")], ["the page is shown", ({ show }) => show("visible")],
]) {
  test(`when ${name}, the next try is now`, (t) => {
    const events = browser(t);
    const { Socket } = online(t);
    Socket.last.drop();
    events.network("offline");
    events.show("hidden");
    assert.equal(Socket.all.length, 1);

    happens(events);

    assert.equal(Socket.all.length, 2);
  });
}

test("when the network seems gone, the server is asked at once whether it is there", (t) => {
  const events = browser(t);
  const { Socket, tick } = online(t);

  events.network("offline");
  events.network("online");
  assert.deepEqual(Socket.last.sent.map(({ type }) => type), ["ping"]);
  tick(22_000);

  assert.ok(Socket.all[0].closedWith);
});

test("after close nothing is left: no timer, no listener", async (t) => {
  const events = browser(t);
  let asked = 0;
  const { client, Socket } = setUp(t, { user: undefined, getToken: () => (asked++, jwt(1000)) });
  client.connect();
  await settled();
  Socket.last.accept();
  client.subscribe("g", {}, () => {});
  client.subscribe("h", {}, () => {});
  client.send("g", "refused for now").catch(() => {});
  client.send("g", "waits behind it").catch(() => {});
  Socket.last.refuse("send", { code: "unavailable", temporary: true });
  Socket.last.refuse("subscribe", { code: "unavailable", temporary: true });
  assert.ok(events.listening.size === 3);
  const timers = t.mock.method(globalThis, "setTimeout").mock;

  client.close();
  const sent = Socket.last.sent.length;
  t.mock.timers.tick(25 * 60 * 60 * 1000);

  assert.deepEqual([...events.listening], []);
  assert.equal(Socket.last.sent.length, sent);
  assert.equal(Socket.all.length, 1);
  assert.equal(timers.callCount(), 0);
  assert.equal(asked, 1);
});

test("after close no timer of its is left, by the runtime's own count", async () => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const before = timers();
  const Socket = socketClass();
  const client = new Client("ws://chat.test", { WebSocket: Socket, getToken: () => jwt(1000) });
  client.connect();
  await settled();
  Socket.last.accept({ limits: { requests_per_second: 1 } });
  const end = new AbortController();
  const asked = [client.send("g", "refused"), client.send("h", "given up", { signal: end.signal })];
  for (let n = 0; n < 9; n++) asked.push(client.state(`paced ${n}`));
  client.subscribe("i", {}, () => {});
  for (const { id } of Socket.last.sent.filter(({ type }) => type !== "auth")) {
    Socket.last.receive({ type: "reply", id, ok: false, error: { code: "unavailable", temporary: true } });
  }
  end.abort();
  assert.ok(timers() > before);

  client.close();
  await Promise.allSettled(asked);

  assert.equal(timers(), before);
});

test("a server that does not say its heartbeat is asked whether it is there", (t) => {
  const { Socket, tick } = online(t, {});
  Socket.last.drop();
  tick(2000);
  Socket.last.accept({ heartbeat_ms: undefined });

  tick(31_000);

  assert.deepEqual(Socket.last.sent.map(({ type }) => type), ["ping"]);
});

test("a client that is closed while it waits does not try again", (t) => {
  const { client, Socket, tick } = online(t);
  Socket.last.drop();

  client.close();
  tick(60_000);
  client.wake();

  assert.equal(Socket.all.length, 1);
});

test("a client that was closed connects again", async (t) => {
  const { client, Socket } = online(t);
  client.close();

  const connected = client.connect();
  Socket.last.accept();

  assert.deepEqual(await connected, HELLO);
  client.request("state", { group: "g" }).catch(() => {});
  assert.equal(Socket.last.asked("state").group, "g");
});

test("listeners hear of statuses and signals until they are removed", (t) => {
  const { client, Socket } = setUp(t);
  const heard = [];
  const stop = client.listen({ onStatus: ({ state }) => heard.push(state), onSignal: ({ kind }) => heard.push(kind) });
  client.connect();
  Socket.last.accept();
  const signal = { type: "signal", kind: "groups", group: "g", change: "added" };
  Socket.last.receive(signal, { ...signal, kind: "poem" });

  stop();
  Socket.last.receive(signal);
  Socket.last.drop();

  assert.deepEqual(heard, ["connecting", "online", "groups", "poem"]);
});

test("an error of the app's own handlers costs neither the connection nor the place", (t) => {
  const reported = [];
  t.mock.method(console, "error", (error) => reported.push(error.message));
  const fail = (name) => () => {
    throw new Error(name);
  };
  const { client, Socket } = setUp(t, { onStatus: fail("status"), onSignal: fail("signal") });
  client.connect();
  Socket.last.accept();
  const run = client.subscribe("g", {}, { onState: fail("state"), onEvent: fail("event") });
  Socket.last.reply("subscribe", { group: "g", seq: 0, from: 1, recovered: true, state: { seq: 0 } });

  Socket.last.receive({ type: "signal", kind: "x" }, event(1));

  assert.equal(run.cursor, 1);
  assert.equal(client.status.state, "online");
  assert.deepEqual(reported, ["status", "status", "state", "signal", "event"]);
});

test("a bye that asks for a long wait is honoured, within reason", (t) => {
  const { client, Socket } = online(t);

  Socket.last.receive({ type: "bye", reconnect_after_ms: 1e12 });
  Socket.last.drop(1001);

  assert.equal(client.status.retryAt - Date.now(), 300_000);
});

for (const code of [1000, 1001, 1006, 1007, 1009, 1011, 4400, 4401, 4408, 4409, 4429, 4499]) {
  test(`close ${code} is no end`, async (t) => {
    const { client, Socket, tick } = setUp(t, { user: undefined, getToken: () => "jwt" });
    client.connect();
    await settled();
    Socket.last.accept();

    Socket.last.drop(code);
    tick(31_000);
    await settled();

    assert.ok(Socket.all.length > 1);
  });
}
