/** The members of a group, and what may be done about them. Buttons are there only where the role allows it. */

import { linkTo } from "./address.js";
import { ask, attempt, onSubmit } from "./dialogs.js";
import { byId, h, iconButton, mark, nameOf, reconcile } from "./dom.js";
import { openMenu } from "./menu.js";
import { plain } from "./names.js";
import { explain, explainOther, ROLES } from "./words.js";

const RANK = { reader: 0, member: 1, admin: 2, owner: 3 };
/** So many are on the page at once, and come with each step. */
const STEP = 100;
/** A list longer than this is searched. */
const MANY = 12;

export class People {
  #actions;
  /** @type {import("./conversation.js").Conversation | null} */
  #shown = null;
  #most = STEP;
  #drawn = "";

  /** @param {any} actions `add`, `remove`, `setRole`, `unban` (group, user, …), `loadMore(conversation)`, `settings()`, `leave()` */
  constructor(actions) {
    this.#actions = actions;
    onSubmit("add-form", "people-problem", () => actions.add(this.#shown.id, byId("add-name").value.trim()), explainOther);
    onSubmit("ban-form", "people-problem", () => this.#ban(byId("ban-name").value.trim()), explainOther);
    byId("invite-form").addEventListener("submit", (event) => this.#copy(event));
    byId("more-members").addEventListener("click", (event) => this.#more(event.currentTarget));
    byId("find-member").addEventListener("input", () => this.#draw());
    byId("leave").addEventListener("click", () => actions.leave());
  }

  show(conversation) {
    if (this.#shown !== conversation) this.#clear();
    this.#shown = conversation;
    const { id, peopleVersion, role, topic } = conversation;
    const now = JSON.stringify([id, peopleVersion, role, topic]);
    if (now === this.#drawn) return; // a thousand rows are not looked at for every message
    this.#drawn = now;
    this.#draw();
  }

  #draw() {
    const { id, members, membersMore, online, role, banned, topic } = this.#shown;
    const leads = RANK[role] >= RANK.admin;
    byId("people-title").textContent = `Members (${members.size}${membersMore ? "+" : ""})`;
    byId("people-online").textContent = online.size > 0 ? `${online.size} online` : "";
    byId("people-topic").textContent = topic;
    byId("add-form").hidden = byId("bans").hidden = !leads;
    byId("leave").hidden = role === undefined;
    byId("invite-link").value = linkTo(id);
    byId("find-field").hidden = members.size <= MANY;
    const wanted = byId("find-field").hidden ? "" : byId("find-member").value.trim().toLowerCase();
    const found = [...members].filter(([user]) => user.toLowerCase().includes(wanted));
    reconcile(byId("member-list"), found.slice(0, this.#most).map(([user, its]) => this.#row(user, its)));
    byId("more-members").hidden = found.length <= this.#most && !membersMore;
    reconcile(byId("ban-list"), [...banned].map((user) => this.#bannedRow(user)));
  }

  #row(user, its) {
    const { me, role: mine, online } = this.#shown;
    const isOnline = online.has(user);
    const items = user === me ? [] : this.#itemsFor(user, its, mine);
    const menu = (event) => openMenu(event.currentTarget, { label: `About ${plain(user)}`, items });
    const make = () =>
      h(
        "li", {}, mark(user),
        h("span", { class: "name" }, nameOf(user), user === me && " (you)"),
        isOnline && h("span", { class: "online", "aria-hidden": "true" }),
        isOnline && h("span", { class: "spoken" }, "online"),
        its !== "member" && h("span", { class: "role" }, ROLES[its] ?? its),
        items.length > 0 && iconButton("more", `Change ${plain(user)}`, { "aria-haspopup": "menu", "data-part": "menu", onclick: menu }),
      );
    return { key: user, version: `${its} ${mine} ${isOnline}`, make };
  }

  #itemsFor(user, its, mine) {
    const { id } = this.#shown;
    if (!(RANK[mine] >= RANK.admin && RANK[its] < RANK[mine])) return [];
    const roles = mine === "owner" ? ["reader", "member", "admin"] : ["reader", "member"];
    const give = (role) => ({ label: `Make ${role}`, act: () => this.#attempt(() => this.#actions.setRole(id, user, role)) });
    return [
      ...roles.filter((role) => role !== its).map(give),
      ...(mine === "owner" ? [{ label: "Make owner…", act: () => this.#transfer(user) }] : []),
      { label: "Remove…", danger: true, act: () => this.#remove(user) },
    ];
  }

  #bannedRow(user) {
    const { id } = this.#shown;
    const lift = async () => {
      await this.#attempt(() => this.#actions.unban(id, user));
      this.#draw();
    };
    const label = `Lift the ban of ${plain(user)}`;
    const make = () =>
      h("li", {}, mark(user), h("span", { class: "name" }, nameOf(user)), h("button", { class: "link", type: "button", "aria-label": label, onclick: lift }, "Lift ban"));
    return { key: user, version: "", make };
  }

  #clear() {
    this.#most = STEP;
    byId("people-problem").textContent = byId("invite-status").textContent = "";
    byId("add-name").value = byId("ban-name").value = byId("find-member").value = "";
  }

  async #more(button) {
    const shown = this.#shown;
    this.#most += STEP;
    await attempt(button, "people-problem", async () => {
      // The first page is the one that the state had: its cursor is what is wanted.
      while (shown.members.size < this.#most && shown.membersMore) await this.#actions.loadMore(shown);
    });
    if (shown === this.#shown) this.#draw();
  }

  async #ban(user) {
    const { id } = this.#shown;
    if (await ask(`Ban ${plain(user)} from this group?`, { value: "ban", label: "Ban" })) await this.#actions.remove(id, user, { ban: true });
  }

  async #remove(user) {
    const { id } = this.#shown;
    const question = `Remove ${plain(user)} from this group? Who is banned cannot come back.`;
    const answer = await ask(question, { value: "remove", label: "Remove" }, { value: "ban", label: "Remove and ban" });
    if (answer) await this.#attempt(() => this.#actions.remove(id, user, { ban: answer === "ban" }));
  }

  async #transfer(user) {
    const { id } = this.#shown;
    const question = `Make ${plain(user)} the owner of this group? You will be an admin.`;
    if (await ask(question, { value: "yes", label: "Make owner" })) await this.#attempt(() => this.#actions.setRole(id, user, "owner"));
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
    } catch (error) {
      byId("people-problem").textContent = error.code === undefined ? explain(error) : explainOther(error);
    }
  }
}
