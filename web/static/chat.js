/** The chat page: signs in, and brings what a session holds onto the page. */

import { groupOf, hashOf, userOf } from "./address.js";
import { Client, newId } from "./auerbach.js";
import { showConnection } from "./connection.js";
import { byId, mark } from "./dom.js";
import { showGroups } from "./groups.js";
import { People } from "./people.js";
import { Session } from "./session.js";
import { Store } from "./store.js";
import { Timeline } from "./timeline.js";
import { canJoin, explain } from "./words.js";

const store = new Store(localStorage, sessionStorage);
/** The connection, from signing in to signing out. @type {Client | null} */
let client = null;
/** What there is to show, from the first hello on. @type {Session | null} */
let session = null;

const timeline = new Timeline({
  loadEarlier: (conversation) => session.loadEarlier(conversation),
  retry: (conversation, unsent) => session.retry(conversation, unsent),
  discard: (conversation, unsent) => session.discard(conversation, unsent),
  onRead: render,
});
const people = new People({
  add: (group, user) => session.addMember(group, user),
  remove: (group, user) => session.removeMember(group, user),
  leave: async (group) => {
    await session.leave(group);
    location.hash = "";
  },
  ask,
});

// Signing in and out.

async function signIn(identity) {
  client?.close();
  store.identity = identity;
  client = new Client("/v1/ws", { ...identity, onStatus });
  const beginning = new Session({ client, newId, store, onChange: render });
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
  store.identity = null;
  session = null;
  const { code, message } = status.error;
  byId("sign-in-problem").textContent = code === "closed" ? "" : `Signed out: ${message}.`;
  draw();
  focusFirst();
}

function submitSignIn(event) {
  event.preventDefault();
  const token = byId("token").value.trim();
  const user = byId("name").value.trim();
  byId("sign-in-problem").textContent = token || user ? "" : "Please enter a name.";
  if (token) signIn({ token });
  else if (user) signIn({ user });
}

/** Whether the server takes a name for an identity; null while it cannot be asked. */
async function takesNames() {
  try {
    const response = await fetch("/v1/config");
    return response.ok ? (await response.json()).dev : null;
  } catch {
    return null;
  }
}

async function start() {
  listen();
  draw();
  byId("name").value = store.lastName;
  const names = await takesNames();
  byId("by-name").hidden = byId("token-title").hidden = names === false;
  byId("token-details").open = names === false;
  const user = userOf(location.search);
  const identity = user ? { user } : store.identity;
  if (identity && !(identity.user && names === false)) signIn(identity);
  else focusFirst();
}

// What the page shows.

let drawing = false;
/** The group on the page. @type {import("./conversation.js").Conversation | null} */
let shown = null;
let wantsPeople = matchMedia("(min-width: 68rem)").matches;

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
  if (session === null) return;
  if (byId("me").textContent !== session.me) {
    byId("me").textContent = session.me;
    byId("me-mark").replaceChildren(mark(session.me));
  }
  drawConversation(session.conversations.get(groupOf(location.hash)) ?? null);
  showGroups([...session.conversations.values()], shown);
  drawPeople();
  drawTitle();
}

function drawConversation(conversation) {
  if (conversation !== shown) swapDraft(conversation);
  shown = conversation;
  byId("app").dataset.view = conversation ? "group" : "list";
  byId("nothing").hidden = conversation !== null;
  byId("conversation").hidden = conversation === null;
  if (conversation === null) return;
  const { phase, members, membersMore, problem, name, items } = conversation;
  const closed = phase === "closed";
  byId("group-name").textContent = name;
  byId("people-toggle").textContent = `${members.size}${membersMore ? "+" : ""} ${members.size === 1 ? "member" : "members"}`;
  byId("people-toggle").hidden = phase !== "open";
  byId("log").hidden = closed && items.length === 0;
  byId("composer").hidden = closed;
  byId("outside").hidden = !closed;
  byId("outside-reason").textContent = closed ? explain(problem) : "";
  byId("outside-join").hidden = !(closed && canJoin(problem));
  timeline.show(conversation);
  if (timeline.atEnd && !document.hidden) conversation.unread = 0;
}

/** What was begun to be written in one group stays there. */
function swapDraft(conversation) {
  const field = byId("text");
  if (shown) shown.draft = field.value;
  field.value = conversation?.draft ?? "";
  byId("text-problem").textContent = byId("outside-problem").textContent = "";
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
  document.title = `${unread ? `(${unread}) ` : ""}${shown ? `${shown.name} · ` : ""}Auerbach`;
}

/** Where one would go on: the message, but where a keyboard would unfold over the log for it. */
function focusFirst() {
  if (session === null) byId(byId("by-name").hidden ? "token" : "name").focus();
  else if (shown === null) byId("create-name").focus();
  else if (matchMedia("(pointer: fine)").matches && !byId("composer").hidden) byId("text").focus();
  else byId("group-name").focus();
}

// What one does.

function goTo(id) {
  if (location.hash === hashOf(id)) draw();
  else location.hash = hashOf(id);
}

function submitMessage(event) {
  event.preventDefault();
  const field = byId("text");
  const text = field.value.trimEnd();
  if (text.trim() === "" || shown === null) return;
  const over = new TextEncoder().encode(text).length - session.limits.text_bytes;
  byId("text-problem").textContent = over > 0 ? `The message is too long, by ${over} bytes.` : "";
  if (over > 0) return;
  field.value = "";
  session.send(shown, text);
  draw();
  timeline.toEnd();
}

/** Runs an action, its button off meanwhile; a refusal is told in `problem`. True if it went well. */
async function attempt(button, problem, action) {
  byId(problem).textContent = "";
  button.disabled = true;
  try {
    await action();
    return true;
  } catch (error) {
    byId(problem).textContent = explain(error);
    return false;
  } finally {
    button.disabled = false;
  }
}

function onSubmit(form, problem, action) {
  byId(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await attempt(event.submitter, problem, action)) byId(form).reset();
  });
}

/** Asks a question in a dialog; true if it was answered with `yes`. */
function ask(question, yes) {
  const dialog = byId("ask");
  byId("ask-question").textContent = question;
  byId("ask-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function showPeople(wanted) {
  wantsPeople = wanted;
  draw();
  byId(wanted ? "people-title" : "people-toggle").focus();
}

function listen() {
  byId("sign-in-form").addEventListener("submit", submitSignIn);
  byId("sign-out").addEventListener("click", () => client.close());
  byId("try-now").addEventListener("click", () => client.wake());
  byId("composer").addEventListener("submit", submitMessage);
  byId("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submitMessage(event);
  });
  onSubmit("create-form", "create-problem", async () => {
    goTo(await session.create(byId("create-name").value.trim(), { open: byId("create-open").checked }));
  });
  onSubmit("join-form", "join-problem", async () => {
    const typed = byId("join-id").value.trim();
    const { id } = await session.join(groupOf(typed) ?? typed);
    goTo(id);
  });
  byId("outside-join").addEventListener("click", (event) => {
    attempt(event.currentTarget, "outside-problem", () => session.join(shown.id));
  });
  byId("outside-forget").addEventListener("click", () => {
    session.forget(shown.id);
    location.hash = "";
  });
  byId("people-toggle").addEventListener("click", () => showPeople(!wantsPeople));
  byId("people-close").addEventListener("click", () => showPeople(false));
  addEventListener("hashchange", () => {
    if (session === null) return;
    if (groupOf(location.hash)) session.open(groupOf(location.hash));
    draw();
    focusFirst();
  });
  addEventListener("online", () => client?.wake());
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    client?.wake();
    render();
  });
}

start();
