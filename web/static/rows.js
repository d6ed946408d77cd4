/** The rows of a stretch of a group's log: days, news, notes, messages, and at the end what is not sent yet. */

import { dayRow, excerptOf, newsRow, noteRow, sentRow, unsentRow } from "./message.js";
import { plain } from "./names.js";
import { dayOf } from "./times.js";

/** Messages of one author within this time stand together under one name. */
const TOGETHER_MS = 5 * 60 * 1000;

/**
 * Rows for `reconcile`.
 * @param {import("./conversation.js").Conversation} conversation
 * @param {any} stretch `from` and `to` (indices), `news` (`{after, through}`), `unfolded` (seqs), `withUnsent`, `on` (the
 *   actions of messages), `missing(seq)`, told of a quoted message that nobody has fetched
 */
export function rowsOf(conversation, { from, to, news, unfolded, withUnsent, on, missing }) {
  const { me, items } = conversation;
  const rows = [];
  let before = from > 0 ? items[from - 1] : null;
  let newsBegan = false;

  const begin = (item) => {
    const day = dayOf(item.at);
    if (rows.length > 0 && before && day === dayOf(before.at)) return;
    rows.push({ key: `day ${day}`, version: "", make: () => dayRow(day) });
    if (!before || day !== dayOf(before.at)) before = null;
  };
  const viewOf = (item, by, replyTo, folded) => {
    const quoted = replyTo === null ? null : conversation.messageAt(replyTo);
    if (quoted === undefined) missing(replyTo);
    return { me, own: by === me, together: together(before, by, item.at), quoted, folded };
  };

  for (const item of items.slice(from, to)) {
    begin(item);
    if (!newsBegan && news.after !== null && item.seq > news.after && item.seq <= news.through && item.by !== me && item.kind === "message") {
      newsBegan = true;
      before = null;
      rows.push({ key: "news", version: "", make: newsRow });
    }
    if (item.kind === "note") rows.push({ key: item.seq, version: "", make: () => noteRow(item) });
    else {
      const view = viewOf(item, item.by, item.text === null ? null : item.replyTo, !unfolded.has(item.seq));
      rows.push({ key: item.seq, version: versionOf(item.version, view), make: () => sentRow(item, view, on) });
    }
    before = item;
  }
  for (const unsent of withUnsent ? conversation.unsent : []) {
    begin(unsent);
    const view = viewOf(unsent, me, unsent.reply_to ?? null, true);
    rows.push({ key: unsent.id, version: versionOf(unsent.problem?.code ?? "", view), make: () => unsentRow(unsent, view, on) });
    before = { kind: "message", by: me, at: unsent.at };
  }
  return rows;
}

const versionOf = (version, { together, quoted, folded }) => [version, together, folded, quoted && `${quoted.seq} ${quoted.version}`].join();

function together(before, by, at) {
  return before !== null && before.kind === "message" && before.by === by && new Date(at) - new Date(before.at) < TOGETHER_MS;
}

/** A new row, as a screen reader is told of it. */
export function spokenOf(item) {
  if (item.kind === "note") return item.parts.map((part) => (typeof part === "string" ? part : plain(part.user))).join("");
  return `${plain(item.by ?? "administration")}: ${excerptOf(item)}`;
}
