/** Dialogs, and the line that tells what went wrong elsewhere. */

import { byId, h } from "./dom.js";
import { explain } from "./words.js";

const NOTICE_MS = 8000;

/** Asks a question in a dialog; the value of the answer chosen, or "". An answer is `{value, label}`. */
export function ask(question, ...answers) {
  const dialog = byId("ask");
  byId("ask-question").textContent = question;
  const cancel = h("button", { value: "", class: "quiet", autofocus: true }, "Cancel");
  byId("ask-answers").replaceChildren(
    cancel, ...answers.map(({ value, label }) => h("button", { value, class: "danger" }, label)),
  );
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

/** Opens the dialog `id`, its form as it was in index.html. */
export function openDialog(id) {
  const dialog = byId(id);
  dialog.querySelector("form")?.reset();
  for (const problem of dialog.querySelectorAll(".problem")) problem.textContent = "";
  dialog.showModal();
}

/** Closes by its own button, and by a click beside it. */
export function listenDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
    });
  }
}

/** Runs an action, its button off meanwhile; a refusal is told in `problem`. True if it went well. */
export async function attempt(button, problem, action, words = explain) {
  byId(problem).textContent = "";
  button.disabled = true;
  try {
    await action();
    return true;
  } catch (error) {
    byId(problem).textContent = words(error);
    return false;
  } finally {
    button.disabled = false;
  }
}

/** What the form of this id does. */
export function onSubmit(form, problem, action, words) {
  byId(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await attempt(event.submitter ?? event.target.querySelector("button"), problem, action, words)) event.target.reset();
  });
}

let hiding;

/** Tells what went wrong, for a while. */
export function notify(text) {
  clearTimeout(hiding);
  byId("notice").textContent = text;
  hiding = setTimeout(() => (byId("notice").textContent = ""), NOTICE_MS);
}
