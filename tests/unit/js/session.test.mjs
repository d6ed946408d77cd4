import assert from "node:assert/strict";
import { test } from "node:test";

import { ChatError } from "../../../clients/js/auerbach.js";
import { Session } from "../../../web/static/session.js";
import { Store } from "../../../web/static/store.js";
import { event, HELLO, settled } from "./fake_socket.mjs";

/** The browser's Storage. */
class Storage {
  #held = new Map();
  getItem(key) {
    return this.#held.get(key) ?? null;
  }
  setItem(key, value) {
    this.#held.set(key, String(value));
  }
  removeItem(key) {
    this.#held.delete(key);
  }
}

/** A client whose answers the test gives: by type, and for each send by hand. */
class FakeClient {
  sends = [];
  asked = [];
  followed = new Map();
  answers = {};
  connect() {
    return Promise.resolve(HELLO);
  }
  close() {}
  async request(type, fields) {
    this.asked.push([type, fields]);
    if (this.answers[type] instanceof Error) throw this.answers[type];
    return this.answers[type] ?? {};
  }
  send(group, text, { client_msg_id }) {
    return new Promise((resolve, reject) => this.sends.push({ group, text, id: client_msg_id, resolve, reject }));
  }
  edit(group, seq, text, { client_msg_id }) {
    return this.request("edit", { seq, text, client_msg_id });
  }
  react(group, seq, emoji) {
    return this.request("react", { seq, emoji });
  }
  subscribe(group, start, on) {
    this.followed.set(group, on);
    return { close: () => this.followed.delete(group) };
  }
}

async function begun(store = new Store(new Storage(), new Storage())) {
  const client = new FakeClient();
  let made = 0;
  const session = new Session({ client, newId: () => `id-${++made}`, store, onChange() {} });
  await session.begin();
  return { client, session, store };
}

const STATE = { name: "G", first: 1, seq: 3, members: [{ user: "alice", role: "owner" }] };

test("a group that was opened is followed again at the next start, under its name", async () => {
  const first = await begun();
  first.session.open("g");
  first.client.followed.get("g").onState(STATE);

  const { client, session } = await begun(first.store);

  assert.deepEqual([...client.followed.keys()], ["g"]);
  assert.equal(session.conversations.get("g").name, "G");
});

test("a group whose door stayed shut is not remembered", async () => {
  const { client, session, store } = await begun();
  session.open("g");

  client.followed.get("g").onEnd(new ChatError("not_a_member", "no"));

  assert.equal(session.conversations.get("g").phase, "closed");
  assert.deepEqual(store.groups("alice"), []);
});

test("what failed is sent again as the same message", async () => {
  const { client, session } = await begun();
  const conversation = session.open("g");
  session.send(conversation, "hello");
  client.sends[0].reject(new ChatError("timeout", "?", { temporary: true }));
  await settled();
  const [unsent] = conversation.unsent;
  assert.equal(unsent.problem.code, "timeout");

  session.retry(conversation, unsent);

  assert.equal(unsent.problem, null);
  assert.deepEqual(client.sends.map(({ text, id }) => [text, id]), [["hello", "id-1"], ["hello", "id-1"]]);
});

test("what had no outcome when the page was left is sent again as the same message", async () => {
  const first = await begun();
  const conversation = first.session.open("g");
  first.client.followed.get("g").onState(STATE);
  first.session.send(conversation, "one");
  first.session.send(conversation, "two");
  first.client.sends[0].resolve({ seq: 4 });
  await settled();

  const { client, session } = await begun(first.store);

  assert.deepEqual(client.sends.map(({ text, id }) => [text, id]), [["two", "id-2"]]);
  assert.deepEqual(session.conversations.get("g").unsent.map(({ text }) => text), ["two"]);
});

test("what was discarded is not sent again", async () => {
  const first = await begun();
  const conversation = first.session.open("g");
  first.client.followed.get("g").onState(STATE);
  first.session.send(conversation, "one");
  first.client.sends[0].reject(new ChatError("too_large", "no"));
  await settled();
  first.session.discard(conversation, conversation.unsent[0]);

  const { client } = await begun(first.store);

  assert.deepEqual(client.sends, []);
});

test("what was refused is there again after a reload, and is not sent unasked", async () => {
  const first = await begun();
  const conversation = first.session.open("g");
  first.client.followed.get("g").onState(STATE);
  first.session.send(conversation, "one");
  first.session.send(conversation, "two");
  first.client.sends[0].reject(new ChatError("forbidden", "no"));
  await settled();

  const { client, session } = await begun(first.store);
  const [refused, open] = session.conversations.get("g").unsent;
  assert.deepEqual([refused.problem.code, open.problem], ["forbidden", null]);
  assert.deepEqual(client.sends.map(({ text }) => text), ["two"]);

  session.retry(session.conversations.get("g"), refused);

  assert.deepEqual(client.sends.map(({ text, id }) => [text, id]), [["two", "id-2"], ["one", "id-1"]]);
});

test("what may have gone out longer ago than the server remembers is asked about, until it is seen in the log", async () => {
  const store = new Store(new Storage(), new Storage());
  const ago = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString();
  store.remember("alice", { id: "g", name: "G", seen: null });
  store.setUnsent("alice", "g", [
    { id: "a", text: "one", at: ago(11) }, { id: "b", text: "two", at: ago(12) }, { id: "c", text: "three", at: ago(9) },
    { id: "d", text: "four", at: "no date" },
  ]);

  const { client, session } = await begun(store);

  const conversation = session.conversations.get("g");
  assert.deepEqual(conversation.unsent.map(({ id, problem }) => [id, problem?.code]), [
    ["a", "outdated"], ["b", "outdated"], ["c", undefined], ["d", "outdated"],
  ]);
  assert.deepEqual(client.sends.map(({ id }) => id), ["c"]);
  client.followed.get("g").onState({ ...STATE, seq: 9 });
  client.followed.get("g").onEvent(event(9, { by: "alice", client_msg_id: "a" }));
  client.answers.history = { messages: [{ seq: 8, at: "", by: "alice", client_msg_id: "b", text: "two" }], more: true };
  await session.loadEarlier(conversation);
  assert.deepEqual(store.unsent("alice", "g").map(({ id }) => id), ["c", "d"]);
});

test("what fails after its group was left is not kept for joining again", async () => {
  const { client, session, store } = await begun();
  const conversation = session.open("g");
  client.followed.get("g").onState(STATE);
  session.send(conversation, "hello");

  await session.leave("g");
  client.sends[0].reject(new ChatError("not_a_member", "no"));
  await settled();

  assert.deepEqual(store.unsent("alice", "g"), []);
  assert.deepEqual(session.open("g").unsent, []);
});

test("to be a member already is as good as to join", async () => {
  const { client, session } = await begun();
  client.answers.join = new ChatError("already_a_member", "no");

  const conversation = await session.join("g");

  assert.equal(conversation.id, "g");
  assert.ok(client.followed.has("g"));
});

test("joining again follows a group anew that had been closed", async () => {
  const { client, session } = await begun();
  const conversation = session.open("g");
  const { onState, onEnd } = client.followed.get("g");
  onState(STATE);
  onEnd({ kind: "member.removed" });
  client.followed.clear();

  await session.join("g");

  assert.equal(conversation.phase, "opening");
  assert.ok(client.followed.has("g"));
});

test("a page of history that crosses a reset is not shown", async () => {
  const { client, session } = await begun();
  const conversation = session.open("g");
  client.followed.get("g").onState({ ...STATE, seq: 9 });
  client.answers.history = { messages: [{ seq: 8, at: "", by: "bob", text: "old" }], more: true };

  const loading = session.loadEarlier(conversation);
  conversation.reset();
  await loading;

  assert.deepEqual(conversation.items, []);
});

test("a group is left and forgotten only when the server has agreed", async () => {
  const { client, session, store } = await begun();
  session.open("g");
  client.followed.get("g").onState(STATE);
  client.answers.leave = new ChatError("last_owner", "no");
  await assert.rejects(session.leave("g"), { code: "last_owner" });
  assert.ok(session.conversations.has("g"));

  client.answers.leave = {};
  await session.leave("g");

  assert.ok(!session.conversations.has("g"));
  assert.deepEqual(store.groups("alice"), []);
});

test("without a working storage the page works, and forgets", async () => {
  const broken = new Proxy({}, { get: () => () => { throw new Error("off"); } });
  const { session } = await begun(new Store(broken, broken));

  session.open("g");

  assert.ok(session.conversations.has("g"));
});

test("a change that is refused is kept, and tried again as the same request", async () => {
  const { client, session } = await begun();
  const conversation = session.open("g");
  client.followed.get("g").onState(STATE);
  client.followed.get("g").onEvent(event(4, { by: "alice", data: { text: "old" } }));
  const [item] = conversation.items;
  client.answers.edit = new ChatError("unavailable", "no", { temporary: true });
  await session.changes.edit(conversation, item, "new");
  assert.equal(item.change.problem.code, "unavailable");

  client.answers.edit = { seq: 5 };
  await session.changes.retry(conversation, item);

  assert.equal(item.change.problem, null);
  const edits = client.asked.filter(([type]) => type === "edit").map(([, fields]) => fields);
  assert.deepEqual(edits, [edits[0], edits[0]]);
  client.followed.get("g").onEvent(event(5, { kind: "message.edited", by: "alice", client_msg_id: edits[0].client_msg_id, data: { target: 4, text: "new" } }));
  assert.deepEqual([item.text, item.change], ["new", null]);
});

test("a second change that is refused is told, though the first has come meanwhile", async () => {
  const { client, session } = await begun();
  const conversation = session.open("g");
  client.followed.get("g").onState(STATE);
  client.followed.get("g").onEvent(event(4, { by: "alice", data: { text: "old" } }));
  const [item] = conversation.items;
  const outcomes = [];
  client.edit = () => new Promise((resolve, reject) => outcomes.push({ resolve, reject }));
  session.changes.edit(conversation, item, "B");
  const { id } = item.change;
  const second = session.changes.edit(conversation, item, "C");

  outcomes[0].resolve({ seq: 5 });
  client.followed.get("g").onEvent(
    event(5, { kind: "message.edited", by: "alice", client_msg_id: id, data: { target: 4, text: "B" } }),
  );
  outcomes[1].reject(new ChatError("forbidden", "no"));
  await second;

  assert.deepEqual([item.text, item.change.text, item.change.problem.code], ["B", "C", "forbidden"]);
});

test("a reaction that is refused is taken back", async () => {
  const { client, session } = await begun();
  const conversation = session.open("g");
  client.followed.get("g").onState(STATE);
  client.followed.get("g").onEvent(event(4));
  const [item] = conversation.items;
  client.answers.react = new ChatError("no_such_message", "no");

  const reacting = session.changes.react(conversation, item, "👍", true);
  assert.deepEqual([...item.wants], [["👍", true]]);
  await assert.rejects(reacting, { code: "no_such_message" });

  assert.equal(item.wants.size, 0);
});

test("a message far back is reached page by page, and a quote is fetched once", async () => {
  const { client, session } = await begun();
  const conversation = session.open("g");
  client.followed.get("g").onState({ ...STATE, seq: 500 });
  client.request = async (type, fields) => {
    client.asked.push([type, fields]);
    const seqs = Array.from({ length: fields.limit }, (_, i) => fields.before - fields.limit + i).filter((seq) => seq > 0);
    return { messages: seqs.map((seq) => ({ seq, at: "", by: "bob", text: `m${seq}` })), more: seqs[0] > 1 };
  };

  await session.loadQuote(conversation, 20);
  await session.reach(conversation, 150);

  assert.deepEqual(client.asked.map(([, { before, limit }]) => [before, limit]), [[21, 1], [501, 200], [301, 200]]);
  assert.equal(conversation.messageAt(20).text, "m20");
  assert.equal(conversation.messageAt(150).text, "m150");
});

test("what is being written stays when the log is lost, but for what it answers, which is another message now", async () => {
  const { client, session, store } = await begun();
  const conversation = session.open("g");
  client.followed.get("g").onState(STATE);
  session.setDraft(conversation, { text: "hal", replyTo: 3 });

  client.followed.get("g").onReset();

  assert.deepEqual([conversation.draft, store.draft("alice", "g")], Array(2).fill({ text: "hal", replyTo: null }));
  assert.equal(conversation.logsLost, 1);
});

/** A quoted message that the server has read, and not answered with yet: `answer()` lets it. */
async function quoting() {
  const parts = await begun();
  const conversation = parts.session.open("g");
  parts.client.followed.get("g").onState({ ...STATE, seq: 500 });
  let answer;
  parts.client.request = () => new Promise((resolve) => {
    answer = () => resolve({ messages: [{ seq: 20, at: "", by: "bob", text: "m20" }], more: true });
  });
  const loaded = parts.session.loadQuote(conversation, 20);
  return { ...parts, conversation, on: parts.client.followed.get("g"), answered: () => (answer(), loaded) };
}

test("a quoted message that is deleted while it is fetched is shown deleted", async () => {
  const { conversation, on, answered } = await quoting();

  on.onEvent(event(501, { kind: "message.deleted", data: { target: 20 } }));
  await answered();

  assert.equal(conversation.messageAt(20).text, null);
});

test("a quoted message of a log that is no more, or that was pruned meanwhile, is not shown", async () => {
  const [lost, pruned] = [await quoting(), await quoting()];

  lost.on.onReset();
  pruned.on.onEvent(event(501, { kind: "history.pruned", by: null, data: { through: 20 } }));
  await Promise.all([lost.answered(), pruned.answered()]);

  assert.equal(lost.conversation.messageAt(20), undefined);
  assert.equal(pruned.conversation.messageAt(20), null);
});

test("what is being written is there again after a reload", async () => {
  const first = await begun();
  const conversation = first.session.open("g");
  first.client.followed.get("g").onState(STATE);
  first.session.setDraft(conversation, { text: "hal", replyTo: 3 });

  const { session } = await begun(first.store);

  assert.deepEqual(session.conversations.get("g").draft, { text: "hal", replyTo: 3 });
});
