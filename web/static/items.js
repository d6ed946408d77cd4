/**
 * What a group's log shows, in order of seq: `{seq, at, kind: "message", by, text, edited, replyTo, mentions, reactions,
 * more, version}` (text null: deleted; `reactions`: emoji → set of users, `more`: the emoji whose users were cut) or
 * `{seq, at, kind: "note", parts}`, where a part is a string or `{user}`. `version` counts a message's changes.
 *
 * While a change of one's own is on its way a message has `change` (`{id, text, problem}`: a new text, or null for its
 * deletion) and `wants` (emoji → whether it is to be there).
 */

/** The item of an event `message.posted`. */
export const posted = ({ seq, at, by, data }) => message(seq, at, by, data, false);

/** The item of a message in an answer to `history`. */
export function fetched({ seq, at, by, edited_at, reactions = {}, reactions_more = [], ...data }) {
  const item = message(seq, at, by, data, Boolean(edited_at));
  for (const [emoji, users] of Object.entries(reactions)) item.reactions.set(emoji, new Set(users));
  item.more = new Set(reactions_more);
  return item;
}

function message(seq, at, by, { text, reply_to, mentions = [] }, edited) {
  return {
    seq, at, kind: "message", by, text: text ?? null, edited, replyTo: reply_to ?? null, mentions, reactions: new Map(),
    more: new Set(), change: null, wants: new Map(), version: 0,
  };
}

/** The index of the first item at or behind `seq`. */
export function indexOf(items, seq) {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle].seq < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The item of `seq`, or undefined. */
export function at(items, seq) {
  const item = items[indexOf(items, seq)];
  return item?.seq === seq ? item : undefined;
}

/** Puts `item` in its place, unless its seq is there. */
export function insert(items, item) {
  const place = items.length === 0 || items.at(-1).seq < item.seq ? items.length : indexOf(items, item.seq);
  if (items[place]?.seq !== item.seq) items.splice(place, 0, item);
}

/** `older` (in order) and `items` as one, each seq once. */
export function merge(older, items) {
  const first = items[0]?.seq ?? Infinity;
  const merged = [...older.filter(({ seq }) => seq < first), ...items];
  for (const item of older) if (item.seq >= first) insert(merged, item);
  return merged;
}

/** Gives a message another text, or none; what was deleted stays so. */
function rewrite(item, text) {
  if (item.text === null) return;
  Object.assign(item, { text, edited: text !== null });
  if (text === null) item.reactions.clear();
  if (text === null) item.replyTo = null;
  item.version += 1;
}

/** Adds or takes away a user's reaction. */
function react(item, emoji, user, added) {
  const users = item.reactions.get(emoji) ?? new Set();
  if (added) users.add(user);
  else users.delete(user);
  if (users.size > 0) item.reactions.set(emoji, users);
  else item.reactions.delete(emoji);
  item.version += 1;
}

/** What an event changes in the message that it is about. */
export function alter(item, { kind, by, data }) {
  if (kind === "message.edited" && typeof data.text === "string") rewrite(item, data.text);
  else if (kind === "message.deleted") rewrite(item, null);
  else if (kind === "reaction.added") react(item, data.emoji, by, true);
  else if (kind === "reaction.removed") react(item, data.emoji, by, false);
}

/** A change of one's own has come: it is on its way no more. A later one of the same message still is. */
export function settle(item, { kind, data, client_msg_id }) {
  if (kind.startsWith("reaction.")) item.wants.delete(data.emoji);
  else if (item.change?.id === client_msg_id) item.change = null;
  item.version += 1;
}

/** `[{emoji, users, own, more}]` with what `me` has just asked for: what the page shows. */
export function reactionsOf(item, me) {
  const shown = new Map([...item.reactions].map(([emoji, users]) => [emoji, new Set(users)]));
  for (const [emoji, wanted] of item.wants) {
    const users = shown.get(emoji) ?? new Set();
    if (wanted) shown.set(emoji, users.add(me));
    else users.delete(me);
  }
  return [...shown]
    .filter(([, users]) => users.size > 0)
    .map(([emoji, users]) => ({ emoji, users: [...users], own: users.has(me), more: item.more.has(emoji) }));
}
