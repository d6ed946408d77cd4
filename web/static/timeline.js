/** The log of one group on the page: messages, notes and days, kept in place while older and newer ones come. */

import { byId, h, mark, nameOf, reconcile } from "./dom.js";
import { dayOf, explain, momentOf, timeOf } from "./words.js";

/** Messages of one author within this time stand together under one name. */
const TOGETHER_MS = 5 * 60 * 1000;
/** This close to the end counts as reading the newest. */
const NEAR_END_PX = 60;

export class Timeline {
  #log = byId("log");
  #list = byId("messages");
  #earlier = byId("earlier");
  #newest = byId("newest");
  /** @type {import("./conversation.js").Conversation | null} */
  #shown = null;
  #earliest = null;
  #atEnd = true;
  /** The last page of older messages could not be had: it is asked for by hand. */
  #stuck = false;
  #sight;
  #actions;

  /**
   * @param {object} actions
   * @param {(conversation: any) => Promise<void>} actions.loadEarlier
   * @param {(conversation: any, unsent: any) => void} actions.retry
   * @param {(conversation: any, unsent: any) => void} actions.discard
   * @param {() => void} actions.onRead told when the reader comes to the newest message
   */
  constructor(actions) {
    this.#actions = actions;
    this.#log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#newest.addEventListener("click", () => this.toEnd());
    byId("load-earlier").addEventListener("click", () => this.#loadEarlier());
    // Older messages come when their place comes into view; the button is for keyboards, and for trying again.
    this.#sight = new IntersectionObserver(
      (seen) => seen.some((entry) => entry.isIntersecting) && this.#loadEarlier(),
      { root: this.#log, rootMargin: "300px 0px 0px" },
    );
    // A keyboard that unfolds, a panel that opens: the newest message stays in view.
    new ResizeObserver(() => this.#atEnd && this.toEnd()).observe(this.#log);
  }

  /** Whether the newest message is in view. */
  get atEnd() {
    return this.#atEnd;
  }

  toEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#scrolled();
  }

  /** Brings the page to what `conversation` holds now. */
  show(conversation) {
    const changed = this.#shown !== conversation;
    // What is opened or fetched is there to be read; what arrives is announced.
    const announce = !changed && this.#earliest === conversation.earliest;
    this.#log.setAttribute("aria-live", announce ? "polite" : "off");
    this.#shown = conversation;
    this.#earliest = conversation.earliest;
    if (changed) {
      this.#atEnd = true;
      this.#stuck = false;
    }
    const anchor = this.#atEnd ? null : this.#firstInView();
    const offset = anchor?.offsetTop;
    reconcile(this.#list, this.#rows(conversation));
    if (this.#atEnd) this.#log.scrollTop = this.#log.scrollHeight;
    else if (anchor?.isConnected) this.#log.scrollTop += anchor.offsetTop - offset;
    this.#showEdges(conversation);
  }

  #showEdges(conversation) {
    const { unread, hasEarlier } = conversation;
    this.#newest.hidden = this.#atEnd;
    this.#newest.textContent = unread === 0 ? "To the newest ↓" : `${unread} new ${unread === 1 ? "message" : "messages"} ↓`;
    this.#earlier.hidden = !hasEarlier;
    // Observed anew: an observer tells of changes only, and the place may still be in view after a page has come.
    this.#sight.disconnect();
    if (hasEarlier && conversation.phase === "open" && !this.#stuck) this.#sight.observe(this.#earlier);
  }

  async #loadEarlier() {
    const conversation = this.#shown;
    let problem = "";
    try {
      await this.#actions.loadEarlier(conversation);
    } catch (error) {
      problem = `${explain(error)} `;
    }
    if (conversation !== this.#shown) return;
    this.#stuck = problem !== "";
    byId("load-earlier").textContent = `${problem}Load earlier messages`;
    this.#showEdges(conversation);
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.#log;
    const atEnd = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    if (atEnd === this.#atEnd) return;
    this.#atEnd = atEnd;
    this.#showEdges(this.#shown);
    if (atEnd) this.#actions.onRead();
  }

  #firstInView() {
    const top = this.#log.scrollTop;
    return [...this.#list.children].find((row) => row.offsetTop + row.offsetHeight > top);
  }

  #rows(conversation) {
    const rows = [];
    let before = null;
    const { me } = conversation;
    for (const item of [...conversation.items, ...conversation.unsent.map((unsent) => unsentItem(unsent, me))]) {
      const day = dayOf(item.at);
      if (!before || day !== dayOf(before.at)) {
        rows.push({ key: `day ${day}`, version: "", make: () => h("li", { class: "day" }, h("span", {}, day)) });
        before = null;
      }
      rows.push(this.#row(conversation, item, before));
      before = item;
    }
    return rows;
  }

  #row(conversation, item, before) {
    if (item.kind === "note") return { key: item.seq, version: "", make: () => note(item) };
    const together =
      before !== null && before.kind !== "note" && before.by === item.by && new Date(item.at) - new Date(before.at) < TOGETHER_MS;
    const shape = { own: item.by === conversation.me, together };
    if (item.kind === "unsent") {
      const { unsent } = item;
      const act = (name) => () => this.#actions[name](conversation, unsent);
      const version = `${together} ${unsent.problem?.code ?? ""}`;
      return { key: unsent.id, version, make: () => unsentMessage(item, shape, act) };
    }
    return { key: item.seq, version: `${together} ${item.edited} ${item.text}`, make: () => sentMessage(item, shape) };
  }
}

function unsentItem(unsent, me) {
  return { kind: "unsent", by: me, at: unsent.at, text: unsent.text, unsent };
}

function note({ parts, at }) {
  const words = parts.map((part) => (typeof part === "string" ? part : nameOf(part.user)));
  return h("li", { class: "note" }, h("span", {}, ...words), " ", time(at));
}

function sentMessage({ by, at, text, edited }, shape) {
  const body = text === null ? h("p", { class: "text gone" }, "This message was deleted") : textOf(text);
  return bubble(by, shape, {}, body, h("p", { class: "meta" }, ...(edited ? ["edited "] : []), time(at)));
}

function unsentMessage({ by, text, unsent }, shape, act) {
  if (!unsent.problem) return bubble(by, shape, { "data-state": "sending" }, textOf(text), h("p", { class: "meta" }, "Sending…"));
  const problem = h("p", { class: "meta" }, `Not sent. ${explain(unsent.problem)} `);
  const retry = h("button", { class: "link", type: "button", onclick: act("retry") }, "Retry");
  const discard = h("button", { class: "link", type: "button", onclick: act("discard") }, "Discard");
  return bubble(by, shape, { "data-state": "failed" }, textOf(text), problem, h("p", { class: "meta actions" }, retry, discard));
}

function bubble(by, { own, together }, attributes, ...content) {
  const name = by ?? "administration";
  const author = h("p", { class: own || together ? "by spoken" : "by" }, own ? "You" : nameOf(name));
  const line = h("div", { class: "line" }, ...content);
  const classes = ["message", own && "own", together && "together"].filter(Boolean).join(" ");
  return h("li", { class: classes, ...attributes }, ...(own ? [] : [mark(name)]), h("div", { class: "bubble" }, author, line));
}

const textOf = (text) => h("p", { class: "text", dir: "auto" }, text);

const time = (at) => h("time", { datetime: at, title: momentOf(at) }, timeOf(at));
