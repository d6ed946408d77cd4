/** Who may be meant by the beginning of a name. Pure. */

const MAX_SHOWN = 6;

/** Members whom `begun` may name: those that begin so first, then those that contain it. */
export function candidates(begun, members, me) {
  const wanted = begun.toLowerCase();
  const others = members.filter((user) => user !== me && user.toLowerCase().includes(wanted));
  const first = others.filter((user) => user.toLowerCase().startsWith(wanted));
  return [...new Set([...first, ...others])].slice(0, MAX_SHOWN);
}
