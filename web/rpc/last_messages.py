"""The last messages of a group as its owner has them now, page by page from the newest back.

The cost is that of what is answered, and of what was deleted in between: nobody reads the history to its beginning.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from app.domain import instants
from app.reads import ReadMessages
from web.reads_client import ReadPort, SilentError
from web.rpc import chatservice_pb2 as pb

PAGE_MESSAGES = 1_000  # an owner's page ends before that where its bytes do (`app.reads.PAGE_BYTES`)
# gRPC's clients take no message of more than 4 MiB unless they were told to; the room left is for the status.
ANSWER_BYTES = 4 * 1024 * 1024 - 4_096
LARGE_AT_ONCE = 16  # answers of more than one page: each may have megabytes

_NANOS_A_MS = 1_000_000


class UnexpectedRefusalError(Exception):
    """The owner refused what it never refuses to an outside authority."""


class Item(msgspec.Struct, frozen=True):
    """What is needed of a history item (protocol §9); without a text it was deleted."""

    seq: int
    by: str | None
    at: str
    text: str | None


_items = msgspec.json.Decoder(Item)


class LastMessages:
    """Asks the owners of groups for their newest messages."""

    def __init__(self, reads: ReadPort) -> None:
        self._reads = reads
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def of(self, group: str, count: int, deadline: float) -> bytes:
        """The `messages` of a response, serialized: the newest `count`, oldest first; none if there is no such group.

        Where they would exceed `ANSWER_BYTES` the older ones are left out. `deadline` is in the loop's time.

        Raises:
            SilentError, UnavailableError: as `ReadPort.ask`.
            UnexpectedRefusalError: a bug, here or there.
        """
        answer = Gathered(count)
        if await self._add_page(answer, group, deadline):
            async with self._room_for_more(group, deadline):
                while await self._add_page(answer, group, deadline):
                    pass
        return answer.serialized()

    async def _add_page(self, answer: "Gathered", group: str, deadline: float) -> bool:
        """Gather one page more; whether there may be another."""
        limit, before = answer.next_limit(), answer.before

        def read(end: int) -> ReadMessages:
            return ReadMessages(group=group, user=None, end=end, before=before, limit=limit)

        page = await self._reads.ask(group, read, deadline)
        if page.refusal is not None:
            if page.refusal.code != "no_such_group":
                raise UnexpectedRefusalError(page.refusal.code)
            answer.begin_again()  # it may have been deleted since the page before
            return False
        if answer.oldest not in {None, page.oldest}:
            answer.begin_again()  # pruned, or another life: what the pages before have may not be served any more
            return True
        answer.oldest = page.oldest
        answer.put_before([_items.decode(item) for item in page.messages])
        return page.more and not answer.full

    @asynccontextmanager
    async def _room_for_more(self, group: str, deadline: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout_at(deadline):
                await self._large.acquire()
        except TimeoutError:
            raise SilentError(group) from None
        try:
            yield
        finally:
            self._large.release()


@dataclass(slots=True)
class Gathered:
    """The end of a history, gathered from its newest message back.

    Serialized messages that are joined are one with the repeated fields of all (Protocol Buffers' encoding, "Last One
    Wins"). So each page is serialized once, and the loop is held for no longer than a page takes.
    """

    count: int
    before: int | None = None  # the next page is below this seq
    oldest: int | None = None  # the least seq that is served at all, as the pages say
    full: bool = False
    _pages: list[bytes] = field(default_factory=list)
    _taken: int = 0
    _room: int = ANSWER_BYTES
    _limit: int = 0

    @property
    def _wanted(self) -> int:
        return self.count - self._taken

    def begin_again(self) -> None:
        """Forget all that was gathered."""
        self.before = self.oldest = None
        self._pages, self._taken, self._room, self._limit = [], 0, ANSWER_BYTES, 0

    def next_limit(self) -> int:
        """How many messages to ask for: where many were deleted, more and more at once."""
        self._limit = min(max(self._wanted, 2 * self._limit), PAGE_MESSAGES)
        return self._limit

    def put_before(self, items: list[Item]) -> None:
        """Take in a page, oldest first: the newest of it, as far as they are wanted and there is room."""
        if items:
            self.before = items[0].seq
        messages = [_message(item, item.text) for item in items if item.text is not None][-self._wanted :]
        page = _serialized(messages)
        if len(page) > self._room:
            self.full = True
            messages = list(self._that_fit(messages))[::-1]
            page = _serialized(messages)
        self._pages.append(page)
        self._room -= len(page)
        self._taken += len(messages)
        self.full = self.full or self._wanted == 0

    def serialized(self) -> bytes:
        """All of it, oldest first."""
        return b"".join(reversed(self._pages))

    def _that_fit(self, messages: list[pb.Message]) -> Iterator[pb.Message]:
        room = self._room
        for message in reversed(messages):
            room -= pb.MessageResponse(messages=[message]).ByteSize()
            if room < 0:
                return
            yield message


def _message(item: Item, text: str) -> pb.Message:
    seconds, ms = divmod(instants.to_ms(item.at), 1000)
    return pb.Message(client_id=item.by or "", content=text, timestamp={"seconds": seconds, "nanos": ms * _NANOS_A_MS})


def _serialized(messages: list[pb.Message]) -> bytes:
    return pb.MessageResponse(messages=messages).SerializeToString()
