import assert from "node:assert/strict";
import { test } from "node:test";

import { event, online, settled, setUp } from "./fake_socket.mjs";

const STATE = {
  name: "G", topic: "", join: "open", history: "all", first: 1, seq: 4,
  members: [{ user: "alice", role: "owner", read: 1 }, { user: "bob", role: "member", read: 2 }], online: [],
};
const AT = "2026-11-25T01:20:00.000Z";

const item = (seq, fields = {}) => ({
  seq, id: `e${seq}`, by: "bob", at: AT, client_msg_id: null, text: `m${seq}`, reactions: {}, ...fields,
});
const changed = (seq, kind, data, by = "bob") => event(seq, { kind, data, by });
/** As JSON has it: without what is undefined, and with ordinary objects. */
const plain = (value) => JSON.parse(JSON.stringify(value));
const texts = ({ messages }) => messages.map(({ text }) => text);

/** Alice's view of `g` at seq 4, of which m2 to m4 are shown; `told` are the kinds of its changes. */
async function opened(t, { recent = 3, state = STATE, ...options } = {}) {
  const parts = online(t);
  const g = parts.client.conversation("g", { recent, ...options });
  const told = [];
  g.listen(({ kind }) => told.push(kind));
  const { Socket } = parts;
  Socket.last.reply("subscribe", { group: "g", seq: state.seq, from: state.seq + 1, recovered: true, state });
  if (recent > 0) await paged(Socket, [item(2), item(3), item(4)], true);
  return { ...parts, g, told };
}

/** The server answers the page of history that was asked for last. */
async function paged(Socket, messages, more) {
  Socket.last.reply("history", { messages, more });
  await settled();
}

async function reconnect({ Socket, tick }, hello = {}) {
  Socket.last.drop();
  tick(5000);
  Socket.last.accept(hello);
  await settled();
}

test("it begins with the state and the newest messages, and says when it is live", async (t) => {
  const { client, Socket } = online(t);
  const g = client.conversation("g", { recent: 3 });
  assert.equal(g.phase, "opening");
  const { id, ...asked } = Socket.last.asked("subscribe");
  assert.deepEqual(asked, { type: "subscribe", group: "g" });

  Socket.last.reply("subscribe", { group: "g", seq: 4, from: 5, recovered: true, state: STATE });
  const page = Socket.last.asked("history");
  await paged(Socket, [item(2), item(3), item(4)], true);

  assert.deepEqual([page.before, page.limit], [5, 3]);
  const shown = [g.phase, g.name, g.topic, g.join, g.history, g.first, g.seq];
  assert.deepEqual(shown, ["live", "G", "", "open", "all", 1, 4]);
  assert.deepEqual([...g.members.values()], STATE.members);
  assert.deepEqual(plain(g.posted), [item(2), item(3), item(4)]);
  assert.equal(g.more, true);
});

test("settings, members and roles follow the events", async (t) => {
  const { Socket, g } = await opened(t);

  Socket.last.receive(
    changed(5, "member.joined", { user: "carol", role: "member" }),
    changed(6, "group.updated", { topic: "news", join: "invite" }),
    changed(7, "group.updated", { name: "H", history: "joined" }),
    changed(8, "member.role_changed", { user: "bob", role: "owner", from: "alice" }),
    changed(9, "member.joined", { user: "dave", role: "reader" }),
    changed(10, "member.left", { user: "dave" }),
    changed(11, "member.removed", { user: "bob", banned: false, owner: "carol" }),
    changed(12, "member.unbanned", { user: "eve" }),
    changed(13, "poem.recited", { user: "alice", role: "reader" }),
  );

  assert.deepEqual([g.name, g.topic, g.join, g.history, g.seq], ["H", "news", "invite", "joined", 13]);
  const roles = [...g.members.values()].map(({ user, role }) => [user, role]);
  assert.deepEqual(roles, [["alice", "admin"], ["carol", "owner"]]);
});

test("who joins again is the last in the order of joining", async (t) => {
  const { Socket, g } = await opened(t);

  Socket.last.receive(
    changed(5, "member.left", { user: "bob" }),
    changed(6, "member.joined", { user: "carol", role: "member" }),
    changed(7, "member.joined", { user: "bob", role: "member" }),
  );

  assert.deepEqual([...g.members.keys()], ["alice", "carol", "bob"]);
});

test("messages are as history has them: edited, deleted, reacted to, answered, with mentions", async (t) => {
  const { Socket, g } = await opened(t);
  const before = g.message(3);

  Socket.last.receive(
    event(5, { client_msg_id: "c5", data: { text: "answer", reply_to: 3, mentions: ["alice"], attributes: { a: 1 } } }),
    changed(6, "message.edited", { target: 3, text: "three" }),
    changed(7, "reaction.added", { target: 3, emoji: "👍" }, "bob"),
    changed(8, "reaction.added", { target: 3, emoji: "👍" }, "alice"),
    changed(9, "reaction.added", { target: 3, emoji: "__proto__" }, "bob"),
    changed(10, "reaction.removed", { target: 3, emoji: "👍" }, "bob"),
    changed(11, "reaction.added", { target: 4, emoji: "x" }, "bob"),
    changed(12, "reaction.removed", { target: 4, emoji: "x" }, "bob"),
    changed(13, "reaction.added", { target: 2, emoji: "x" }, "bob"),
    changed(14, "message.deleted", { target: 2 }),
    changed(15, "message.edited", { target: 2, text: "late" }),
    changed(16, "reaction.added", { target: 2, emoji: "x" }),
    event(17, { data: { text: null, deleted: true } }),
    changed(18, "message.edited", { target: 4, text: null, deleted: true }),
  );

  const reactions = JSON.parse('{"👍": ["alice"], "__proto__": ["bob"]}');
  assert.deepEqual(plain(g.posted), [
    item(2, { text: null, deleted: true }),
    item(3, { text: "three", edited_at: AT, reactions }),
    item(4),
    item(5, { client_msg_id: "c5", text: "answer", reply_to: 3, mentions: ["alice"], attributes: { a: 1 } }),
    item(17, { text: null, deleted: true }),
  ]);
  assert.notEqual(g.message(3), before);
  assert.equal(before.text, "m3");
});

for (const emoji of ["constructor", "__proto__", "toString"]) {
  test(`an emoji may be any text: ${emoji}`, async (t) => {
    const { Socket, g } = await opened(t);

    Socket.last.receive(changed(5, "reaction.added", { target: 3, emoji }));

    assert.deepEqual(Object.entries(g.message(3).reactions), [[emoji, ["bob"]]]);
  });
}

test("what is pruned below that is shown changes nothing, and what is no seq neither", async (t) => {
  const { Socket, g } = await opened(t);

  Socket.last.receive(changed(5, "history.pruned", { through: 0 }), changed(6, "history.pruned", { through: "all" }));
  g.older().catch(() => {});

  assert.deepEqual([texts(g), g.more, Socket.last.asked("history").before], [["m2", "m3", "m4"], true, 2]);
});

test("what is withheld or pruned is not there, and there is nothing before it", async (t) => {
  const { Socket, g, told } = await opened(t);

  Socket.last.receive({ type: "withheld", group: "g", from: 5, through: 7 }, event(8));
  Socket.last.receive(changed(9, "history.pruned", { through: 3 }));

  assert.deepEqual(texts(g), ["m4", "m8"]);
  assert.deepEqual([g.seq, g.more], [9, false]);
  assert.deepEqual(told.slice(-3), ["withheld", "event", "event"]);
});

// Local echo.

test("an own message is shown at once and replaced by its event, whether that or the reply comes first", async (t) => {
  const { Socket, g, told } = await opened(t);
  const one = g.post("one", { reply_to: 2, mentions: ["bob"], attributes: { a: 1 } });
  const two = g.post("two");
  assert.deepEqual(texts(g), ["m2", "m3", "m4", "one", "two"]);
  assert.deepEqual([one.status, one.by, one.reply_to], ["sending", "alice", 2]);
  const [first, second] = Socket.last.sent.slice(-2);
  assert.deepEqual(first, {
    type: "send", group: "g", text: "one", client_msg_id: one.client_msg_id, reply_to: 2, mentions: ["bob"],
    attributes: { a: 1 }, id: first.id,
  });

  Socket.last.receive({ type: "reply", id: first.id, ok: true, seq: 6, at: AT, duplicate: false });
  await settled();
  assert.deepEqual(g.pending.map(({ status, seq }) => [status, seq]), [["sent", 6], ["sending", undefined]]);
  Socket.last.receive(event(5), event(6, { by: "alice", client_msg_id: one.client_msg_id, data: { text: "one" } }));
  assert.deepEqual(texts(g), ["m2", "m3", "m4", "m5", "one", "two"]);
  Socket.last.receive(event(7, { by: "alice", client_msg_id: two.client_msg_id, data: { text: "two" } }));
  assert.deepEqual(g.pending, []);
  Socket.last.receive({ type: "reply", id: second.id, ok: true, seq: 7, at: AT, duplicate: false });
  await settled();

  assert.deepEqual(texts(g), ["m2", "m3", "m4", "m5", "one", "two"]);
  assert.deepEqual(g.pending, []);
  assert.equal(g.message(6).client_msg_id, one.client_msg_id);
  assert.ok(told.includes("pending"));
});

test("an own message whose event does not name it is shown once all the same", async (t) => {
  const { Socket, g } = await opened(t);
  g.post("hello");
  Socket.last.reply("send", { seq: 5, duplicate: false });
  await settled();

  Socket.last.receive(event(5, { by: "alice", data: { text: "hello" } }));

  assert.deepEqual(texts(g), ["m2", "m3", "m4", "hello"]);
});

test("what was on its way is shown once where a page or a state has it already", async (t) => {
  const parts = await opened(t);
  const { Socket, g } = parts;
  const one = g.post("one");
  const { client_msg_id } = g.post("two");
  Socket.last.receive({ type: "reply", id: Socket.last.sent.at(-2).id, ok: true, seq: 5 });
  await settled();
  assert.equal(g.pending.find((each) => each.client_msg_id === one.client_msg_id).status, "sent");

  Socket.last.receive(changed(7, "poem.recited", {})); // a gap: 5 and 6 are fetched
  Socket.last.refuse("subscribe", { code: "not_a_member" });
  g.reopen();
  Socket.last.reply("subscribe", { group: "g", seq: 6, from: 7, recovered: true, state: { ...STATE, seq: 6 } });
  assert.deepEqual(texts(g), ["two"]);
  const own = { by: "alice", client_msg_id };
  await paged(Socket, [item(5, { by: "alice", text: "one" }), item(6, { ...own, text: "two" })], false);

  assert.deepEqual(texts(g), ["one", "two"]);
  assert.deepEqual(g.pending, []);
});

test("another user's message under the same client_msg_id replaces nothing", async (t) => {
  const { Socket, g } = await opened(t);
  const mine = g.post("mine");

  Socket.last.receive(event(5, { by: "bob", client_msg_id: mine.client_msg_id }));

  assert.deepEqual(texts(g).slice(-2), ["m5", "mine"]);
});

test("what failed stays, with why, and can be sent again as the same message", async (t) => {
  const { Socket, g } = await opened(t);
  const { client_msg_id } = g.post("hello");
  Socket.last.refuse("send", { code: "forbidden" });
  await settled();
  assert.deepEqual(g.pending.map(({ status, error }) => [status, error.code]), [["failed", "forbidden"]]);

  assert.ok(g.retry(client_msg_id));
  assert.ok(!g.retry(client_msg_id));
  assert.deepEqual(g.pending.map(({ status, error }) => [status, error]), [["sending", null]]);
  const sends = Socket.last.sent.filter(({ type }) => type === "send");
  assert.deepEqual(sends.map((frame) => frame.client_msg_id), [client_msg_id, client_msg_id]);
  Socket.last.reply("send", { seq: 5, duplicate: false });
  await settled();
  Socket.last.receive(event(5, { by: "alice", client_msg_id, data: { text: "hello" } }));

  assert.deepEqual(texts(g), ["m2", "m3", "m4", "hello"]);
});

test("what failed without a known outcome is shown once when its event comes after all", async (t) => {
  const { Socket, g, tick } = await opened(t);
  const { client_msg_id } = g.post("hello");
  Socket.last.accept({ heartbeat_ms: 1e12 });
  Socket.last.receive({ type: "reply", id: Socket.last.asked("send").id, ok: false, error: { code: "internal" } });
  await settled();
  assert.equal(g.pending[0].status, "failed");

  Socket.last.receive(event(5, { by: "alice", client_msg_id, data: { text: "hello" } }));

  assert.deepEqual(texts(g), ["m2", "m3", "m4", "hello"]);
  assert.ok(!g.retry(client_msg_id));
});

test("what is discarded is gone and not sent again, and is shown if it was posted all the same", async (t) => {
  const parts = await opened(t);
  const { Socket, g } = parts;
  const { client_msg_id } = g.post("oops");

  assert.ok(g.discard(client_msg_id));
  assert.ok(!g.discard(client_msg_id));
  assert.deepEqual(g.pending, []);
  await reconnect(parts);
  assert.deepEqual(Socket.last.sent.map(({ type }) => type), ["subscribe", "presence"]);
  Socket.last.reply("subscribe", { group: "g", seq: 5, from: 5, recovered: true });
  Socket.last.receive(event(5, { by: "alice", client_msg_id, data: { text: "oops" } }));

  assert.deepEqual(texts(g), ["m2", "m3", "m4", "oops"]);
});

for (const end of ["discarded", "posted"]) {
  test(`what is posted again under the id of one just ${end} is a message of its own`, async (t) => {
    const { Socket, g } = await opened(t);
    g.post("first", { client_msg_id: "kept" });
    const [first] = Socket.last.sent.slice(-1);

    if (end === "posted") Socket.last.reply("send", { seq: 9 });
    g.discard("kept");
    g.post("second", { client_msg_id: "kept" });
    await settled();

    const { id, text } = Socket.last.asked("send");
    assert.deepEqual(g.pending.map((each) => [each.text, each.status, each.error]), [["second", "sending", null]]);
    assert.ok(id !== first.id && text === "second");
    g.discard("kept"); // it can still be ended
    await settled();
    assert.deepEqual(g.pending, []);
  });
}

test("with the id of an earlier try it is the same message", async (t) => {
  const { Socket, g } = await opened(t);

  const first = g.post("hello", { client_msg_id: "kept" });
  const second = g.post("hello", { client_msg_id: "kept" });

  assert.equal(first, second);
  assert.equal(Socket.last.sent.filter((frame) => frame.client_msg_id === "kept").length, 1);
  Socket.last.reply("send", { seq: 3, duplicate: true });
  await settled();
  assert.deepEqual(texts(g), ["m2", "m3", "m4"]);
});

test("a thousand messages may be on their way, not more", async (t) => {
  const { g } = await opened(t);
  for (let n = 0; n < 1000; n++) g.post("x");

  assert.throws(() => g.post("x"), { code: "overloaded", temporary: true });
});

test("what is on its way when the client is closed has failed, and nothing is thrown", async (t) => {
  const { client, g } = await opened(t);
  g.post("hello");

  client.close();
  await settled();

  assert.deepEqual(g.pending.map(({ status, error }) => [status, error.code]), [["failed", "closed"]]);
  assert.deepEqual([g.phase, g.ended.code], ["ended", "closed"]);
});

// Reconnection, resets and ends.

test("after a reconnection it goes on, and what was on its way is posted and shown once", async (t) => {
  const parts = await opened(t);
  const { Socket, g } = parts;
  const { client_msg_id } = g.post("hello");

  await reconnect(parts);
  const asked = Socket.last.sent.filter(({ type }) => type !== "presence");
  assert.deepEqual(asked.map(({ type, after }) => [type, after]), [["subscribe", 4], ["send", undefined]]);
  Socket.last.reply("subscribe", { group: "g", seq: 6, from: 5, recovered: true });
  Socket.last.receive(
    event(5, { by: "alice", client_msg_id, data: { text: "hello" } }),
    changed(6, "member.left", { user: "bob" }),
  );
  Socket.last.reply("send", { seq: 5, duplicate: true });
  await settled();

  assert.deepEqual(texts(g), ["m2", "m3", "m4", "hello"]);
  assert.deepEqual([...g.members.keys()], ["alice"]);
});

test("a reset drops what was shown and shows the new world, with what is still on its way", async (t) => {
  const parts = await opened(t);
  const { Socket, g, told } = parts;
  g.post("in the old log");
  Socket.last.reply("send", { seq: 5, duplicate: false });
  await settled();
  g.post("on its way");
  g.older();
  const { id: lost } = Socket.last.asked("history");

  await reconnect(parts, { log: "log-2" });
  Socket.last.reply("subscribe", { group: "g", seq: 2, from: 3, recovered: false });
  assert.deepEqual([g.phase, texts(g), g.members.size], ["opening", ["on its way"], 2]);
  const state = { ...STATE, seq: 2, members: [] };
  Socket.last.reply("subscribe", { group: "g", seq: 2, from: 3, recovered: true, state });
  const asked = Socket.last.asked("history");
  Socket.last.receive({ type: "reply", id: asked.id, ok: true, messages: [item(2, { text: "new" })], more: false });
  Socket.last.receive({ type: "reply", id: lost, ok: true, messages: [item(1, { text: "old" })], more: true });
  await settled();

  assert.deepEqual([g.phase, texts(g), g.members.size, g.more], ["live", ["new", "on its way"], 0, false]);
  assert.ok(told.includes("reset"));
  assert.equal(asked.before, 3);
});

for (const [kind, data] of [["member.removed", { user: "alice", banned: true }], ["group.deleted", {}]]) {
  test(`it ends with ${kind}, keeps what it showed, and can be opened again`, async (t) => {
    const { Socket, g, told } = await opened(t);

    Socket.last.receive(changed(5, kind, data), event(6));
    assert.deepEqual([g.phase, g.ended.kind, texts(g), told.at(-1)], ["ended", kind, ["m2", "m3", "m4"], "ended"]);
    g.reopen();
    const state = { ...STATE, first: 7, seq: 8 };
    Socket.last.reply("subscribe", { group: "g", seq: 8, from: 9, recovered: true, state });
    await paged(Socket, [item(8)], false);

    assert.deepEqual([g.phase, g.ended, texts(g)], ["live", null, ["m8"]]);
  });
}

test("a refusal ends it with an error", async (t) => {
  const { client, Socket } = online(t);
  const g = client.conversation("g");

  Socket.last.refuse("subscribe", { code: "not_a_member" });

  assert.deepEqual([g.phase, g.ended.code, g.ended.name], ["ended", "not_a_member", "ChatError"]);
});

test("a closed one follows no more and tells nobody, but what is on its way is sent", async (t) => {
  const { Socket, g, told } = await opened(t);
  g.post("last words");
  const heard = told.length;

  g.close();
  Socket.last.receive(event(5));

  assert.deepEqual([told.length, texts(g).length], [heard, 4]);
  assert.deepEqual(Socket.last.sent.slice(-2).map(({ type }) => type), ["send", "unsubscribe"]);
});

test("a listener that was removed hears nothing more", async (t) => {
  const { Socket, g } = await opened(t);
  const heard = [];
  const [stop] = [g.listen(({ kind }) => heard.push(kind)), g.listen(({ kind }) => heard.push(kind))];
  Socket.last.receive(event(5));

  stop();
  Socket.last.receive(event(6));

  assert.deepEqual(heard, ["event", "event", "event"]);
});

// Scrolling back, and bounds.

test("older messages come page by page, one page at a time, until there are no more", async (t) => {
  const { Socket, g } = await opened(t);

  const [page, same] = [g.older(2), g.older(2)];
  const asked = Socket.last.sent.filter(({ type }) => type === "history");
  await paged(Socket, [item(1)], false);

  assert.equal(page, same);
  assert.deepEqual([asked.length, asked[1].before, asked[1].limit], [2, 2, 2]);
  assert.deepEqual([await page, texts(g), g.more], [1, ["m1", "m2", "m3", "m4"], false]);
  assert.equal(await g.older(), 0);
});

test("a change that comes while its message is on its way is not lost, whether the page has it or not", async (t) => {
  const { Socket, g } = await opened(t);
  g.older(2);

  Socket.last.receive(
    changed(5, "message.edited", { target: 0, text: "edited" }),
    changed(6, "reaction.added", { target: 1, emoji: "x" }),
    changed(7, "message.deleted", { target: 99 }),
  );
  await paged(Socket, [item(0), item(1, { reactions: { x: ["bob"] } })], false);

  assert.deepEqual(plain(g.posted.slice(0, 2)), [
    item(0, { text: "edited", edited_at: AT }), item(1, { reactions: { x: ["bob"] } }),
  ]);
});

test("more changes than are kept for a page have it fetched again", async (t) => {
  const { Socket, g } = await opened(t);
  const page = g.older(1);
  for (let seq = 5; seq <= 1005; seq++) {
    Socket.last.receive(changed(seq, "message.edited", { target: 1, text: `v${seq}` }));
  }

  await paged(Socket, [item(1)], false);
  await paged(Socket, [item(1, { text: "v1005", edited_at: AT })], false);

  assert.equal(await page, 1);
  assert.equal(g.message(1).text, "v1005");
  assert.equal(Socket.last.sent.filter(({ type }) => type === "history").length, 3);
});

test("a page of before a reset does not end the waiting for the one after it", async (t) => {
  const parts = await opened(t);
  const { Socket, g } = parts;
  const page = g.older();
  await reconnect(parts, { log: "log-2" });
  Socket.last.reply("subscribe", { group: "g", seq: 2, from: 3, recovered: false });
  const { id: lost } = Socket.last.asked("history");
  Socket.last.reply("subscribe", { group: "g", seq: 2, from: 3, recovered: true, state: { ...STATE, seq: 2 } });
  const { id } = Socket.last.asked("history");
  assert.notEqual(id, lost);

  Socket.last.receive({ type: "reply", id: lost, ok: true, messages: [item(1, { text: "old" })], more: true });
  assert.equal(await page, 0);
  Socket.last.receive(changed(3, "message.edited", { target: 2, text: "edited" }));
  Socket.last.receive({ type: "reply", id, ok: true, messages: [item(2)], more: false });
  await settled();

  assert.deepEqual(texts(g), ["edited"]);
});

test("a page that cannot be had rejects, and can be asked for again", async (t) => {
  const { Socket, g } = await opened(t);
  const page = g.older();
  Socket.last.refuse("history", { code: "internal" });
  await assert.rejects(page, { code: "internal" });

  const again = g.older();
  await paged(Socket, [item(1)], false);

  assert.equal(await again, 1);
});

test("the newest messages are held, as many as one says; older ones come back when they are asked for", async (t) => {
  const { Socket, g } = await opened(t, { most: 8 });
  for (let seq = 5; seq <= 200; seq++) {
    Socket.last.receive(event(seq));
    assert.ok(g.posted.length <= 10);
  }
  assert.deepEqual([g.posted.at(-1).seq, g.more], [200, true]);
  const [oldest, held] = [g.posted[0].seq, g.posted.length];
  assert.equal(held, 200 - oldest + 1);

  assert.equal(await g.older(), 0);
  g.most = 12;
  g.older(50);
  const asked = Socket.last.asked("history");
  await paged(Socket, [item(oldest - 1)], true);

  assert.deepEqual([asked.before, asked.limit], [oldest, 12 - held]);
  assert.equal(g.posted[0].seq, oldest - 1);
});

test("where the oldest messages went there are more, though there were none before", async (t) => {
  const { Socket, g } = await opened(t, { most: 4, recent: 0 });
  g.older();
  await paged(Socket, [item(4)], false);
  assert.equal(g.more, false);

  for (let seq = 5; seq <= 9; seq++) Socket.last.receive(event(seq));

  assert.equal(g.more, true);
});

test("a page that no longer goes with what is held is not shown", async (t) => {
  const { Socket, g } = await opened(t, { most: 4 });
  const page = g.older(1);
  for (let seq = 5; seq <= 6; seq++) Socket.last.receive(event(seq));
  assert.deepEqual(texts(g), ["m3", "m4", "m5", "m6"]);

  await paged(Socket, [item(1)], true);

  assert.deepEqual([await page, texts(g)], [0, ["m3", "m4", "m5", "m6"]]);
});

test("members that the state left out are fetched, and what happens meanwhile counts", async (t) => {
  const { Socket, g } = await opened(t, { state: { ...STATE, members_more: true } });
  const loading = g.loadMembers();
  Socket.last.receive(
    changed(5, "member.left", { user: "carol" }),
    changed(6, "member.role_changed", { user: "dave", role: "admin" }),
  );

  const members = [...STATE.members, ...["carol", "dave", "eve"].map((user) => ({ user, role: "member" }))];
  Socket.last.reply("members", { members });
  await loading;

  const roles = [...g.members.values()].map(({ user, role }) => [user, role]);
  assert.deepEqual(roles, [["alice", "owner"], ["bob", "member"], ["dave", "admin"], ["eve", "member"]]);
  assert.equal(g.membersMore, false);
});

test("states and events of which nothing is as it should be end nothing", async (t) => {
  const errors = t.mock.method(console, "error", () => {}).mock;
  const { client, Socket } = online(t);
  const g = client.conversation("g", { recent: 0 });
  Socket.last.reply("subscribe", { group: "g", seq: 4, from: 5, recovered: true, state: { members: 7 } });

  const bad = [undefined, null, 7, [], { target: "x" }, { target: 5, emoji: {}, user: [] }];
  let seq = 5;
  const kinds = ["message.posted", "message.edited", "message.deleted", "reaction.added", "history.pruned"];
  for (const kind of [...kinds, "group.updated", "member.joined", "member.role_changed", "member.removed"]) {
    for (const data of bad) Socket.last.receive(changed(seq++, kind, data));
  }

  assert.equal(client.status.state, "online");
  assert.equal(g.seq, seq - 1);
  assert.ok(errors.callCount() >= 1);
});

/** What history would say of `log`, by the plainest reading of the protocol. */
function folded(log) {
  const items = new Map();
  for (const { seq, kind, by, at, id, client_msg_id = null, data } of log) {
    const target = items.get(data.target);
    if (kind === "message.posted") items.set(seq, { seq, id, by, at, client_msg_id, text: data.text, reactions: {} });
    else if (!target || target.deleted) continue;
    else if (kind === "message.edited") Object.assign(target, { text: data.text, edited_at: at });
    else if (kind === "message.deleted") {
      delete target.edited_at;
      Object.assign(target, { text: null, reactions: {}, deleted: true });
    } else {
      const users = new Set(target.reactions[data.emoji]);
      if (kind === "reaction.added") users.add(by);
      else users.delete(by);
      target.reactions[data.emoji] = [...users].sort();
      if (users.size === 0) delete target.reactions[data.emoji];
    }
  }
  return [...items.values()];
}

/** A server with one group: it cuts sockets, loses and delays replies, as chance has it. */
function world(t, chance) {
  const parts = setUp(t, { random: () => 0 });
  const log = [];
  const waiting = [];
  const pick = (list) => list[Math.floor(chance() * list.length)];
  const publish = (fields) => {
    const seq = log.length + 1;
    log.push(event(seq, { by: "bob", ...fields }));
    const socket = parts.Socket.last;
    if (socket.following) socket.receive(log.at(-1));
    return seq;
  };
  const happen = () => {
    const seqs = folded(log).filter(({ deleted }) => !deleted).map(({ seq }) => seq);
    const target = pick(seqs);
    const kind = pick(["message.posted", "message.edited", "message.deleted", "reaction.added", "reaction.removed"]);
    if (kind === "message.posted" || target === undefined) publish({});
    else {
      const data = { target, text: `v${log.length}`, emoji: pick(["a", "b"]) };
      publish({ kind, by: pick(["bob", "carol"]), data });
    }
  };
  const answer = (socket, { id, type, ...asked }) => {
    if (type === "send") {
      const known = log.find(({ client_msg_id }) => client_msg_id === asked.client_msg_id);
      const by = { by: "alice", client_msg_id: asked.client_msg_id, data: { text: asked.text } };
      const early = chance() < 0.5; // the reply before the event, or behind it
      if (early) waiting.push([socket, { id, seq: known?.seq ?? log.length + 1 }]);
      const seq = known?.seq ?? publish(by);
      if (!early) waiting.push([socket, { id, seq }]);
    } else if (type === "subscribe") {
      const from = (asked.after ?? log.length) + 1;
      const state = asked.state === false ? undefined : { ...STATE, seq: log.length };
      socket.receive({ type: "reply", id, ok: true, group: "g", seq: log.length, from, recovered: true, state });
      socket.following = true;
      socket.receive(...log.slice(from - 1));
    } else if (type === "history") {
      const all = folded(log).filter(({ seq }) => seq < asked.before);
      waiting.push([socket, { id, messages: all.slice(-asked.limit), more: all.length > asked.limit }]);
    } else waiting.push([socket, { id }]);
  };
  const step = async ({ calm = false } = {}) => {
    const { Socket, tick } = parts;
    if (Socket.last.onopen && !Socket.last.hello) Socket.last.accept((Socket.last.hello = {}));
    for (const frame of Socket.last.sent.splice(0)) answer(Socket.last, frame);
    if (!calm) happen();
    await settled();
    while (waiting.length > 0 && (calm || chance() < 0.6)) {
      const [socket, reply] = waiting.shift();
      socket.receive({ type: "reply", ok: true, ...plain(reply) });
      await settled();
    }
    if (!calm && chance() < 0.1) Socket.last.drop();
    tick(1000);
    await settled();
  };
  return { ...parts, log, step };
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`whatever is cut, lost and late, it shows what history says, each message once (seed ${seed})`, async (t) => {
    const chance = random(seed);
    const { client, Socket, log, step } = world(t, chance);
    const g = client.conversation("g", { recent: 5 });
    client.connect();
    const own = [];
    for (let n = 0; n < 150; n++) {
      if (chance() < 0.3) own.push(g.post(`own ${n}`).client_msg_id);
      if (chance() < 0.2) g.older(3).catch(() => {});
      await step();
      const shown = g.messages.map((each) => (each.by === "alice" ? each.client_msg_id : each.id));
      assert.equal(new Set(shown).size, shown.length, `twice: ${shown}`);
    }
    for (let n = 0; n < 100 && (n < 10 || g.pending.length > 0 || g.more); n++) {
      if (n >= 5) g.older(50).catch(() => {});
      await step({ calm: true });
    }

    const sorted = plain(g.posted);
    for (const { reactions } of sorted) for (const users of Object.values(reactions)) users.sort();
    assert.deepEqual(sorted, folded(log));
    assert.deepEqual(sorted.filter(({ by }) => by === "alice").map((each) => each.client_msg_id), own);
    assert.deepEqual(g.pending, []);
    assert.ok(Socket.all.length > 5 && own.length > 20);
  });
}

/** Park and Miller's generator: the same chances for the same seed. */
function random(seed) {
  let x = seed * 7919;
  return () => (x = (x * 48_271) % 2_147_483_647) / 2_147_483_647;
}

test("it knows who is online from the state and from what is signalled", async (t) => {
  const { g, Socket, told } = await opened(t, { state: { ...STATE, online: ["alice", "bob"] } });
  told.length = 0;
  Socket.last.receive({ type: "signal", kind: "presence", group: "g", joined: ["carol"], left: ["bob"] });
  Socket.last.receive({ type: "signal", kind: "presence", group: "other", joined: ["dave"], left: ["alice"] });
  Socket.last.receive({ type: "signal", kind: "typing", group: "g", by: "bob" });

  assert.deepEqual([[...g.online.users], g.online.more, told], [["alice", "carol"], false, ["presence"]]);
});

test("it asks who is online after a reconnection, for signals were missed", async (t) => {
  const parts = await opened(t, { state: { ...STATE, online: ["alice", "bob"] } });
  await reconnect(parts);
  parts.Socket.last.reply("presence", { online: ["alice", "dave"], online_more: true });
  await settled();

  assert.deepEqual([[...parts.g.online.users], parts.g.online.more], [["alice", "dave"], true]);
});

test("it hears of nobody once it is closed", async (t) => {
  const { g, Socket } = await opened(t, { state: { ...STATE, online: ["alice"] } });
  g.close();
  Socket.last.receive({ type: "signal", kind: "presence", group: "g", joined: ["bob"], left: [] });

  assert.deepEqual([...g.online.users], ["alice"]);
});
