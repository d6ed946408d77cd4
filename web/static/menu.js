/** What opens beside a button and goes with a click elsewhere or Escape: menus, and the picker of reactions. */

import { byId, h, icon } from "./dom.js";

const EDGE_PX = 8;

/**
 * Opens `panel` beside `anchor`, with the focus on its first control. `back` takes the focus when it closes.
 * @param {HTMLElement} anchor
 * @param {HTMLElement} panel
 * @param {() => void} [back]
 */
export function openBeside(anchor, panel, back = () => anchor.focus()) {
  panel.setAttribute("popover", "auto");
  panel.classList.add("beside");
  // In the landmark that it belongs to; the top layer shows it over everything.
  (anchor.closest("main, aside, nav") ?? byId("app")).append(panel);
  panel.addEventListener("toggle", (event) => {
    if (event.newState === "open") return;
    const left = panel.contains(document.activeElement) || document.activeElement === document.body;
    panel.remove();
    if (left) back();
  });
  panel.showPopover();
  place(panel, anchor.getBoundingClientRect());
  panel.querySelector("button, input")?.focus();
  return () => panel.isConnected && panel.hidePopover();
}

/** Below the anchor where there is room, else above; its end at the anchor's end, within the window. */
function place(panel, anchor) {
  const { offsetWidth: width, offsetHeight: height } = panel;
  const below = anchor.bottom + EDGE_PX / 2;
  const top = below + height < innerHeight - EDGE_PX ? below : anchor.top - height - EDGE_PX / 2;
  const left = anchor.right - width;
  panel.style.top = `${clamp(top, innerHeight - height)}px`;
  panel.style.left = `${clamp(left, innerWidth - width)}px`;
}

const clamp = (wanted, most) => Math.max(EDGE_PX, Math.min(wanted, most - EDGE_PX));

/**
 * Opens a menu. An item is `{label, icon?, danger?, act}`; `quick`, a row of its own, `{label, text, checked, act}`.
 * @param {HTMLElement} anchor
 * @param {{label: string, items: any[], quick?: any[], back?: () => void}} menu
 */
export function openMenu(anchor, { label, items, quick = [], back }) {
  const run = (act) => () => {
    close();
    act();
  };
  const short = ({ label: name, text, checked, act }) =>
    h("button", { type: "button", role: "menuitemcheckbox", "aria-checked": String(checked), "aria-label": name, tabindex: -1, onclick: run(act) }, text);
  const long = ({ label: name, icon: drawing, danger, act }) =>
    h("button", { type: "button", role: "menuitem", class: danger && "danger", tabindex: -1, onclick: run(act) }, drawing && icon(drawing), name);
  const row = quick.length > 0 && h("div", { role: "group", "aria-label": "React", class: "quick" }, ...quick.map(short));
  const menu = h("div", { role: "menu", "aria-label": label, class: "menu" }, row, ...items.map(long));
  menu.addEventListener("keydown", (event) => {
    if (event.key === "Tab") close();
    else moveFocus(event, [...menu.querySelectorAll("button")]);
  });
  const close = openBeside(anchor, menu, back);
}

const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

/** Moves the focus among `controls` by the arrow keys, round and round; `columns` of a grid go up and down by rows. */
export function moveFocus(event, controls, columns = 1) {
  const now = controls.indexOf(document.activeElement);
  const vertical = event.key === "ArrowDown" || event.key === "ArrowUp";
  let to;
  if (event.key in STEPS) to = now + STEPS[event.key] * (vertical ? columns : 1);
  else if (event.key === "Home") to = 0;
  else if (event.key === "End") to = controls.length - 1;
  if (to === undefined || controls.length === 0) return;
  event.preventDefault();
  controls[(to + controls.length) % controls.length]?.focus();
}
