/** Completion of names in the message that is being written: `@al` lists who it may be. */

import { byId, h, mark, nameOf, reconcile } from "./dom.js";
import { candidates } from "./mention_candidates.js";

const BEGUN = /(?:^|[\s(])@([^\s@]{0,64})$/u;

export class Mentions {
  #field;
  #list = byId("mention-list");
  #shown = [];
  #chosen = 0;
  #membersOf;

  /**
   * @param {HTMLTextAreaElement} field
   * @param {() => {members: string[], me: string}} membersOf
   */
  constructor(field, membersOf) {
    this.#field = field;
    this.#membersOf = membersOf;
    field.addEventListener("input", () => this.#look());
    field.addEventListener("blur", () => this.close());
    // The field keeps the focus: the list is only pointed at.
    this.#list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.#list.addEventListener("click", (event) => this.#take(event.target.closest("[role=option]")?.dataset.at));
  }

  /** Whether the list took the key. */
  pressed(event) {
    if (this.#shown.length === 0) return false;
    const { key } = event;
    if (key === "Enter" && this.#begun() === this.#shown[this.#chosen]) {
      this.close(); // the name is there already: what is written can go
      return false;
    }
    if (key === "ArrowDown" || key === "ArrowUp") this.#choose(this.#chosen + (key === "ArrowDown" ? 1 : -1));
    else if (key === "Enter" || key === "Tab") this.#take(this.#chosen);
    else if (key === "Escape") this.close();
    else return false;
    event.preventDefault();
    return true;
  }

  close() {
    this.#show([]);
  }

  #look() {
    const begun = this.#begun();
    const { members, me } = this.#membersOf();
    this.#show(begun === undefined ? [] : candidates(begun, members, me));
  }

  /** What follows the at sign before the caret, or undefined. */
  #begun() {
    return BEGUN.exec(this.#before())?.[1];
  }

  #before() {
    return this.#field.value.slice(0, this.#field.selectionStart);
  }

  #show(users) {
    if (users.length === 0 && this.#shown.length === 0) return;
    this.#shown = users;
    this.#list.hidden = users.length === 0;
    byId("mention-status").textContent = users.length === 0 ? "" : `${users.length} to choose from, with the arrow keys`;
    this.#choose(0);
  }

  #choose(at) {
    const { length } = this.#shown;
    this.#chosen = length ? (at + length) % length : 0;
    reconcile(this.#list, this.#shown.map((user, i) => this.#option(user, i)));
    if (length) this.#field.setAttribute("aria-activedescendant", `mention-${this.#chosen}`);
    else this.#field.removeAttribute("aria-activedescendant");
  }

  #option(user, i) {
    const chosen = i === this.#chosen;
    const attributes = { role: "option", id: `mention-${i}`, "data-at": i, "aria-selected": String(chosen) };
    return { key: user, version: `${i} ${chosen}`, make: () => h("li", attributes, mark(user), nameOf(user)) };
  }

  #take(at) {
    const user = this.#shown[at];
    if (user === undefined) return;
    const before = this.#before().replace(BEGUN, (all, begun) => `${all.slice(0, all.length - begun.length)}${user} `);
    const { value, selectionStart } = this.#field;
    this.#field.value = before + value.slice(selectionStart);
    this.#field.setSelectionRange(before.length, before.length);
    this.close();
    this.#field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
