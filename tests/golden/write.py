"""Writes the records of the present version: `python -m tests.golden.write N` makes the folder N."""

import base64
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import msgspec

from agents.answers import Answers
from agents.commands import CommandRecord
from app.domain.commands import (
    AddMember,
    AnyCommand,
    Command,
    CreateGroup,
    Delete,
    DeleteGroup,
    Edit,
    Join,
    Leave,
    MemberSpec,
    PruneHistory,
    React,
    RemoveMember,
    Send,
    SetRole,
    Unban,
    Unreact,
    UpdateGroup,
    encode_command,
    message_of,
    reaction_of,
)
from app.domain.decide import decide
from app.domain.events import Event, MessagePosted, encode_event
from app.domain.idempotency import digest_of_command
from app.domain.outcomes import Duplicate, Rejection, Unchanged
from app.log.records import Claim, CommandPlace, Headers, claim_headers, encode_claim, event_headers
from app.reads import (
    Answer,
    AnyRead,
    Audience,
    MemberView,
    ReadAudience,
    ReadEvents,
    ReadMembers,
    ReadMessages,
    ReadPresence,
    ReadState,
    ReadSubscription,
    StateView,
    decode_outcome,
    decode_owner,
    encode_answers,
    encode_reads,
)
from tables import rows
from tables.partition_tables import PartitionTables
from tables.store import Change
from tests.golden.spelling import messages, spelled
from tests.support.memory_store import MemoryStore

HERE = Path(__file__).parent
NOW = 1_795_569_600_123
TOPIC_ID = "rk3fQ2x1TZ2m0n4bq7uYQA"
LOG_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
GROUP = "g/é 1"
JSON: Headers = [("content-type", b"application/json")]

Line = dict[str, Any]
C = TypeVar("C", bound=Command)


def ask(kind: type[C], by: str | None, group: str = GROUP, **fields: Any) -> C:
    """A command of the gateway's, or of an authority's, for whom nobody waits."""
    return kind(id=f"c-{kind.__struct_config__.tag}", group=group, by=by, origin="gw-1" if by else "", **fields)


# In order; None is a new owner, to whom everything before is on disk.
STORY: list[AnyCommand | None] = [
    ask(
        CreateGroup,
        "olga",
        client_msg_id="k1",
        name="Grüppe",
        topic="t",
        join="open",
        history="joined",
        members=(MemberSpec("anna", "admin"), MemberSpec("mike"), MemberSpec("rita", "reader")),
    ),
    ask(CreateGroup, None, "outside", client_msg_id="a1", name="outside", members=(MemberSpec("uli"),)),
    ask(Join, "zoe", client_msg_id="k2"),
    ask(AddMember, "anna", client_msg_id="k3", user="yan", role="reader"),
    ask(Send, "mike", client_msg_id="m1", text="hi"),
    ask(
        Send,
        "zoe",
        client_msg_id="m2",
        text='é\n"🎉"',
        reply_to=4,
        mentions=("mike", "olga"),
        attributes={"n": [1, 2.5, None, True], "é": {}},
    ),
    ask(Edit, "mike", client_msg_id="k4", seq=4, text="hi!"),
    ask(React, "rita", client_msg_id="k5", seq=4, emoji="👍"),
    ask(React, "zoe", seq=4, emoji="👍"),
    ask(Unreact, "zoe", client_msg_id="k6", seq=4, emoji="👍"),
    ask(Edit, "zoe", seq=5, text="to be deleted with its message"),
    ask(React, "rita", seq=5, emoji="👍"),
    None,
    ask(Delete, "anna", client_msg_id="k7", seq=5),
    ask(UpdateGroup, "olga", client_msg_id="k8", name="G", topic="", join="invite", history="all"),
    ask(Leave, "zoe", client_msg_id="k9"),
    ask(RemoveMember, "anna", client_msg_id="k10", user="yan", ban=True),
    ask(RemoveMember, "olga", user="late", ban=True),
    ask(Unban, "olga", client_msg_id="k11", user="late"),
    ask(SetRole, "olga", client_msg_id="k12", user="rita", role="member"),
    ask(SetRole, "olga", user="anna", role="owner"),
    ask(RemoveMember, None, client_msg_id="a2", user="anna"),
    ask(AddMember, None, client_msg_id="a3", user="zoe"),
    ask(Send, "rita", client_msg_id="m3", text="after all that"),
    ask(CreateGroup, "olga", "ended", client_msg_id="k1", name="ended", history="joined"),
    ask(Send, "olga", "ended", client_msg_id="m1", text="of the first life"),
    ask(DeleteGroup, "olga", "ended", client_msg_id="k2"),
    ask(CreateGroup, "olga", "again", name="first life"),
    ask(DeleteGroup, "olga", "again"),
    ask(CreateGroup, "zoe", "again", name="second life", join="open"),
    ask(Send, "zoe", "again", client_msg_id="m1", text="pruned"),
    ask(Send, "zoe", "again", client_msg_id="m2", text="kept"),
    ask(PruneHistory, None, "again", client_msg_id="a1", through=4),
]


class Writer:
    """One partition's records as its owners would write them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: dict[str, list[Line]] = {"groups": [], "history": []}
        self.stores = {"groups": MemoryStore(), "history": MemoryStore()}
        self.tables = PartitionTables(self.stores["groups"], self.stores["history"])
        self.offset = self.epoch = 0

    def write(self) -> None:
        self.folder.mkdir()
        self._claim("w1")
        for place, command in enumerate(STORY):
            if command is None:
                self._flush(place)
                self._new_owner()
            else:
                self._command(command, CommandPlace(place, 0))
        array = [ask(Join, "ada"), ask(Send, "mike", client_msg_id="m9", text="two of an array")]
        trace = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        value = b"[" + b",".join(map(encode_command, array)) + b"]"
        self._add("commands", record(GROUP, [*JSON, trace], value, means=spelled(array)))
        self._flush(len(STORY))
        self._answers(array[0])
        self._calls()
        for name, lines in self.lines.items():
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            (self.folder / f"{name}.jsonl").write_text(text)
        names = sorted({command.group for command in STORY if command is not None})
        self._save("state", {name: spelled(self.tables.group(name)) for name in names})
        self._save("messages", {name: messages(self.tables, name) for name in names})

    def _command(self, command: AnyCommand, place: CommandPlace) -> None:
        self._add("commands", record(command.group, JSON, encode_command(command), means=[spelled(command)]))
        group, seq = self.tables.group(command.group), message_of(command)
        target = None if seq is None else self.tables.target(group, seq, reaction_of(command))
        event_id, now = f"{TOPIC_ID}.3.{place.offset}.0", NOW + place.offset * 1000
        event = decide(group, command, now_ms=now, event_id=event_id, target=target)
        assert isinstance(event, Event), (command, event)
        request = digest_of_command(command) if command.client_msg_id is not None else ""
        self._event(event, self.epoch, place, request)
        self.tables.apply(event, encode_event(event), request)

    def _event(self, event: Event, epoch: int, place: CommandPlace, request: str, **more: Any) -> None:
        headers = event_headers(
            event, epoch=epoch, command_id="c", topic_id=TOPIC_ID, place=place, request=request
        )  # fmt: skip
        more |= {"is": event.kind, "means": spelled(event), "offset": self.offset}
        self._add("events", record(event.group, headers, encode_event(event), **more))
        self.offset += 1

    def _claim(self, worker: str) -> None:
        claim = Claim(log=LOG_ID, worker=worker, at="2026-11-25T01:20:00.000Z")
        more = {"is": "claim", "means": spelled(claim), "offset": self.offset}
        self._add("events", record(None, claim_headers(), encode_claim(claim), **more))
        self.epoch = self.offset
        self.offset += 1
        for name in ("groups", "history"):
            self._row(name, rows.claim_key(self.epoch), rows.value(self.epoch, worker.encode()))

    def _new_owner(self) -> None:
        """Another owner claims the partition, and the one before writes what nobody may believe."""
        fenced, seq = self.epoch, self.tables.group(GROUP).seq + 1
        self._claim("w2")
        data = MessagePosted(text="of a fenced owner")
        at = "2026-11-25T01:20:07.000Z"
        ghost = Event(group=GROUP, seq=seq, id="ghost", kind=data.kind, by="mike", at=at, client_msg_id="m3", data=data)
        self._event(ghost, fenced, CommandPlace(99, 0), "", void=True)

    def _flush(self, decided: int) -> None:
        snapshot = self.tables.snapshot(self.epoch)
        for name, changes in (("groups", snapshot.groups), ("history", snapshot.history)):
            position = rows.Position(
                event_offset=self.offset,
                epoch=self.epoch,
                command_topic_id=TOPIC_ID,
                command_offset=decided,
                command_index=0,
            )
            at: Change = (rows.POSITION_KEY, rows.encode_position(position, self.epoch))
            for key, row in changes:
                self._row(name, key, row)
            self._row(name, *at, means=spelled(position))
            self.stores[name].write([*changes, at], 0)
        self.tables.written()

    def _row(self, table: str, key: bytes, row: bytes | None, **more: Any) -> None:
        headers = [["epoch", str(self.epoch)]] if row is None else []
        value = None if row is None else base64.b64encode(row).decode()
        self._add(table, {"key": base64.b64encode(key).decode(), "headers": headers, "value": value} | more)

    def _answers(self, command: AnyCommand) -> None:
        sent: list[tuple[str, bytes, bytes, Headers]] = []

        def produce(topic: str, _partition: int, *, key: bytes, value: bytes, headers: Headers, report: object) -> None:
            sent.append((topic, key, value, headers))

        layout = SimpleNamespace(partitions=16, log_id=LOG_ID)
        context = SimpleNamespace(
            events=SimpleNamespace(produce=produce),
            layout=layout,
            settings=SimpleNamespace(worker="w1"),
            url="http://127.0.0.1:6066",
        )
        log = SimpleNamespace(epoch=self.epoch, next_offset=self.offset, when_delivered=lambda then: then())
        answers = Answers(context, 3, log, print)  # type: ignore[arg-type]
        unknown = Rejection("timeout", "the outcome is unknown; retry with the same client_msg_id", temporary=True)
        bad_text = Rejection("invalid", "text: must be 1 to 16384 bytes of UTF-8", field="text")
        for outcome in (bad_text, unknown, Duplicate(7, NOW), Unchanged()):
            answers.reply(command, outcome, lambda: None)
        answers.claim_ownership()
        bad = CommandRecord(41, NOW, b"g", b"{", JSON)
        answers.dead_letter(bad, b"{", "not decodable: Input data was truncated", lambda: None)
        for topic, key, value, headers in sent:
            name = next(name for name in ("replies", "owners", "deadletters") if name in topic)
            decode: Any = {"replies": decode_outcome, "owners": decode_owner}.get(name)
            self._add(name, record(key.decode(), headers, value, means=spelled(decode(value) if decode else None)))

    def _calls(self) -> None:
        asked: dict[str, Any] = {"group": GROUP, "user": "mike", "end": 30}
        reads: list[AnyRead] = [
            ReadSubscription(**asked, after=3, log=LOG_ID, state=False),
            ReadSubscription(**asked, last=5),
            ReadEvents(**asked, after=2, through=9),
            ReadMessages(**asked, before=9, limit=20),
            ReadMessages(**asked, after=2),
            ReadState(**asked),
            ReadState(**asked, at_seq=4),
            ReadMembers(**asked, limit=2, cursor="mike"),
            ReadSubscription(**asked, last=5, online=True),
            ReadMessages(**{**asked, "user": None}, limit=1_000),
            ReadPresence(**asked, limit=1_000),
            ReadAudience(**{**asked, "user": None}),
        ]
        for each in ([read] for read in reads):
            self._add("reads", {"value": encode_reads(each).decode(), "means": spelled(each)})
        self._add("reads", {"value": encode_reads(reads).decode(), "means": spelled(reads)})
        covered: dict[str, Any] = {"epoch": 8, "offset": 20, "seq": 12}
        settings: dict[str, Any] = {
            "name": "G",
            "topic": "t",
            "join": "open",
            "history": "joined",
            "first": 1,
            "seq": 12,
        }
        members = [MemberView("olga", "owner", 1), MemberView("mike", "member", 7)]
        now = StateView(**settings, members=members, members_more=True, online=["mike"])
        then = StateView(**settings, members=[MemberView("olga", "owner")], online=msgspec.UNSET)
        many = msgspec.structs.replace(now, online_more=True)
        frame = msgspec.Raw(self.lines["events"][1]["value"].encode())
        item = b'{"seq":7,"id":"x","by":"mike","at":"2026-11-25T01:20:00.123Z","text":"hi","reactions":{}}'
        refusal = Rejection("not_a_member", "you are not a member of this group")
        answers = [
            *(Answer(missing=why) for why in ("not_owner", "loading", "behind")),  # type: ignore[arg-type]
            Answer(**covered, refusal=refusal),
            Answer(**covered, state=now),
            Answer(**covered, state=then),
            Answer(**covered, start=4, recovered=False, frames=[frame], through=12, more=True),
            Answer(**covered, messages=[msgspec.Raw(item)], more=True),
            Answer(**covered, members=members, cursor="olga"),
            Answer(**covered, messages=[msgspec.Raw(item)], oldest=3),
            Answer(**covered, state=many, online=["mike", "olga"], announced=4),
            Answer(**covered, audience=Audience("G", 2, ["olga"])),
        ]
        for answer in answers:
            self._add("answers", {"value": encode_answers([answer]).decode(), "means": spelled([answer])})

    def _add(self, name: str, line: Line) -> None:
        self.lines.setdefault(name, []).append(line)

    def _save(self, name: str, value: Any) -> None:
        (self.folder / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def record(key: str | None, headers: Headers, value: bytes, **more: Any) -> Line:
    """A record of text."""
    return {"key": key, "headers": [[name, text.decode()] for name, text in headers], "value": value.decode()} | more


if __name__ == "__main__":
    Writer(HERE / sys.argv[1]).write()
