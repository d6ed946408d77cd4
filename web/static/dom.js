/** Builds elements. Strings become text nodes, never markup, so names and texts of strangers are safe here. */

import { initialOf, piecesOf } from "./names.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * `h("a", {href: "#x", onclick: f}, "text", child)`. An attribute that is null, undefined or false is left out, and so is
 * such a child.
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Node | string | null | undefined | false)} children
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** A user's or a group's name, kept apart from the direction of the text around it. */
export function nameOf(name) {
  return h("bdi", {}, ...piecesOf(name).map(({ text, odd }) => (odd ? h("span", { class: "odd" }, text) : text)));
}

/** A drawing of index.html, for the eye only. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A button that is a drawing; `label` is its name, and what it tells the pointer. */
export const iconButton = (name, label, attributes) =>
  h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, ...attributes }, icon(name));

/** A round mark for a user or a group: the first letter, in one of eight colours that stays the same. */
export const mark = (name) =>
  h("span", { class: "mark", "data-hue": hueOf(name), "aria-hidden": "true" }, initialOf(name));

/** One of eight colours, 0–7, that stays a name's own. */
export function hueOf(name) {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  return hash % 8;
}

/**
 * Makes `parent` hold just the nodes of `rows`, in order. A row is `{key, version, make}`; the node made for a key is
 * kept while its version is the same, so that selection and what a screen reader has read stay. The focus stays too: in the
 * node made anew, on what has the same `data-part`, else on the node itself.
 */
export function reconcile(parent, rows) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const old = parent.rowsByKey ?? new Map();
  const kept = new Map();
  for (const { key, version, make } of rows) {
    const row = old.get(key);
    kept.set(key, row?.version === version ? row : { version, node: make() });
  }
  let heir = focused;
  for (const [key, { node }] of old) {
    const now = kept.get(key)?.node;
    if (now === node) continue;
    if (focused && node.contains(focused)) heir = now && partOf(now, focused.dataset.part);
    node.remove();
  }
  let place = parent.firstChild;
  for (const { node } of kept.values()) {
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  parent.rowsByKey = kept;
  if (heir && document.activeElement !== heir) heir.focus({ preventScroll: true });
}

function partOf(node, part) {
  return (part && node.querySelector(`[data-part="${CSS.escape(part)}"]`)) || node;
}
