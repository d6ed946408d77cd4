"""Owners of one partition in the test's own process, against the real broker: their records can be held back, let
through one by one, or lost, so that each trace of the model is replayed step by step and never by luck.
"""

import asyncio
import itertools
from collections import deque
from typing import Any

from agents.commands import CommandRecord
from agents.context import Context
from agents.flusher import ClosedError
from agents.ownership import open_partition
from agents.partition import Partition
from agents.reading import answer
from app.config import Settings
from app.domain.commands import AddMember, Command, CreateGroup, Join, Leave, Send
from app.kafka import consumer, topics
from app.kafka.producer import Producer
from app.log.records import Claim, claim_headers, encode_claim
from app.reads import Answer, ReadState
from tables.stoppable import Stop
from tables.write_behind import FencedError
from tests.support.audit import Ledger, Witness
from tests.support.driver import ORIGIN, WITHIN_S, Driver
from tests.support.memory_store import MemoryStore
from tests.support.until import until

AT = "2026-11-25T01:20:00.123Z"


class HeldBack:
    """librdkafka's producer, whose records leave when the test says so."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.held = False
        self.queue: deque[tuple[str, dict[str, Any]]] = deque()

    def produce(self, topic: str, **record: Any) -> None:
        """As librdkafka's, or later."""
        if self.held:
            self.queue.append((topic, record))
        else:
            self._inner.produce(topic, **record)

    def produce_batch(self, topic: str, messages: list[dict[str, Any]], partition: int) -> int:
        """As librdkafka's, or later, one by one."""
        if not self.held:
            queued: int = self._inner.produce_batch(topic, messages, partition)
            return queued
        for each in messages:
            fields = {"key": each["key"], "value": each["value"], "on_delivery": each.get("callback")}
            self.produce(topic, partition=partition, **fields)
        return len(messages)

    def send(self, queued: tuple[str, dict[str, Any]]) -> None:
        """Let one record go."""
        self._inner.produce(queued[0], **queued[1])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __len__(self) -> int:
        return len(self._inner)


class HandProducer(Producer):
    """The service's producer over a `HeldBack`."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap)
        self._rd = self._hand = HeldBack(self._rd)

    def hold(self) -> None:
        """From now on, keep records back."""
        self._hand.held = True

    async def let_through(self, count: int) -> None:
        """Send the next `count` held records, once there are as many."""
        await until(lambda: self.held() >= count)
        for _ in range(count):
            self._hand.send(self._hand.queue.popleft())

    async def let_deletion_through(self) -> None:
        """Send the first held record without a value, and none before it."""
        await until(self._deletions)
        self._hand.send(self._deletions()[0])

    def release(self) -> None:
        """Send what was held and hold no more."""
        self._hand.held = False
        while self._hand.queue:
            self._hand.send(self._hand.queue.popleft())

    def lose(self, count: int) -> None:
        """Drop the next `count` held records."""
        for _ in range(count):
            self._hand.queue.popleft()

    def held(self) -> int:
        """How many records are kept back."""
        return len(self._hand.queue)

    async def die(self) -> None:
        """Lose what is held."""
        self._hand.queue.clear()
        if not self._closing.is_set():
            await self.close(WITHIN_S)  # what has left arrives: some faults are seen by it alone

    def _deletions(self) -> list[tuple[str, dict[str, Any]]]:
        return [queued for queued in self._hand.queue if queued[1]["value"] is None]


class Owner:
    """One life of a processor as far as one partition is concerned; `stores` are its disk."""

    def __init__(self, world: "World", stores: tuple[MemoryStore, MemoryStore] | None) -> None:
        self.stores = stores or (MemoryStore(), MemoryStore())
        self.events, self.changelog = HandProducer(world.bootstrap), HandProducer(world.bootstrap)
        self.left: list[Exception] = []
        self.done: list[int] = []
        self._world = world
        self._read = 0  # nothing was ever committed: every command is read again, the hardest case
        self._partition: Partition | None = None
        self._flush: asyncio.Task[None] | None = None

    @property
    def partition(self) -> Partition:
        """The partition, while it is open."""
        assert self._partition is not None
        return self._partition

    async def open(self) -> None:
        """Claim, load, fold."""
        # Whatever is flushed is flushed by the test, however long that takes: more than a service may be set to.
        settings = Settings(KAFKA_BOOTSTRAP=self._world.bootstrap).model_copy(update={"flush_interval_ms": 3_600_000})  # type: ignore[call-arg]
        context = Context(
            settings,
            self._world.driver.layout,
            self.events,
            self.changelog,
            "http://here",
            self.left.append,
            lambda _, why: self.left.append(why),
            lambda *_: None,
        )
        self._partition = await open_partition(
            context, self._world.partition, *self.stores, wall_ms=0, still_ours=lambda: True, stop=Stop()
        )
        async with asyncio.timeout(WITHIN_S):
            await self._partition.history.whole()  # the history loads while the partition is open

    async def take(self, records: int | None = None) -> None:
        """Decide the commands that stand in the topic, or the next so many records of them."""
        for message in await asyncio.to_thread(self._world.commands_from, self._read):
            if records is not None and records <= 0:
                return
            records = None if records is None else records - 1
            self._read = message.offset() + 1
            record = CommandRecord(
                message.offset(), message.timestamp()[1], message.key(), message.value(), list(message.headers() or ())
            )
            await self.partition.handle(record, lambda offset=record.offset: self.done.append(offset))

    async def settle(self) -> None:
        """Wait until all that is decided is on disk."""
        async with asyncio.timeout(WITHIN_S):
            await self.partition.in_flight.settled()

    async def flush(self) -> None:
        """Write behind."""
        async with asyncio.timeout(WITHIN_S):
            await self.partition._flusher.flush()

    async def begin_flush(self) -> None:
        """A flush whose records do not leave."""
        self.changelog.hold()
        self._flush = asyncio.create_task(self.flush())
        await until(self.changelog.held)

    async def flushed(self) -> None:
        """Wait until the flush that was begun is over, in whatever way."""
        assert self._flush is not None
        await asyncio.wait([self._flush])
        why = self._flush.exception()
        assert why is None or isinstance(why, FencedError | ClosedError), why

    async def ask(self, user: str) -> Answer:
        """The state, as a gateway that has just looked up the log's end asks for it."""
        world = self._world
        end = await asyncio.to_thread(world.driver.end, world.group)
        read = ReadState(group=world.group, user=user, end=end)
        return await answer(self.partition, world.driver.layout.log_id, read, WITHIN_S)

    async def close(self) -> None:
        """The partition is revoked in good order; the process goes on."""
        await self.partition.close()

    async def die(self) -> None:
        """kill -9: what is held is lost, nothing more is written."""
        if self._flush is not None:
            self._flush.cancel()
            await asyncio.gather(self._flush, return_exceptions=True)
        if self._partition is not None:
            self.partition.serving = False
            await self.partition._lane.close()
            await self.partition._flusher.stop()
            self.partition._abandon(ClosedError("dead"))
        await self.events.die()
        await self.changelog.die()


class World:
    """One partition of the real broker, its owners one after the other or at once, and what must come of it all."""

    _ids = itertools.count()

    def __init__(self, driver: Driver, partition: int) -> None:
        self.driver = driver
        self.witness = witness = Witness(driver, (partition,))
        self.bootstrap = self.driver.bootstrap
        self.ledger = Ledger(witness)
        self.partition = partition
        names = (f"fenced-{n}" for n in itertools.count())
        here = (name for name in names if self.driver.partition(name) == partition)
        self.group, self.other = next(here), next(here)
        self.owners: list[Owner] = []

    async def owner(self, stores: tuple[MemoryStore, MemoryStore] | None = None) -> Owner:
        """A new owner that is open; on the disk of one before, or on an empty one."""
        owner = self.unopened(stores)
        await owner.open()
        return owner

    def unopened(self, stores: tuple[MemoryStore, MemoryStore] | None = None) -> Owner:
        """A new owner that has not begun to open."""
        self.owners.append(Owner(self, stores))
        return self.owners[-1]

    async def send(self, *commands: Command) -> None:
        """One record of commands."""
        self.ledger.send(*commands)
        await asyncio.to_thread(self.driver.flush)

    async def claim(self) -> None:
        """The claim of an owner that died right behind it."""
        claim = Claim(log=self.driver.layout.log_id, worker="dead", at=AT)
        producer = Producer(self.bootstrap)
        await producer.deliver(
            topics.EVENTS, self.partition, key=None, value=encode_claim(claim), headers=claim_headers()
        )
        await producer.close(WITHIN_S)

    def commands_from(self, offset: int) -> list[Any]:
        """The records of the partition's commands from `offset` on."""
        with consumer.reader(self.bootstrap) as reader:
            _, end = consumer.offsets(reader, topics.COMMANDS, self.partition)
            return list(consumer.read(reader, topics.COMMANDS, self.partition, offset, end))

    async def violations(self) -> list[str]:
        """Everything that is wrong with the log, the replies and the tables. The last owner has taken and settled."""
        last = self.owners[-1]
        await last.flush()
        ledger = self.ledger
        found = await asyncio.to_thread(lambda: ledger.audit_log() + ledger.audit_replies())
        return found or await asyncio.to_thread(ledger.audit_tables)

    async def told_too_early(self) -> list[str]:
        """The repetitions that were answered with an event that no reader of the log has."""

        def look() -> list[str]:
            seqs = {v.event.seq for v in self.witness.log() if v.event.group == self.group}
            return [
                f"{command}: told of {o.seq}, the log has {sorted(seqs)}"
                for command, said in self.witness.replies().items()
                for o in said
                if command in self.ledger.decisions and o.duplicate and o.seq not in seqs
            ]

        return await asyncio.to_thread(look)

    async def close(self) -> None:
        """End every owner."""
        for owner in self.owners:
            await owner.die()
        await asyncio.to_thread(self.witness.close)

    def create(self, group: str | None = None) -> Command:
        """An open group of olga's."""
        return CreateGroup(**self._fields("olga", group), name="n", join="open")

    def post(self, text: str, group: str | None = None, user: str = "olga") -> Command:
        """A message, whose text is its key."""
        return Send(**self._fields(user, group), client_msg_id=text, text=text)

    def join(self, user: str) -> Command:
        """Somebody comes."""
        return Join(**self._fields(user))

    def leave(self, user: str) -> Command:
        """Somebody goes."""
        return Leave(**self._fields(user))

    def add(self, user: str) -> Command:
        """Olga adds somebody."""
        return AddMember(**self._fields("olga"), user=user)

    def _fields(self, user: str, group: str | None = None) -> dict[str, str]:
        group = group or self.group
        return {"id": f"{group}:{next(self._ids)}", "group": group, "by": user, "origin": ORIGIN}
