/** The list of groups: each with its last message, when that was, and how many are unread. */

import { hashOf } from "./address.js";
import { byId, h, mark, nameOf, reconcile } from "./dom.js";
import { moveFocus } from "./menu.js";
import { excerptOf } from "./message.js";
import { plain } from "./names.js";
import { shortly } from "./times.js";

/** In the order of the list: where something was said last first, and what is closed behind. */
export function inOrder(conversations) {
  const rank = ({ phase, lastAt }) => (phase === "closed" ? "" : lastAt);
  return [...conversations].sort((a, b) => (rank(a) < rank(b) ? 1 : rank(a) > rank(b) ? -1 : 0));
}

/** Shows `conversations` in their order; `shown` is the one on the page, or null. */
export function showGroups(conversations, shown) {
  reconcile(byId("group-list"), conversations.map((conversation) => row(conversation, conversation === shown)));
  byId("no-groups").hidden = conversations.length > 0;
}

/** Arrow keys go through the list. */
export function listenGroups() {
  const list = byId("group-list");
  list.addEventListener("keydown", (event) => moveFocus(event, [...list.querySelectorAll("a")]));
}

function row(conversation, current) {
  const { id, name, unread, unreadText, mentioned, lastAt } = conversation;
  const last = preview(conversation, current);
  const when = lastAt && shortly(lastAt);
  const make = () =>
    h(
      "li", {},
      h(
        "a", { href: hashOf(id), "aria-current": current ? "page" : null, "data-part": "link" },
        mark(name),
        h("span", { class: "name" }, nameOf(name)),
        h("span", { class: "when" }, when),
        h("span", { class: "last" }, ...last),
        unread > 0 &&
          h("span", { class: mentioned ? "unread mentioned" : "unread" }, mentioned && h("span", { "aria-hidden": "true" }, "@ "), unreadText,
            h("span", { class: "spoken" }, mentioned ? " unread, you are mentioned" : " unread")),
      ),
    );
  return { key: id, version: JSON.stringify([name, unreadText, mentioned, when, last.map((part) => part?.textContent ?? part), current]), make };
}

function preview({ phase, items, unsent, draft, me }, current) {
  if (phase === "closed") return ["Not a member"];
  if (!current && draft.text.trim()) return [h("em", {}, "Draft: "), h("bdi", {}, excerptOf(draft))];
  if (unsent.length > 0) return [`${unsent.at(-1).problem ? "Not sent" : "Sending"}: `, h("bdi", {}, excerptOf(unsent.at(-1)))];
  const last = items.findLast((item) => item.kind === "message");
  if (!last) return [phase === "opening" ? "" : "No messages yet"];
  return [last.by === me ? "You: " : `${plain(last.by ?? "administration")}: `, h("bdi", {}, excerptOf(last))];
}
