/** Times in the reader's own words and zone. */

const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const SHORT_DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** Local hours and minutes. */
export const timeOf = (at) => TIME.format(new Date(at));

/** The local date and time in full. */
export const momentOf = (at) => MOMENT.format(new Date(at));

/** The local day in words, the last two by name. */
export function dayOf(at, now = new Date()) {
  const day = new Date(at);
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (day.toDateString() === now.toDateString()) return "Today";
  if (day.toDateString() === yesterday.toDateString()) return "Yesterday";
  return DAY.format(day);
}

/** As short as it can be: the time of today, else the day. */
export function shortly(at, now = new Date()) {
  const day = new Date(at);
  return (day.toDateString() === now.toDateString() ? TIME : SHORT_DAY).format(day);
}
