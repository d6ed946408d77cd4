"""Pages of a group's events and messages, as one member may see them.

A page is bounded in frames, bytes and work, whatever the group is like: which events are messages is known from marks,
and what a member may not read is passed over in runs. What was deleted comes redacted from the history itself.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import msgspec

from app.domain.spans import Span, parts, readable_spans
from app.domain.state import Group
from app.reads import PAGE_BYTES, PAGE_EVENTS, Answer, ReadMessages
from tables.history import History, NotLoadedError
from tables.history_rows import Edited, decode_edited, decode_posted, is_edit, is_message, redact

BATCH_MESSAGES = 50  # read and encoded before the loop gets its turn
BLOCKS_LOOKED_AT = 64  # without a message in them, before the loop gets its turn


class Withheld(msgspec.Struct, frozen=True, rename={"since": "from"}, tag_field="type", tag="withheld"):
    """The frame that stands for events this member may not read (protocol §4)."""

    group: str
    since: int
    through: int


class HistoryItem(msgspec.Struct, frozen=True, kw_only=True):
    """A message in `history` (protocol §9)."""

    seq: int
    id: str
    by: str | None
    at: str
    client_msg_id: str | None
    text: str | None
    reply_to: int | msgspec.UnsetType = msgspec.UNSET
    mentions: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    attributes: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    edited_at: str | msgspec.UnsetType = msgspec.UNSET
    reactions: dict[str, list[str]] = {}
    reactions_more: list[str] | msgspec.UnsetType = msgspec.UNSET
    deleted: bool | msgspec.UnsetType = msgspec.UNSET


@dataclass(slots=True, frozen=True)
class View:
    """What one member may see of a group at its seq `head`: taken at once, so that no later event changes it."""

    group: str
    oldest: int  # of this life, and not pruned
    head: int
    spans: list[Span]

    def shows(self, seq: int) -> bool:
        """Whether the event is one that the member may read."""
        place = bisect_right(self.spans, seq, key=lambda span: span[0])
        return place > 0 and seq <= self.spans[place - 1][1]


def view_of(group: Group, user: str | None) -> View:
    """What `user`, a member, may see of `group` now; None, an outside authority, sees all."""
    oldest = max(group.first, group.pruned + 1)
    spans = [(oldest, group.seq)] if user is None else readable_spans(group, user, oldest, group.seq)
    return View(group.id, oldest, group.seq, spans)


def events_page(history: History, view: View, start: int, through: int) -> Answer:
    """The frames of the events `start` to `through`, as far as one page holds them.

    Raises:
        NotLoadedError: one of them is not there.
    """
    start, through = max(start, view.oldest), min(through, view.head)
    frames: list[msgspec.Raw] = []
    room, at = PAGE_BYTES, start
    for first, last, shown in parts(view.spans, start, through):
        if len(frames) == PAGE_EVENTS or room <= 0:
            break
        if not shown:
            frames.append(msgspec.Raw(msgspec.json.encode(Withheld(view.group, first, last))))
            at = last + 1
            continue
        for seq, value in history.events(view.group, first, min(last, first + PAGE_EVENTS - len(frames) - 1)):
            if seq != at:
                break
            frames.append(msgspec.Raw(_served(value, view)))
            at, room = seq + 1, room - len(value)
            if room <= 0:
                break
        if at <= last and room > 0 and len(frames) < PAGE_EVENTS:
            raise NotLoadedError(f"{view.group}/{at}")
    return Answer(frames=frames, through=at - 1)


def _served(value: bytes, view: View) -> bytes:
    """An event as it is served: the edit of a message that was pruned has no text, even before the sweep gets there."""
    if is_edit(value) and (target := decode_edited(value).data.target) is not None and target < view.oldest:
        return redact(value)
    return value


async def messages_page(history: History, view: View, read: ReadMessages) -> Answer:
    """Up to `limit` messages; the newest below `before`, or the oldest above `after`.

    Raises:
        NotLoadedError: one of them is not there.
    """
    backwards = read.after is None
    low = 1 if read.after is None else read.after + 1
    high = view.head if read.before is None else read.before - 1
    candidates = _candidates(history, view, low, high, backwards=backwards)
    items: list[bytes] = []
    room, more = PAGE_BYTES, False
    while not more:
        seqs = await _some(candidates, min(BATCH_MESSAGES, read.limit + 1 - len(items)))
        if not seqs:
            break
        for seq, value, plain in _messages(history, view.group, seqs):
            if not is_message(value):
                continue
            if len(items) == read.limit or room <= 0:
                more = True
                break
            items.append(_item(history, view, seq, value, plain=plain))
            room -= len(items[-1])
    if backwards:
        items.reverse()
    return Answer(messages=[msgspec.Raw(item) for item in items], more=more, oldest=view.oldest)


def _candidates(history: History, view: View, low: int, high: int, *, backwards: bool) -> Iterator[int | None]:
    spans = [(first, last) for first, last, shown in parts(view.spans, low, high) if shown]
    for first, last in reversed(spans) if backwards else spans:
        yield from history.marks.messages(view.group, first, last, backwards=backwards)


async def _some(candidates: Iterator[int | None], count: int) -> list[int]:
    """The next `count` seqs; others run after this, and while there are none."""
    found: list[int] = []
    empty = 0
    await asyncio.sleep(0)
    while len(found) < count:
        looked = list(islice(candidates, count - len(found)))
        if not looked:
            break
        seqs = [seq for seq in looked if seq is not None]
        found.extend(seqs)
        empty += len(looked) - len(seqs)
        if empty >= BLOCKS_LOOKED_AT:
            empty = 0
            await asyncio.sleep(0)
    return found


def _messages(history: History, group: str, seqs: list[int]) -> Iterator[tuple[int, bytes, bool]]:
    """Each of `seqs` with its bytes, and whether nothing became of it since."""
    rising = sorted(seqs)
    values = dict(history.pick(group, rising))
    plain = history.plain(group, rising)
    for seq in seqs:
        if seq not in values:
            raise NotLoadedError(f"{group}/{seq}")
        yield seq, values[seq], seq in plain


def _item(history: History, view: View, seq: int, value: bytes, *, plain: bool) -> bytes:
    """A message as a history item, with what became of it as far as the member may see that."""
    posted = decode_posted(value)
    data = posted.data
    item = HistoryItem(
        seq=seq,
        id=posted.id,
        by=posted.by,
        at=posted.at,
        client_msg_id=posted.client_msg_id,
        text=data.text,
        reply_to=data.reply_to,
        mentions=data.mentions,
        attributes=data.attributes,
        deleted=data.deleted or msgspec.UNSET,
    )
    if not plain and not data.deleted:
        edit = _newest_edit(history, view, seq)
        reactions = history.reactions(view.group, seq, view.shows)
        item = msgspec.structs.replace(
            item,
            text=item.text if edit is None else edit.data.text,
            edited_at=msgspec.UNSET if edit is None else edit.at,
            reactions=reactions.users,
            reactions_more=reactions.more or msgspec.UNSET,
        )
    return msgspec.json.encode(item)


def _newest_edit(history: History, view: View, seq: int) -> Edited | None:
    for edit in history.edits(view.group, seq):
        if view.shows(edit):
            value = history.event(view.group, edit)
            if value is None:
                raise NotLoadedError(f"{view.group}/{edit}")
            return decode_edited(value)
    return None
