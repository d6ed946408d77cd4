/** Where messages are written: a new one, an answer to one, another text for one's own. What is begun stays with its group. */

import { byId, h, nameOf } from "./dom.js";
import { at } from "./items.js";
import { Mentions } from "./mentions.js";
import { excerptOf } from "./message.js";
import { mentionsIn } from "./text.js";

const MAX_HEIGHT_PX = 160;
/** Where fingers write, Enter is a new line: there is a button to send with. */
const BY_FINGER = "(pointer: coarse)";

export class Composer {
  #field = byId("text");
  /** @type {import("./conversation.js").Conversation | null} */
  #shown = null;
  /** The message that is given another text, and what was being written before. */
  #editing = null;
  #replyTo = null;
  /** As many logs as the group had lost when this was begun. */
  #logsLost = 0;
  #mentions;
  #actions;

  /**
   * @param {object} actions
   * @param {(conversation: any, text: string, more: any) => void} actions.send
   * @param {(conversation: any, item: any, text: string) => void} actions.edit
   * @param {(conversation: any, draft: any) => void} actions.saveDraft
   * @param {() => number} actions.limit the most bytes of a text
   */
  constructor(actions) {
    this.#actions = actions;
    this.#mentions = new Mentions(this.#field, () => ({ members: [...this.#shown.members.keys()], me: this.#shown.me }));
    byId("composer").addEventListener("submit", (event) => this.#submit(event));
    byId("context-close").addEventListener("click", () => this.#leave());
    this.#field.addEventListener("keydown", (event) => this.#pressed(event));
    this.#field.addEventListener("input", () => this.#written());
  }

  /** Shows what is being written in `conversation`, or nothing. */
  show(conversation) {
    if (this.#shown && this.#shown.logsLost !== this.#logsLost) this.#unrefer();
    if (conversation === this.#shown) return;
    this.#keep();
    this.#mentions.close();
    this.#shown = conversation;
    this.#logsLost = conversation?.logsLost ?? 0;
    this.#editing = null;
    this.#problem("");
    this.#set(conversation?.draft.text ?? "", conversation?.draft.replyTo ?? null);
  }

  /** Begins an answer. */
  reply({ seq }) {
    if (this.#editing) this.#leave();
    this.#replyTo = seq;
    this.#showContext();
    this.#field.focus();
    this.#keep();
  }

  /** Begins to give one's own message another text. */
  edit(item) {
    this.#keep();
    this.#editing = item;
    this.#set(item.change?.text ?? item.text, null);
    this.#field.focus();
    this.#field.setSelectionRange(this.#field.value.length, this.#field.value.length);
  }

  #pressed(event) {
    if (event.isComposing || this.#mentions.pressed(event)) return;
    if (event.key === "Enter" && !event.shiftKey && !matchMedia(BY_FINGER).matches) this.#submit(event);
    else if (event.key === "Escape" && (this.#editing || this.#replyTo !== null)) this.#leave();
    else if (event.key === "ArrowUp" && this.#field.value === "" && !this.#editing) this.#editLast(event);
  }

  #editLast(event) {
    const { items, me } = this.#shown;
    const last = items.findLast(({ kind, by, text }) => kind === "message" && by === me && text !== null);
    if (!last) return;
    event.preventDefault();
    this.edit(last);
  }

  #submit(event) {
    event.preventDefault();
    const text = this.#field.value.trimEnd();
    if (this.#shown === null || text.trim() === "") return;
    const over = new TextEncoder().encode(text).length - this.#actions.limit();
    this.#problem(over > 0 ? `The message is too long, by ${over} bytes.` : "");
    if (over > 0) return;
    const [shown, editing, replyTo] = [this.#shown, this.#editing, this.#replyTo];
    this.#leave();
    if (editing) {
      if (text !== (editing.change?.text ?? editing.text)) this.#actions.edit(shown, editing, text);
      return;
    }
    this.#set("", null);
    this.#keep();
    this.#actions.send(shown, text, moreOf(text, replyTo, shown));
  }

  /** Leaves the answer or the change; after a change, what was being written before is there again. */
  #leave() {
    const { draft } = this.#shown;
    if (this.#editing) this.#set(draft.text, draft.replyTo);
    else this.#set(this.#field.value, null);
    this.#editing = null;
    this.#showContext();
    this.#keep();
    this.#field.focus();
  }

  /** What is answered or changed was in a log that is lost: the same seq is another message now. */
  #unrefer() {
    this.#logsLost = this.#shown.logsLost;
    const text = this.#editing ? this.#shown.draft.text : this.#field.value;
    this.#editing = null;
    this.#set(text, null);
    this.#keep();
  }

  #set(text, replyTo) {
    this.#field.value = text;
    this.#replyTo = replyTo;
    this.#grow();
    this.#showContext();
  }

  #written() {
    this.#grow();
    this.#keep();
  }

  #keep() {
    if (this.#shown && !this.#editing) this.#actions.saveDraft(this.#shown, { text: this.#field.value, replyTo: this.#replyTo });
  }

  #showContext() {
    const message = this.#editing ?? (this.#replyTo === null ? null : at(this.#shown.items, this.#replyTo));
    byId("context").hidden = !this.#editing && this.#replyTo === null;
    byId("context-text").replaceChildren(
      h("strong", {}, ...(this.#editing ? ["Edit your message"] : ["Reply to ", nameOf(message?.by ?? "a message")])),
      h("span", { class: "excerpt", dir: "auto" }, message ? excerptOf(message) : ""),
    );
    byId("send-label").textContent = this.#editing ? "Save" : "Send";
  }

  #problem(text) {
    byId("text-problem").textContent = text;
  }

  /** As tall as its text, where the stylesheet cannot say so. */
  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${Math.min(this.#field.scrollHeight + 2, MAX_HEIGHT_PX)}px`;
  }
}

function moreOf(text, replyTo, { members }) {
  const mentions = mentionsIn(text, [...members.keys()]);
  return { ...(replyTo === null ? {} : { reply_to: replyTo }), ...(mentions.length ? { mentions } : {}) };
}
