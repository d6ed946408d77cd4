/** The log of one group on the page, kept in place while older and newer rows come and go. */

import { byId, h, reconcile } from "./dom.js";
import { notify } from "./dialogs.js";
import { at } from "./items.js";
import { RowKeys } from "./row_keys.js";
import { rowsOf, spokenOf } from "./rows.js";
import { Stretch } from "./stretch.js";
import { explain } from "./words.js";

/** This close to the end counts as reading the newest. */
const NEAR_END_PX = 60;
const MARGIN = "400px 0px";
const SPOKEN_LINES = 5;
const FOUND_MS = 2000;

export class Timeline {
  #log = byId("log");
  #list = byId("messages");
  #earlier = byId("earlier");
  #later = byId("later");
  #newest = byId("newest");
  /** @type {import("./conversation.js").Conversation | null} */
  #shown = null;
  #stretch = new Stretch();
  #atEnd = true;
  /** The last page of older messages could not be had: it is asked for by hand. */
  #stuck = false;
  /** What came while one was away: behind `after`, up to `through`. */
  #news = { after: null, through: null };
  /** The seq of the newest item that was told to screen readers. */
  #told = 0;
  /** Seqs of long texts that were unfolded. */
  #unfolded = new Set();
  #sight;
  #actions;
  #on;

  /**
   * @param {object} actions
   * @param {(conversation: any) => Promise<void>} actions.loadEarlier
   * @param {(conversation: any, seq: number) => Promise<void>} actions.reach fetches as far back as `seq`
   * @param {(conversation: any, seq: number) => void} actions.loadQuote
   * @param {() => void} actions.onRead told when the reader comes to the newest message
   * @param {(conversation: any) => any} actions.of what the rows of a conversation can do
   */
  constructor(actions) {
    this.#actions = actions;
    this.#log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#newest.addEventListener("click", () => this.toEnd());
    byId("load-earlier").addEventListener("click", () => this.#moreEarlier());
    // More comes when its place comes into view; the button is for keyboards, and for trying again.
    this.#sight = new IntersectionObserver((seen) => this.#seen(seen), { root: this.#log, rootMargin: MARGIN });
    // A keyboard that unfolds, a panel that opens: the newest message stays in view.
    new ResizeObserver(() => this.#atEnd && this.#toBottom()).observe(this.#log);
    new RowKeys(this.#log, this.#list, { menu: (row) => this.#openMenu(row), earlier: () => this.#moreEarlier() });
  }

  /** Whether the newest message is in view. */
  get atEnd() {
    return this.#atEnd;
  }

  toEnd() {
    this.#stretch.toEnd();
    this.#atEnd = true;
    this.show(this.#shown);
    this.#actions.onRead();
  }

  /** Brings the page to what `conversation` holds now. */
  show(conversation) {
    const opened = this.#shown !== conversation;
    if (opened) this.#open(conversation);
    const { phase, head } = conversation;
    if (phase === "open") this.#news.through ??= head;
    this.#tell(conversation);
    const anchor = this.#atEnd ? null : this.#firstInView();
    this.#draw(conversation);
    if (this.#atEnd) this.#toBottom();
    else if (anchor) this.#log.scrollTop += (this.#rowOf(anchor.seq)?.offsetTop ?? anchor.top) - anchor.top;
    if (opened) this.#toNews();
    this.#showEdges();
  }

  /** Leads to the message `seq`, however far back it is. */
  async jump(seq) {
    const conversation = this.#shown;
    if (!at(conversation.items, seq)) {
      this.#log.setAttribute("aria-busy", "true");
      try {
        await this.#actions.reach(conversation, seq);
      } catch (error) {
        notify(explain(error));
      }
      this.#log.removeAttribute("aria-busy");
    }
    if (conversation !== this.#shown) return;
    if (!at(conversation.items, seq)) return notify("That message cannot be shown.");
    if (!this.#rowOf(seq)) this.#stretch.around(conversation.items, seq);
    this.#atEnd = false;
    this.show(conversation);
    const row = this.#rowOf(seq);
    row.scrollIntoView({ block: "center" });
    row.focus({ preventScroll: true });
    row.classList.add("found");
    setTimeout(() => row.classList.remove("found"), FOUND_MS);
  }

  /** Puts the focus on a message, if it is on the page, else on the log. */
  focus(seq) {
    (this.#rowOf(seq) ?? this.#log).focus({ preventScroll: true });
  }

  #open(conversation) {
    this.#shown = conversation;
    this.#stretch = new Stretch();
    this.#atEnd = true;
    this.#stuck = false;
    this.#news = { after: conversation.seen, through: null };
    this.#told = conversation.head;
    this.#unfolded.clear();
    this.#on = { ...this.#actions.of(conversation), jump: (seq) => this.jump(seq), unfold: ({ seq }) => this.#unfold(seq) };
    byId("spoken").replaceChildren();
  }

  #draw(conversation) {
    const [from, to] = this.#stretch.of(conversation.items, this.#atEnd);
    const rows = rowsOf(conversation, {
      from, to, news: this.#news, unfolded: this.#unfolded, on: this.#on, withUnsent: this.#stretch.follows,
      missing: (seq) => this.#actions.loadQuote(conversation, seq),
    });
    reconcile(this.#list, rows);
    this.#earlier.hidden = from === 0 && !conversation.hasEarlier;
    this.#later.hidden = this.#stretch.follows;
  }

  /** What has come is told in a place of its own: in the log itself, every page of history would be read out. */
  #tell({ items, me, stateSeq }) {
    const news = [];
    for (let i = items.length - 1; i >= 0 && items[i].seq > Math.max(this.#told, stateSeq); i--) news.unshift(items[i]);
    this.#told = Math.max(this.#told, items.at(-1)?.seq ?? 0);
    const lines = news.filter(({ by }) => by !== me).slice(-SPOKEN_LINES);
    if (lines.length === 0) return;
    const spoken = byId("spoken");
    spoken.append(...lines.map((item) => h("p", {}, spokenOf(item))));
    while (spoken.childElementCount > SPOKEN_LINES) spoken.firstElementChild.remove();
  }

  #showEdges() {
    const { unreadText, unread, phase } = this.#shown;
    this.#newest.hidden = this.#atEnd;
    this.#newest.textContent = unread === 0 ? "To the newest ↓" : `${unreadText} new ${unread === 1 ? "message" : "messages"} ↓`;
    // Observed anew: an observer tells of changes only, and the place may still be in view after a page has come.
    this.#sight.disconnect();
    if (!this.#earlier.hidden && phase === "open" && !this.#stuck) this.#sight.observe(this.#earlier);
    if (!this.#later.hidden) this.#sight.observe(this.#later);
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      if (target === this.#earlier) this.#moreEarlier();
      else this.#moreLater();
    }
  }

  async #moreEarlier() {
    const conversation = this.#shown;
    let problem = "";
    if (!this.#stretch.up(conversation.items)) {
      try {
        await this.#actions.loadEarlier(conversation);
      } catch (error) {
        problem = `${explain(error)} `;
      }
      if (conversation !== this.#shown) return;
      this.#stretch.up(conversation.items);
    }
    this.#stuck = problem !== "";
    byId("load-earlier").textContent = `${problem}Load earlier messages`;
    this.show(conversation);
  }

  #moreLater() {
    this.#stretch.down(this.#shown.items);
    this.show(this.#shown);
  }

  #unfold(seq) {
    this.#unfolded.add(seq);
    this.show(this.#shown);
    this.focus(seq);
  }

  #openMenu(row) {
    const item = at(this.#shown.items, Number(row.dataset.seq));
    if (item && item.text !== null) this.#on.menu(item, row.querySelector(".tools button:last-child"));
  }

  /** Where one goes on reading: the first message that came while one was away, if the last page does not show it. */
  #toNews() {
    const row = this.#list.querySelector(".news");
    if (!row || row.offsetTop >= this.#log.scrollTop) return;
    this.#log.scrollTop = row.offsetTop - row.offsetHeight;
    this.#atEnd = false;
  }

  #toBottom() {
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.#log;
    const atEnd = this.#stretch.follows && scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    if (atEnd === this.#atEnd) return;
    this.#atEnd = atEnd;
    this.#showEdges();
    if (atEnd) this.#actions.onRead();
  }

  /** What one reads: `{seq, top}`. Its row may be made anew, and a day's line goes up to the first message of the day. */
  #firstInView() {
    const { scrollTop } = this.#log;
    const row = [...this.#list.children].find((each) => each.dataset.seq && each.offsetTop + each.offsetHeight > scrollTop);
    return row ? { seq: row.dataset.seq, top: row.offsetTop } : null;
  }

  #rowOf(seq) {
    return this.#list.querySelector(`[data-seq="${Number(seq)}"]`);
  }
}
