/**
 * A signed-in user: the connection, the groups followed, and what can be done in them. It knows nothing of the page,
 * which is told of every change by `onChange`.
 */

import { Conversation } from "./conversation.js";

/** How much of a group is shown before older messages are scrolled to. */
const FIRST_EVENTS = 50;
const PAGE = 50;

export class Session {
  /** Group id → Conversation, in the order of the list. @type {Map<string, Conversation>} */
  conversations = new Map();
  me = "";
  limits = null;
  #client;
  #newId;
  #store;
  #onChange;
  #subscriptions = new Map();
  #loading = new Set();

  /**
   * @param {object} parts
   * @param {import("../../clients/js/auerbach.js").Client} parts.client
   * @param {() => string} parts.newId
   * @param {import("./store.js").Store} parts.store
   * @param {() => void} parts.onChange
   */
  constructor({ client, newId, store, onChange }) {
    this.#client = client;
    this.#newId = newId;
    this.#store = store;
    this.#onChange = onChange;
  }

  /** Connects, then follows the groups that this user had open. Rejects when the server refuses for good. */
  async begin() {
    const hello = await this.#client.connect();
    this.me = hello.user;
    this.limits = hello.limits;
    for (const { id, name } of this.#store.groups(this.me)) this.#follow(id, name);
    this.#onChange();
  }

  end() {
    this.#client.close();
  }

  /** The group `id`, followed from now on if it was not. */
  open(id) {
    const known = this.conversations.get(id);
    if (known) return known;
    const conversation = this.#follow(id);
    this.conversations = new Map([[id, conversation], ...this.conversations]);
    this.#onChange();
    return conversation;
  }

  /** Creates a group and returns its id. */
  async create(name, { open }) {
    const { group } = await this.#client.request("create_group", { name, join: open ? "open" : "invite" });
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

  /** Takes a group off the list; memberships stay. */
  forget(id) {
    this.#subscriptions.get(id)?.close();
    this.#subscriptions.delete(id);
    this.conversations.delete(id);
    this.#store.forget(this.me, id);
    this.#onChange();
  }

  addMember(id, user) {
    return this.#client.request("add_member", { group: id, user });
  }

  removeMember(id, user) {
    return this.#client.request("remove_member", { group: id, user });
  }

  /** Writes a message: it is shown at once, and sent until there is an outcome. */
  send(conversation, text) {
    const unsent = { id: this.#newId(), text, at: new Date().toISOString() };
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
  async loadEarlier(conversation) {
    const { id, earliest } = conversation;
    if (this.#loading.has(id) || !conversation.hasEarlier) return;
    this.#loading.add(id);
    try {
      const { messages, more } = await this.#client.request("history", { group: id, before: earliest, limit: PAGE });
      // Where a reset came in between, the page belongs to a log that is no more.
      if (conversation.earliest === earliest) conversation.prepend(messages, more);
      this.#onChange();
    } finally {
      this.#loading.delete(id);
    }
  }

  #follow(id, name) {
    const conversation = new Conversation(id, this.me, name);
    this.conversations.set(id, conversation);
    this.#subscribe(conversation);
    for (const unsent of this.#store.unsent(this.me, id)) {
      conversation.addUnsent(unsent);
      this.#transmit(conversation, unsent);
    }
    return conversation;
  }

  #subscribe(conversation) {
    const changes = (act) => (what) => {
      act(what);
      this.#onChange();
    };
    const on = {
      onEvent: changes((event) => conversation.apply(event)),
      onReset: changes(() => conversation.reset()),
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

  async #transmit(conversation, { id, text }) {
    this.#saveUnsent(conversation);
    this.#onChange();
    try {
      const { seq } = await this.#client.send(conversation.id, text, { client_msg_id: id });
      conversation.acknowledge(id, seq);
    } catch (error) {
      if (error.code === "closed") return; // signed out: it is sent at the next start of this tab
      conversation.fail(id, error);
    }
    this.#saveUnsent(conversation);
    this.#onChange();
  }

  #saveUnsent({ id, unsent }) {
    const open = unsent.filter(({ seq }) => seq === undefined);
    this.#store.setUnsent(this.me, id, open.map(({ id: key, text, at }) => ({ id: key, text, at })));
  }
}
