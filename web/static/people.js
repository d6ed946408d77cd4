/** The members of a group, and what may be done about them. */

import { linkTo } from "./address.js";
import { byId, h, mark, nameOf, reconcile } from "./dom.js";
import { explain } from "./words.js";

const RANK = { reader: 0, member: 1, admin: 2, owner: 3 };

export class People {
  #actions;
  /** @type {import("./conversation.js").Conversation | null} */
  #shown = null;

  /**
   * @param {object} actions
   * @param {(group: string, user: string) => Promise<unknown>} actions.add
   * @param {(group: string, user: string) => Promise<unknown>} actions.remove
   * @param {(group: string) => Promise<unknown>} actions.leave
   * @param {(question: string, yes: string) => Promise<boolean>} actions.ask
   */
  constructor(actions) {
    this.#actions = actions;
    byId("add-form").addEventListener("submit", (event) => this.#add(event));
    byId("invite-form").addEventListener("submit", (event) => this.#copy(event));
    byId("leave").addEventListener("click", () => this.#leave());
  }

  show(conversation) {
    if (this.#shown !== conversation) this.#clear();
    this.#shown = conversation;
    const { members, membersMore, role } = conversation;
    byId("people-title").textContent = `Members (${members.size}${membersMore ? "+" : ""})`;
    byId("add-form").hidden = !(RANK[role] >= RANK.admin);
    byId("leave").hidden = role === undefined;
    byId("invite-link").value = linkTo(conversation.id);
    reconcile(byId("member-list"), [...members].map(([user, its]) => this.#row(conversation, user, its)));
  }

  #row(conversation, user, role) {
    const { me } = conversation;
    const mine = conversation.role;
    const removable = user !== me && RANK[mine] >= RANK.admin && RANK[role] < RANK[mine];
    const remove = () =>
      h("button", { class: "link", type: "button", "aria-label": `Remove ${user}`, onclick: () => this.#remove(user) }, "Remove");
    const make = () =>
      h(
        "li", {}, mark(user),
        h("span", { class: "name" }, nameOf(user), ...(user === me ? [" (you)"] : [])),
        ...(role === "member" ? [] : [h("span", { class: "role" }, role)]),
        ...(removable ? [remove()] : []),
      );
    return { key: user, version: `${role} ${removable}`, make };
  }

  #clear() {
    byId("people-problem").textContent = "";
    byId("invite-status").textContent = "";
    byId("add-name").value = "";
  }

  async #add(event) {
    event.preventDefault();
    const user = byId("add-name").value.trim();
    if (await this.#attempt(() => this.#actions.add(this.#shown.id, user))) byId("add-name").value = "";
  }

  async #remove(user) {
    const { id } = this.#shown;
    if (!(await this.#actions.ask(`Remove ${user} from this group?`, "Remove"))) return;
    await this.#attempt(() => this.#actions.remove(id, user));
  }

  async #leave() {
    const { id, name } = this.#shown;
    if (!(await this.#actions.ask(`Leave “${name}”?`, "Leave"))) return;
    await this.#attempt(() => this.#actions.leave(id));
  }

  async #copy(event) {
    event.preventDefault();
    const field = byId("invite-link");
    try {
      await navigator.clipboard.writeText(field.value);
      byId("invite-status").textContent = "Copied.";
    } catch {
      field.select(); // a page served by plain http may not write to the clipboard
      byId("invite-status").textContent = "Press Ctrl+C to copy.";
    }
  }

  async #attempt(action) {
    byId("people-problem").textContent = "";
    try {
      await action();
      return true;
    } catch (error) {
      byId("people-problem").textContent = explain(error);
      return false;
    }
  }
}
