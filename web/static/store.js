/**
 * What the browser remembers. For this user: the groups that were opened, and how far each was read. For this tab: who is
 * signed in, what is being written, and messages that are not sent, which a reload brings back under the same id.
 */

const MAX_GROUPS = 200;

export class Store {
  #lasting;
  #tab;

  /**
   * @param {Storage} lasting
   * @param {Storage} tab
   */
  constructor(lasting, tab) {
    this.#lasting = lasting;
    this.#tab = tab;
  }

  /** `{user}` or `{token}`, or null. */
  get identity() {
    return read(this.#tab, "auerbach.identity", null);
  }

  set identity(identity) {
    write(this.#tab, "auerbach.identity", identity);
    if (identity?.user) write(this.#lasting, "auerbach.name", identity.user);
  }

  /** The name signed in with last. */
  get lastName() {
    return read(this.#lasting, "auerbach.name", "");
  }

  /** The groups of `user`, newest first: `[{id, name, seen}]`, `seen` being the seq up to which it was read. */
  groups(user) {
    return read(this.#lasting, groupsKey(user), []);
  }

  /** Puts a group first, or changes what is known of it in its place; the oldest beyond `MAX_GROUPS` are forgotten. */
  remember(user, { id, name, seen }) {
    const groups = this.groups(user);
    const known = groups.find((group) => group.id === id);
    if (known) Object.assign(known, { name, seen });
    else groups.unshift({ id, name, seen });
    write(this.#lasting, groupsKey(user), groups.slice(0, MAX_GROUPS));
  }

  forget(user, id) {
    write(this.#lasting, groupsKey(user), this.groups(user).filter((group) => group.id !== id));
    this.setUnsent(user, id, []);
    this.setDraft(user, id, null);
  }

  /** Messages not sent: `[{id, text, at, reply_to?, mentions?, problem?}]`, `id` being the client_msg_id. */
  unsent(user, group) {
    return read(this.#tab, keyOf("unsent", user, group), []);
  }

  setUnsent(user, group, unsent) {
    write(this.#tab, keyOf("unsent", user, group), unsent.length ? unsent : null);
  }

  /** What is being written: `{text, replyTo}`. */
  draft(user, group) {
    return read(this.#tab, keyOf("draft", user, group), { text: "", replyTo: null });
  }

  setDraft(user, group, draft) {
    write(this.#tab, keyOf("draft", user, group), draft?.text || draft?.replyTo ? draft : null);
  }
}

const groupsKey = (user) => `auerbach.groups.${user}`;

const keyOf = (what, user, group) => `auerbach.${what}.${JSON.stringify([user, group])}`;

function read(storage, key, otherwise) {
  try {
    return JSON.parse(storage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise; // storage is off, or holds what another version wrote
  }
}

function write(storage, key, value) {
  try {
    if (value === null) storage.removeItem(key);
    else storage.setItem(key, JSON.stringify(value));
  } catch {
    // Storage is off or full: the page works, and forgets when it is left.
  }
}
