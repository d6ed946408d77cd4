import assert from "node:assert/strict";
import { test } from "node:test";

import { candidates } from "../../../web/static/mention_candidates.js";
import { initialOf, piecesOf, plain } from "../../../web/static/names.js";
import { Stretch } from "../../../web/static/stretch.js";
import { mentionsIn, partsOf } from "../../../web/static/text.js";
import { explain, explainOther, noteOf, signedOut } from "../../../web/static/words.js";

const links = (text) => partsOf(text).flatMap(({ text: shown, href }) => (href ? [shown] : []));

test("addresses of the web are links, without the sentence around them, and nothing else is one", () => {
  assert.deepEqual(links("see https://a.example/x_(y), or (http://b.example/?q=1&r=%20#z)."), [
    "https://a.example/x_(y)", "http://b.example/?q=1&r=%20#z",
  ]);
  for (const text of ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "ftp://x.example", "https://", "xhttps://a.b"]) {
    assert.deepEqual(links(text), [], text);
  }
});

test("a link ends where a mark that turns or hides the text begins", () => {
  assert.deepEqual(links("https://a.example/\u202egnp.exe"), ["https://a.example/"]);
});

// A pattern that looks for the end at each dot would be at it for hours, past this file's time.
test("a link's end is found in one go, however much punctuation is in it", () => {
  assert.equal(links(`http://a${".".repeat(2_000_000)}x`)[0]?.length, 2_000_009);
});

test("the parts of a text are the text", () => {
  for (const text of ["", "plain", "@bob @bobby https://a.example. @alice!", "a@bob.example", "@@bob"]) {
    assert.equal(partsOf(text, ["bob", "alice"]).map((part) => part.text).join(""), text);
  }
});

test("a mention is a whole name, the longest that fits, whatever its letters mean elsewhere", () => {
  const users = ["bob", "bob b", "bobby", "a.*", "zoë", "(x", "me@home"];
  assert.deepEqual(mentionsIn("@bob b and @bobby, @zoë! @(x @a.* @abc me@bob x@me@home @bobs", users), [
    "bob b", "bobby", "zoë", "(x", "a.*",
  ]);
  assert.deepEqual(mentionsIn("nobody", users), []);
});

test("names that begin so come before those that contain it", () => {
  assert.deepEqual(candidates("AL", ["cabal", "alma", "me", "al", "bob"], "al"), ["alma", "cabal"]);
});

test("what cannot be seen in a name, or turns what stands beside it, is shown", () => {
  assert.deepEqual(piecesOf("ali\u202ece"), [{ text: "ali", odd: false }, { text: "U+202E", odd: true }, { text: "ce", odd: false }]);
  assert.equal(plain("al\u200bice\u2069"), "al‹U+200B›ice‹U+2069›");
  assert.equal(plain("ali\u200dce"), "ali‹U+200D›ce");
});

test("names and topics in notes do not turn the line around", () => {
  const [, , told] = noteOf({ kind: "group.updated", by: "bob", data: { name: "ali\u202ece", topic: "to\u2066pic" } });
  assert.equal(told, "renamed the group to “ali‹U+202E›ce”, set the topic to “to‹U+2066›pic”");
});

test("joiners that letters and pictures need are left alone", () => {
  for (const name of ["👨‍👩‍👧", "می‌خواهم", "Zoë", "<b>&amp;</b>", "a/b%2F\"'"]) assert.equal(plain(name), name);
});

test("the initial is what one reads first, of a name without one a question mark", () => {
  assert.deepEqual(["zoë", "👨‍👩‍👧x", "\u202e\u202e", "<i>"].map(initialOf), ["Z", "👨‍👩‍👧", "?", "<"]);
});

const items = (count) => Array.from({ length: count }, (_, i) => ({ seq: 2 * i + 1 }));

test("a long log stands on the page in a stretch of bounded length, which goes to both ends", () => {
  const [all, stretch] = [items(10_000), new Stretch()];
  const lengths = [];
  const look = () => {
    const [from, to] = stretch.of(all, false);
    lengths.push(to - from);
    return [from, to];
  };
  assert.deepEqual(look(), [9880, 10_000]);

  while (stretch.up(all)) look();
  assert.equal(look()[0], 0);
  assert.ok(!stretch.follows);
  while (!stretch.follows) {
    stretch.down(all);
    look();
  }

  assert.equal(look()[1], 10_000);
  assert.ok(Math.max(...lengths) <= 300);
});

test("who reads the newest has the older ones cut off, who reads older ones the newer", () => {
  const [following, reading] = [new Stretch(), new Stretch()];
  for (const stretch of [following, reading]) stretch.of(items(100), true);

  assert.deepEqual(following.of(items(1000), true), [880, 1000]);
  assert.deepEqual(reading.of(items(1000), false), [0, 300]);
  assert.deepEqual(reading.of(items(1100), false), [0, 300]);
  reading.toEnd();
  assert.deepEqual(reading.of(items(1100), true), [980, 1100]);
});

test("a message is shown with what stands around it", () => {
  const stretch = new Stretch();

  stretch.around(items(1000), 1001);

  assert.deepEqual(stretch.of(items(1000), false), [440, 560]);
});

test("refusals are told in words, by their code", () => {
  assert.equal(explain({ code: "forbidden", message: "raw" }), "Your role in this group does not allow that.");
  assert.equal(explain({ code: "invalid", field: "name", message: "raw" }), "A group's name has 1 to 256 bytes, and no control characters.");
  assert.equal(explain({ code: "invalid", field: "constructor", message: "raw" }), "raw");
  assert.equal(explain({ code: "brand_new", message: "raw" }), "raw");
  assert.notEqual(explain({ code: "banned" }), explainOther({ code: "banned" }));
});

test("why one is signed out is told, but to those who wanted it", () => {
  assert.equal(signedOut({ code: "closed", message: "x" }), "");
  assert.match(signedOut({ code: "revoked", message: "x" }), /operator/);
  assert.match(signedOut({ code: "unauthorized", message: "the token has expired" }), /new one/);
  assert.match(signedOut({ code: "unauthorized", message: "bad signature" }), /bad signature/);
});
