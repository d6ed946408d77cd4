import assert from "node:assert/strict";
import { test } from "node:test";

import { event, online, setUp } from "./fake_socket.mjs";

const STATE = { name: "G", seq: 4, first: 1, members: [] };

/** An online client that follows `g` from seq 5 on; `log` records what its handlers were told. */
function following(t, options = {}) {
  const parts = online(t, options);
  const log = [];
  const note = (name) => (what) => log.push([name, what.seq ?? what.through ?? what.code]);
  const subscription = parts.client.subscribe("g", { last: 0 }, {
    onEvent: note("event"), onState: note("state"), onReset: note("reset"), onWithheld: note("withheld"), onEnd: note("end"),
  });
  parts.Socket.last.reply("subscribe", { group: "g", seq: 4, from: 5, recovered: true, state: STATE });
  return { ...parts, log, subscription, again: () => reconnect(parts) };
}

function reconnect({ Socket, tick }, hello = {}) {
  Socket.last.drop();
  tick(5000);
  Socket.last.accept(hello);
}

const seqs = (log) => log.filter(([name]) => name === "event").map(([, seq]) => seq);

test("the state comes first, then events in order, each once", (t) => {
  const { Socket, log, subscription } = following(t);

  Socket.last.receive(event(5), event(6), event(6), event(5), event(7));

  assert.deepEqual(log, [["state", 4], ["event", 5], ["event", 6], ["event", 7]]);
  assert.equal(subscription.cursor, 7);
});

test("a function is enough to follow", (t) => {
  const { client, Socket } = online(t);
  const texts = [];
  client.subscribe("g", { last: 2 }, (e) => texts.push(e.data.text));
  assert.equal(Socket.last.asked("subscribe").last, 2);

  Socket.last.reply("subscribe", { group: "g", seq: 4, from: 3, recovered: true });
  Socket.last.receive(event(3), event(4));

  assert.deepEqual(texts, ["m3", "m4"]);
});

test("what comes before the reply is of an earlier subscription", (t) => {
  const { client, Socket } = online(t);
  const got = [];
  client.subscribe("g", {}, (e) => got.push(e.seq));

  Socket.last.receive(event(1));

  assert.deepEqual(got, []);
});

test("withheld events advance the cursor, unknown kinds too", (t) => {
  const { Socket, log, subscription } = following(t);

  Socket.last.receive({ type: "withheld", group: "g", from: 5, through: 8 }, event(9, { kind: "poem.recited" }), event(10));

  assert.deepEqual(log.slice(1), [["withheld", 8], ["event", 9], ["event", 10]]);
  assert.equal(subscription.cursor, 10);
});

test("after a reconnection it resumes with its cursor and log, before the repeated requests", async (t) => {
  const { client, Socket, again, log } = following(t);
  Socket.last.receive(event(5));
  client.request("state", { group: "g" }).catch(() => {});

  again();

  const [resume, state] = Socket.last.sent;
  assert.deepEqual(resume, { type: "subscribe", group: "g", after: 5, log: "log-1", state: false, id: resume.id });
  assert.equal(state.type, "state");
  Socket.last.reply("subscribe", { group: "g", seq: 7, from: 6, recovered: true });
  Socket.last.receive(event(6), event(7), event(8));
  assert.deepEqual(seqs(log), [5, 6, 7, 8]);
});

test("recovered false resets before the new state and events, and the new log is named from then on", (t) => {
  const { client, Socket, log, subscription, tick } = following(t);
  Socket.last.receive(event(5));

  reconnect({ Socket, tick }, { log: "log-2" });
  assert.equal(Socket.last.asked("subscribe").log, "log-1");
  Socket.last.reply("subscribe", { group: "g", seq: 2, from: 3, recovered: false });
  Socket.last.receive(event(3)); // of a run that is replaced by the next, which brings the state
  const { id, ...anew } = Socket.last.asked("subscribe");
  assert.deepEqual(anew, { type: "subscribe", group: "g", last: 0 });
  Socket.last.reply("subscribe", { group: "g", seq: 2, from: 3, recovered: true, state: { ...STATE, seq: 2 } });
  Socket.last.receive(event(3));

  assert.deepEqual(log.slice(2), [["reset", 2], ["state", 2], ["event", 3]]);
  assert.equal(subscription.log, "log-2");
  reconnect({ Socket, tick }, { log: "log-2" });
  const { after, log: named } = Socket.last.asked("subscribe");
  assert.deepEqual([after, named], [3, "log-2"]);
});

test("a place that is saved within a reset is never one of the old log under the new one's name", (t) => {
  const { client, Socket, tick } = online(t);
  const saved = [];
  const save = () => saved.push([run.cursor, run.log]);
  const run = client.subscribe("g", {}, { onReset: save, onState: save });
  Socket.last.reply("subscribe", { group: "g", seq: 4, from: 5, recovered: true, state: STATE });

  reconnect({ Socket, tick }, { log: "log-2" });
  Socket.last.reply("subscribe", { group: "g", seq: 9, from: 10, recovered: false });
  Socket.last.reply("subscribe", { group: "g", seq: 9, from: 10, recovered: true, state: { ...STATE, seq: 9 } });

  assert.deepEqual(saved, [[4, "log-1"], [undefined, undefined], [9, "log-2"]]);
});

test("a gap is fetched, not shown", (t) => {
  const { Socket, log } = following(t);

  Socket.last.receive(event(5), event(7), event(8));
  const asked = Socket.last.sent.filter((frame) => frame.type === "subscribe");
  assert.equal(asked.length, 2);
  assert.equal(asked[1].after, 5);
  Socket.last.reply("subscribe", { group: "g", seq: 8, from: 6, recovered: true });
  Socket.last.receive(event(6), event(7), event(8));

  assert.deepEqual(seqs(log), [5, 6, 7, 8]);
});

test("gap upon gap without progress gets a new socket instead of a loop", (t) => {
  const { client, Socket } = following(t);

  for (let n = 0; n < 4; n++) {
    Socket.last.receive(event(9));
    Socket.last.reply("subscribe", { group: "g", seq: 9, from: 5, recovered: true });
  }

  assert.equal(client.status.state, "waiting");
});

test("gaps with progress between them are no loop", (t) => {
  const { client, Socket } = following(t);

  for (let seq = 5; seq < 15; seq++) {
    Socket.last.receive(event(seq + 1));
    Socket.last.reply("subscribe", { group: "g", seq: seq + 1, from: seq, recovered: true });
    Socket.last.receive(event(seq));
  }

  assert.equal(client.status.state, "online");
});

test("a later subscription to the group replaces the earlier one", (t) => {
  const { client, Socket } = online(t);
  const told = [];
  const follow = (name) => client.subscribe("g", {}, { onState: () => told.push(name), onEvent: () => told.push(name) });
  follow("first");
  const [{ id }] = Socket.last.sent;
  const second = follow("second");

  Socket.last.receive({ type: "reply", id, ok: true, group: "g", seq: 4, from: 5, recovered: true, state: STATE }, event(5));
  assert.deepEqual([told, second.cursor], [[], undefined]);
  Socket.last.reply("subscribe", { group: "g", seq: 5, from: 6, recovered: true, state: STATE });
  Socket.last.receive(event(6));

  assert.deepEqual(told, ["second", "second"]);
});

test("a reconnection takes the place of a try that was due later", (t) => {
  const { client, Socket, tick } = online(t);
  client.subscribe("g", {}, () => {});
  Socket.last.refuse("subscribe", { code: "unavailable", temporary: true, retry_after_ms: 8000 });

  reconnect({ Socket, tick });
  Socket.last.reply("subscribe", { group: "g", seq: 4, from: 5, recovered: true });
  tick(8000);

  assert.deepEqual(Socket.last.sent.filter((frame) => frame.type === "subscribe").length, 1);
});

test("a temporary refusal is tried again, in its own time", (t) => {
  const { client, Socket, tick } = online(t);
  client.subscribe("g", { last: 5 }, () => {});

  Socket.last.refuse("subscribe", { code: "rate_limited", temporary: true, retry_after_ms: 700 });
  tick(699);
  assert.equal(Socket.last.sent.length, 1);
  tick(1);

  assert.equal(Socket.last.sent.length, 2);
  assert.equal(Socket.last.sent[1].last, 5);
});

test("another refusal ends the subscription", (t) => {
  const { client, Socket, tick } = online(t);
  const ends = [];
  client.subscribe("g", {}, { onEnd: (why) => ends.push(why.code) });

  Socket.last.refuse("subscribe", { code: "not_a_member" });
  reconnect({ Socket, tick });

  assert.deepEqual(ends, ["not_a_member"]);
  assert.deepEqual(Socket.last.sent, []);
});

for (const kind of ["member.left", "member.removed"]) {
  test(`the own ${kind} is the last event`, (t) => {
    const { Socket, log, again } = following(t);

    Socket.last.receive(event(5, { kind, data: { user: "bob" } }), event(6, { kind, data: { user: "alice" } }), event(7));
    again();

    assert.deepEqual(log.slice(1), [["event", 5], ["event", 6], ["end", 6]]);
    assert.deepEqual(Socket.last.sent, []);
  });
}

test("the end of the group is the last event, whatever comes of a later life", (t) => {
  const { Socket, log, again } = following(t);

  Socket.last.receive(event(5), event(6, { kind: "group.deleted", data: {} }), event(7, { kind: "group.created", data: {} }));
  again();

  assert.deepEqual(log.slice(1), [["event", 5], ["event", 6], ["end", 6]]);
  assert.deepEqual(Socket.last.sent, []);
});

test("one's own leaving within a replay is no end: one has joined again since", (t) => {
  const { Socket, log, again } = following(t);
  again();
  Socket.last.reply("subscribe", { group: "g", seq: 6, from: 5, recovered: true });

  Socket.last.receive(
    event(5, { kind: "member.left", data: { user: "alice" } }),
    event(6, { kind: "member.joined", data: { user: "alice" } }),
    event(7),
  );

  assert.deepEqual(log.slice(1), [["event", 5], ["event", 6], ["event", 7]]);
});

test("close leaves the group, and an unsubscribe that got no reply is not repeated", (t) => {
  const { client, Socket, log, subscription, again } = following(t);

  subscription.close();
  assert.equal(Socket.last.asked("unsubscribe").group, "g");
  Socket.last.receive(event(5));
  client.subscribe("g", {}, () => {});
  again();

  assert.deepEqual(seqs(log), []);
  assert.deepEqual(Socket.last.sent.map((frame) => frame.type), ["subscribe"]);
});

/** A server with a log of `g` that loses, doubles and cuts as chance has it. */
function unreliable(t, chance) {
  const parts = setUp(t, { random: () => 0 });
  const head = { seq: 0 };
  const serve = (socket) => {
    for (const { id, after } of socket.sent.splice(0).filter((frame) => frame.type === "subscribe")) {
      socket.receive({ type: "reply", id, ok: true, group: "g", seq: head.seq, from: after + 1, recovered: true });
      for (let seq = after + 1; seq <= head.seq; seq++) if (!fault(socket, seq)) break;
    }
  };
  /** Delivers `seq`, unless chance has it otherwise; false: the socket is gone. */
  const fault = (socket, seq) => {
    const roll = chance();
    if (roll < 0.1) return socket.drop(), false;
    if (roll >= 0.25) socket.receive(event(seq));
    if (roll > 0.9) socket.receive(event(seq));
    return true;
  };
  const step = () => {
    const socket = parts.Socket.last;
    if (socket.onopen && !socket.accepted) socket.accept((socket.accepted = {}));
    serve(socket);
    if (chance() < 0.7) fault(socket, ++head.seq);
    parts.tick(2000);
  };
  return { ...parts, head, step };
}

for (const seed of [1, 2, 3, 4, 5]) {
  test(`whatever is lost, doubled or cut, every event comes once and in order (seed ${seed})`, (t) => {
    const { client, Socket, head, step } = unreliable(t, random(seed));
    const got = [];
    client.connect();
    client.subscribe("g", { after: 0 }, (e) => got.push(e.seq));

    for (let n = 0; n < 300; n++) step();

    assert.ok(Socket.all.length > 10);
    assert.ok(got.length > 100 && got.length <= head.seq);
    assert.deepEqual(got, got.map((_, n) => n + 1));
  });
}

/** Park and Miller's generator: the same chances for the same seed. */
function random(seed) {
  let x = seed * 7919;
  return () => (x = (x * 48_271) % 2_147_483_647) / 2_147_483_647;
}

/** A client that follows `count` groups, g0, g1, …, each live from seq 5 on; `log` is what each was told. */
function followingMany(t, count) {
  const parts = online(t);
  const log = [];
  for (let n = 0; n < count; n++) {
    const note = (name) => (what) => log.push([`g${n}`, name, what.seq ?? what.code]);
    const on = { onEvent: note("event"), onState: note("state"), onReset: note("reset"), onEnd: note("end") };
    parts.client.subscribe(`g${n}`, {}, on);
  }
  for (let ms = 0; ms < 30_000; ms += 1000) {
    for (const { id, group } of parts.Socket.last.sent.splice(0)) {
      parts.Socket.last.receive({ type: "reply", id, ok: true, group, seq: 4, from: 5, recovered: true });
    }
    parts.tick(1000);
  }
  return { ...parts, log, batches: () => parts.Socket.last.sent.filter(({ type }) => type === "subscribe") };
}

test("many groups are resumed a hundred at a time, each from its place, before all else", (t) => {
  const { client, Socket, tick, batches } = followingMany(t, 250);
  Socket.last.receive(event(5, { group: "g7" }));
  client.request("state", { group: "g" }).catch(() => {});

  reconnect({ Socket, tick });

  const sizes = batches().map(({ groups, state }) => [groups.length, state]);
  assert.deepEqual(sizes, [[100, false], [100, false], [50, false]]);
  assert.deepEqual(batches()[0].groups.slice(6, 8), [
    { group: "g6", after: 4, log: "log-1" }, { group: "g7", after: 5, log: "log-1" },
  ]);
  assert.deepEqual(Socket.last.sent.map(({ type }) => type), ["subscribe", "subscribe", "subscribe", "state"]);
});

test("each group of a batch has its own outcome, in whatever order they are told", (t) => {
  const { client, Socket, tick, log, batches } = followingMany(t, 5);
  reconnect({ Socket, tick });
  const gone = { ok: false, group: "g1", error: { code: "not_a_member", message: "", temporary: false } };
  const later = { ok: false, group: "g2", error: { code: "unavailable", message: "", temporary: true } };
  const results = [
    { ok: true, group: "g4", seq: 4, from: 5, recovered: true }, gone, later,
    { ok: true, group: "g3", seq: 9, from: 9, recovered: false },
    { ok: true, group: "g0", seq: 5, from: 5, recovered: true },
  ];

  Socket.last.receive({ type: "reply", id: batches()[0].id, ok: true, results });
  Socket.last.receive(event(5, { group: "g0" }), event(9, { group: "g3" }));
  tick(4000);

  assert.deepEqual(log, [["g1", "end", "not_a_member"], ["g3", "reset", 9], ["g0", "event", 5]]);
  const [, anew, again, ...more] = batches().map(({ id, type, ...frame }) => frame);
  assert.deepEqual([anew, again, more], [{ group: "g3" }, { group: "g2", after: 4, log: "log-1", state: false }, []]);
  assert.equal(client.status.state, "online");
});

test("a refusal of a whole batch is one of each of its groups", (t) => {
  const { Socket, tick, log, batches } = followingMany(t, 3);
  reconnect({ Socket, tick });

  Socket.last.refuse("subscribe", { code: "too_many_groups" });

  assert.deepEqual(log, [0, 1, 2].map((n) => [`g${n}`, "end", "too_many_groups"]));
  assert.equal(batches().length, 1);
});

for (const results of [undefined, [], [{ ok: true, group: "g0", seq: 4 }], [null, 7]]) {
  test(`an answer to a batch that lacks a group gets a new socket: ${JSON.stringify(results)}`, (t) => {
    const { client, Socket, tick, batches } = followingMany(t, 2);
    reconnect({ Socket, tick });

    Socket.last.receive({ type: "reply", id: batches()[0].id, ok: true, results });

    assert.equal(client.status.state, "waiting");
  });
}

test("after a reset a cursor that the app had brought is not asked with again", (t) => {
  const { client, Socket, tick } = online(t);
  client.subscribe("g", { after: 3, log: "log-1" }, {});
  Socket.last.reply("subscribe", { group: "g", seq: 4, from: 4, recovered: true });
  reconnect({ Socket, tick }, { log: "log-2" });

  Socket.last.reply("subscribe", { group: "g", seq: 2, from: 3, recovered: false });

  const { id, ...anew } = Socket.last.asked("subscribe");
  assert.deepEqual(anew, { type: "subscribe", group: "g", after: 2, log: "log-2" });
});

test("closing and following again at once ends with following", (t) => {
  const { client, Socket, subscription } = following(t);

  subscription.close();
  client.subscribe("g", {}, {});

  assert.deepEqual(Socket.last.sent.slice(1).map(({ type }) => type), ["unsubscribe", "subscribe"]);
});

test("what comes for a subscription that was replaced is not told", (t) => {
  const { client, Socket } = online(t);
  const told = [];
  client.subscribe("g", { after: 9 }, { onReset: () => told.push("reset"), onEnd: () => told.push("end") });
  const [{ id }] = Socket.last.sent;
  client.subscribe("g", {}, {});

  Socket.last.receive({ type: "reply", id, ok: true, group: "g", seq: 4, from: 5, recovered: false, state: STATE });

  assert.deepEqual(told, []);
});

test("a handler that ends its subscription hears nothing more", (t) => {
  const { client, Socket } = online(t);
  const heard = [];
  const run = client.subscribe("g", {}, {
    onReset: () => (heard.push("reset"), run.close()),
    onState: () => heard.push("state"),
    onEvent: () => heard.push("event"),
  });

  Socket.last.reply("subscribe", { group: "g", seq: 4, from: 5, recovered: false, state: STATE });
  Socket.last.receive(event(5));

  assert.deepEqual(heard, ["reset"]);
});
