/** What the page says: notes in a group's log, refusals, the state of the connection. */

import { plain } from "./names.js";

const user = (name) => ({ user: name ?? "the administration" });

export const ROLES = { reader: "Reader", member: "Member", admin: "Admin", owner: "Owner" };

/** The kinds of event that are told as a line of their own. A part is a string or `{user}`. */
const NOTES = {
  "group.created": ({ by }) => [user(by), " created the group"],
  "group.deleted": ({ by }) => [user(by), " deleted the group"],
  "group.updated": ({ by, data }) => [user(by), " ", updated(data)],
  "member.joined": ({ by, data }) => (by === data.user ? [user(by), " joined"] : [user(by), " added ", user(data.user)]),
  "member.left": ({ data }) => [user(data.user), " left"],
  "member.removed": ({ by, data }) => [user(by), data.banned ? " banned " : " removed ", user(data.user)],
  "member.unbanned": ({ by, data }) => [user(by), " lifted the ban of ", user(data.user)],
  "member.role_changed": ({ by, data }) =>
    data.from === undefined
      ? [user(by), " made ", user(data.user), ` ${data.role}`]
      : [user(data.from), " made ", user(data.user), " the owner"],
};

function updated({ name, topic, join, history }) {
  const changes = [
    name !== undefined && `renamed the group to “${plain(name)}”`,
    topic !== undefined && (topic === "" ? "removed the topic" : `set the topic to “${plain(topic)}”`),
    join === "open" && "opened the group to everybody who has the link",
    join === "invite" && "closed the group to all who are not invited",
    history === "all" && "showed new members all that is written from now on",
    history === "joined" && "hid what is written from now on from later members",
  ];
  return changes.filter(Boolean).join(", ") || "changed the settings";
}

/** The parts of an event's line, or null where it has none. */
export function noteOf(event) {
  return Object.hasOwn(NOTES, event.kind) ? NOTES[event.kind](event) : null;
}

const PROBLEMS = {
  already_a_member: "This user is a member already.",
  already_exists: "There is a group with this id already.",
  banned: "You have been banned from this group.",
  closed: "You have been signed out.",
  conflict: "This was sent before with other content.",
  disconnected: "The connection was lost before there was an answer.",
  forbidden: "Your role in this group does not allow that.",
  "group.deleted": "This group was deleted.",
  internal: "The server made a mistake.",
  last_owner: "You own this group: as long as others are in it, make one of them the owner first.",
  "member.left": "You left this group.",
  "member.removed": "You were removed from this group.",
  no_such_group: "There is no such group.",
  no_such_message: "This message is gone.",
  not_a_member: "You are not a member of this group.",
  outdated: "This page was left before there was an answer, too long ago to send it again unasked.",
  overloaded: "Too much is waiting for the connection.",
  rate_limited: "That was too fast. Try again in a moment.",
  timeout: "There was no answer in time.",
  too_large: "The message is too long.",
  too_many_groups: "You are in too many groups.",
  unavailable: "The service cannot do this right now.",
};

const FIELDS = {
  emoji: "This cannot be a reaction.",
  group: "This is no id of a group.",
  name: "A group's name has 1 to 256 bytes, and no control characters.",
  text: "A message cannot have such text.",
  topic: "The topic is too long, or has control characters.",
  user: "This is no name of a user.",
};

/** About somebody else the same codes mean another thing. */
const OF_OTHERS = {
  banned: "This user is banned. Lift the ban first.",
  not_a_member: "This user is not a member.",
};

/** A refusal in words, by its code or by the kind of event that stands for it; else the server's own words. */
export function explain({ code, kind, field, message }) {
  if (code === "invalid" && Object.hasOwn(FIELDS, field ?? "")) return FIELDS[field];
  if (Object.hasOwn(PROBLEMS, code ?? kind ?? "")) return PROBLEMS[code ?? kind];
  return message || "Something went wrong.";
}

/** A refusal of what was to be done about another user. */
export const explainOther = (refusal) => (Object.hasOwn(OF_OTHERS, refusal.code ?? "") ? OF_OTHERS[refusal.code] : explain(refusal));

/** Whether one may become a member again after such a refusal or event. */
export function canJoin({ code, kind }) {
  return ["not_a_member", "member.left", "member.removed"].includes(code ?? kind);
}

/** Why one is signed out, where that was not one's own wish; else nothing. */
export function signedOut({ code, message }) {
  if (code === "closed") return "";
  if (code === "revoked") return "An operator has ended your session.";
  if (/expired/.test(message)) return "Your token has expired. Sign in with a new one.";
  return `The server did not let you in: ${message}.`;
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
