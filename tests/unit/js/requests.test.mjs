import assert from "node:assert/strict";
import { test } from "node:test";

import { newId } from "../../../clients/js/auerbach.js";
import { online, settled, setUp } from "./fake_socket.mjs";

test("a refusal rejects with its code, field and what may be done", async (t) => {
  const { client, Socket } = online(t);
  const waiting = client.request("history", { group: "g" });

  Socket.last.refuse("history", { code: "rate_limited", message: "slowly", temporary: true, retry_after_ms: 300, field: "x" });

  await assert.rejects(waiting, {
    name: "ChatError", code: "rate_limited", message: "slowly", temporary: true, retryAfterMs: 300, field: "x",
  });
});

test("what changes a group carries a client_msg_id, what reads does not", (t) => {
  const { client, Socket } = online(t);

  client.request("join", { group: "g" }).catch(() => {});
  client.request("leave", { group: "g", client_msg_id: "mine" }).catch(() => {});
  client.request("state", { group: "g" }).catch(() => {});

  const [join, leave, state] = Socket.last.sent;
  assert.match(join.client_msg_id, /^[0-9a-f]{32}$/);
  assert.equal(leave.client_msg_id, "mine");
  assert.ok(!("client_msg_id" in state));
});

for (const [method, args, frame] of [
  ["updateGroup", ["g", { topic: "news", join: "open" }], { type: "update_group", group: "g", topic: "news", join: "open" }],
  ["deleteGroup", ["g"], { type: "delete_group", group: "g" }],
  ["unban", ["g", "bob"], { type: "unban", group: "g", user: "bob" }],
  ["setRole", ["g", "bob", "owner"], { type: "set_role", group: "g", user: "bob", role: "owner" }],
  ["edit", ["g", 7, "hi!"], { type: "edit", group: "g", seq: 7, text: "hi!" }],
  ["delete", ["g", 7], { type: "delete", group: "g", seq: 7 }],
  ["react", ["g", 7, "👍"], { type: "react", group: "g", seq: 7, emoji: "👍" }],
  ["unreact", ["g", 7, "👍"], { type: "unreact", group: "g", seq: 7, emoji: "👍" }],
]) {
  test(`${method} asks for its change, again after a refusal for now, with the client_msg_id that was given`, async (t) => {
    const { client, Socket, tick } = online(t);
    const changed = client[method](...args, { client_msg_id: "mine" });
    await settled();

    Socket.last.refuse(frame.type, { code: "unavailable", temporary: true });
    await settled();
    tick(2500);
    await settled();
    Socket.last.reply(frame.type, { seq: 9 });

    assert.equal((await changed).seq, 9);
    const expected = { ...frame, client_msg_id: "mine", id: 0 };
    assert.deepEqual(Socket.last.sent.map((sent) => ({ ...sent, id: 0 })), [expected, expected]);
  });
}

test("a change gets a client_msg_id where none is given, and gives up after its time", async (t) => {
  const { client, Socket, tick } = online(t);
  const changed = client.react("g", 7, "👍");
  await settled();
  assert.match(Socket.last.sent[0].client_msg_id, /^[0-9a-f]{32}$/);

  tick(60_000);

  await assert.rejects(changed, { code: "timeout", temporary: true });
});

test("ids are not repeated", () => {
  assert.equal(new Set(Array.from({ length: 1000 }, newId)).size, 1000);
});

test("what was asked offline is sent after the hello, in order", async (t) => {
  const { client, Socket } = setUp(t);
  client.connect();
  client.send("g", "one").catch(() => {});
  client.send("g", "two").catch(() => {});
  await settled();
  assert.deepEqual(Socket.last.sent, []);

  Socket.last.accept();

  assert.deepEqual(Socket.last.sent.map((frame) => frame.text), ["one", "two"]);
});

test("what got no reply is repeated with the same client_msg_id, what got one is not", async (t) => {
  const { client, Socket, tick } = online(t);
  const sends = ["one", "two", "three"].map((text) => client.send("g", text));
  await settled();
  const before = Socket.last.sent;
  Socket.last.receive({ type: "reply", id: before[1].id, ok: true, seq: 6 });

  Socket.last.drop();
  tick(1000);
  Socket.last.accept();

  const after = Socket.last.sent;
  assert.equal(Socket.all.length, 2);
  assert.deepEqual(after.map((frame) => frame.text), ["one", "three"]);
  assert.deepEqual(after.map((f) => f.client_msg_id), [before[0], before[2]].map((f) => f.client_msg_id));
  for (const [n, frame] of after.entries()) Socket.last.receive({ type: "reply", id: frame.id, ok: true, seq: 7 + n });
  assert.deepEqual((await Promise.all(sends)).map((reply) => reply.seq), [7, 6, 8]);
});

test("pings are not repeated on another socket", async (t) => {
  const { client, Socket, tick } = online(t);
  const ping = client.request("ping");

  Socket.last.drop();
  tick(1000);
  Socket.last.accept();

  await assert.rejects(ping, { code: "disconnected", temporary: true });
  assert.deepEqual(Socket.last.sent, []);
});

for (const error of [{ code: "timeout" }, { code: "unavailable" }, { code: "rate_limited", retry_after_ms: 400 }]) {
  test(`send goes on after ${error.code}, with the same client_msg_id`, async (t) => {
    const { client, Socket, tick } = online(t);
    const sent = client.send("g", "hello", { reply_to: 3 });
    await settled();

    Socket.last.refuse("send", { temporary: true, ...error });
    await settled();
    tick(error.retry_after_ms ?? 2500);
    await settled();
    Socket.last.reply("send", { seq: 9, duplicate: true });

    assert.equal((await sent).seq, 9);
    const [first, second, ...more] = Socket.last.sent.filter((frame) => frame.type === "send");
    assert.deepEqual({ ...second, id: 0 }, { ...first, id: 0 });
    assert.deepEqual(more, []);
  });
}

test("send ends with a refusal that is not temporary", async (t) => {
  const { client, Socket } = online(t);
  const sent = client.send("g", "hello");
  await settled();

  Socket.last.refuse("send", { code: "not_a_member" });

  await assert.rejects(sent, { code: "not_a_member" });
});

test("send gives up when the server would no longer know the client_msg_id", async (t) => {
  const { client, tick } = setUp(t);
  const sent = client.send("g", "hello");
  await settled();

  tick(24 * 60 * 60 * 1000);

  await assert.rejects(sent, { code: "timeout", temporary: true });
});

test("a request ends without a reply in time", async (t) => {
  const { client, tick } = online(t);
  const asked = client.request("state", { group: "g" }, { timeoutMs: 2000 });

  tick(2000);

  await assert.rejects(asked, { code: "timeout" });
});

test("a frame over the server's limit is not sent", async (t) => {
  const { client, Socket } = online(t);

  await assert.rejects(client.send("g", "é".repeat(40_000)), { code: "too_large" });

  assert.deepEqual(Socket.last.sent, []);
});

test("no more than a thousand requests wait", async (t) => {
  const { client } = setUp(t);
  client.connect();
  for (let n = 0; n < 1000; n++) client.request("state", { group: "g" }).catch(() => {});

  await assert.rejects(client.request("state", { group: "g" }), { code: "overloaded", temporary: true });
});
