"""Events and presence in the words of the replaced service: two shapes of frames, and never a third (protocol §8)."""

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from app.domain.instants import to_text
from web.frames import text_frame
from web.presence_change import PresenceChange

# What is translated is kept as long as sockets may still come for it: a fan-out, and the replays that follow a stall.
KEPT_BYTES = 4_194_304
# A thousand names at once must not stand in an outbox as one lump that leaves whole.
BATCH = 64

JOINED = "client joined the group"
LEFT = "client leaved the group"
CONNECTED = "client connected to the group"
DISCONNECTED = "client disconnected from the group"

_encoder = msgspec.json.Encoder()


@dataclass(slots=True, frozen=True)
class Batch:
    """Messages that leave together.

    `messages`: each with the user who is not told it ("" where everybody is), as a whole frame. `frames`: all of them,
    joined once for all sockets; `sizes`: the bytes of each.
    """

    messages: tuple[tuple[str, bytes], ...]
    frames: bytes
    sizes: tuple[int, ...]
    untold: frozenset[str]

    @staticmethod
    def of(messages: list[tuple[str, bytes]]) -> "Batch":
        """The batch of `messages`, none or more."""
        return Batch(
            tuple(messages),
            b"".join([frame for _, frame in messages]),
            tuple([len(frame) for _, frame in messages]),
            frozenset(user for user, _ in messages if user),
        )

    def for_user(self, user: str) -> "Batch":
        """What a socket of `user` gets of it."""
        if user not in self.untold:
            return self
        return Batch.of([each for each in self.messages if each[0] != user])


def new_message(group: str, user: str, text: str, at: str) -> bytes:
    """The frame of a message; `at` is its event's."""
    return text_frame(_encoder.encode(["NewMessage", [group, user, text, at]]))


def information(user: str, text: str, at: str) -> bytes:
    """The frame of something about `user`."""
    return text_frame(_encoder.encode(["Information", [user, text, at]]))


class Translations:
    """A gateway's translations: each run of events and each change of presence is translated once for all sockets."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Batch] = OrderedDict()
        self._kept_bytes = 0
        self._change: PresenceChange | None = None
        self._batches: list[Batch] = []

    def of_events(self, frames: bytes) -> Batch:
        """What whole text frames of events, one or more, say; nothing for those that old apps do not know."""
        # The hub gives all followers the same object: its hash is computed once, and found by identity.
        found = self._kept.get(frames)
        if found is None:
            found = Batch.of([told for payload in _payloads(frames) for told in _of_event(payload)])
            self._keep(frames, found)
        return found

    def of_presence(self, change: PresenceChange) -> list[Batch]:
        """Who came and went, in batches, each to everybody but the one it is about."""
        if change is not self._change:
            self._change, self._batches = change, _of_presence(change)
        return self._batches

    def _keep(self, frames: bytes, batch: Batch) -> None:
        self._kept[frames] = batch
        self._kept_bytes += len(frames) + len(batch.frames)
        while self._kept_bytes > KEPT_BYTES:
            oldest, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest) + len(dropped.frames)


class _Data(msgspec.Struct):
    user: str = ""
    text: str | None = None


class _Event(msgspec.Struct):
    group: str = ""
    kind: str = ""
    by: str | None = None
    at: str = ""
    data: _Data = msgspec.field(default_factory=_Data)


_event_decoder = msgspec.json.Decoder(_Event)


class _Kind(msgspec.Struct):
    kind: str = ""


_kind_decoder = msgspec.json.Decoder(_Kind)
_TOLD = frozenset({"message.posted", "member.joined", "member.left", "member.removed"})


def _of_event(payload: bytes) -> Iterator[tuple[str, bytes]]:
    """The message that an event is to old apps, if it is one; who leaves gets the own last of all (protocol §8)."""
    if _kind_decoder.decode(payload).kind not in _TOLD:
        return  # other kinds have other data; what is withheld has none
    event = _event_decoder.decode(payload)
    match event.kind:
        case "message.posted":
            if event.data.text is not None and event.by is not None:  # else it was deleted before it got here
                yield "", new_message(event.group, event.by, event.data.text, event.at)
        case "member.joined":
            yield "", information(event.data.user, JOINED, event.at)
        case _:
            yield "", information(event.data.user, LEFT, event.at)


def _of_presence(change: PresenceChange) -> list[Batch]:
    now = to_text(time.time_ns() // 1_000_000)
    came = (*change.joined, *change.again)
    told = [(user, information(user, CONNECTED, now)) for user in came]
    told += [(user, information(user, DISCONNECTED, now)) for user in change.left]
    return [Batch.of(told[at : at + BATCH]) for at in range(0, len(told), BATCH)]


def _payloads(frames: bytes) -> Iterator[bytes]:
    """The payloads of our own text frames, which are whole and have no mask (RFC 6455 §5.2)."""
    at = 0
    while at < len(frames):
        size, start = frames[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(frames[at + 2 : at + 4], "big"), at + 4
        elif size == 127:
            size, start = int.from_bytes(frames[at + 2 : at + 10], "big"), at + 10
        at = start + size
        yield frames[start:at]
