/**
 * What the browser remembers. For this user: the groups that were opened. For this tab: who is signed in, and messages
 * without an outcome, which a reload sends again under the same id.
 */

const MAX_GROUPS = 50;

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

  /** The groups of `user`, newest first: `[{id, name}]`. */
  groups(user) {
    return read(this.#lasting, `auerbach.groups.${user}`, []);
  }

  /** Puts a group first, or changes its name in its place; the oldest beyond `MAX_GROUPS` are forgotten. */
  remember(user, { id, name }) {
    const groups = this.groups(user);
    const known = groups.find((group) => group.id === id);
    if (known) known.name = name;
    else groups.unshift({ id, name });
    write(this.#lasting, `auerbach.groups.${user}`, groups.slice(0, MAX_GROUPS));
  }

  forget(user, id) {
    write(this.#lasting, `auerbach.groups.${user}`, this.groups(user).filter((group) => group.id !== id));
    this.setUnsent(user, id, []);
  }

  /** Messages without an outcome: `[{id, text, at}]`, `id` being the client_msg_id. */
  unsent(user, group) {
    return read(this.#tab, unsentKey(user, group), []);
  }

  setUnsent(user, group, unsent) {
    write(this.#tab, unsentKey(user, group), unsent.length ? unsent : null);
  }
}

const unsentKey = (user, group) => `auerbach.unsent.${JSON.stringify([user, group])}`;

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
