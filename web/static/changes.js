/**
 * Changes of messages that are there: shown at once as asked for, until the event has come or the server has refused.
 * A message has `change` or `wants` meanwhile, as `items.js` tells.
 */

export class Changes {
  #client;
  #newId;
  #onChange;

  /**
   * @param {object} parts
   * @param {import("../../clients/js/auerbach.js").Client} parts.client
   * @param {() => string} parts.newId
   * @param {() => void} parts.onChange
   */
  constructor({ client, newId, onChange }) {
    this.#client = client;
    this.#newId = newId;
    this.#onChange = onChange;
  }

  /** Gives one's own message another text. What is refused stays as `change.problem`, to be tried again or dropped. */
  edit(conversation, item, text) {
    return this.#run(conversation, item, { id: this.#newId(), text, problem: null });
  }

  /** Takes a message back. */
  remove(conversation, item) {
    return this.#run(conversation, item, { id: this.#newId(), text: null, problem: null });
  }

  /** Tries again what was refused, as the same request. */
  retry(conversation, item) {
    return this.#run(conversation, item, { ...item.change, problem: null });
  }

  drop(item) {
    this.#show(item, { change: null });
  }

  /** Adds one's own reaction, or takes it away. Rejects with the refusal. */
  async react({ id }, item, emoji, wanted) {
    item.wants.set(emoji, wanted);
    this.#show(item, {});
    try {
      const { seq } = await this.#client[wanted ? "react" : "unreact"](id, item.seq, emoji);
      if (seq !== undefined) return; // its event settles it
    } catch (error) {
      item.wants.delete(emoji);
      this.#show(item, {});
      throw error;
    }
    item.wants.delete(emoji);
    this.#show(item, {});
  }

  async #run({ id: group }, item, change) {
    this.#show(item, { change });
    const options = { client_msg_id: change.id };
    try {
      const { seq } = await (change.text === null
        ? this.#client.delete(group, item.seq, options)
        : this.#client.edit(group, item.seq, change.text, options));
      if (seq === undefined && item.change === change) this.#show(item, { change: null }); // nothing had to change
    } catch (problem) {
      if (item.change === change && problem.code !== "closed") this.#show(item, { change: { ...change, problem } });
    }
  }

  #show(item, changed) {
    Object.assign(item, changed);
    item.version += 1;
    this.#onChange();
  }
}
