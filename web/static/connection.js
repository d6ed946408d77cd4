/** The state of the connection: beside one's name, above everything while it is away, and beside the sign-in form. */

import { byId } from "./dom.js";
import { describe } from "./words.js";

const TICK_MS = 500;

let countdown;

/** Shows `status`, and counts down to the next try. */
export function showConnection(status) {
  clearInterval(countdown);
  if (status.state === "waiting") countdown = setInterval(() => draw(status), TICK_MS);
  draw(status);
  // Told once, not with every second of the countdown.
  const away = status.state === "waiting";
  byId("connection-spoken").textContent = away ? "Connection lost, reconnecting. What you write is sent later." : describe(status).label;
}

function draw(status) {
  const { label, tone } = describe(status);
  const away = status.state === "waiting";
  byId("connection").dataset.tone = byId("app").dataset.tone = tone;
  byId("connection-label").textContent = label;
  byId("connection-later").textContent = away ? ". What you write is sent later." : "";
  byId("presence").textContent = tone === "good" ? label : "Offline";
  byId("try-now").hidden = !away;
  byId("sign-in-status").textContent = { closed: "", waiting: `The server cannot be reached. ${label}` }[status.state] ?? label;
}
