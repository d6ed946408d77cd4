/** The state of the connection, in the bar and beside the sign-in form. */

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
  const spoken = status.state === "waiting" ? "Connection lost, reconnecting" : describe(status).label;
  byId("connection-spoken").textContent = spoken;
}

function draw(status) {
  const { label, tone } = describe(status);
  const away = status.state === "waiting";
  byId("connection").dataset.tone = tone;
  byId("connection-label").textContent = label;
  byId("try-now").hidden = !away;
  byId("sign-in-status").textContent = { closed: "", waiting: `The server cannot be reached. ${label}` }[status.state] ?? label;
}
