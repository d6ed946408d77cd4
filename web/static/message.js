/** One row of a group's log: a message, a note, a day. The texts of strangers become text nodes. */

import { h, hueOf, iconButton, mark, nameOf } from "./dom.js";
import { chips } from "./reactions.js";
import { partsOf } from "./text.js";
import { momentOf, timeOf } from "./times.js";
import { explain } from "./words.js";

/** A text beyond this is folded until it is asked for. */
const LONG_CHARACTERS = 1500;
const LONG_LINES = 24;
const QUOTED_CHARACTERS = 160;

const ADMINISTRATION = "administration";

export const dayRow = (day) => h("li", { class: "day" }, h("span", {}, day));

export const newsRow = () => h("li", { class: "news" }, h("span", {}, "New messages"));

export function noteRow({ seq, parts, at }) {
  const words = parts.map((part) => (typeof part === "string" ? part : nameOf(part.user)));
  return h("li", { class: "note", "data-seq": seq }, h("span", {}, ...words), " ", time(at));
}

/**
 * A message of the log. `view` is `{me, own, together, quoted, folded}`, `on` the actions of the timeline.
 * @param {any} item
 * @param {any} view
 * @param {any} on
 */
export function sentRow(item, view, on) {
  const { me, own } = view;
  const { change } = item;
  const gone = item.text === null;
  const body = gone ? h("p", { class: "text gone" }, "This message was deleted") : textOf(change?.text ?? item.text, item, view, on);
  const edited = item.edited && h("span", { class: "edited" }, "edited ");
  const state = change && (change.problem ? "failed" : "sending");
  const content = [quoteOf(item, view, on), body, meta(edited, time(item.at)), state && progressOf(item, on)];
  const tools = gone ? null : toolsOf(item, own, on);
  return row(item.by, view, { "data-state": state, "data-seq": item.seq, tabindex: -1, class: item.mentions.includes(me) && "to-me" }, content, [
    gone ? null : chips(item, me, (emoji, wanted) => on.react(item, emoji, wanted)),
  ], tools);
}

/** A message that is on its way, or did not get there. */
export function unsentRow(unsent, view, on) {
  const { text, problem, reply_to, mentions = [] } = unsent;
  const item = { ...unsent, replyTo: reply_to ?? null, mentions };
  const failed = problem && [
    h("p", { class: "meta wide" }, `Not sent. ${explain(problem)}`),
    h("p", { class: "meta wide actions" }, link("Retry", () => on.retry(unsent)), link("Discard", () => on.discard(unsent))),
  ];
  const content = [quoteOf(item, view, on), textOf(text, item, view, on), ...(failed ?? [meta("Sending…")])];
  return row(view.me, view, { "data-state": problem ? "failed" : "sending", tabindex: -1 }, content, [], null);
}

function row(by, { own, together }, { class: more, ...attributes }, content, below, tools) {
  const name = by ?? ADMINISTRATION;
  const author = h("p", { class: own || together ? "by spoken" : "by", "data-hue": hueOf(name) }, own ? "You" : nameOf(name));
  const classes = ["message", own && "own", together && "together", more].filter(Boolean).join(" ");
  return h(
    "li", { ...attributes, class: classes },
    !own && mark(name),
    h("div", { class: "body" }, h("div", { class: "bubble" }, author, h("div", { class: "line" }, ...content)), ...below),
    tools,
  );
}

function toolsOf(item, own, on) {
  const tool = (name, label, act) =>
    iconButton(name, label, { tabindex: -1, "data-part": name, onclick: (event) => act(item, event.currentTarget) });
  return h("div", { class: "tools" }, tool("smile", "React", on.pick), tool("reply", "Reply", on.reply), tool("more", "More", on.menu));
}

function textOf(text, item, view, on) {
  const shown = h("p", { class: "text", dir: "auto" }, ...partsOf(text, item.mentions).map((part) => nodeOf(part, view.me)));
  const long = text.length > LONG_CHARACTERS || text.split("\n", LONG_LINES + 1).length > LONG_LINES;
  if (!long || !view.folded) return shown;
  shown.classList.add("folded");
  return h("div", { class: "fold" }, shown, link("Show all of it", () => on.unfold(item)));
}

function nodeOf({ text, href, user }, me) {
  if (href) return h("a", { href, rel: "noopener noreferrer nofollow", target: "_blank", tabindex: -1, "data-part": href }, text);
  if (user) return h("span", { class: user === me ? "mention me" : "mention" }, "@", nameOf(user));
  return text;
}

/** What a message answers; a click leads there. */
function quoteOf({ replyTo, text }, { quoted }, on) {
  if (replyTo === null || text === null) return null;
  return h(
    "button", { type: "button", class: "quote", tabindex: -1, "data-part": "quote", onclick: () => on.jump(replyTo) },
    h("span", { class: "spoken" }, "Reply to "),
    ...(quoted ? [h("span", { class: "by", "data-hue": hueOf(quoted.by ?? ADMINISTRATION) }, nameOf(quoted.by ?? ADMINISTRATION))] : []),
    h("span", { class: "excerpt", dir: "auto" }, excerptOf(quoted)),
  );
}

/** A message in a line. */
export function excerptOf(message) {
  if (!message) return "an earlier message";
  if (message.text === null) return "This message was deleted";
  return message.text.slice(0, QUOTED_CHARACTERS).replace(/\s+/g, " ");
}

/** A change of a message that is on its way, or was refused. */
function progressOf({ change, ...item }, on) {
  if (!change.problem) return meta(change.text === null ? "Deleting…" : "Saving…");
  const what = change.text === null ? "Not deleted." : "Not changed.";
  return h(
    "p", { class: "meta wide actions" }, `${what} ${explain(change.problem)} `,
    link("Retry", () => on.retryChange(item.seq)), link("Discard", () => on.dropChange(item.seq)),
  );
}

const link = (text, act) => h("button", { class: "link", type: "button", "data-part": text, tabindex: -1, onclick: act }, text);

const meta = (...content) => h("p", { class: "meta" }, ...content);

const time = (at) => h("time", { datetime: at, title: momentOf(at) }, timeOf(at));

