/** What the page says: notes in a group's log, errors, the state of the connection, times. */

const user = (name) => ({ user: name ?? "the administration" });

/** The kinds of event that are told as a line of their own. A part is a string or `{user}`. */
const NOTES = {
  "group.created": ({ by }) => [user(by), " created the group"],
  "group.deleted": ({ by }) => [user(by), " deleted the group"],
  "group.updated": ({ by, data }) =>
    data.name === undefined ? [user(by), " changed the settings"] : [user(by), ` renamed the group to “${data.name}”`],
  "member.joined": ({ by, data }) =>
    by === data.user ? [user(by), " joined"] : [user(by), " added ", user(data.user)],
  "member.left": ({ data }) => [user(data.user), " left"],
  "member.removed": ({ by, data }) => [user(by), " removed ", user(data.user)],
  "member.role_changed": ({ by, data }) => [user(by), " made ", user(data.user), ` ${data.role}`],
};

/** The parts of an event's line, or null where it has none. */
export function noteOf(event) {
  return Object.hasOwn(NOTES, event.kind) ? NOTES[event.kind](event) : null;
}

const PROBLEMS = {
  already_exists: "There is a group with this id already.",
  banned: "You have been banned from this group.",
  disconnected: "The connection was lost before there was an answer.",
  "group.deleted": "This group was deleted.",
  last_owner: "You own this group: as long as others are in it, you cannot leave.",
  "member.left": "You left this group.",
  "member.removed": "You were removed from this group.",
  no_such_group: "There is no such group.",
  not_a_member: "You are not a member of this group.",
  overloaded: "Too much is waiting for the connection.",
  rate_limited: "That was too fast. Try again in a moment.",
  timeout: "There was no answer in time.",
  too_large: "The message is too long.",
  too_many_groups: "You are in too many groups.",
  unavailable: "The service cannot do this right now.",
};

/** A refusal in words, by its code or by the kind of event that stands for it; else the server's own words. */
export function explain({ code, kind, message }) {
  return PROBLEMS[code ?? kind] ?? message ?? "Something went wrong.";
}

/** Whether one may become a member again after such a refusal or event. */
export function canJoin({ code, kind }) {
  return ["not_a_member", "member.left", "member.removed"].includes(code ?? kind);
}

/** `{label, tone}` of the connection; `tone` is `good`, `busy` or `bad`. */
export function describe(status, now = Date.now()) {
  switch (status.state) {
    case "online":
      return { label: "Online", tone: "good" };
    case "waiting":
      return { label: `Reconnecting in ${Math.max(1, Math.ceil((status.retryAt - now) / 1000))} s`, tone: "bad" };
    case "closed":
      return { label: "Signed out", tone: "bad" };
    default:
      return { label: "Connecting…", tone: "busy" };
  }
}

const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
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
