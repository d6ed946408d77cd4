/**
 * A signed-in user: the connection, the groups followed, and what can be done in them. It knows nothing of the page,
 * which is told of every change by `onChange`.
 */

import { Changes } from "./changes.js";
import { Conversation } from "./conversation.js";

/** How much of a group is shown before older messages are scrolled to. */
const FIRST_EVENTS = 50;
const PAGE = 50;
/** The most that the server gives at once, where a certain message is looked for. */
const LARGE_PAGE = 200;
const MEMBERS_PAGE = 1000;
const SAVE_MS = 1000;
/** For so long after it was sent a message may be sent again and is never posted twice (protocol, section 2). */
const ASSURED_MS = 10 * 60 * 1000;

export class Session {
  /** Group id → Conversation, the one opened last first. @type {Map<string, Conversation>} */
  conversations = new Map();
  me = "";
  limits = null;
  /** What changes messages that are there. @type {Changes} */
  changes;
  #client;
  #newId;
  #store;
  #onChange;
  #watchOnline;
  /** Who is online in the group on the page. @type {{ conversation: Conversation, online: any } | null} */
  #watched = null;
  #subscriptions = new Map();
  /** Group → the page that is on its way. @type {Map<string, Promise<void>>} */
  #loading = new Map();
  /** Conversations whose `seen` is to be remembered, and the timer of that. @type {Set<Conversation>} */
  #seen = new Set();
  #saving;

  /**
   * @param {object} parts
   * @param {import("../../clients/js/auerbach.js").Client} parts.client
   * @param {() => string} parts.newId
   * @param {import("./store.js").Store} parts.store
   * @param {() => void} parts.onChange
   * @param {(group: string, onChange: () => void) => import("../../clients/js/auerbach.js").Online | null} [parts.watchOnline]
   */
  constructor({ client, newId, store, onChange, watchOnline = () => null }) {
    this.#client = client;
    this.#newId = newId;
    this.#store = store;
    this.#onChange = onChange;
    this.#watchOnline = watchOnline;
    this.changes = new Changes({ client, newId, onChange });
  }

  /** Connects, then follows the groups that this user had open. Rejects when the server refuses for good. */
  async begin() {
    const hello = await this.#client.connect();
    this.me = hello.user;
    this.limits = hello.limits;
    for (const { id, name, seen } of this.#store.groups(this.me)) this.#follow(id, name, seen);
    this.#onChange();
  }

  // Groups and their members.

  /** The group `id`, followed from now on if it was not. */
  open(id) {
    const known = this.conversations.get(id);
    if (known) return known;
    const conversation = this.#follow(id);
    this.conversations = new Map([[id, conversation], ...this.conversations]);
    this.#onChange();
    return conversation;
  }

  /** Creates a group of these settings and returns its id. */
  async create(settings) {
    const { group } = await this.#client.request("create_group", settings);
    this.open(group);
    return group;
  }

  /** Becomes a member of `id`; to be one already is as good. */
  async join(id) {
    try {
      await this.#client.request("join", { group: id });
    } catch (error) {
      if (error.code !== "already_a_member") throw error;
    }
    const known = this.conversations.get(id);
    if (known?.phase !== "closed") return this.open(id);
    known.phase = "opening";
    this.#subscribe(known);
    this.#onChange();
    return known;
  }

  async leave(id) {
    await this.#client.request("leave", { group: id });
    this.forget(id);
  }

  /** Ends the group for all of its members. */
  async deleteGroup(id) {
    await this.#client.deleteGroup(id);
    this.forget(id);
  }

  /** Takes a group off the list; memberships stay. */
  forget(id) {
    this.#subscriptions.get(id)?.close();
    this.#subscriptions.delete(id);
    this.conversations.delete(id);
    this.#store.forget(this.me, id);
    this.#onChange();
  }

  updateGroup(id, settings) {
    return this.#client.updateGroup(id, settings);
  }

  addMember(id, user) {
    return this.#client.request("add_member", { group: id, user });
  }

  removeMember(id, user, { ban = false } = {}) {
    return this.#client.request("remove_member", { group: id, user, ...(ban ? { ban } : {}) });
  }

  async unban(id, user) {
    await this.#client.unban(id, user);
    this.conversations.get(id)?.banned.delete(user); // without an event, where the user was not banned
  }

  /** `owner` transfers the ownership. */
  setRole(id, user, role) {
    return this.#client.setRole(id, user, role);
  }

  /** Fetches the next page of members, where the state had not all of them. */
  async loadMembers(conversation) {
    const { id, membersCursor } = conversation;
    const asked = { group: id, limit: MEMBERS_PAGE, ...(membersCursor === undefined ? {} : { cursor: membersCursor }) };
    const { members, cursor } = await this.#client.request("members", asked);
    conversation.addMembers(members, cursor);
    this.#onChange();
  }

  // Messages.

  /** Writes a message: it is shown at once, and sent until there is an outcome. `with_`: `{reply_to?, mentions?}`. */
  send(conversation, text, with_ = {}) {
    const unsent = { id: this.#newId(), text, at: new Date().toISOString(), ...with_ };
    conversation.addUnsent(unsent);
    this.#transmit(conversation, unsent);
  }

  /** Sends again what failed, as the same message. */
  retry(conversation, unsent) {
    conversation.fail(unsent.id, null);
    this.#transmit(conversation, unsent);
  }

  discard(conversation, unsent) {
    conversation.dropUnsent(unsent.id);
    this.#saveUnsent(conversation);
    this.#onChange();
  }

  /** Fetches the page of messages before the first one shown; one at a time a group. */
  loadEarlier(conversation, limit = PAGE) {
    const { id, hasEarlier } = conversation;
    if (!hasEarlier) return Promise.resolve();
    if (!this.#loading.has(id)) {
      this.#loading.set(id, this.#load(conversation, limit).finally(() => this.#loading.delete(id)));
    }
    return this.#loading.get(id);
  }

  /** Fetches older messages until `seq` is among them, or is known not to be. */
  async reach(conversation, seq) {
    while (conversation.hasEarlier && conversation.earliest > seq) {
      const { earliest } = conversation;
      await this.loadEarlier(conversation, LARGE_PAGE);
      if (conversation.earliest === earliest && conversation.hasEarlier) return; // a reset came in between
    }
  }

  /** Fetches a message that another one quotes, once. */
  async loadQuote(conversation, seq) {
    const meanwhile = conversation.awaitQuote(seq);
    let quoted = null;
    try {
      const { messages } = await this.#client.request("history", { group: conversation.id, before: seq + 1, limit: 1 });
      quoted = messages.find((message) => message.seq === seq) ?? null;
    } catch {
      // it is named, and not shown
    }
    conversation.setQuote(seq, quoted, meanwhile);
    this.#onChange();
  }

  /** Who is online is known of one group: the one that is on the page. */
  watch(conversation) {
    if (conversation?.phase === "open" && this.#watched?.conversation === conversation) return;
    this.#watched?.online?.close();
    this.#watched = null;
    if (conversation?.phase !== "open") return;
    const online = this.#watchOnline(conversation.id, () => {
      conversation.setOnline(online.users);
      this.#onChange();
    });
    this.#watched = { conversation, online };
    online?.refresh().catch(() => {}); // refused: the group says why, and nobody is shown as online
  }

  async #load(conversation, limit) {
    const { id, earliest } = conversation;
    conversation.awaitPage();
    try {
      const { messages, more } = await this.#client.request("history", { group: id, before: earliest, limit });
      // Where a reset came in between, the page belongs to a log that is no more.
      if (conversation.earliest === earliest) conversation.prepend(messages, more);
      this.#saveUnsent(conversation);
      this.#onChange();
    } finally {
      conversation.awaitPage(false);
    }
  }

  // What the browser remembers.

  /** The newest of a group was looked at. It is remembered soon: not with every message of a busy group. */
  markSeen(conversation) {
    if (conversation.phase !== "open" || !conversation.markSeen()) return;
    this.#seen.add(conversation);
    this.#saving ??= setTimeout(() => this.saveSeen(), SAVE_MS);
  }

  /** Remembers it now, because the page is left. */
  saveSeen() {
    clearTimeout(this.#saving);
    this.#saving = undefined;
    for (const each of this.#seen) if (this.conversations.get(each.id) === each) this.#store.remember(this.me, each);
    this.#seen.clear();
  }

  /** What is being written in a group. */
  setDraft(conversation, draft) {
    conversation.draft = draft;
    this.#store.setDraft(this.me, conversation.id, draft);
  }

  #follow(id, name, seen) {
    const conversation = new Conversation(id, this.me, name, seen);
    conversation.draft = this.#store.draft(this.me, id);
    this.conversations.set(id, conversation);
    this.#subscribe(conversation);
    this.#resume(conversation);
    return conversation;
  }

  /** What had no outcome when the page was left is sent again; what was refused, or may be posted twice, is asked about. */
  #resume(conversation) {
    for (const { problem, ...unsent } of this.#store.unsent(this.me, conversation.id)) {
      const assured = Date.now() - Date.parse(unsent.at) < ASSURED_MS;
      conversation.addUnsent({ ...unsent, problem: problem ?? (assured ? null : { code: "outdated" }) });
    }
    for (const unsent of conversation.unsent) if (unsent.problem === null) this.#transmit(conversation, unsent);
  }

  #subscribe(conversation) {
    const changes = (act) => (what) => {
      const { length } = conversation.unsent;
      act(what);
      if (conversation.unsent.length !== length) this.#saveUnsent(conversation); // it was posted, though no reply had said so
      this.#onChange();
    };
    const on = {
      onEvent: changes((event) => conversation.apply(event)),
      onReset: changes(() => {
        conversation.loseLog();
        this.setDraft(conversation, conversation.draft);
      }),
      onState: changes((state) => {
        conversation.setState(state);
        this.#store.remember(this.me, conversation);
      }),
      onWithheld: changes((withheld) => conversation.withhold(withheld)),
      onEnd: changes((why) => conversation.close(why)),
    };
    const { id } = conversation;
    conversation.reset();
    this.#subscriptions.set(id, this.#client.subscribe(id, { last: FIRST_EVENTS }, on));
  }

  async #transmit(conversation, { id, text, reply_to, mentions }) {
    this.#saveUnsent(conversation);
    this.#onChange();
    try {
      const { seq } = await this.#client.send(conversation.id, text, { client_msg_id: id, reply_to, mentions });
      conversation.acknowledge(id, seq);
    } catch (error) {
      if (error.code === "closed") return; // signed out: it is sent at the next start of this tab
      conversation.fail(id, error);
    }
    this.#saveUnsent(conversation);
    this.#onChange();
  }

  #saveUnsent(conversation) {
    const { id, unsent } = conversation;
    if (this.conversations.get(id) !== conversation) return; // left meanwhile: nothing of it is kept
    const open = unsent.filter(({ seq }) => seq === undefined);
    this.#store.setUnsent(this.me, id, open.map(stored));
  }
}

/** A message without its outcome as the browser keeps it: of an error, what there is to tell. */
function stored({ id, text, at, reply_to, mentions, problem }) {
  const told = problem && { code: problem.code, field: problem.field, message: problem.message };
  return { id, text, at, reply_to, mentions, problem: told };
}
