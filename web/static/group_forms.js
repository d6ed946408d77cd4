/** The dialogs about a whole group: a new one, joining one, its settings, its end. */

import { groupOf } from "./address.js";
import { ask, notify, onSubmit, openDialog } from "./dialogs.js";
import { byId } from "./dom.js";
import { plain } from "./names.js";
import { explain } from "./words.js";

const RANK = { admin: true, owner: true };

export class GroupForms {
  #actions;
  /** @type {import("./conversation.js").Conversation | null} */
  #shown = null;

  /** @param {any} actions `create(settings)`, `join(id)`, `update(id, settings)`, `delete(id)`, `leave(id)` */
  constructor(actions) {
    this.#actions = actions;
    byId("new-group").addEventListener("click", () => openDialog("create"));
    byId("join-group").addEventListener("click", () => openDialog("join"));
    byId("settings-open").addEventListener("click", () => this.#openSettings());
    byId("delete-group").addEventListener("click", () => this.#delete());
    onSubmit("create-form", "create-problem", () => this.#create());
    onSubmit("join-form", "join-problem", () => this.#join());
    onSubmit("settings-form", "settings-problem", () => this.#update());
  }

  /** The settings are those of this group. */
  show(conversation) {
    this.#shown = conversation;
    byId("settings-open").hidden = !(conversation?.phase === "open" && RANK[conversation.role]);
  }

  async leave() {
    const { id, name } = this.#shown;
    if (!(await ask(`Leave “${plain(name)}”?`, { value: "yes", label: "Leave" }))) return;
    await this.#actions.leave(id).catch((error) => notify(explain(error)));
  }

  async #create() {
    const topic = byId("create-topic").value.trim();
    await this.#actions.create({
      name: byId("create-name").value.trim(),
      ...(topic ? { topic } : {}),
      join: byId("create-join").value,
      history: byId("create-history").value,
    });
    byId("create").close();
  }

  async #join() {
    const typed = byId("join-id").value.trim();
    await this.#actions.join(groupOf(typed) ?? typed);
    byId("join").close();
  }

  #openSettings() {
    const { name, topic, join, history, role } = this.#shown;
    openDialog("settings");
    byId("settings-name").value = name;
    byId("settings-topic").value = topic;
    byId("settings-join").value = join;
    byId("settings-history").value = history;
    byId("delete-group").hidden = role !== "owner";
  }

  async #update() {
    const shown = this.#shown;
    const wanted = {
      name: byId("settings-name").value.trim(),
      topic: byId("settings-topic").value.trim(),
      join: byId("settings-join").value,
      history: byId("settings-history").value,
    };
    const changed = Object.fromEntries(Object.entries(wanted).filter(([name, value]) => value !== shown[name]));
    if (Object.keys(changed).length > 0) await this.#actions.update(shown.id, changed);
    byId("settings").close();
  }

  async #delete() {
    const { id, name } = this.#shown;
    byId("settings").close();
    const question = `Delete “${plain(name)}” with all of its messages, for all of its members? There is no way back.`;
    if (!(await ask(question, { value: "yes", label: "Delete group" }))) return;
    await this.#actions.delete(id).catch((error) => notify(explain(error)));
  }
}
