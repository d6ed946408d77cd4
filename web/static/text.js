/** What stands in a text: links and mentions. Pure: the page makes nodes of it. */

// Nothing that cannot be seen or turns the text around belongs to a link; only the web's own schemes are one.
const LINK = /\bhttps?:\/\/[^\s<>"'`\p{Cc}\p{Cf}]+/giu;
const TAIL = new Set(".,;:!?…»”’)]}");

/**
 * The parts of `text` in order: `{text}`, `{text, href}` of a link, `{text, user}` of a mention of one of `users`.
 * @param {string} text
 * @param {string[]} [users]
 */
export function partsOf(text, users = []) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(LINK)) {
    const link = trimmed(match[0]);
    const href = hrefOf(link);
    if (href === null) continue;
    parts.push(...mentioned(text.slice(from, match.index), users), { text: link, href });
    from = match.index + link.length;
  }
  return [...parts, ...mentioned(text.slice(from), users)];
}

/** Those of `users` whom `text` names, as `@user`; at most `limit`. */
export function mentionsIn(text, users, limit = 100) {
  if (!text.includes("@")) return [];
  const candidates = users.filter((user) => text.includes(`@${user}`));
  const found = mentioned(text, candidates).flatMap((part) => part.user ?? []);
  return [...new Set(found)].slice(0, limit);
}

function mentioned(text, users) {
  if (users.length === 0 || !text.includes("@")) return text ? [{ text }] : [];
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(patternOf(users))) {
    if (match.index > from) parts.push({ text: text.slice(from, match.index) });
    parts.push({ text: match[0], user: match[0].slice(1) });
    from = match.index + match[0].length;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  return parts;
}

/** `@name`, the longest name first, and not the beginning of a longer word or the end of an address. */
function patternOf(users) {
  const names = [...users].sort((a, b) => b.length - a.length).map((user) => user.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  return new RegExp(`(?<![\\p{L}\\p{N}_])@(?:${names.join("|")})(?![\\p{L}\\p{N}_])`, "gu");
}

/** A link without the punctuation of the sentence around it; a closing bracket stays where an opening one is inside. */
function trimmed(link) {
  let end = link.length; // by hand: a pattern would begin anew at each of a thousand dots
  while (TAIL.has(link[end - 1])) end -= 1;
  const bare = link.slice(0, end);
  return link[end] === ")" && bare.includes("(") ? `${bare})` : bare;
}

function hrefOf(link) {
  try {
    const { protocol, href } = new URL(link);
    return protocol === "https:" || protocol === "http:" ? href : null;
  } catch {
    return null;
  }
}
