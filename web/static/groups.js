/** The list of groups: each with its last message and how many are unread. */

import { hashOf } from "./address.js";
import { byId, h, mark, reconcile } from "./dom.js";

const PREVIEW_CHARACTERS = 100;

/** Shows `conversations` in their order; `shown` is the one on the page, or null. */
export function showGroups(conversations, shown) {
  reconcile(byId("group-list"), conversations.map((conversation) => row(conversation, conversation === shown)));
  byId("no-groups").hidden = conversations.length > 0;
}

function row(conversation, current) {
  const { id, name, unread } = conversation;
  const last = preview(conversation);
  const make = () =>
    h(
      "li", {},
      h(
        "a", { href: hashOf(id), "aria-current": current ? "page" : null }, mark(name),
        h("span", { class: "about" }, h("bdi", { class: "name" }, name), h("span", { class: "last", dir: "auto" }, last)),
        ...(unread ? [h("span", { class: "unread" }, String(unread), h("span", { class: "spoken" }, " unread"))] : []),
      ),
    );
  return { key: id, version: JSON.stringify([name, unread, last, current]), make };
}

function preview({ phase, items }) {
  if (phase === "closed") return "Not a member";
  const last = items.findLast((item) => item.kind === "message" && item.text !== null);
  return last ? `${last.by ?? "administration"}: ${last.text.slice(0, PREVIEW_CHARACTERS)}` : "";
}
