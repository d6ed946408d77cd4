/**
 * Names of users and groups: ids that strangers choose. What cannot be seen in one, or turns the text around it, is shown
 * by its code point, so that two names that look alike are told apart and none changes what stands beside it.
 */

// Controls, direction marks, zero-width and blank letters, tags. A joiner is one unless letters or pictures need it.
const ODD = new RegExp(
  "([\\p{Cc}\\p{Zl}\\p{Zp}\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180e\\u200b\\u200e\\u200f\\u202a-\\u202e" +
    "\\u2060-\\u206f\\u2800\\u3164\\ufeff\\uffa0\\ufff9-\\ufffb\\u{e0000}-\\u{e007f}]" +
    "|(?<![^\\x00-\\x7f])[\\u200c\\u200d]|[\\u200c\\u200d](?![^\\x00-\\x7f]))",
  "u",
);

/** `[{text, odd}]`: the name in pieces, those that cannot be seen as `U+202E`. */
export function piecesOf(name) {
  const pieces = name.split(ODD).map((part, at) => (at % 2 ? { text: codeOf(part), odd: true } : { text: part, odd: false }));
  return pieces.filter(({ text }) => text !== "");
}

/** The name where only plain text can stand: a title, a label, a question. */
export const plain = (name) => piecesOf(name).map(({ text, odd }) => (odd ? `‹${text}›` : text)).join("");

const codeOf = (char) => `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

/** The first letter of a name, as one reads it: an emoji of several code points is one. */
export function initialOf(name) {
  const [first = { text: "?", odd: true }] = piecesOf(name.trim());
  if (first.odd) return "?";
  return graphemes(first.text)[0].toUpperCase();
}

const SEGMENTER = globalThis.Intl?.Segmenter && new Intl.Segmenter(undefined, { granularity: "grapheme" });

const graphemes = (text) => (SEGMENTER ? Array.from(SEGMENTER.segment(text), ({ segment }) => segment) : Array.from(text));
