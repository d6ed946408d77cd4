/**
 * One group as the page shows it: the fold of its events, older messages fetched on demand, and messages that are still
 * being sent. It knows nothing of the page and nothing of the network.
 *
 * An item is `{seq, at, kind: "message", by, text, edited}` (text null: deleted) or `{seq, at, kind: "note", parts}`, where a
 * part is a string or `{user}`. What is not sent yet is `{id, text, at, problem}`, `problem` being null while it is on its way,
 * and has its `seq` from its acknowledgement until its event comes.
 */

import { noteOf } from "./words.js";

/** A tab that stays open for weeks keeps the newest; the rest is fetched again when it is scrolled to. */
const MAX_ITEMS = 2000;
const KEPT_ITEMS = 1500;

export class Conversation {
  /** In order of seq. */
  items = [];
  unsent = [];
  /** User → role, in order of joining. */
  members = new Map();
  membersMore = false;
  /** `opening`, `open`, or `closed`, which has `problem`: why this user may not read it (a code, or a kind of event). */
  phase = "opening";
  problem = null;
  /** Messages of others since they were last looked at. */
  unread = 0;
  /** Whether there are messages before the first item. */
  hasEarlier = false;
  /** What is being written. */
  draft = "";
  /** The seq before which nothing was fetched yet. */
  earliest = null;

  #stateSeq = 0;
  #lastSeq = 0;
  #first = 1;
  #newsAfter = null;

  /**
   * @param {string} id
   * @param {string} me
   * @param {string} [name]
   */
  constructor(id, me, name = id) {
    this.id = id;
    this.me = me;
    this.name = name;
  }

  get role() {
    return this.members.get(this.me);
  }

  /** Takes the group's state at its seq: events up to there change no member any more. */
  setState(state) {
    this.phase = "open";
    this.problem = null;
    this.name = state.name;
    this.members = new Map(state.members.map(({ user, role }) => [user, role]));
    this.membersMore = Boolean(state.members_more);
    this.#stateSeq = state.seq;
    this.#first = state.first;
    this.#newsAfter ??= state.seq;
    this.#reach(state.seq + 1);
    this.unsent = this.unsent.filter(({ seq }) => !this.#holds(seq));
  }

  /** Everything that was shown is void; messages on their way are not. */
  reset() {
    this.items = [];
    this.earliest = null;
    this.unread = 0;
    this.#newsAfter = null;
    this.#stateSeq = this.#lastSeq = 0;
  }

  close(problem) {
    this.phase = "closed";
    this.problem = problem;
  }

  /** Takes the next event of the group. Kinds that are not known change nothing. */
  apply(event) {
    this.#reach(event.seq);
    this.#lastSeq = event.seq;
    if (event.seq > this.#stateSeq) this.#change(event);
    if (event.kind === "message.posted") this.#post(event);
    else if (event.kind === "message.edited") this.#rewrite(event.data.target, event.data.text, true);
    else if (event.kind === "message.deleted") this.#rewrite(event.data.target, null, false);
    const parts = noteOf(event);
    if (parts) this.#insert({ seq: event.seq, at: event.at, kind: "note", parts });
    if (this.items.length > MAX_ITEMS) {
      this.items = this.items.slice(-KEPT_ITEMS);
      this.earliest = this.items[0].seq;
      this.hasEarlier = true;
    }
  }

  /** Events from `from` on are not for this user. */
  withhold({ from }) {
    this.#reach(from);
  }

  /** Takes a page of history: messages before `earliest`, oldest first. */
  prepend(messages, more) {
    for (const m of messages) this.#insert(message(m.seq, m.at, m.by, m.text, Boolean(m.edited_at)));
    if (messages.length > 0) this.earliest = Math.min(this.earliest, messages[0].seq);
    this.hasEarlier = more;
  }

  // Messages of one's own, from the moment they are written to their event.

  addUnsent(unsent) {
    this.unsent.push({ problem: null, ...unsent });
  }

  /** The message was accepted as `seq`: it is shown by its event, which has come, or comes with the run. */
  acknowledge(id, seq) {
    const unsent = this.unsent.find((each) => each.id === id);
    if (this.#holds(seq)) this.dropUnsent(id);
    else if (unsent) Object.assign(unsent, { seq, problem: null });
  }

  fail(id, problem) {
    const unsent = this.unsent.find((each) => each.id === id);
    if (unsent) unsent.problem = problem;
  }

  dropUnsent(id) {
    this.unsent = this.unsent.filter((each) => each.id !== id);
  }

  /** Whether the event `seq` is behind us: shown, or among the older ones that are fetched when they are scrolled to. */
  #holds(seq) {
    return seq !== undefined && seq <= Math.max(this.#stateSeq, this.#lastSeq);
  }

  #post({ seq, at, by, data, client_msg_id }) {
    if (by === this.me) this.dropUnsent(client_msg_id);
    else if (this.#newsAfter !== null && seq > this.#newsAfter) this.unread += 1;
    this.#insert(message(seq, at, by, data.text, false));
  }

  #rewrite(seq, text, edited) {
    const item = this.items.find((each) => each.seq === seq && each.kind === "message");
    if (item && item.text !== null) Object.assign(item, { text, edited });
  }

  #insert(item) {
    let place = this.items.length;
    while (place > 0 && this.items[place - 1].seq > item.seq) place -= 1;
    if (this.items[place - 1]?.seq !== item.seq) this.items.splice(place, 0, item);
  }

  #reach(seq) {
    if (this.earliest !== null && seq >= this.earliest) return;
    this.earliest = seq;
    this.hasEarlier = seq > this.#first;
  }

  #change({ kind, data }) {
    const { members } = this;
    if (kind === "group.updated") this.name = data.name ?? this.name;
    else if (kind === "member.joined") members.set(data.user, data.role);
    else if (kind === "member.left") members.delete(data.user);
    else if (kind === "member.removed") {
      members.delete(data.user);
      if (data.owner) members.set(data.owner, "owner");
    } else if (kind === "member.role_changed") {
      members.set(data.user, data.role);
      if (data.from) members.set(data.from, "admin");
    }
  }
}

function message(seq, at, by, text, edited) {
  return { seq, at, kind: "message", by, text: text ?? null, edited };
}
