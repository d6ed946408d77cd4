/** The form that one signs in with: a name in development mode, a token elsewhere. */

import { byId } from "./dom.js";

/** Tells `signIn({user} | {token})` of what is submitted. */
export function listenSignIn(signIn) {
  byId("sign-in-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const token = byId("token").value.trim();
    const user = byId("name").value.trim();
    const names = !byId("by-name").hidden;
    byId("sign-in-problem").textContent = token || (names && user) ? "" : names ? "Please enter a name." : "Please paste a token.";
    if (token) signIn({ token });
    else if (names && user) signIn({ user });
  });
}

/** Fits the form to the server: whether it takes a name. True if `identity` can be tried with it. */
export async function prepareSignIn(lastName, identity) {
  byId("name").value = lastName;
  const names = await takesNames();
  byId("by-name").hidden = byId("token-title").hidden = names === false;
  byId("token-details").open = names === false;
  return identity !== null && !(identity.user && names === false);
}

export function focusSignIn() {
  byId(byId("by-name").hidden ? "token" : "name").focus();
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
