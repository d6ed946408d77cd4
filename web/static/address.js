/** Where on the page one is, as the address has it: `/#group=<id>`. */

/** The hash of a group's address. */
export const hashOf = (id) => `#group=${encodeURIComponent(id)}`;

/** A link that opens the group on this page. */
export const linkTo = (id) => `${location.origin}/${hashOf(id)}`;

/** The id that an address or a link names, or null. */
export function groupOf(text) {
  const [, hash] = text.split("#group=", 2);
  if (!hash) return null;
  try {
    return decodeURIComponent(hash);
  } catch {
    return hash; // no escape of ours: taken as it stands
  }
}

/** Whom the address signs in, in development mode: `/?user=alice`. */
export const userOf = (search) => new URLSearchParams(search).get("user");
