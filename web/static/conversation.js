/**
 * One group as the page shows it: the fold of its events, older messages fetched on demand, and messages that are still
 * being sent. It knows nothing of the page and nothing of the network. Items are as in `items.js`.
 *
 * What is not sent yet is `{id, text, at, reply_to?, mentions?, problem}`, `problem` being null while it is on its way, and
 * has its `seq` from its acknowledgement until its event comes.
 */

import * as items from "./items.js";
import { noteOf } from "./words.js";

/** A tab that stays open for weeks keeps the newest; the rest is fetched again when it is scrolled to. */
const MAX_ITEMS = 20_000;
const KEPT_ITEMS = 15_000;
/** More than are on the page at once: none is fetched twice while it is shown. */
const MAX_QUOTES = 1000;

export class Conversation {
  /** In order of seq. */
  items = [];
  unsent = [];
  /** User → role, in order of joining; the first thousand, and what was fetched since. */
  members = new Map();
  membersMore = false;
  /** Where the next page of members begins; undefined before the first. */
  membersCursor;
  /** Users whose ban was seen; the server has no list of them. */
  banned = new Set();
  /** Users who are online, as far as is known. @type {Set<string>} */
  online = new Set();
  topic = "";
  join = "invite";
  history = "all";
  /** `opening`, `open`, or `closed`, which has `problem`: why this user may not read it (a code, or a kind of event). */
  phase = "opening";
  problem = null;
  /** Messages of others since they were last looked at, and whether one of them mentions this user. */
  unread = 0;
  mentioned = false;
  /** Whether there are messages before the first item. */
  hasEarlier = false;
  /** What is being written: `{text, replyTo}`. */
  draft = { text: "", replyTo: null };
  /** Counts the logs that were lost: what is begun on the page may refer to one of them. */
  logsLost = 0;
  /** The seq before which nothing was fetched yet. */
  earliest = null;
  /** Messages that are quoted and not among the items: seq → item, or null where there is none to see. */
  quotes = new Map();
  /** Counts the changes of members and bans. */
  peopleVersion = 0;

  #stateSeq = 0;
  #lastSeq = 0;
  #first = 1;
  #newsAfter = null;
  /** Changes that came while a page was fetched: the page may be older than they are. */
  #meanwhile = null;
  /** The same of quoted messages that are fetched: seq → changes. @type {Map<number, any[]>} */
  #coming = new Map();

  /**
   * @param {string} id
   * @param {string} me
   * @param {string} [name]
   * @param {number | null} [seen] the seq up to which this user has looked at it, as the browser remembers
   */
  constructor(id, me, name = id, seen = null) {
    this.id = id;
    this.me = me;
    this.name = name;
    this.seen = seen;
  }

  /** The own role; of a group with more members than the server tells at once, `member` until it is known. */
  get role() {
    return this.members.get(this.me) ?? (this.membersMore ? "member" : undefined);
  }

  /** The seq of the state: what is not behind it was there before, and is not news. */
  get stateSeq() {
    return this.#stateSeq;
  }

  /** The seq of the newest event that is known of. */
  get head() {
    return Math.max(this.#stateSeq, this.#lastSeq);
  }

  /** How many are unread; `+` where there are more than were fetched. */
  get unreadText() {
    const all = this.#newsAfter === null || this.earliest === null || this.#newsAfter >= this.earliest - 1;
    return `${this.unread}${all ? "" : "+"}`;
  }

  /** When something was last said here: its place in the list. */
  get lastAt() {
    return this.unsent.at(-1)?.at ?? this.items.at(-1)?.at ?? "";
  }

  /** Takes the group's state at its seq: events up to there change no member any more. */
  setState(state) {
    this.phase = "open";
    this.problem = null;
    this.name = state.name;
    this.topic = state.topic ?? "";
    this.join = state.join ?? this.join;
    this.history = state.history ?? this.history;
    this.members = new Map(state.members.map(({ user, role }) => [user, role]));
    this.membersMore = Boolean(state.members_more);
    this.membersCursor = undefined;
    this.peopleVersion += 1;
    this.#stateSeq = state.seq;
    this.#first = state.first;
    this.#newsAfter ??= Math.min(this.seen ?? state.seq, state.seq);
    this.#reach(state.seq + 1);
    this.unsent = this.unsent.filter(({ seq }) => !this.#holds(seq));
  }

  /** Everything that was shown is void; messages on their way are not, but for those that the old log had. */
  reset() {
    this.items = [];
    this.unsent = this.unsent.filter(({ seq }) => seq === undefined);
    this.quotes.clear();
    this.#coming.clear();
    this.earliest = null;
    this.unread = 0;
    this.mentioned = false;
    this.#newsAfter = null;
    this.#meanwhile = null;
    this.#stateSeq = this.#lastSeq = 0;
  }

  /** The log is lost, and its seqs with it: nothing refers to them any more. */
  loseLog() {
    this.reset();
    this.seen = null;
    this.draft = { ...this.draft, replyTo: null };
    this.logsLost += 1;
  }

  close(problem) {
    this.phase = "closed";
    this.problem = problem;
  }

  /** Everything up to now was looked at. True if that is news. */
  markSeen() {
    if (this.unread === 0 && this.seen === this.head) return false;
    this.unread = 0;
    this.mentioned = false;
    this.seen = this.head;
    this.#newsAfter = this.head;
    return true;
  }

  /** Takes the next event of the group. Kinds that are not known change nothing. */
  apply(event) {
    this.#reach(event.seq);
    this.#lastSeq = event.seq;
    if (event.seq > this.#stateSeq) this.#change(event);
    if (event.kind === "message.posted") this.#post(event);
    else this.#alter(event);
    const parts = noteOf(event);
    if (parts) items.insert(this.items, { seq: event.seq, at: event.at, kind: "note", parts });
    if (this.items.length > MAX_ITEMS) this.#keep(this.items.at(-KEPT_ITEMS).seq);
  }

  /** Events from `from` on are not for this user. */
  withhold({ from }) {
    this.#reach(from);
  }

  /** A page of history is asked for, or did not come: what changes in between is applied to it too. */
  awaitPage(coming = true) {
    this.#meanwhile = coming ? [] : null;
  }

  /** Takes a page of history: messages before `earliest`, oldest first. */
  prepend(messages, more) {
    this.items = items.merge(messages.map(items.fetched), this.items);
    const meanwhile = this.#meanwhile ?? [];
    this.#meanwhile = null;
    for (const event of meanwhile) this.#alter(event);
    for (const { seq, by, client_msg_id } of messages) {
      this.quotes.delete(seq); // it is an item now, and changes as one
      if (by === this.me) this.dropUnsent(client_msg_id);
    }
    if (messages.length > 0) this.earliest = Math.min(this.earliest, messages[0].seq);
    this.hasEarlier = more;
  }

  /** The message `seq`: an item, null where it cannot be had, undefined where nobody has asked. */
  messageAt(seq) {
    const item = items.at(this.items, seq);
    return item ? (item.kind === "message" ? item : null) : this.quotes.get(seq);
  }

  /** A message that is quoted is asked for; what this returns goes to `setQuote`. */
  awaitQuote(seq) {
    const meanwhile = [];
    this.#coming.set(seq, meanwhile);
    this.quotes.set(seq, null);
    for (const oldest of this.quotes.keys()) {
      if (this.quotes.size <= MAX_QUOTES) break;
      this.quotes.delete(oldest);
    }
    return meanwhile;
  }

  /** Takes a message that is quoted, as `history` tells of it, or null; what changed `meanwhile` is applied to it. */
  setQuote(seq, quoted, meanwhile) {
    if (this.#coming.get(seq) !== meanwhile) return; // of a log that is no more, or pruned
    this.#coming.delete(seq);
    if (quoted === null || items.at(this.items, seq)) return;
    const item = items.fetched(quoted);
    for (const event of meanwhile) items.alter(item, event);
    this.quotes.set(seq, item);
  }

  /** Takes those who are online now. */
  setOnline(users) {
    this.online = new Set(users);
    this.peopleVersion += 1;
  }

  /** Takes the next page of members. */
  addMembers(members, cursor) {
    for (const { user, role } of members) this.members.set(user, role);
    this.membersCursor = cursor;
    this.membersMore = cursor !== undefined;
    this.peopleVersion += 1;
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
    return seq !== undefined && seq <= this.head;
  }

  #post(event) {
    const { seq, by, client_msg_id, data } = event;
    if (by === this.me) this.dropUnsent(client_msg_id);
    else if (this.#newsAfter !== null && seq > this.#newsAfter) {
      this.unread += 1;
      this.mentioned ||= Boolean(data.mentions?.includes(this.me));
    }
    items.insert(this.items, items.posted(event));
  }

  /** What an event changes in messages that are there. */
  #alter(event) {
    const { kind, by, data } = event;
    this.#meanwhile?.push(event);
    this.#coming.get(data?.target)?.push(event);
    if (kind === "history.pruned") this.#prune(data.through + 1);
    const item = data?.target === undefined ? null : this.messageAt(data.target);
    if (!item) return;
    if (by === this.me) items.settle(item, event);
    items.alter(item, event);
  }

  #reach(seq) {
    if (this.earliest !== null && seq >= this.earliest) return;
    this.earliest = seq;
    this.hasEarlier = seq > this.#first;
  }

  /** Drops what is before `seq`. */
  #keep(seq) {
    this.items = this.items.slice(items.indexOf(this.items, seq));
    this.earliest = Math.max(this.earliest, seq);
    this.hasEarlier = true;
  }

  /** What is before `seq` is served no more. */
  #prune(seq) {
    this.#first = Math.max(this.#first, seq);
    for (const quoted of this.quotes.keys()) if (quoted < seq) this.quotes.set(quoted, null);
    for (const quoted of this.#coming.keys()) if (quoted < seq) this.#coming.delete(quoted);
    this.#keep(seq);
    this.hasEarlier = this.earliest > this.#first;
  }

  #change({ kind, data }) {
    const { members } = this;
    if (kind === "group.updated") Object.assign(this, pick(data, ["name", "topic", "join", "history"]));
    else if (kind === "member.joined") members.set(data.user, data.role);
    else if (kind === "member.left") members.delete(data.user);
    else if (kind === "member.removed") {
      members.delete(data.user);
      if (data.owner) members.set(data.owner, "owner");
      if (data.banned) this.banned.add(data.user);
    } else if (kind === "member.unbanned") this.banned.delete(data.user);
    else if (kind === "member.role_changed") {
      members.set(data.user, data.role);
      if (data.from) members.set(data.from, "admin");
    }
    if (kind.startsWith("member.")) this.peopleVersion += 1;
  }
}

const pick = (data, names) => Object.fromEntries(names.filter((name) => name in data).map((name) => [name, data[name]]));
