"""What is written for a command by who decides nothing: a record as large as its event's, with as many headers."""

from collections.abc import Iterator

import msgspec

from app.domain.commands import split_array
from app.domain.events import encode_event
from app.log.records import CommandPlace, Headers, event_headers
from benchmarks.members import HEAD, event

_EVENT = event(HEAD)
_SIZE = len(encode_event(_EVENT))
_HEADERS = event_headers(
    _EVENT, epoch=0, command_id="", topic_id="commands", place=CommandPlace(HEAD, 0), request=24 * "0"
)
_AT = [name for name, _ in _HEADERS].index("command_id")


class _Named(msgspec.Struct):
    id: str


_named = msgspec.json.Decoder(_Named)


def records_of(value: bytes) -> Iterator[tuple[bytes, Headers]]:
    """Value and headers for each command of a record: the command itself, filled up to an event's size with blanks."""
    for raw in split_array(value):
        named = ("command_id", _named.decode(raw).id.encode())
        yield bytes(raw).ljust(_SIZE), [*_HEADERS[:_AT], named, *_HEADERS[_AT + 1 :]]
