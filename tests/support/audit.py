"""What was sent, what must have become of it, and every way in which the service's world differs from that.

The oracle is the domain itself: the commands of a group, decided and folded in the order in which they were sent.
`Ledger.audit` holds the log, the replies, the owners' answers and the tables against it and names each violation.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from confluent_kafka import Consumer, Message

from app.domain.commands import Command, decode_command, encode_command, split_array
from app.domain.decide import Outcome as Decision
from app.domain.decide import decide
from app.domain.events import Event, decode_event
from app.domain.evolve import evolve
from app.domain.idempotency import digest_of_command
from app.domain.outcomes import Duplicate, Rejection, Unchanged
from app.domain.state import Group
from app.kafka import consumer, topics
from app.kafka.leaders import wait_led
from app.log.fence import Fence
from app.log.records import CommandPlace, EventRecord, decode_record
from app.reads import Outcome, ReadSubscription, decode_outcome, decode_owner
from tables import loader, rows
from tables.partition_tables import PartitionTables
from tests.support.driver import ORIGIN, WITHIN_S, Driver, Valid, ask, patiently
from tests.support.memory_store import MemoryStore
from tests.support.waiting import eventually

APP = "auerbach"
NOW_MS = 1_795_569_600_000


def begin(bootstrap: str, partitions: int) -> Driver:
    """Make the topics, wait until they can be read, and drive."""
    topics.create(bootstrap, APP, partitions=partitions, replication=1)
    wait_led(bootstrap, [topics.COMMANDS, topics.EVENTS, topics.REPLIES, topics.OWNERS], partitions)
    wait_led(bootstrap, list(topics.changelogs(APP).values()), partitions)
    return Driver(bootstrap)


class Witness:
    """Reads all that Kafka holds of `partitions` (of all, unless said), each record once: topics grow meanwhile."""

    def __init__(self, driver: Driver, partitions: Iterable[int] | None = None) -> None:
        self.driver = driver
        self.partitions = list(partitions or range(driver.layout.partitions))
        self._consumer = Consumer(consumer.settings(driver.bootstrap))
        self._read: dict[str, dict[int, list[Message]]] = {}
        self._ends: dict[tuple[str, int], int] = {}

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()

    def read(self, topic: str, *partitions: int) -> list[Message]:
        """All records of a topic until now, partition by partition (of its own, unless said)."""
        held = self._read.setdefault(topic, defaultdict(list))
        found = []
        for partition in partitions or self.partitions:
            more, end = patiently(partial(self._more, topic, partition))
            held[partition].extend(more)
            self._ends[topic, partition] = end
            found.extend(held[partition])
        return found

    def _more(self, topic: str, partition: int) -> tuple[list[Message], int]:
        """What was not read yet, and up to where that is."""
        low, end = consumer.offsets(self._consumer, topic, partition)
        start = self._ends.get((topic, partition), low)
        return list(consumer.read(self._consumer, topic, partition, start, end)), max(start, end)

    def log(self, *, fenced: bool = True) -> list[Valid]:
        """The valid events; all events where not `fenced`: a reader without rule F1."""
        fences: dict[int, Fence] = defaultdict(Fence)
        valid = []
        for m in self.read(topics.EVENTS):
            record = decode_record(offset=m.offset(), key=m.key(), value=m.value(), headers=m.headers())
            admitted = fences[m.partition()].admits(record) or not fenced
            if admitted and isinstance(record, EventRecord):
                valid.append(Valid(record, decode_event(record.value)))
        return valid

    def replies(self) -> dict[str, list[Outcome]]:
        """The replies to each command, in order."""
        found: dict[str, list[Outcome]] = defaultdict(list)
        for message in self.read(topics.REPLIES, self.driver.partition(ORIGIN)):
            outcome = decode_outcome(message.value())
            found[outcome.command].append(outcome)
        return found

    def unknown(self) -> set[str]:
        """The commands that were answered, somewhere, with an unknown outcome."""
        return {c for c, said in self.replies().items() if any(o.refusal and o.refusal.code == "timeout" for o in said)}

    def places(self) -> dict[str, CommandPlace]:
        """Where each command stands in its partition."""
        return {
            decode_command(raw).id: CommandPlace(message.offset(), index)
            for message in self.read(topics.COMMANDS)
            for index, raw in enumerate(split_array(message.value()))
        }

    def wait_written(self, partitions: Iterable[int], within_s: float = WITHIN_S) -> None:
        """Wait until the tables' positions in the changelogs are behind every valid event of `partitions`."""
        last = {self.driver.partition(v.record.group): v.record.offset for v in self.log()}

        def written() -> bool:
            for topic in topics.changelogs(APP).values():
                for partition in partitions:
                    rows_of = [m for m in self.read(topic, partition) if m.key() == rows.POSITION_KEY]
                    reached = rows.decode_position(rows_of[-1].value()).event_offset if rows_of else -1
                    if reached <= last.get(partition, -1):
                        return False
            return True

        eventually(written, within_s=within_s, what="positions behind the log")

    def tables(self, partition: int) -> PartitionTables:
        """The tables of a partition, loaded from their changelogs onto an empty disk."""
        stores = {}
        for name, topic in topics.changelogs(APP).items():
            stores[name] = MemoryStore()
            loader.load(self.driver.bootstrap, topic, partition, stores[name])
        return PartitionTables(stores["groups"], stores["history"])


@dataclass
class Ledger:
    """Commands sent, and what each must become."""

    witness: Witness
    decisions: dict[str, Decision] = field(default_factory=dict)
    states: dict[str, Group] = field(default_factory=dict)
    events: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))

    @property
    def driver(self) -> Driver:
        """Who sends."""
        return self.witness.driver

    def send(self, *commands: Command) -> None:
        """Append them, as one record, without waiting."""
        self.driver.send_soon(*commands)
        for command in commands:
            self.expect(command)

    def expect(self, command: Command) -> None:
        """Decide `command` as the service must."""
        group = self.states.setdefault(command.group, Group(command.group))
        one = decode_command(encode_command(command))
        outcome = decide(group, one, now_ms=NOW_MS, event_id=command.id)
        self.decisions[command.id] = outcome
        if isinstance(outcome, Event):
            evolve(group, outcome, digest_of_command(one) if command.client_msg_id is not None else "")
            self.events[command.group].append(outcome)

    def partitions(self) -> list[int]:
        """The partitions of the groups."""
        return sorted({self.driver.partition(group) for group in self.states})

    def with_outcome(self) -> set[str]:
        """The commands that have an event or a reply."""
        return {v.record.command_id for v in self.witness.log()} | set(self.witness.replies())

    def settled(self) -> bool:
        """Whether each command has an event or a reply."""
        return set(self.decisions) <= self.with_outcome()

    def wait_settled(self, within_s: float = WITHIN_S) -> None:
        """Wait until each command has an event or a reply."""
        self.driver.flush()
        eventually(self.settled, within_s=within_s, what="an outcome of every command")

    def audit(self) -> list[str]:
        """Every violation, once all is settled."""
        self.wait_settled()
        found = self.audit_log() + self.audit_replies()
        if not found:
            self.witness.wait_written(self.partitions())
            found = self.audit_owner() + self.audit_tables()
        return found

    def audit_log(self, *, fenced: bool = True) -> list[str]:
        """What the log says against the oracle."""
        found: list[str] = []
        events: dict[str, list[Event]] = defaultdict(list)
        seen: dict[str, int] = defaultdict(int)
        for valid in self.witness.log(fenced=fenced):
            if valid.event.group in self.states:
                events[valid.event.group].append(valid.event)
                seen[valid.record.command_id] += 1
        for group, due in self.events.items():
            seqs = [e.seq for e in events[group]]
            if seqs != list(range(1, len(seqs) + 1)):
                found.append(f"{group}: seqs are not dense: {seqs}")
            if [_content(e) for e in events[group]] != [_content(e) for e in due]:
                found.append(f"{group}: {len(events[group])} events are not the {len(due)} that were due")
        found += [f"{c}: {times} events" for c, times in seen.items() if times != 1]
        return found

    def audit_replies(self) -> list[str]:
        """What gateways were told against the oracle; an unknown outcome contradicts nothing."""
        found = []
        said = self.witness.replies()
        for command, decision in self.decisions.items():
            wrong = (outcome for outcome in said.get(command, ()) if not _agrees(outcome, decision))
            found += [f"{command}: told {outcome}, is {decision}" for outcome in wrong]
            if not isinstance(decision, Event) and command not in said:
                found.append(f"{command}: nobody was told of {decision}")
        return found

    def audit_owner(self, user: str = "olga") -> list[str]:
        """What the owners answer against the fold of the log and its bytes."""
        found = []
        folded, values = self._fold()
        ends = {m.partition(): m.offset() + 1 for m in self.witness.read(topics.EVENTS)}
        for group, state in folded.items():
            partition = self.driver.partition(group)
            read = ReadSubscription(group=group, user=user, end=ends[partition], after=0)
            (answer,) = ask(partial(self._url, partition), read)
            if answer.missing or answer.refusal or answer.state is None:
                found.append(f"{group}: the owner answers {answer}")
                continue
            view = answer.state
            if [bytes(f) for f in answer.frames] != values[group]:
                found.append(f"{group}: the owner's events are not the log's")
            if (view.seq, view.name, view.join) != (state.seq, state.name, state.join):
                found.append(f"{group}: the owner is at {view.seq}, the log at {state.seq}")
            if [(m.user, m.role) for m in view.members] != [(u, m.role) for u, m in state.members.items()]:
                found.append(f"{group}: the owner's members are not the log's")
        return found

    def audit_tables(self) -> list[str]:
        """What the changelogs hold, loaded onto an empty disk, against the fold of the log."""
        found = []
        folded, values = self._fold()
        tables = {partition: self.witness.tables(partition) for partition in self.partitions()}
        for group, state in folded.items():
            partition = tables[self.driver.partition(group)]
            loaded = partition.group(group)
            for each in (state, loaded):
                each.take_touched()
            if loaded != state:
                found.append(f"{group}: the table is at {loaded.seq}, the fold at {state.seq}: {loaded} / {state}")
            if [partition.event(group, seq) for seq in range(1, len(values[group]) + 1)] != values[group]:
                found.append(f"{group}: the history is not the log's")
        return found

    def _url(self, partition: int) -> str:
        """The owner of a partition, by the newest of its records."""
        records = self.witness.read(topics.OWNERS, self.driver.partition(str(partition)))
        return [decode_owner(m.value()).url for m in records if m.key() == b"%d" % partition][-1]

    def _fold(self) -> tuple[dict[str, Group], dict[str, list[bytes]]]:
        """The groups as a plain reader folds them, and their events' bytes."""
        states = {group: Group(group) for group in self.events}
        values: dict[str, list[bytes]] = {group: [] for group in self.events}
        for valid in self.witness.log():
            if valid.event.group in states:
                evolve(states[valid.event.group], valid.event, valid.record.request)
                values[valid.event.group].append(valid.record.value)
        return states, values


def _content(event: Event) -> tuple[object, ...]:
    return event.kind, event.by, event.client_msg_id, event.data


def _agrees(said: Outcome, decision: Decision) -> bool:
    if said.refusal is not None and said.refusal.code == "timeout":
        return True
    match decision:
        case Rejection():
            return said.refusal is not None and said.refusal.code == decision.code
        case Duplicate():
            return said.duplicate and said.seq == decision.seq
        case Unchanged():
            return said.unchanged
        case Event():
            return False
