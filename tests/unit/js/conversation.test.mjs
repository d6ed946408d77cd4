import assert from "node:assert/strict";
import { test } from "node:test";

import { Conversation } from "../../../web/static/conversation.js";
import { reactionsOf } from "../../../web/static/items.js";
import { event } from "./fake_socket.mjs";

const STATE = {
  name: "G", topic: "", join: "open", history: "all", first: 1, seq: 10,
  members: [{ user: "alice", role: "owner" }, { user: "bob", role: "member" }],
};

/** Alice's view of a group at seq 10, of which she has got the events from 9 on. */
function opened() {
  const conversation = new Conversation("g", "alice");
  conversation.setState(STATE);
  conversation.apply(event(9));
  conversation.apply(event(10));
  return conversation;
}

const texts = ({ items }) => items.map((item) => item.text ?? item.parts);

test("replayed events show messages and change no member: the state has them already", () => {
  const conversation = new Conversation("g", "alice");
  conversation.setState(STATE);

  conversation.apply(event(9, { kind: "member.left", data: { user: "bob" } }));

  assert.deepEqual([...conversation.members.keys()], ["alice", "bob"]);
  assert.deepEqual(texts(conversation), [[{ user: "bob" }, " left"]]);
});

test("live events change members and the name, and are told", () => {
  const conversation = opened();

  conversation.apply(event(11, { kind: "member.joined", by: "alice", data: { user: "eve", role: "member" } }));
  conversation.apply(event(12, { kind: "member.removed", by: "alice", data: { user: "bob", banned: false } }));
  conversation.apply(event(13, { kind: "group.updated", by: "alice", data: { name: "H" } }));
  conversation.apply(event(14, { kind: "member.role_changed", by: "alice", data: { user: "eve", role: "owner", from: "alice" } }));

  assert.equal(conversation.name, "H");
  assert.deepEqual([...conversation.members], [["alice", "admin"], ["eve", "owner"]]);
  assert.deepEqual(texts(conversation).slice(2), [
    [{ user: "alice" }, " added ", { user: "eve" }],
    [{ user: "alice" }, " removed ", { user: "bob" }],
    [{ user: "alice" }, " ", "renamed the group to “H”"],
    [{ user: "alice" }, " made ", { user: "eve" }, " the owner"],
  ]);
});

test("kinds that are not known show nothing", () => {
  const conversation = opened();

  conversation.apply(event(11, { kind: "poem.recited" }));
  conversation.apply(event(12, { kind: "constructor" }));

  assert.deepEqual(texts(conversation), ["m9", "m10"]);
});

test("messages that come from two sides are shown once and in order", () => {
  const conversation = opened();
  assert.equal(conversation.earliest, 9);
  assert.ok(conversation.hasEarlier);
  const page = [7, 8, 9].map((seq) => ({ seq, at: "2026-11-25T01:20:00.000Z", by: "bob", text: `m${seq}` }));

  conversation.prepend(page, false);
  conversation.apply(event(11));

  assert.deepEqual(texts(conversation), ["m7", "m8", "m9", "m10", "m11"]);
  assert.equal(conversation.earliest, 7);
  assert.ok(!conversation.hasEarlier);
});

test("there is nothing earlier than the group's creation", () => {
  const conversation = new Conversation("g", "alice");
  conversation.setState({ ...STATE, seq: 2 });

  conversation.apply(event(1, { kind: "group.created", by: "alice", data: {} }));

  assert.ok(!conversation.hasEarlier);
});

test("what is withheld is behind us", () => {
  const conversation = new Conversation("g", "alice");
  conversation.setState({ ...STATE, seq: 5 });

  conversation.withhold({ from: 1, through: 5 });

  assert.equal(conversation.earliest, 1);
  assert.ok(!conversation.hasEarlier);
});

test("edits and deletions change what is shown, and a deleted text does not come back", () => {
  const conversation = opened();

  conversation.apply(event(11, { kind: "message.edited", data: { target: 9, text: "better" } }));
  conversation.apply(event(12, { kind: "message.deleted", data: { target: 10 } }));
  conversation.apply(event(13, { kind: "message.edited", data: { target: 10, text: "again" } }));

  assert.deepEqual(conversation.items.map(({ text, edited }) => [text, edited]), [["better", true], [null, false]]);
});

test("messages of others count as unread from the first state on", () => {
  const conversation = opened();
  assert.equal(conversation.unread, 0);

  conversation.apply(event(11));
  conversation.apply(event(12, { by: "alice" }));
  conversation.setState({ ...STATE, seq: 14 }); // a reconnection; what was missed is unread too
  conversation.apply(event(13));
  conversation.apply(event(14));

  assert.equal(conversation.unread, 3);
});

test("a message on its way is shown until its event comes, whichever is first, event or reply", () => {
  const conversation = opened();
  conversation.addUnsent({ id: "a", text: "one", at: "" });
  conversation.addUnsent({ id: "b", text: "two", at: "" });

  conversation.apply(event(11, { by: "alice", client_msg_id: "a", data: { text: "one" } }));
  conversation.acknowledge("a", 11);
  assert.deepEqual(conversation.unsent.map(({ id }) => id), ["b"]);
  conversation.acknowledge("b", 12);
  assert.deepEqual(conversation.unsent.map(({ id, seq }) => [id, seq]), [["b", 12]]);
  conversation.apply(event(12, { by: "alice", client_msg_id: "b", data: { text: "two" } }));

  assert.deepEqual(conversation.unsent, []);
  assert.deepEqual(texts(conversation), ["m9", "m10", "one", "two"]);
});

test("another user's message with the same client_msg_id takes nothing away", () => {
  const conversation = opened();
  conversation.addUnsent({ id: "a", text: "one", at: "" });

  conversation.apply(event(11, { client_msg_id: "a" }));

  assert.equal(conversation.unsent.length, 1);
});

test("an acknowledged message whose event is not replayed is behind the new state", () => {
  const conversation = opened();
  conversation.addUnsent({ id: "a", text: "one", at: "" });
  conversation.acknowledge("a", 11);

  conversation.reset();
  conversation.setState({ ...STATE, seq: 11 });

  assert.deepEqual(conversation.unsent, []);
});

test("a reset drops what was shown and keeps what is on its way", () => {
  const conversation = opened();
  conversation.addUnsent({ id: "a", text: "one", at: "" });
  conversation.apply(event(11));

  conversation.reset();
  conversation.setState({ ...STATE, seq: 4 });

  assert.deepEqual(texts(conversation), []);
  assert.equal(conversation.unread, 0);
  assert.equal(conversation.earliest, 5);
  assert.ok(conversation.hasEarlier);
  conversation.acknowledge("a", 6);
  assert.equal(conversation.unsent.length, 1); // its event is still to come
  conversation.apply(event(5));
  assert.equal(conversation.unread, 1);
});

test("a message that the lost log had accepted is not shown as on its way for ever", () => {
  const conversation = opened();
  conversation.addUnsent({ id: "a", text: "one", at: "" });
  conversation.acknowledge("a", 100);

  conversation.reset();
  conversation.setState({ ...STATE, seq: 3 });

  assert.deepEqual(conversation.unsent, []);
});

test("quotes are bounded, and one that is an item too is gone with it", () => {
  const conversation = opened();
  const fetched = (seq) => ({ seq, at: "", by: "bob", text: `m${seq}` });

  for (let seq = 1001; seq <= 2101; seq++) conversation.setQuote(seq, fetched(seq), conversation.awaitQuote(seq));
  conversation.setQuote(7, fetched(7), conversation.awaitQuote(7));
  conversation.prepend([fetched(7)], false);

  assert.ok(conversation.quotes.size <= 1000);
  assert.equal(conversation.messageAt(2101).text, "m2101");
  assert.ok(!conversation.quotes.has(7));
  assert.equal(conversation.messageAt(7).text, "m7");
});

test("a tab that stays open keeps the newest, and fetches the rest again", () => {
  const conversation = opened();

  for (let seq = 11; seq <= 20_011; seq++) conversation.apply(event(seq));

  assert.equal(conversation.items.length, 15_000 + 20_011 - 20_009);
  assert.equal(conversation.items.at(-1).seq, 20_011);
  assert.equal(conversation.earliest, conversation.items[0].seq);
  assert.ok(conversation.hasEarlier);
});

test("a page that is older than a change that came meanwhile is shown changed", () => {
  const conversation = opened();
  conversation.awaitPage();

  conversation.apply(event(11, { kind: "message.edited", data: { target: 7, text: "better" } }));
  conversation.apply(event(12, { kind: "reaction.added", by: "eve", data: { target: 7, emoji: "👍" } }));
  conversation.prepend([{ seq: 7, at: "", by: "bob", text: "m7", reactions: { "👍": ["bob"] } }], false);

  const [first] = conversation.items;
  assert.deepEqual([first.text, [...first.reactions.get("👍")]], ["better", ["bob", "eve"]]);
});

test("reactions with the names of an object's own parts are reactions like others", () => {
  const conversation = opened();
  const reactions = JSON.parse('{"__proto__": ["bob"], "constructor": ["bob"]}');

  conversation.prepend([{ seq: 7, at: "", by: "bob", text: "m7", reactions }], false);

  assert.deepEqual(reactionsOf(conversation.items[0], "alice").map(({ emoji }) => emoji), ["__proto__", "constructor"]);
});

test("a reaction of one's own is shown at once, and once when its event has come", () => {
  const conversation = opened();
  const [item] = conversation.items;
  item.wants.set("👍", true);
  assert.deepEqual(reactionsOf(item, "alice"), [{ emoji: "👍", users: ["alice"], own: true, more: false }]);

  conversation.apply(event(11, { kind: "reaction.added", by: "alice", data: { target: 9, emoji: "👍" } }));

  assert.equal(item.wants.size, 0);
  assert.deepEqual(reactionsOf(item, "alice"), [{ emoji: "👍", users: ["alice"], own: true, more: false }]);
});

test("what was read before a reload is no news, and what came since is", () => {
  const conversation = new Conversation("g", "alice", "G", 8);

  conversation.setState(STATE);
  for (const seq of [7, 8, 9, 10]) conversation.apply(event(seq, { data: { text: "hi", mentions: ["alice"] } }));

  assert.deepEqual([conversation.unread, conversation.mentioned], [2, true]);
  conversation.markSeen();
  assert.deepEqual([conversation.unread, conversation.mentioned, conversation.seen], [0, false, 10]);
});

test("pruned history is gone and not looked for", () => {
  const conversation = opened();

  conversation.apply(event(11, { kind: "history.pruned", by: null, data: { through: 9 } }));

  assert.deepEqual(texts(conversation), ["m10"]);
  assert.ok(!conversation.hasEarlier);
});

test("of a group with more members than the server tells at once, the rest come in pages", () => {
  const conversation = new Conversation("g", "zoe");
  conversation.setState({ ...STATE, members_more: true });
  assert.equal(conversation.role, "member");

  conversation.addMembers([{ user: "zoe", role: "admin" }], undefined);

  assert.equal(conversation.role, "admin");
  assert.deepEqual([...conversation.members.keys()], ["alice", "bob", "zoe"]);
  assert.ok(!conversation.membersMore);
});
