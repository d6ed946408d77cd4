"""`python -m benchmarks.verify`: how many records of the log `verify` proves in a second.

The events topic of a broker of its own is filled with records as a processor writes them (messages of many groups, 120
bytes of text and a key each). Then, in rounds that take turns: a bare consume of the same topic by librdkafka, as many
processes, nothing looked at; and `python -m app verify --no-tables --no-owners`, from the start of the command to its
end, with everything that it checks of the log. Last, once, with the tables, whose changelogs are empty here: what it
costs to fold the log onto disks and compare all rows.
"""

import multiprocessing
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import click
import msgspec
from confluent_kafka import Producer

from app.kafka import consumer, topics
from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.lab import APP_ID, Lab, lab, producer
from tests.support.stack import clean_environment
from tests.support.written_log import WrittenLog

QUICK = "--rounds 1 --records 2000 --groups 8 --members 3 --partitions 2"
TARGET = 50_000
_TEXT = "Lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam nonumy eirmod tempor invidunt ut labore. "
_AT_ONCE = 20_000
_S = 600


def fill(service: Lab, records: int, groups: int, members: int) -> None:
    """Write so many messages, evenly over the partitions, a claim now and then."""
    names: dict[int, list[str]] = {}
    for name in (f"group-{n}" for n in range(groups)):
        names.setdefault(service.partition(name), []).append(name)
    out, chance = producer(service.bootstrap), random.Random(1)
    for partition, here in names.items():
        written = WrittenLog(partition, service.layout.log_id, service.layout.commands_topic_id)
        written.claim()
        for group in here:
            written.create(group)
            for member in range(1, members):
                written.join(group, f"user-{member}")
        _append(out, written)
        for number in range(records // len(names)):
            if number % _AT_ONCE == 0:
                _append(out, written)
                written.claim()
            written.now_ms += 1
            by = f"user-{chance.randrange(1, members)}"
            written.post(chance.choice(here), f"{_TEXT}{number}", by, key=f"{number:09}")
        _append(out, written)


def bare(bootstrap: str, partition: int) -> float:
    """Consume a partition and look at nothing; the CPU seconds of it."""
    began = time.process_time()
    with consumer.reader(bootstrap) as reader:
        low, end = consumer.offsets(reader, topics.EVENTS, partition)
        for _ in consumer.read(reader, topics.EVENTS, partition, low, end):
            pass
    return time.process_time() - began


def verify(service: Lab, *arguments: str) -> dict[str, Any]:
    """Run the command; its report."""
    ran = subprocess.run(
        [sys.executable, "-m", "app", "verify", "--json", *arguments],
        env=clean_environment(KAFKA_BOOTSTRAP=service.bootstrap, AUERBACH_APP_ID=APP_ID),
        stdout=subprocess.PIPE,
        timeout=_S,
        check=False,
    )
    report: dict[str, Any] = msgspec.json.decode(ran.stdout)
    if not report["clean"]:
        raise RuntimeError(f"not clean: {ran.stdout[:2000]!r}")
    return report


def _append(out: Producer, written: WrittenLog) -> None:
    for record in written.records:
        while True:
            try:
                out.produce(topics.EVENTS, record.value, record.key, written.partition, headers=record.headers)
                break
            except BufferError:
                out.poll(0.05)
    written.records.clear()
    if out.flush(_S):
        raise RuntimeError("the broker did not take the log")


@click.command()
@click.option("--records", default=600_000, show_default=True, help="Messages in the log.")
@click.option("--groups", default=500, show_default=True)
@click.option("--members", default=20, show_default=True, help="Members a group.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--partitions", default=16, show_default=True)
@click.option("--tables/--no-tables", default=True, show_default=True, help="Measure the tables' part, too.")
def main(records: int, groups: int, members: int, rounds: int, partitions: int, tables: bool) -> None:
    """Measure it."""
    load = load_now()
    bare_rates, bare_us, rates, cpu_us = [], [], [], []
    whole: list[float] = []
    context = multiprocessing.get_context("spawn")
    with lab(partitions) as service:
        began = time.monotonic()
        fill(service, records, groups, members)
        total = service.written()
        say(f"filled: {total:,} records in {time.monotonic() - began:.0f} s")
        for number in range(rounds):
            began = time.monotonic()
            with ProcessPoolExecutor(os.cpu_count(), context) as pool:
                used_s = sum(pool.map(bare, [service.bootstrap] * partitions, range(partitions)))
            bare_rates.append(total / (time.monotonic() - began))
            bare_us.append(used_s / total * 1e6)
            began = time.monotonic()
            report = verify(service, "--no-tables", "--no-owners")
            rates.append(total / (time.monotonic() - began))
            cpu_us.append(report["log_cpu_s"] / total * 1e6)
            say(f"round {number + 1}: bare {bare_rates[-1]:,.0f}/s, verify {rates[-1]:,.0f}/s")
        if tables:
            began = time.monotonic()
            verify(service, "--no-owners")
            whole.append(total / (time.monotonic() - began))
    bare_rate = Figure("a bare consume of the log", "records/s", bare_rates)
    bare_cpu = Figure("CPU of a bare consume", "µs/record", bare_us)
    figures = [
        bare_rate,
        Figure("the log, from start to end of the command", "records/s", rates, at_least=TARGET, limit=bare_rate),
        bare_cpu,
        Figure("CPU of reading and proving the log", "µs/record", cpu_us, limit=bare_cpu),
    ]
    if whole:
        figures.append(Figure("log and tables", "records/s", whole))
    tell(f"verify: {total:,} records, {groups} groups of {members}", load, figures)


if __name__ == "__main__":
    main()
