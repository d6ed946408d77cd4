/**
 * Which of a group's items stand on the page: a stretch of bounded length, so that a group of any size stays quick. It
 * follows the newest until it is moved away from there. Pure: it knows items by their seq only.
 */

import { indexOf } from "./items.js";

/** How many stand there at first, how many come with a step, and how many there are at most. */
const LENGTH = 120;
const STEP = 60;
const MOST = 300;

export class Stretch {
  /** The seq of the first item; null before there is one. */
  #first = null;
  /** The seq of the last item; Infinity while the newest are followed. */
  #last = Infinity;

  /** Whether the newest item is in it, and those that come will be. */
  get follows() {
    return this.#last === Infinity;
  }

  /** Follows the newest again. */
  toEnd() {
    this.#first = null;
    this.#last = Infinity;
  }

  /** `[from, to)`, the indices of its items. What is too much is cut off at the end that is not read. */
  of(items, atEnd) {
    let to = this.follows ? items.length : indexOf(items, this.#last + 1);
    let from = this.#first === null ? Math.max(0, to - LENGTH) : indexOf(items, this.#first);
    if (to - from > MOST) {
      if (atEnd) from = to - LENGTH;
      else to = from + MOST;
    }
    this.#hold(items, from, to);
    return [from, to];
  }

  /** Goes a step towards the oldest; false if all of them are in it. */
  up(items) {
    const [from, to] = this.of(items, false);
    if (from === 0) return false;
    const higher = Math.max(0, from - STEP);
    this.#hold(items, higher, Math.min(to, higher + MOST));
    return true;
  }

  /** Goes a step towards the newest. */
  down(items) {
    const [from, to] = this.of(items, false);
    const lower = Math.min(items.length, to + STEP);
    this.#hold(items, Math.max(from, lower - MOST), lower);
  }

  /** Stands around the item `seq`. */
  around(items, seq) {
    const place = indexOf(items, seq);
    this.#hold(items, Math.max(0, place - STEP), Math.min(items.length, place + STEP));
  }

  #hold(items, from, to) {
    this.#first = items[from]?.seq ?? null;
    this.#last = to === items.length ? Infinity : items[to - 1].seq;
  }
}
