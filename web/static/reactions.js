/** Reactions: below a message, the picker, and who reacted. */

import { byId, h, mark, nameOf } from "./dom.js";
import { reactionsOf } from "./items.js";
import { moveFocus, openBeside } from "./menu.js";
import { plain } from "./names.js";

export const QUICK = ["👍", "❤️", "😂", "🎉", "😮", "😢"];
const EMOJI = [
  "👍", "👎", "❤️", "😂", "🎉", "😮", "😢", "😡",
  "🙏", "👏", "🙌", "🤝", "💪", "🔥", "✨", "🚀",
  "👀", "🤔", "😅", "😍", "🥳", "😴", "✅", "❌",
];
const COLUMNS = 8;
const MAX_BYTES = 64;
const NAMED = 10;

/** The row of reactions of a message; a click adds one's own or takes it away. */
export function chips(item, me, toggle) {
  const shown = reactionsOf(item, me);
  if (shown.length === 0) return null;
  return h("div", { class: "chips", role: "group", "aria-label": "Reactions" }, ...shown.map((each) => chip(each, me, toggle)));
}

function chip({ emoji, users, own, more }, me, toggle) {
  const count = `${users.length}${more ? "+" : ""}`;
  const who = told(users, me);
  return h(
    "button",
    {
      type: "button", class: "chip", "aria-pressed": String(own), "aria-label": `${plain(emoji)} ${count}: ${who}`, title: who,
      "data-part": `chip ${emoji}`, tabindex: -1, onclick: () => toggle(emoji, !own),
    },
    h("bdi", { class: "emoji" }, emoji), ` ${count}`,
  );
}

function told(users, me) {
  const names = users.slice(0, NAMED).map((user) => (user === me ? "you" : plain(user)));
  return users.length > NAMED ? `${names.join(", ")} and ${users.length - NAMED} more` : names.join(", ");
}

/** Opens the picker; `pick(emoji)` is told of the choice. */
export function pickEmoji(anchor, pick, back) {
  const take = (emoji) => {
    close();
    pick(emoji);
  };
  const buttons = EMOJI.map((emoji, at) =>
    h("button", { type: "button", tabindex: at === 0 ? 0 : -1, onclick: () => take(emoji) }, emoji),
  );
  const grid = h("div", { class: "emoji-grid", role: "group", "aria-label": "Emoji", onkeydown: (event) => moveFocus(event, buttons, COLUMNS) }, ...buttons);
  const field = h("input", { id: "own-emoji", autocomplete: "off", placeholder: "Any emoji" });
  const problem = h("p", { class: "problem", role: "alert" });
  const submit = (event) => {
    event.preventDefault();
    const emoji = field.value.trim();
    if (new TextEncoder().encode(emoji).length > MAX_BYTES) problem.textContent = "A reaction is short: at most 64 bytes.";
    else if (emoji) take(emoji);
  };
  const form = h(
    "form", { class: "small-form", onsubmit: submit },
    h("label", { for: "own-emoji" }, "Another reaction"), h("div", { class: "field" }, field, h("button", {}, "Add")), problem,
  );
  const close = openBeside(anchor, h("div", { class: "picker", role: "dialog", "aria-label": "Pick a reaction" }, grid, form), back);
}

/** Opens the list of who reacted with what. */
export function showWho(item, me) {
  const rows = reactionsOf(item, me).map(({ emoji, users, more }) =>
    h(
      "li", {}, h("h3", {}, h("bdi", {}, emoji), ` ${users.length}${more ? "+" : ""}`),
      h("ul", {}, ...users.map((user) => h("li", {}, mark(user), h("span", {}, nameOf(user), user === me && " (you)")))),
    ),
  );
  byId("who-list").replaceChildren(...rows);
  byId("who").showModal();
}
