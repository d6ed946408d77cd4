/** Builds elements. Strings become text nodes, never markup, so names and texts of strangers are safe here. */

/**
 * `h("a", {href: "#x", onclick: f}, "text", child)`. An attribute that is null, undefined or false is left out.
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Node | string)} children
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** A user's name, kept apart from the direction of the text around it. */
export const nameOf = (user) => h("bdi", {}, user);

/** A round mark for a user or a group: the first letter, in one of eight colours that stays the same. */
export function mark(name) {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  const [first = "?"] = name.trim();
  return h("span", { class: "mark", "data-hue": hash % 8, "aria-hidden": "true" }, first.toUpperCase());
}

/**
 * Makes `parent` hold just the nodes of `rows`, in order. A row is `{key, version, make}`; the node made for a key is
 * kept while its version is the same, so that focus, selection and what a screen reader has read stay.
 */
export function reconcile(parent, rows) {
  const old = parent.rowsByKey ?? new Map();
  const kept = new Map();
  for (const { key, version, make } of rows) {
    const row = old.get(key);
    kept.set(key, row?.version === version ? row : { version, node: make() });
  }
  for (const [key, { node }] of old) if (kept.get(key)?.node !== node) node.remove();
  let place = parent.firstChild;
  for (const { node } of kept.values()) {
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  parent.rowsByKey = kept;
}
