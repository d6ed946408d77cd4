"""A gateway's parts around an in-memory log: real sockets, hub, commander and intake, no broker.

`World` is the owner and the broker in one. Its log decides with the service's own domain; what it appends reaches
the gateway when a test says so, or at once.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

from agents.announcer import Announcer
from agents.presence import PartitionPresence
from app.config import Settings
from app.domain.commands import decode_command, split_array
from app.domain.events import Event
from app.domain.instants import to_text
from app.domain.outcomes import Duplicate, Rejection
from app.kafka import topics
from app.kafka.partition import partition_for
from app.log.records import NOWHERE, Claim, claim_headers, encode_claim, event_headers
from app.owners import Owners
from app.presence import decode_reports, encode_words
from app.reads import (
    Answer,
    AnyRead,
    MemberView,
    Outcome,
    OwnerRecord,
    ReadEvents,
    ReadMembers,
    ReadMessages,
    ReadPresence,
    ReadState,
    ReadSubscription,
    StateView,
    cursor_at,
    encode_outcome,
    place_of,
)
from tests.contract.client import Client
from tests.support.fake_log import FakeGroup, FakeLog
from web import http
from web.admissions import Admissions
from web.auth import Authenticator
from web.commander import Commander
from web.conversation import Service
from web.hub import Hub
from web.intake import Intake
from web.keys import Keys
from web.log_reader import Start
from web.presence import Presence
from web.reads_client import UnavailableError
from web.revocations import Revocations
from web.session import Door
from web.sessions import Sessions

PARTITIONS = 4
LOG_ID = "log-1"
ORIGIN = "gateway-under-test"
SECRET = "0123456789abcdef0123456789abcdef"
REQUEST_TIMEOUT_S = 600.0  # no test waits for it: those that are about it move the clock


@dataclass
class Record:
    """A record as a consumer gives it."""

    at_topic: str
    at_partition: int
    at_offset: int
    with_key: bytes | None
    with_value: bytes | None
    with_headers: list[tuple[str, bytes]] = field(default_factory=list)

    def topic(self) -> str:
        return self.at_topic

    def partition(self) -> int:
        return self.at_partition

    def offset(self) -> int:
        return self.at_offset

    def key(self) -> bytes | None:
        return self.with_key

    def value(self) -> bytes | None:
        return self.with_value

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return [(name, value) for name, value in self.with_headers]

    def timestamp(self) -> tuple[int, int]:
        return (TIMESTAMP_LOG_APPEND_TIME, round(time.time() * 1000))


def event_record(event: Event, value: bytes, *, partition: int, offset: int, epoch: int, command_id: str) -> Record:
    """The record of an event in the events topic."""
    headers = event_headers(event, epoch=epoch, command_id=command_id, topic_id="t", place=NOWHERE)
    return Record(topics.EVENTS, partition, offset, event.group.encode(), value, headers)


def claim_record(partition: int, offset: int) -> Record:
    """The record of a claim in the events topic."""
    claim = Claim(log=LOG_ID, worker="w", at=to_text(0))
    return Record(topics.EVENTS, partition, offset, None, encode_claim(claim), claim_headers())


class Partition:
    """As the announcer sees one."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.epoch = 0
        self.presence = PartitionPresence(time.monotonic())


class Online:
    """The presence of all partitions, as their one owner knows and announces it."""

    def __init__(self, world: "World") -> None:
        self.partitions = [Partition(number) for number in range(PARTITIONS)]
        self.away = False
        self.records: list[Record] = []
        self._world = world
        self._announcer = Announcer(self, lambda: self.partitions)

    def told(self, group: str) -> dict[str, Any]:
        """What an answer tells."""
        presence = self.partitions[partition_for(group.encode(), PARTITIONS)].presence
        return {"online": list(presence.online(group)), "announced": presence.announced}

    def restart(self) -> None:
        """Another owner in its place, who knows nobody."""
        for partition in self.partitions:
            partition.epoch += 1
            partition.presence = PartitionPresence(time.monotonic())
            owner = OwnerRecord(url="http://o", epoch=partition.epoch, offset=1, worker="w", log=LOG_ID)
            self._world.owners.learn(partition.number, owner)

    async def post(self, _url: str, body: bytes) -> bytes:
        """Take in a gateway's reports."""
        await asyncio.sleep(0)
        if self.away:
            raise ConnectionRefusedError
        reports = decode_reports(body)
        now = time.monotonic()
        presences = (self.partitions[report.partition].presence for report in reports.reports)
        words = [p.report(reports.gateway, r, now) for p, r in zip(presences, reports.reports, strict=True)]
        return encode_words(words)

    async def run(self) -> None:
        """Announce until cancelled."""
        await self._announcer.run()

    def produce(
        self, topic: str, partition: int, *, key: Any, value: Any, headers: Any = None, report: Any = None
    ) -> None:
        """Let the gateway read an announcement."""
        self.records.append(Record(topic, partition, len(self.records), key, value, headers))
        self._world.put(self.records[-1])
        report(0, None)


class World:
    """The log, its one owner, and the gateway's parts that read and write it.

    `now`: the wall clock that proofs expire by, which stands still unless a test moves it.
    """

    def __init__(self) -> None:
        self.now = time.time()
        self.log = FakeLog()
        self.log.id = LOG_ID
        self.ends = [1] * PARTITIONS  # offset 0 is the owner's claim
        self.unread: list[Record] = []
        self.auto_deliver = True
        self.commands: list[Any] = []
        self.held: list[Callable[[], None]] = []
        self.hold_commands = False
        self.refuse_commands: Exception | None = None
        self.reads: list[AnyRead] = []
        self.gate = asyncio.Event()  # reads wait while it is clear
        self.gate.set()
        self.answered = 0
        self.way = asyncio.Event()  # answers are on their way while it is clear
        self.way.set()
        self.owner_away = False
        self.page = 500
        self.hub = Hub()
        self.failures: list[Exception] = []
        self.commander = Commander(self, origin=ORIGIN, partitions=PARTITIONS, on_fatal=self.failures.append)
        self.owners = Owners(PARTITIONS, LOG_ID)
        self.revocations = Revocations()
        self.admissions = Admissions(self.revocations, lambda: self.now)
        self.online = Online(self)
        self.presence = Presence(
            signal=self.hub.signal,
            owners=self.owners,
            post=self.online.post,
            gateway=ORIGIN,
            partitions=PARTITIONS,
            epoch=lambda partition: self.intake.epoch(partition),  # noqa: PLW0108 - the intake is made behind this
        )
        self.presence.ask_through(self)
        self.hub.on_followed = self.presence.on_followed
        self.intake = Intake(
            hub=self.hub,
            commander=self.commander,
            owners=self.owners,
            on_revocations=self.admissions.revoke,
            on_announcement=self.presence.hear,
        )
        known = {p: OwnerRecord(url="http://o", epoch=0, offset=1, worker="w", log=LOG_ID) for p in range(PARTITIONS)}
        self.intake.begin(Start(known, dict.fromkeys(range(PARTITIONS), (1, 0)), dict.fromkeys(range(PARTITIONS), 1)))
        self.service = Service(self.commander, self, self.hub, self.presence, request_timeout_s=REQUEST_TIMEOUT_S)

    # The broker and the owner, as the commander and the reads see them

    def produce(self, topic: str, partition: int, *, key: bytes, value: bytes, report: Any) -> None:
        """Take a record of commands."""
        assert topic == topics.COMMANDS
        assert partition == partition_for(key, PARTITIONS)
        if self.refuse_commands is not None:
            raise self.refuse_commands
        for raw in split_array(value):
            self.commands.append(decode_command(raw))
            if self.hold_commands:
                self.held.append(lambda command=self.commands[-1]: self.decide(command))  # type: ignore[misc]
            else:
                self.decide(self.commands[-1])
        report(0, None)

    def release(self) -> None:
        """Decide the commands that were held."""
        held, self.held = self.held, []
        for decide in held:
            decide()

    def decide(self, command: Any) -> None:
        """Decide one command and append what becomes of it."""
        outcome = self.log.append(command)
        match outcome:
            case Event():
                partition = partition_for(command.group.encode(), PARTITIONS)
                value = self.log.group(command.group).frames[-1]
                self.append(outcome, value, partition, command.id)
            case Rejection():
                self._reply(Outcome(command=command.id, refusal=outcome))
            case Duplicate(seq, at_ms):
                self._reply(Outcome(command=command.id, duplicate=True, seq=seq, at=to_text(at_ms)))
            case _:
                self._reply(Outcome(command=command.id, unchanged=True))

    def append(self, event: Event, value: bytes, partition: int, command_id: str, epoch: int = 0) -> None:
        """Put an event into the log."""
        offset = self.ends[partition]
        self.ends[partition] += 1
        self._put(event_record(event, value, partition=partition, offset=offset, epoch=epoch, command_id=command_id))

    def deliver(self, count: int | None = None) -> None:
        """Let the gateway read the next `count` records, all if None."""
        count = len(self.unread) if count is None else count
        records, self.unread = self.unread[:count], self.unread[count:]
        self.intake.take(list(records))

    def _reply(self, outcome: Outcome) -> None:
        self._put(Record(topics.REPLIES, 0, 0, ORIGIN.encode(), encode_outcome(outcome)))

    def put(self, record: Record) -> None:
        """Put a record of another topic where the gateway reads it in its turn."""
        self._put(record)

    def _put(self, record: Record) -> None:
        self.unread.append(record)
        if self.auto_deliver:
            asyncio.get_running_loop().call_soon(self.deliver)

    async def ask(self, group: str, make: Callable[[int], AnyRead], deadline: float) -> Answer:
        """Answer a read from the log as it is after the gate was passed."""
        read = make(self.ends[partition_for(group.encode(), PARTITIONS)])
        self.reads.append(read)
        try:
            async with asyncio.timeout_at(deadline):
                await self.gate.wait()
        except TimeoutError:
            raise UnavailableError(group) from None
        if self.owner_away:
            raise UnavailableError(group)
        answer = self.answer(read)
        self.answered += 1
        await self.way.wait()
        return answer

    def answer(self, read: AnyRead) -> Answer:
        """The owner's answer."""
        offset = self.ends[partition_for(read.group.encode(), PARTITIONS)]
        group = self.log.group(read.group)
        seq = group.state.seq
        if (refusal := self.log.may_read(read.group, read.user)) is not None:
            return Answer(refusal=refusal, epoch=0, offset=offset, seq=seq)
        about = {"epoch": 0, "offset": offset, "seq": seq}
        match read:
            case ReadSubscription():
                start = self._start(group, read)
                state = msgspec.convert(group.view(), StateView) if read.state else None
                told = self.online.told(read.group) if read.online else {}
                page = self._page(group, read.user, start, seq)
                return Answer(**about, **page, **told, start=start, state=state)  # type: ignore[arg-type]
            case ReadPresence():
                return Answer(**about, **self.online.told(read.group))  # type: ignore[arg-type]
            case ReadEvents():
                return Answer(**about, **self._page(group, read.user, read.after + 1, min(read.through, seq)))  # type: ignore[arg-type]
            case ReadState():
                state = msgspec.convert(group.view(read.at_seq), StateView)
                if read.at_seq is not None:
                    state = msgspec.structs.replace(state, online=msgspec.UNSET)
                return Answer(**about, state=state)  # type: ignore[arg-type]
            case ReadMembers():
                members = msgspec.convert(group.view()["members"], list[MemberView])
                start, _ = place_of(read.cursor or "0.0") or (0, 0)
                cursor = cursor_at(start + read.limit, 0) if start + read.limit < len(members) else None
                return Answer(**about, members=members[start : start + read.limit], cursor=cursor)  # type: ignore[arg-type]
            case ReadMessages():
                items = [msgspec.Raw(msgspec.json.encode(item)) for item in group.history(read.user)]
                return Answer(**about, messages=items[-read.limit :], more=len(items) > read.limit)  # type: ignore[arg-type]

    def _start(self, group: FakeGroup, read: ReadSubscription) -> int:
        if read.last is not None:
            return group.last(read.user, read.last)
        return group.state.seq + 1 if read.after is None else read.after + 1

    def _page(self, group: FakeGroup, user: str, start: int, through: int) -> dict[str, Any]:
        through = min(through, start + self.page - 1)
        frames = [msgspec.Raw(frame) for frame in group.run(user, start, through)]
        return {"frames": frames, "through": max(through, start - 1)}


class Gateway:
    """The HTTP application of a world, on a free port."""

    def __init__(self, world: World, settings: Settings, url: str, session: aiohttp.ClientSession) -> None:
        self.world = world
        self.settings = settings
        self.url = url
        self.http = session
        self.sessions = Sessions()
        self.waiting: list[str] = []

    async def connect(self, query: str = "?user=alice", token: str | None = None, **options: Any) -> Client:
        """A socket; without hello having been read."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        return Client(await self.http.ws_connect(f"{self.url}/v1/ws{query}", headers=headers, **options))

    async def client(self, user: str = "alice") -> Client:
        """A socket of `user`, its hello read."""
        client = await self.connect(f"?user={user}")
        assert (await client.next())["type"] == "hello"
        return client


@asynccontextmanager
async def running(world: World, keys: Keys | None = None, **settings: Any) -> AsyncIterator[Gateway]:
    """A gateway serving `world`, in development mode unless `settings` say otherwise."""
    chosen = Settings(**{"auth": "dev", "jwt_secret": SECRET, **settings})
    async with aiohttp.ClientSession() as session:
        gateway = Gateway(world, chosen, "", session)
        authenticator = Authenticator(chosen, keys, world.revocations, lambda: world.now)
        door = Door(world.service, authenticator, world.admissions, LOG_ID)
        tasks = [asyncio.create_task(work) for work in (world.admissions.run(), world.presence.run())]
        tasks.append(asyncio.create_task(world.online.run()))
        if keys is not None:
            tasks.append(asyncio.create_task(keys.run()))
        app = http.application(
            chosen, door, gateway.sessions, waits_for=lambda: gateway.waiting, opened=lambda: not gateway.waiting
        )
        runner = web.AppRunner(app, shutdown_timeout=0.2)
        await runner.setup()
        listener = http.listening_socket("127.0.0.1", 0)
        await web.SockSite(runner, listener).start()
        gateway.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield gateway
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await gateway.sessions.drain(0.5)
            await runner.cleanup()
