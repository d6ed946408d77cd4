/** What can be done with a message: its buttons, its menu, its reactions. */

import { ask, notify } from "./dialogs.js";
import { at, reactionsOf } from "./items.js";
import { openMenu } from "./menu.js";
import { pickEmoji, QUICK, showWho } from "./reactions.js";
import { explain } from "./words.js";

const RANK = { reader: 0, member: 1, admin: 2, owner: 3 };

/**
 * The actions of the rows of one conversation.
 * @param {object} parts
 * @param {import("./session.js").Session} parts.session
 * @param {import("./conversation.js").Conversation} parts.conversation
 * @param {import("./composer.js").Composer} parts.composer
 * @param {(seq: number) => void} parts.focus puts the focus back on a message
 */
export function messageActions({ session, conversation, composer, focus }) {
  const { changes } = session;
  const held = (seq) => at(conversation.items, seq);
  const writes = () => conversation.phase === "open" && RANK[conversation.role] >= RANK.member;

  const react = (item, emoji, wanted) => {
    if (conversation.phase !== "open") return;
    changes.react(conversation, item, emoji, wanted).catch((error) => notify(explain(error)));
  };
  const pick = (item, anchor) => pickEmoji(anchor, (emoji) => react(item, emoji, true), () => focus(item.seq));
  const reply = (item) => writes() && composer.reply(item);

  async function remove(item) {
    const answer = await ask("Delete this message for everybody?", { value: "yes", label: "Delete" });
    if (answer) changes.remove(conversation, item);
    focus(item.seq);
  }

  async function copy({ text }) {
    try {
      await navigator.clipboard.writeText(text);
      notify("Copied.");
    } catch {
      notify("This browser does not let the page copy."); // it may not, on a page served by plain http
    }
  }

  function menu(item, anchor) {
    const own = item.by === conversation.me;
    const open = conversation.phase === "open";
    const reactions = reactionsOf(item, conversation.me);
    const has = (emoji) => reactions.some((each) => each.emoji === emoji && each.own);
    const items = [
      open && { label: "Another reaction…", icon: "smile", act: () => pick(item, anchor) },
      writes() && { label: "Reply", icon: "reply", act: () => reply(item) },
      { label: "Copy text", icon: "copy", act: () => copy(item) },
      reactions.length > 0 && { label: "Who reacted…", icon: "people", act: () => showWho(item, conversation.me) },
      own && writes() && { label: "Edit", icon: "edit", act: () => composer.edit(item) },
      open && (own || RANK[conversation.role] >= RANK.admin) && { label: "Delete…", icon: "trash", danger: true, act: () => remove(item) },
    ];
    const quick = open
      ? QUICK.map((emoji) => ({ label: `React with ${emoji}`, text: emoji, checked: has(emoji), act: () => react(item, emoji, !has(emoji)) }))
      : [];
    openMenu(anchor, { label: "This message", items: items.filter(Boolean), quick, back: () => focus(item.seq) });
  }

  return {
    react, pick, reply, menu,
    retry: (unsent) => session.retry(conversation, unsent),
    discard: (unsent) => session.discard(conversation, unsent),
    retryChange: (seq) => changes.retry(conversation, held(seq)),
    dropChange: (seq) => changes.drop(held(seq)),
  };
}
