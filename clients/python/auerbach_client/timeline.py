"""A group's messages between some seq and now, and the echoes of what is on its way: pure, and bounded.

Pages of history and the run of events come independently of each other: a page may know more than the events that
were taken so far, or less than those taken while it was on its way. Applying an event twice changes nothing, and
events of the time of a page's request are applied to its messages again, so both ways end with the log's fold.
"""

import bisect
from collections.abc import Sequence

from auerbach_client.answers import HistoryItem
from auerbach_client.bodies import (
    HistoryPruned,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReactionAdded,
    ReactionRemoved,
)
from auerbach_client.errors import AuerbachError
from auerbach_client.frames import Event
from auerbach_client.messages import Message, Status

# Events kept for messages of a page that is on its way; if there are more, the page is asked for again.
_MISSED = 10_000

_Change = MessageEdited | MessageDeleted | ReactionAdded | ReactionRemoved


class Timeline:
    """At most `most` posted messages, the newest; and echoes, in the order of posting.

    `more`: there are older messages than those held, as far as is known.
    """

    def __init__(self, user: str, most: int) -> None:
        self.user = user
        self.more = True
        self.echoes: list[Message] = []
        self._most = most
        self._posted: list[Message] = []
        # All messages with a seq from here on are held; None: no page has come yet.
        self._floor: int | None = None
        self._missed: list[tuple[Event, _Change]] | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """What to show: posted ones by seq, then echoes."""
        return (*self._posted, *self.echoes)

    @property
    def floor(self) -> int | None:
        """`before` of the next page."""
        return self._floor

    @property
    def room(self) -> int:
        """How many older messages may still be merged."""
        return self._most - len(self._posted)

    def clear(self) -> None:
        """Drop what is posted: it is void. Echoes stay, as their requests go on."""
        self._posted, self._floor, self.more, self._missed = [], None, True, None

    def expect(self) -> None:
        """A page is asked for now."""
        self._missed = []

    def merge(self, items: Sequence[HistoryItem], *, more: bool) -> bool:
        """Take in the page that was expected; False if too much happened meanwhile and it must be asked for again."""
        missed, self._missed = self._missed or [], None
        if len(missed) > _MISSED:
            return False
        for item in items:
            if self.held(item.seq) is None:
                self._insert(self._echo_of(item.by, item.client_msg_id, Message.of_item(item)), item.seq)
        self.more = more
        if items:
            self._floor = items[0].seq if self._floor is None else min(self._floor, items[0].seq)
        for event, change in missed:
            self._change(event, change)
        self._trim()
        return True

    def apply(self, event: Event) -> None:
        """Take in an event of the run."""
        match event.body:
            case MessagePosted() as body:
                self._post(event, body)
            case MessageEdited() | MessageDeleted() | ReactionAdded() | ReactionRemoved() as change:
                self._change(event, change)
            case HistoryPruned(through=through):
                del self._posted[: bisect.bisect_right(self._posted, through, key=_seq)]

    def echo(self, message: Message) -> None:
        """Show a message that is on its way, behind all others."""
        self.echoes.append(message)

    def acknowledged(self, echo: Message, seq: int, at: str | None) -> None:
        """The reply has come: the echo is the message `seq`, unless its event came first."""
        if echo.status is not Status.POSTED and echo in self.echoes:
            if (twin := self.held(seq)) is not None:  # came as an event without an id of ours
                self.echoes.remove(echo)
                echo.status, echo.seq, echo.at = Status.POSTED, twin.seq, twin.at
                return
            echo.at = at
            self._settle(echo, seq)
            self._trim()

    def failed(self, echo: Message, error: AuerbachError) -> None:
        """The reply is a refusal; what the log has is posted all the same."""
        if echo.status is Status.PENDING:
            echo.status, echo.error = Status.FAILED, error

    def held(self, seq: int) -> Message | None:
        """The posted message `seq`, if it is held."""
        at = bisect.bisect_left(self._posted, seq, key=_seq)
        return self._posted[at] if at < len(self._posted) and self._posted[at].seq == seq else None

    def _post(self, event: Event, body: MessagePosted) -> None:
        if (known := self.held(event.seq)) is not None:  # from a page, or an echo that the reply came for first
            known.id, known.at = event.id, event.at
            if body.deleted:
                known.delete()
            return
        message = Message(
            event.by, body.text, event.client_msg_id, body.reply_to, body.mentions, body.attributes, Status.POSTED,
            event.seq, event.id, event.at, deleted=body.deleted,
        )  # fmt: skip
        self._insert(self._echo_of(event.by, event.client_msg_id, message), event.seq)
        self._trim()

    def _echo_of(self, by: str | None, client_msg_id: str | None, message: Message) -> Message:
        """The echo that `message` is, told what the log says; or else `message`."""
        if by != self.user or client_msg_id is None:
            return message
        for echo in self.echoes:
            if echo.client_msg_id == client_msg_id:
                self.echoes.remove(echo)
                for name in ("text", "reply_to", "mentions", "attributes", "id", "at", "edited_at", "reactions"):
                    setattr(echo, name, getattr(message, name))
                echo.deleted, echo.error = message.deleted, None
                return echo
        return message

    def _settle(self, echo: Message, seq: int) -> None:
        self.echoes.remove(echo)
        echo.error = None
        self._insert(echo, seq)

    def _insert(self, message: Message, seq: int) -> None:
        message.status, message.seq = Status.POSTED, seq
        bisect.insort(self._posted, message, key=_seq)

    def _change(self, event: Event, change: _Change) -> None:
        target = None if change.target is None else self.held(change.target)
        if target is None:
            if self._missed is not None and len(self._missed) <= _MISSED:
                self._missed.append((event, change))
            return
        match change:
            case MessageEdited(text=text):
                target.edit(text, event.at)
            case MessageDeleted():
                target.delete()
            case ReactionAdded(emoji=emoji):
                target.react(event.by or "", emoji)
            case ReactionRemoved(emoji=emoji):
                target.unreact(event.by or "", emoji)

    def _trim(self) -> None:
        """Drop what is older than the window: scrolling back would bring it again."""
        over = len(self._posted) - self._most
        if over > 0:
            del self._posted[:over]
            self._floor, self.more = self._posted[0].seq, True
        elif self._floor is not None:
            del self._posted[: bisect.bisect_left(self._posted, self._floor, key=_seq)]


def _seq(message: Message) -> int:
    assert message.seq is not None
    return message.seq
