import assert from "node:assert/strict";
import { test } from "node:test";

import { HELLO, online, settled, setUp } from "./fake_socket.mjs";

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
  tick(1000);
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
  tick(1000);
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

test("the first try comes quickly, later ones with full jitter between 1 and 30 s", (t) => {
  let chance = 0;
  const { client, Socket, tick } = setUp(t, { random: () => chance });
  client.connect();
  const delays = [];
  for (chance of [0, 0.999_999]) {
    for (let n = 0; n < 8; n++) {
      Socket.last.drop();
      delays.push(Math.round(client.status.retryAt - Date.now()));
      tick(delays.at(-1) + 1);
    }
  }

  assert.equal(delays[0], 0);
  assert.deepEqual(delays.slice(1, 8), Array(7).fill(1000));
  assert.deepEqual(delays.slice(8), Array(8).fill(30_000));
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

  assert.deepEqual([delayAfter(100), delayAfter(100), delayAfter(100), delayAfter(20_000)], [1000, 4000, 8000, 1000]);
});

test("a bye names the delay", (t) => {
  const { client, Socket } = online(t);

  Socket.last.receive({ type: "bye", reconnect_after_ms: 7300 });
  Socket.last.drop(1001);

  assert.equal(client.status.retryAt - Date.now(), 7300);
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
  tick(7000);

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

test("a handshake that never ends is given up", (t) => {
  const { client, Socket, tick } = setUp(t);
  client.connect();

  tick(21_000);

  assert.equal(Socket.all.length, 2);
});

test("what a socket says that was left is not heard", (t) => {
  const { client, Socket, tick } = online(t);
  const heard = [];
  client.subscribe("g", {}, (e) => heard.push(e.seq));
  Socket.last.reply("subscribe", { group: "g", seq: 0, from: 1, recovered: true });
  tick(51_000);
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

test("frames of unknown types, and what is no JSON, are ignored", async (t) => {
  const { client, Socket } = online(t);
  const waiting = client.request("state", { group: "g" });

  Socket.last.receive("{", "null", "[]", "7", { type: "poem" }, { type: "reply", id: null, ok: false }, { type: "event", group: "?", seq: 1 });
  Socket.last.reply("state", { state: { seq: 1 } });

  assert.equal((await waiting).state.seq, 1);
});
