"""One partition of the events topic as a processor would write it, record by record, without a broker."""

import itertools
from dataclasses import dataclass, replace
from typing import Any

from app.domain.commands import AnyCommand, CreateGroup, Join, Send, message_of
from app.domain.decide import decide
from app.domain.events import Event, encode_event
from app.domain.evolve import evolve
from app.domain.idempotency import digest_of_command
from app.domain.state import Group, Target
from app.log.records import Claim, CommandPlace, Headers, claim_headers, encode_claim, event_headers

LOG = "the-log"
COMMANDS_ID = "the-commands"
AT_MS = 1_795_569_600_000


@dataclass(frozen=True)
class Raw:
    """A record: what a producer is given, and the offset that it gets."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    def but(self, **headers: bytes) -> "Raw":
        """With other headers."""
        return replace(self, headers=[*({**dict(self.headers), **headers}).items()])


class WrittenLog:
    """Decides and appends. `records` is the partition until now; what a test appends itself gets its offset, too."""

    def __init__(self, partition: int = 0, log_id: str = LOG, commands_id: str = COMMANDS_ID) -> None:
        self.partition = partition
        self.records: list[Raw] = []
        self.groups: dict[str, Group] = {}
        self.now_ms = AT_MS
        self.epoch = -1
        self._log_id = log_id
        self._commands_id = commands_id
        self._places = itertools.count()
        self._offsets = itertools.count()
        self._ids = itertools.count()

    def claim(self, log_id: str | None = None) -> int:
        """A new owner; its epoch."""
        claim = Claim(log=log_id or self._log_id, worker="w", at="2026-11-25T01:20:00.123Z")
        self.epoch = self.append(None, encode_claim(claim), claim_headers()).offset
        return self.epoch

    def create(self, group: str, **fields: Any) -> Raw:
        """An open group of olga's."""
        return self.decide(CreateGroup(**self._fields(group, "olga"), name="n", join="open", **fields))

    def join(self, group: str, user: str) -> Raw:
        """Somebody comes."""
        return self.decide(Join(**self._fields(group, user)))

    def post(self, group: str, text: str, by: str = "olga", key: str | None = None) -> Raw:
        """A message; its text is its `client_msg_id`, unless one is given."""
        return self.decide(Send(**self._fields(group, by), client_msg_id=key or text, text=text))

    def decide(self, command: AnyCommand) -> Raw:
        """The event of a command that must be accepted, appended."""
        state = self.groups.setdefault(command.group, Group(command.group))
        place = CommandPlace(next(self._places), 0)
        seq = message_of(command)
        event = decide(
            state,
            command,
            now_ms=self.now_ms,
            event_id=f"{self._commands_id}.{self.partition}.{place.offset}.0",
            target=None if seq is None else Target(seq, command.by),
        )
        assert isinstance(event, Event), event
        request = digest_of_command(command) if command.client_msg_id is not None else ""
        evolve(state, event, request)
        state.touched.clear()
        return self.write(event, place, command.id, request)

    def write(self, event: Event, place: CommandPlace, command_id: str = "c", request: str = "") -> Raw:
        """Append any event."""
        headers = event_headers(
            event, epoch=self.epoch, command_id=command_id, topic_id=self._commands_id, place=place, request=request
        )
        return self.append(event.group.encode(), encode_event(event), headers)

    def append(self, key: bytes | None, value: bytes | None, headers: Headers) -> Raw:
        """Append anything."""
        self.records.append(Raw(next(self._offsets), key, value, headers))
        return self.records[-1]

    def again(self, record: Raw, **headers: bytes) -> Raw:
        """Append a record once more, with other headers."""
        other = record.but(**headers)
        return self.append(other.key, other.value, other.headers)

    def alter(self, record: Raw, altered: Raw) -> None:
        """Put another record in the place of one."""
        self.records = [altered if each.offset == record.offset else each for each in self.records]

    def _fields(self, group: str, by: str) -> dict[str, str]:
        return {"id": f"{group}-{next(self._ids)}", "group": group, "by": by}
