"""`python -m benchmarks.road_traced FILE processor|gateway …`: a process of the service that notes when messages pass.

The hops are patched in from here: nobody else pays for them. The instants, by the machine's clock, are written to FILE
as JSON Lines when the process ends.
"""

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from agents.event_log import EventLog
from agents.partition import Partition
from app.cli.main import commands
from app.domain.commands import split_array
from app.kafka import topics
from web.commander import Commander
from web.conversation import Conversation
from web.intake import Intake
from web.log_reader import LogReader


class Instant(msgspec.Struct, frozen=True):
    """When (ns since 1970) a message passed a hop."""

    hop: str
    client_msg_id: str
    at_ns: int


class _Named(msgspec.Struct):
    client_msg_id: str | None = None


_name = msgspec.json.Decoder(_Named)
_noted: list[tuple[str, int, bytes]] = []


def main() -> None:
    """Run the command behind FILE, and write what was noted."""
    file, *arguments = sys.argv[1:]
    _patch_gateway()
    _patch_processor()
    try:
        commands.main(arguments, prog_name="traced", standalone_mode=False)
    finally:
        Path(file).write_bytes(b"".join(map(_line, _instants())))


def _note(hop: str, values: Iterable[bytes], at_ns: int | None = None) -> None:
    at_ns = time.time_ns() if at_ns is None else at_ns
    _noted.extend((hop, at_ns, value) for value in values)


def _around(of: type, name: str, before: Callable[..., None], after: Callable[..., None] | None = None) -> None:
    """Have `before`, and `after`, called with the arguments of a method."""
    original = getattr(of, name)

    def traced(*arguments: Any, **named: Any) -> Any:
        before(*arguments, **named)
        result = original(*arguments, **named)
        if after is not None:
            after(*arguments, **named)
        return result

    setattr(of, name, traced)


def _patch_gateway() -> None:
    def asked(_self: Any, request: Any) -> None:
        _note("request read", [msgspec.json.encode(request.fields)])

    def handed_over(_self: Any, _partition: int, _way: Any, batch: Any) -> None:
        _note("command produced", [encoded for _, _, encoded in batch])

    def called(reader: Any, call: Callable[..., None], *arguments: Any) -> None:
        if call == reader._hand_over:  # noqa: SLF001
            _note("event read", _events(arguments[0]))

    def taking(_self: Any, records: Any) -> None:
        _note("event on the loop", _events(records))
        for record in records:
            if record.topic() == topics.EVENTS:
                _note("event's timestamp", [record.value()], record.timestamp()[1] * 1_000_000)

    def taken(_self: Any, records: Any) -> None:
        _note("event written", _events(records))

    _around(Conversation, "_command", asked)
    _around(Commander, "_produce", handed_over)
    _around(LogReader, "_on_loop", called)
    _around(Intake, "take", taking, taken)


def _patch_processor() -> None:
    append = EventLog.append

    def handling(_self: Any, record: Any, _done: Any) -> None:
        values = [bytes(each) for each in split_array(record.value)]
        _note("command's timestamp", values, record.at_ms * 1_000_000)
        _note("command read", values)

    def traced_append(self: Any, key: bytes, value: bytes, headers: Any, delivered: Callable[[], None]) -> None:
        def then() -> None:
            _note("event delivered", [value])
            delivered()

        _note("event decided", [value])
        append(self, key, value, headers, then)

    _around(Partition, "handle", handling)
    EventLog.append = traced_append  # type: ignore[method-assign]


def _events(records: Any) -> list[bytes]:
    return [record.value() for record in records if record.topic() == topics.EVENTS]


def _instants() -> Iterable[Instant]:
    for hop, at_ns, value in _noted:
        name = _name.decode(value).client_msg_id
        if name is not None:
            yield Instant(hop, name, at_ns)


def _line(instant: Instant) -> bytes:
    return msgspec.json.encode(instant) + b"\n"


if __name__ == "__main__":
    main()
