import assert from "node:assert/strict";
import { test } from "node:test";

import { newId } from "../../../clients/js/auerbach.js";
import { online, settled, setUp } from "./fake_socket.mjs";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

test("a refusal rejects with its code, field and what may be done", async (t) => {
  const { client, Socket } = online(t);
  const waiting = client.request("history", { group: "g" });

  Socket.last.refuse("history", { code: "invalid", message: "no seq", field: "before" });

  const said = { name: "ChatError", code: "invalid", message: "no seq", temporary: false, field: "before" };
  await assert.rejects(waiting, said);
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
  tick(2000);
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
  tick(2000);
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

test("a message that finds no connection waits for a day", async (t) => {
  const { client, tick } = setUp(t);
  const sent = client.send("g", "hello");
  const ends = [];
  sent.catch((error) => ends.push(error.code));

  tick(DAY_MS - 1000);
  await settled();
  assert.deepEqual(ends, []);
  tick(1000);

  await assert.rejects(sent, { code: "timeout", temporary: true });
});

for (const [what, happens] of [
  ["the connection is lost", ({ Socket }) => Socket.last.drop()],
  ["its outcome is unknown", ({ Socket }) => Socket.last.refuse("send", { code: "timeout", temporary: true })],
  ["it is refused on the next one", async ({ Socket, tick }) => {
    Socket.last.drop();
    await pass(tick, 2000);
    Socket.last.accept();
    Socket.last.refuse("send", { code: "unavailable", temporary: true });
  }],
]) {
  test(`what was sent is repeated for ten minutes at most, as then its id may be forgotten: ${what}`, async (t) => {
    const parts = online(t);
    const { client, Socket, tick } = parts;
    const sent = client.send("g", "one");
    const ends = [];
    sent.catch((error) => ends.push(error.code));
    client.send("g", "two").catch(() => {});
    Socket.last.receive({ type: "reply", id: Socket.last.sent[1].id, ok: true, seq: 1 });
    const started = Date.now();

    Socket.last.sent.pop();
    await happens(parts);
    while (Date.now() - started < 10 * MINUTE_MS - 1000) {
      await pass(tick, 1000);
      if (client.status.state !== "online" && Socket.last.onopen) Socket.last.accept();
      assert.deepEqual(ends, []);
    }
    await pass(tick, 1000);

    await assert.rejects(sent, { code: "timeout", temporary: true });
    const known = Socket.all.flatMap(({ sent: frames }) => frames).length;
    Socket.last.drop();
    await pass(tick, 60_000);
    Socket.last.accept();
    const { type } = Socket.last.asked("send") ?? {};
    assert.ok(known >= 2);
    assert.equal(type, undefined);
  });
}

test("beyond ten minutes that which certainly had no effect is repeated, as if it had not been sent", async (t) => {
  const { client, Socket, tick } = setUp(t);
  client.connect();
  Socket.last.accept({ heartbeat_ms: DAY_MS });
  const sent = client.send("g", "hello");
  const refuse = (code) => Socket.last.refuse("send", { code, temporary: true, retry_after_ms: 5 * MINUTE_MS });

  for (const code of ["unavailable", "rate_limited", "unavailable", "rate_limited", "unavailable"]) {
    refuse(code);
    tick(5 * MINUTE_MS);
  }
  Socket.last.reply("send", { seq: 1 });

  assert.equal((await sent).seq, 1);
});

test("what reads has no such bound", async (t) => {
  const { client, Socket, tick } = setUp(t);
  client.connect();
  Socket.last.accept({ heartbeat_ms: DAY_MS });
  const read = client.history("g", { timeoutMs: 60 * MINUTE_MS });

  for (let n = 0; n < 5; n++) {
    Socket.last.refuse("history", { code: "timeout", temporary: true, retry_after_ms: 5 * MINUTE_MS });
    tick(5 * MINUTE_MS);
  }
  Socket.last.reply("history", { messages: [], more: false });

  assert.deepEqual(await read, { messages: [], more: false });
});

test("what was sent before the machine slept is not repeated, although its own clock stood", async (t) => {
  const { client, Socket, tick } = online(t);
  const sent = client.send("g", "one");
  client.send("h", "two").catch(() => {});
  Socket.last.receive({ type: "reply", id: Socket.last.sent[1].id, ok: true, seq: 1 });
  Socket.last.drop();
  const awake = Date.now;
  t.mock.method(performance, "now", () => awake() + 1);
  t.mock.method(Date, "now", () => awake() + 8 * 60 * MINUTE_MS);
  client.send("g", "three").catch(() => {});

  tick(2000);
  Socket.last.accept();

  await assert.rejects(sent, { code: "timeout", temporary: true });
  assert.deepEqual(Socket.last.sent.map(({ text }) => text), ["three"]);
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

/** Lets what waits go on for `ms`, in steps that promises can keep up with. */
async function pass(tick, ms, step = 1000) {
  for (let left = ms; left > 0; left -= step) {
    tick(Math.min(step, left));
    await settled();
  }
}

for (const [method, args, frame, reply] of [
  ["createGroup", [{ name: "G" }], { type: "create_group", name: "G" }, { group: "new", seq: 1 }],
  ["createGroup", [{ group: "g", name: "G", topic: "t", join: "open", history: "joined", members: [{ user: "bob" }] }],
    { type: "create_group", group: "g", name: "G", topic: "t", join: "open", history: "joined",
      members: [{ user: "bob" }] }, { group: "g", seq: 1 }],
  ["join", ["g"], { type: "join", group: "g" }, { seq: 2 }],
  ["leave", ["g"], { type: "leave", group: "g" }, { seq: 2 }],
  ["addMember", ["g", "bob"], { type: "add_member", group: "g", user: "bob" }, { seq: 2 }],
  ["addMember", ["g", "bob", { role: "admin" }], { type: "add_member", group: "g", user: "bob", role: "admin" },
    { seq: 2 }],
  ["removeMember", ["g", "bob"], { type: "remove_member", group: "g", user: "bob" }, { seq: 2 }],
  ["removeMember", ["g", "bob", { ban: true }], { type: "remove_member", group: "g", user: "bob", ban: true },
    { seq: 2 }],
  ["send", ["g", "hi", { reply_to: 3, mentions: ["bob"], attributes: { a: 1 } }],
    { type: "send", group: "g", text: "hi", reply_to: 3, mentions: ["bob"], attributes: { a: 1 } },
    { seq: 2, duplicate: false }],
]) {
  test(`${method}(${JSON.stringify(args)}) asks for its change`, async (t) => {
    const { client, Socket } = online(t);
    const asked = client[method](...args);
    const { id, client_msg_id, ...sent } = Socket.last.asked(frame.type);
    Socket.last.reply(frame.type, reply);

    assert.deepEqual(sent, frame);
    assert.match(client_msg_id, /^[0-9a-f]{32}$/);
    assert.deepEqual(await asked, { type: "reply", id, ok: true, ...reply });
  });
}

for (const [method, args, frame, reply, result] of [
  ["history", ["g"], { type: "history", group: "g" }, { messages: [], more: false }, { messages: [], more: false }],
  ["history", ["g", { before: 9, limit: 5 }], { type: "history", group: "g", before: 9, limit: 5 },
    { messages: [1], more: true }, { messages: [1], more: true }],
  ["history", ["g", { after: 9 }], { type: "history", group: "g", after: 9 },
    { messages: [], more: false }, { messages: [], more: false }],
  ["state", ["g", { at_seq: 4 }], { type: "state", group: "g", at_seq: 4 }, { state: { seq: 4 } }, { seq: 4 }],
  ["members", ["g", { cursor: "c", limit: 2 }], { type: "members", group: "g", cursor: "c", limit: 2 },
    { members: [{ user: "a" }], cursor: "d" }, { members: [{ user: "a" }], cursor: "d" }],
  ["ping", [], { type: "ping" }, {}, undefined],
]) {
  test(`${method}(${JSON.stringify(args)}) asks, and gives what the reply says`, async (t) => {
    const { client, Socket } = online(t);

    const asked = client[method](...args);
    const { id, ...sent } = Socket.last.asked(frame.type);
    Socket.last.reply(frame.type, reply);

    assert.deepEqual(sent, frame);
    assert.deepEqual(await asked, result);
  });
}

test("all members are fetched page by page, by cursor, as they are asked for", async (t) => {
  const { client, Socket } = online(t);
  const members = client.eachMember("g", { limit: 2 });

  const first = members.next();
  Socket.last.reply("members", { members: [{ user: "a" }, { user: "b" }], cursor: "2" });
  assert.deepEqual([(await first).value, (await members.next()).value], [{ user: "a" }, { user: "b" }]);
  assert.equal(Socket.last.sent.length, 1);
  const last = members.next();
  await settled();
  assert.equal(Socket.last.asked("members").cursor, "2");
  Socket.last.reply("members", { members: [{ user: "c" }] });

  assert.deepEqual((await last).value, { user: "c" });
  assert.ok((await members.next()).done);
});

test("all messages are fetched page by page, each once", async (t) => {
  const { client, Socket } = online(t);
  const seqs = (async () => {
    const all = [];
    for await (const { seq } of client.eachMessage("g", { after: 1, limit: 2 })) all.push(seq);
    return all;
  })();

  await settled();
  assert.equal(Socket.last.asked("history").after, 1);
  Socket.last.reply("history", { messages: [{ seq: 3 }, { seq: 4 }], more: true });
  await settled();
  assert.equal(Socket.last.asked("history").after, 4);
  Socket.last.reply("history", { messages: [{ seq: 9 }], more: false });

  assert.deepEqual(await seqs, [3, 4, 9]);
});

test("an empty page ends the messages, whatever it says of more", async (t) => {
  const { client, Socket } = online(t);
  const next = client.eachMessage("g").next();

  Socket.last.reply("history", { messages: [], more: true });

  assert.ok((await next).done);
});

test("what reads is asked again after a refusal for now, too", async (t) => {
  const { client, Socket, tick } = online(t);
  const page = client.history("g");

  Socket.last.refuse("history", { code: "unavailable", temporary: true });
  tick(5000);
  Socket.last.reply("history", { messages: [], more: false });

  assert.deepEqual(await page, { messages: [], more: false });
});

test("a request is repeated with growing waits until its time is over, then it has the last refusal", async (t) => {
  const { client, Socket, tick } = online(t, { random: () => 0.999 });
  const sent = client.send("g", "hello", { timeoutMs: 30_000 });
  const at = [];
  for (let ms = 0, known = 0; ms < 30_000; ms += 100) {
    const frames = Socket.last.sent.filter(({ type }) => type === "send");
    if (frames.length > known) {
      at.push(ms);
      known = frames.length;
      Socket.last.refuse("send", { code: "unavailable", temporary: true });
    }
    tick(100);
  }

  await assert.rejects(sent, { code: "unavailable", temporary: true });
  const waits = at.slice(1).map((ms, n) => ms - at[n]);
  assert.deepEqual(waits.slice(0, 5), [400, 800, 1600, 3200, 5000]);
  assert.ok(waits.slice(4).every((ms) => ms === 5000));
  assert.equal(new Set(Socket.last.sent.map((frame) => frame.client_msg_id)).size, 1);
});

test("what comes after a request that is refused for now waits for it, in its group only", async (t) => {
  const { client, Socket, tick } = online(t);
  const sends = [client.send("g", "one")];
  Socket.last.refuse("send", { code: "rate_limited", temporary: true, retry_after_ms: 700 });

  sends.push(client.send("g", "two"), client.edit("g", 1, "three"), client.send("h", "other"), client.history("g"));
  const said = () => Socket.last.sent.map((frame) => frame.text ?? frame.type);
  assert.deepEqual(said(), ["one", "other", "history"]);
  tick(700);
  assert.deepEqual(said(), ["one", "other", "history", "one"]);
  Socket.last.reply("send", { seq: 1 });

  assert.deepEqual(said(), ["one", "other", "history", "one", "two", "three"]);
  client.close();
  assert.equal((await Promise.allSettled(sends)).length, 5);
});

test("what comes after a request waits for its outcome, also when that is refused for now again and again", (t) => {
  const { client, Socket, tick } = online(t);
  client.send("g", "one").catch(() => {});
  const refuse = () => Socket.last.refuse("send", { code: "unavailable", temporary: true, retry_after_ms: 700 });
  refuse();
  for (const text of ["two", "three"]) client.send("g", text).catch(() => {});
  const said = () => Socket.last.sent.map(({ text }) => text);

  tick(700);
  assert.deepEqual(said(), ["one", "one"]);
  refuse();
  tick(700);
  assert.deepEqual(said(), ["one", "one", "one"]);
  Socket.last.reply("send", { seq: 1 });

  assert.deepEqual(said(), ["one", "one", "one", "two", "three"]);
});

test("the order of a group holds over a reconnection, also behind what was refused for now", async (t) => {
  const { client, Socket, tick } = online(t);
  for (const text of ["one", "two", "three"]) client.send("g", text).catch(() => {});
  const [one] = Socket.last.sent;
  const error = { code: "timeout", temporary: true, retry_after_ms: 9000 };
  Socket.last.receive({ type: "reply", id: one.id, ok: false, error });

  Socket.last.drop();
  tick(2000);
  Socket.last.accept();
  client.send("g", "four").catch(() => {});
  assert.deepEqual(Socket.last.sent, []);
  tick(8000);
  Socket.last.reply("send", { seq: 1 });

  assert.deepEqual(Socket.last.sent.map(({ text }) => text), ["one", "two", "three", "four"]);
  assert.equal(Socket.last.sent[0].client_msg_id, one.client_msg_id);
});

test("what is given up by its signal rejects as aborted, and is not repeated", async (t) => {
  const { client, Socket, tick } = online(t);
  const ends = [new AbortController(), new AbortController(), new AbortController()];
  ends[0].abort(new Error("at once"));
  const [before, sent, waits] = ends.map(({ signal }, n) => client.send("g", `m${n}`, { signal }));
  Socket.last.refuse("send", { code: "unavailable", temporary: true });

  for (const end of ends.slice(1)) end.abort();
  Socket.last.drop();
  tick(2000);
  Socket.last.accept();
  tick(9000);

  for (const asked of [before, sent, waits]) await assert.rejects(asked, { name: "ChatError", code: "aborted" });
  await assert.rejects(before, ({ cause }) => cause.message === "at once");
  assert.deepEqual(Socket.last.sent, []);
});

test("what waited behind a request that is given up is sent then", async (t) => {
  const { client, Socket } = online(t);
  const end = new AbortController();
  const first = client.send("g", "one", { signal: end.signal });
  Socket.last.refuse("send", { code: "unavailable", temporary: true });
  client.send("g", "two").catch(() => {});

  end.abort();

  await assert.rejects(first, { code: "aborted" });
  assert.deepEqual(Socket.last.sent.map(({ text }) => text), ["one", "two"]);
});

test("what waited behind a request whose time is over is sent then", async (t) => {
  const { client, Socket, tick } = online(t);
  const first = client.send("g", "one", { timeoutMs: 3000 });
  Socket.last.refuse("send", { code: "unavailable", temporary: true });
  client.send("g", "two").catch(() => {});

  tick(3000);

  await assert.rejects(first, { code: "timeout" });
  assert.deepEqual(Socket.last.sent.map(({ text }) => text), ["one", "one", "two"]);
});

test("what is said of a request that waits for its repetition is of no account", async (t) => {
  const { client, Socket, tick } = online(t);
  client.send("g", "one").catch(() => {});
  const { id } = Socket.last.asked("send");
  const refused = (code, temporary) => ({ type: "reply", id, ok: false, error: { code, temporary, retry_after_ms: 200 } });

  Socket.last.receive(refused("unavailable", true), refused("unavailable", true), refused("forbidden", false));
  tick(2000);

  assert.equal(Socket.last.sent.length, 2);
});

for (const retry_after_ms of [null, -5, "soon", [], 1e400]) {
  test(`a time to wait that is none is not waited: ${retry_after_ms}`, async (t) => {
    const { client, Socket, tick } = online(t);
    client.send("g", "one").catch(() => {});

    Socket.last.refuse("send", { code: "unavailable", temporary: true, retry_after_ms });
    tick(100);
    assert.equal(Socket.last.sent.length, 1);
    tick(300);

    assert.equal(Socket.last.sent.length, 2);
  });
}

test("what has its outcome no longer listens to its signal", async (t) => {
  const { client, Socket } = online(t);
  const { signal } = new AbortController();
  const removed = t.mock.method(signal, "removeEventListener").mock;
  const sent = client.send("g", "hello", { signal });

  Socket.last.reply("send", { seq: 1 });

  await sent;
  assert.equal(removed.callCount(), 1);
});

test("a repetition says what was said first, whatever became of the values that were given", async (t) => {
  const { client, Socket, tick } = online(t);
  const attributes = { list: [1] };
  client.send("g", "hello", { attributes }).catch(() => {});

  attributes.list.push(2);
  Socket.last.drop();
  tick(2000);
  Socket.last.accept();

  assert.deepEqual(Socket.last.sent[0].attributes, { list: [1] });
});

test("what is no JSON is refused at once, and nothing is sent", async (t) => {
  const { client, Socket } = online(t);
  const attributes = {};
  attributes.self = attributes;

  await assert.rejects(client.send("g", "hello", { attributes }), { name: "ChatError", code: "invalid" });
  await assert.rejects(client.request("poem", { big: 1n }), { name: "ChatError", code: "invalid" });

  assert.deepEqual(Socket.last.sent, []);
});

test("requests leave no faster than the server takes them, subscriptions first", async (t) => {
  const { client, Socket, tick } = setUp(t);
  for (let n = 0; n < 200; n++) client.request("state", { group: `g${n}` }).catch(() => {});
  client.subscribe("g", {}, () => {});
  client.connect();
  Socket.last.accept();

  const burst = Socket.last.sent.length;
  client.ping().catch(() => {});
  tick(1000);
  const after = Socket.last.sent.length;
  tick(2000);

  assert.equal(Socket.last.sent[0].type, "subscribe");
  assert.equal(Socket.last.sent[burst].type, "ping");
  assert.ok(burst <= 90 && after - burst <= 49 && after - burst >= 40, `${burst}, then ${after}`);
  assert.equal(Socket.last.sent.length, 202);
  const groups = Socket.last.sent.filter(({ type }) => type === "state").map(({ group }) => group);
  assert.deepEqual(groups.slice(0, 3), ["g0", "g1", "g2"]);
});

test("what is too big for something on the way is not repeated for ever, and the others are", async (t) => {
  const { client, Socket, tick } = online(t);
  const [small, big] = [client.send("g", "small"), client.send("g", "b".repeat(10_000))];
  small.catch(() => {});

  Socket.last.drop(1009);
  tick(2000);
  Socket.last.accept();

  await assert.rejects(big, { code: "too_large" });
  assert.deepEqual(Socket.last.sent.map(({ text }) => text), ["small"]);
});

test("an error without what an error has is an internal one", async (t) => {
  const { client, Socket } = online(t);
  const waiting = client.send("g", "hello");

  const { id } = Socket.last.asked("send");
  Socket.last.receive({ type: "reply", id, ok: false, error: { code: 7, temporary: "yes" } });

  await assert.rejects(waiting, { code: "internal", message: "", temporary: false });
});

test("after a long outage everything is sent once, in order", async (t) => {
  const { client, Socket, tick } = online(t);
  const texts = Array.from({ length: 300 }, (_, n) => `m${n}`);
  const sends = texts.map((text) => client.send("g", text));
  const taken = [];
  for (let n = 0; n < 30; n++) {
    for (const { id, client_msg_id, text } of Socket.last.sent.splice(0)) {
      if (!taken.some((each) => each.client_msg_id === client_msg_id)) taken.push({ client_msg_id, text });
      if (n % 3 === 2) Socket.last.receive({ type: "reply", id, ok: true, seq: taken.length });
    }
    if (n % 3 === 0) Socket.last.drop();
    await pass(tick, 3000);
    if (client.status.state !== "online") Socket.last.accept();
  }

  await Promise.all(sends);
  assert.deepEqual(taken.map(({ text }) => text), texts);
});
