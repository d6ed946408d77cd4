"""`python -m benchmarks.cold_start`: from the start of a processor without its local disk to all partitions open.

The changelog of the `groups` table is filled with rows as an owner would have left them: groups with members and the
window of their `client_msg_id`s, behind a claim and with a position. In each round the local disk is wiped. The limit
is a plain consumer that reads the same changelog and looks at nothing.
"""

import time
from collections.abc import Iterator
from itertools import islice

import click
from confluent_kafka import Producer, TopicPartition

from app.domain.state import Group, Member, Sent
from app.kafka import consumer, topics
from app.log.records import Claim, claim_headers, encode_claim
from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.lab import APP_ID, Lab, lab, producer
from tables import group_rows, rows

QUICK = "--rounds 1 --rows 1000 --partitions 1"
ROWS = 1_000_000
TARGET_S = 15.0
_MEMBERS, _SENT = 10, 39  # with the head: 50 rows a group
_AT_MS = 1_795_569_600_000
_BATCH = 10_000
_FLUSH_S = 60

Row = tuple[bytes, bytes | None]


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--rows", "count", default=ROWS, show_default=True, help="Rows of the `groups` table.")
@click.option("--partitions", default=16, show_default=True)
def main(rounds: int, count: int, partitions: int) -> None:
    """Cold start with a full `groups` table."""
    load = load_now()
    took_s: list[float] = []
    cpu_s: list[float] = []
    bare: list[tuple[float, float]] = []
    with lab(partitions) as service:
        fill(service, count)
        say(f"{count:,} rows are in the changelog")
        for n in range(rounds):
            service.forget_disk()
            worker = service.worker()
            took_s.append(worker.wait_open(partitions))
            cpu_s.append(worker.cpu_s())
            worker.stop()
            bare.append(bare_read_s(service))
            of_bare = f"{bare[-1][0]:.1f} s and {bare[-1][1]:.1f} s of CPU to read it bare"
            say(f"round {n + 1}: {took_s[-1]:.1f} s, {cpu_s[-1]:.1f} s of CPU; {of_bare}")
    target = TARGET_S if count >= ROWS else None
    bare_took = Figure("a plain consumer reads the changelog", "s", [took for took, _ in bare])
    bare_cpu = Figure("CPU of a plain consumer that reads it", "s", [cpu for _, cpu in bare])
    tell(
        f"Cold start with {count:,} rows in `groups`, {partitions} partitions",
        load,
        [
            bare_took,
            Figure("start of the process to all partitions open", "s", took_s, at_most=target, limit=bare_took),
            bare_cpu,
            Figure("CPU of the processor until then", "s", cpu_s, limit=bare_cpu),
        ],
    )


def bare_read_s(service: Lab) -> tuple[float, float]:
    """What it takes to read the whole changelog of `groups`, with librdkafka in this process: seconds, and of CPU.

    Raises:
        RuntimeError: it did not come to its end.
    """
    topic = topics.groups_changelog(APP_ID)
    wall, cpu = time.monotonic(), time.process_time()
    with consumer.reader(service.bootstrap) as reading:
        ends = [consumer.offsets(reading, topic, partition)[1] for partition in range(service.partitions)]
        reading.assign([TopicPartition(topic, partition, 0) for partition in range(service.partitions)])
        left = sum(ends)  # nothing has been compacted: an offset is a record
        while left:
            first = reading.poll(0.1)
            came = [] if first is None else [first, *reading.consume(consumer.BATCH - 1, 0)]
            left -= sum(message.error() is None for message in came)
            if time.monotonic() > wall + _FLUSH_S:
                raise RuntimeError(f"{left} records of {topic} were not read within {_FLUSH_S} s")
    return time.monotonic() - wall, time.process_time() - cpu


def fill(service: Lab, count: int) -> None:
    """Write a claim in each partition of the log, and behind it `count` rows and the positions of both tables."""
    to = producer(service.bootstrap)
    for partition in range(service.partitions):
        claim = Claim(log=service.layout.log_id, worker="processor-0", at="2026-11-25T01:20:00.123Z")
        to.produce(topics.EVENTS, encode_claim(claim), None, partition, headers=claim_headers())
    _flush(to)
    groups, history = topics.groups_changelog(APP_ID), topics.history_changelog(APP_ID)
    made = ((service.partition(group), row) for group, row in islice(_rows(), count))
    while batch := list(islice(made, _BATCH)):
        for partition in range(service.partitions):
            _produce(to, groups, partition, [row for p, row in batch if p == partition])
        _flush(to)
    position = rows.Position(
        event_offset=1, epoch=0, command_topic_id=service.layout.commands_topic_id, command_offset=-1, command_index=-1
    )
    for partition in range(service.partitions):
        for topic in (groups, history):
            _produce(to, topic, partition, [(rows.POSITION_KEY, rows.encode_position(position, epoch=0))])
    _flush(to)


def _rows() -> Iterator[tuple[str, Row]]:
    """Rows of one group after the other, without end, each with the group's name."""
    number = 0
    while True:
        group = Group(f"group-{number}", seq=_SENT + 1, first=1, life="alive", name=f"The group {number}")
        group.at_ms, group.rules = _AT_MS, [(1, "all")]
        for n in range(_MEMBERS):
            group.members[f"user-{n}"] = Member("member" if n else "owner", 1, n)
        for n in range(_SENT):
            group.sent[f"user-{n % _MEMBERS}", f"{number:09}/{n:09}"] = Sent(n + 2, _AT_MS, f"{n:024x}")
        parts = [*(("member", user) for user in group.members), *(("sent", *key) for key in group.sent)]
        for row in group_rows.part_rows(group, parts, 0):
            yield group.id, row
        number += 1


def _produce(to: Producer, topic: str, partition: int, batch: list[Row]) -> None:
    queued = to.produce_batch(topic, [{"key": key, "value": row} for key, row in batch], partition)
    if queued != len(batch):
        raise RuntimeError(f"{topic}: only {queued} of {len(batch)} rows were taken")


def _flush(to: Producer) -> None:
    if to.flush(_FLUSH_S):
        raise RuntimeError(f"the broker did not take all within {_FLUSH_S} s")


if __name__ == "__main__":
    main()
