/** The chat page: signs in, and brings what a session holds onto the page. */

import { groupOf, hashOf, userOf } from "./address.js";
import { Client, newId, Online } from "./auerbach.js";
import { Composer } from "./composer.js";
import { showConnection } from "./connection.js";
import { attempt, listenDialogs } from "./dialogs.js";
import { byId, mark, nameOf } from "./dom.js";
import { GroupForms } from "./group_forms.js";
import { inOrder, listenGroups, showGroups } from "./groups.js";
import { messageActions } from "./message_actions.js";
import { plain } from "./names.js";
import { People } from "./people.js";
import { Session } from "./session.js";
import { focusSignIn, listenSignIn, prepareSignIn } from "./sign_in.js";
import { Store } from "./store.js";
import { Timeline } from "./timeline.js";
import { canJoin, explain, signedOut } from "./words.js";

const WIDE = "(min-width: 72rem)";

const store = new Store(localStorage, sessionStorage);
/** The connection, from signing in to signing out. @type {Client | null} */
let client = null;
/** What there is to show, from the first hello on. @type {Session | null} */
let session = null;

const composer = new Composer({
  send: (conversation, text, more) => {
    session.send(conversation, text, more);
    draw();
    timeline.toEnd();
  },
  edit: (conversation, item, text) => session.changes.edit(conversation, item, text),
  saveDraft: (conversation, draft) => session?.setDraft(conversation, draft),
  limit: () => session.limits.text_bytes,
});
const timeline = new Timeline({
  loadEarlier: (conversation) => session.loadEarlier(conversation),
  reach: (conversation, seq) => session.reach(conversation, seq),
  loadQuote: (conversation, seq) => session.loadQuote(conversation, seq),
  onRead: render,
  of: (conversation) => messageActions({ session, conversation, composer, focus: (seq) => timeline.focus(seq) }),
});
const forms = new GroupForms({
  create: async (settings) => goTo(await session.create(settings)),
  join: async (id) => goTo((await session.join(id)).id),
  update: (id, settings) => session.updateGroup(id, settings),
  leave: async (id) => away(await session.leave(id)),
  delete: async (id) => away(await session.deleteGroup(id)),
});
const people = new People({
  add: (group, user) => session.addMember(group, user),
  remove: (group, user, how) => session.removeMember(group, user, how),
  setRole: (group, user, role) => session.setRole(group, user, role),
  unban: (group, user) => session.unban(group, user),
  loadMore: (conversation) => session.loadMembers(conversation),
  leave: () => forms.leave(),
});

// Signing in and out.

async function signIn(identity) {
  client?.close();
  store.identity = identity;
  const opened = (client = new Client("/v1/ws", { ...identity, onStatus }));
  const watchOnline = (group, onChange) => new Online(opened, group, onChange);
  const beginning = new Session({ client, newId, store, onChange: render, watchOnline });
  try {
    await beginning.begin();
  } catch {
    return; // refused for good, or given up: `onStatus` was told
  }
  session = beginning;
  byId("token").value = "";
  if (groupOf(location.hash)) session.open(groupOf(location.hash));
  draw();
  focusFirst();
}

function onStatus(status) {
  showConnection(status);
  if (status.state !== "closed") return;
  composer.show(null);
  session?.saveSeen();
  store.identity = null;
  session = null;
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  for (const panel of document.querySelectorAll("[popover]")) panel.hidePopover();
  byId("sign-in-problem").textContent = signedOut(status.error);
  draw();
  focusFirst();
}

async function start() {
  listen();
  draw();
  const user = userOf(location.search);
  const identity = user ? { user } : store.identity;
  if (await prepareSignIn(store.lastName, identity)) signIn(identity);
  else focusFirst();
}

// What the page shows.

let drawing = false;
/** The group on the page. @type {import("./conversation.js").Conversation | null} */
let shown = null;
/** Whether the focus goes to the message once the group is open. */
let awaitsOpening = false;
let wantsPeople = matchMedia(WIDE).matches;

/** Brings the page up to date, once for all changes of a moment. */
function render() {
  if (drawing) return;
  drawing = true;
  // A hidden page draws no frames, but its title counts what is unread.
  if (document.hidden) setTimeout(draw, 200);
  else requestAnimationFrame(draw);
}

function draw() {
  drawing = false;
  byId("sign-in").hidden = session !== null;
  byId("app").hidden = session === null;
  document.title = "Auerbach";
  if (session === null) {
    shown = null;
    return;
  }
  drawMe();
  drawConversation(session.conversations.get(groupOf(location.hash)) ?? null);
  session.watch(shown);
  showGroups(inOrder(session.conversations.values()), shown);
  drawPeople();
  drawTitle();
}

function drawMe() {
  if (byId("me").dataset.user === session.me) return;
  byId("me").dataset.user = session.me;
  byId("me").replaceChildren(nameOf(session.me));
  byId("me-mark").replaceChildren(mark(session.me));
}

function drawConversation(conversation) {
  composer.show(conversation);
  if (conversation !== shown) byId("outside-problem").textContent = "";
  shown = conversation;
  byId("app").dataset.view = conversation ? "group" : "list";
  byId("nothing").hidden = conversation !== null;
  byId("conversation").hidden = conversation === null;
  forms.show(conversation);
  if (conversation === null) return;
  const { phase, problem, items, role } = conversation;
  const [open, closed] = [phase === "open", phase === "closed"];
  drawHead(conversation);
  byId("log").hidden = closed && items.length === 0;
  byId("no-messages").hidden = !open || items.some(({ kind }) => kind === "message") || conversation.hasEarlier || conversation.unsent.length > 0;
  byId("composer").hidden = !open || role === "reader";
  byId("readers-only").hidden = !open || role !== "reader";
  byId("outside").hidden = !closed;
  byId("outside-reason").textContent = closed ? explain(problem) : "";
  byId("outside-join").hidden = !(closed && canJoin(problem));
  timeline.show(conversation);
  // One came here to write, before it was known whether one may.
  if (open && document.activeElement === byId("group-name") && awaitsOpening) focusFirst();
  if (timeline.atEnd && !document.hidden) session.markSeen(conversation);
}

function drawHead({ name, topic, members, membersMore, online, phase }) {
  if (byId("group-name").dataset.name !== name) {
    byId("group-name").dataset.name = name;
    byId("group-name").replaceChildren(nameOf(name));
    byId("group-mark").replaceChildren(mark(name));
  }
  byId("group-topic").textContent = topic;
  byId("people-count").textContent = `${members.size}${membersMore ? "+" : ""}`;
  const many = `${members.size}${membersMore ? "+" : ""} ${members.size === 1 ? "member" : "members"}`;
  byId("people-toggle").setAttribute("aria-label", online.size > 0 ? `${many}, ${online.size} online` : many);
  byId("people-toggle").hidden = phase !== "open";
}

function drawPeople() {
  const open = wantsPeople && shown?.phase === "open";
  byId("people").hidden = !open;
  byId("app").dataset.people = open ? "shown" : "hidden";
  byId("people-toggle").setAttribute("aria-expanded", String(open));
  if (open) people.show(shown);
}

function drawTitle() {
  const unread = [...session.conversations.values()].reduce((sum, each) => sum + each.unread, 0);
  document.title = `${unread ? `(${unread}) ` : ""}${shown ? `${plain(shown.name)} · ` : ""}Auerbach`;
}

/** Where one would go on: the message, but where a keyboard would unfold over the log for it. */
function focusFirst() {
  awaitsOpening = shown?.phase === "opening";
  if (session === null) focusSignIn();
  else if (shown === null) (byId("group-list").querySelector("a") ?? byId("new-group")).focus();
  else if (matchMedia("(pointer: fine)").matches && byId("text").checkVisibility()) byId("text").focus();
  else byId("group-name").focus();
}

// What one does.

function goTo(id) {
  if (location.hash === hashOf(id)) draw();
  else location.hash = hashOf(id);
}

function away() {
  location.hash = "";
}

function showPeople(wanted) {
  wantsPeople = wanted;
  draw();
  byId(wanted ? "people-title" : "people-toggle").focus();
}

/** Alt and an arrow: the next group of the list, or the one before. */
function step(by) {
  const order = inOrder(session.conversations.values());
  const at = order.indexOf(shown);
  const next = order[at < 0 ? 0 : (at + by + order.length) % order.length];
  if (next) goTo(next.id);
}

function pressed(event) {
  // Open ones only: a menu that has closed is in the document until its toggle event comes.
  if (session === null || document.querySelector("dialog[open], :popover-open")) return;
  if (event.altKey && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    event.preventDefault();
    step(event.key === "ArrowDown" ? 1 : -1);
  } else if (event.key === "Escape" && byId("people").contains(document.activeElement)) showPeople(false);
}

function listen() {
  listenSignIn(signIn);
  listenDialogs();
  listenGroups();
  byId("sign-out").addEventListener("click", () => client.close());
  byId("try-now").addEventListener("click", () => client.wake());
  byId("outside-join").addEventListener("click", (event) => {
    attempt(event.currentTarget, "outside-problem", () => session.join(shown.id));
  });
  byId("outside-forget").addEventListener("click", () => away(session.forget(shown.id)));
  byId("people-toggle").addEventListener("click", () => showPeople(!wantsPeople));
  byId("people-close").addEventListener("click", () => showPeople(false));
  addEventListener("keydown", pressed);
  addEventListener("hashchange", () => {
    if (session === null) return;
    if (groupOf(location.hash)) session.open(groupOf(location.hash));
    draw();
    focusFirst();
  });
  addEventListener("pagehide", () => session?.saveSeen());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) render();
  });
}

start();
