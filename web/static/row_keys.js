/**
 * The keyboard in a group's log: arrows go from message to message, Enter opens a message's menu, Tab goes through what is
 * in the message. Only the message with the focus has controls that Tab finds: a log of hundreds would hold it for ever.
 */

const CONTROLS = "button, a";

export class RowKeys {
  #log;
  #list;
  #actions;
  /** @type {Element | null} */
  #current = null;

  /**
   * @param {HTMLElement} log
   * @param {HTMLElement} list
   * @param {{menu: (row: HTMLElement) => void, earlier: () => void}} actions
   */
  constructor(log, list, actions) {
    this.#log = log;
    this.#list = list;
    this.#actions = actions;
    log.addEventListener("keydown", (event) => this.#pressed(event));
    log.addEventListener("focusin", ({ target }) => this.#enter(target.closest(".message")));
    log.addEventListener("contextmenu", (event) => this.#asked(event));
  }

  #enter(row) {
    if (this.#current !== row) this.#let(-1);
    this.#current = row;
    this.#let(0);
  }

  #let(tabIndex) {
    for (const control of this.#current?.querySelectorAll(CONTROLS) ?? []) control.tabIndex = tabIndex;
  }

  #pressed(event) {
    const { key, target } = event;
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const row = target.closest(".message");
    if (key === "Escape" && row && target !== row) row.focus();
    else if (target !== row && target !== this.#log) return;
    else if (key === "ArrowUp" || key === "ArrowDown") this.#step(row, key === "ArrowUp" ? -1 : 1);
    else if (key === "Enter" && row) this.#actions.menu(row);
    else return;
    event.preventDefault();
  }

  #step(row, by) {
    const rows = [...this.#list.querySelectorAll(".message")];
    const to = row ? rows.indexOf(row) + by : rows.findLastIndex((each) => this.#inView(each));
    if (to < 0) this.#actions.earlier();
    rows[to]?.focus({ preventScroll: true });
    rows[to]?.scrollIntoView({ block: "nearest" });
  }

  #inView(row) {
    return row.offsetTop < this.#log.scrollTop + this.#log.clientHeight;
  }

  /** The menu key, and a long touch. The pointer has a button for it, and its own menu for links and selections. */
  #asked(event) {
    const row = event.target.closest(".message");
    if (!row || event.pointerType === "mouse" || event.target.closest("a")) return;
    event.preventDefault();
    this.#actions.menu(row);
  }
}
