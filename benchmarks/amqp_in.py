"""`python -m benchmarks.amqp_in`: how many messages of the user service a bridge carries in a second, acknowledged.

A RabbitMQ and a Kafka of their own. In each round a queue is filled, the bridge is started, and the steady part (from
a tenth to nineteen twentieths) is timed: each message decoded, its commands on Kafka's disk, and acknowledged. A
processor decides them meanwhile. The same messages then go to a bare aio-pika consumer that only acknowledges: the
limit.
"""

import time
import urllib.request
from collections.abc import Callable, Iterator

import click

from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.lab import Lab, Part, lab
from benchmarks.limits.progress import Progress
from tests.support.bridges import body
from tests.support.ports import free_ports
from tests.support.rabbit import Rabbit, running
from tests.support.raw_amqp import RawPublisher, message_type, table

QUICK = "--rounds 1 --messages 3000 --partitions 1 --groups 5"
TARGET = 2_000
PREFETCH = 500
_QUEUE = "bench-in"
_STEADY = (0.1, 0.95)
_SAMPLE_S = 0.02
_ROUND_S = 120.0


class Bridge(Part):
    """One bridge, and how many messages it has acknowledged."""

    def __init__(self, service: Lab, rabbit: Rabbit) -> None:
        self.port = free_ports(1)
        settings = {
            **rabbit.settings,
            "USER_SERVICE_EVENT_QUEUE": _QUEUE,
            "AUERBACH_BRIDGE_PORT": str(self.port),
            "AUERBACH_BRIDGE_PREFETCH": str(PREFETCH),
        }
        super().__init__(service, "bridge-0", ["-m", "app", "bridge"], **settings)

    def done(self) -> int:
        """Messages acknowledged until now; 0 while it does not answer yet."""
        self.printed()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as response:
                lines = response.read().decode().splitlines()
        except OSError:
            return 0
        values = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}
        taken = values.get('auerbach_bridge_in_messages_total{fate="command"}', 0)
        return int(taken - values.get("auerbach_bridge_in_open_messages", 0))


class Bare(Part):
    """The limit, and how many messages it has acknowledged."""

    def __init__(self, service: Lab, rabbit: Rabbit, number: int) -> None:
        file = service.folder / f"amqp-consumer-{number}.progress"
        self._progress = Progress(file)
        options = ["--url", rabbit.url, "--queue", _QUEUE, "--prefetch", str(PREFETCH), "--progress", str(file)]
        super().__init__(service, "amqp-consumer", ["-m", "benchmarks.limits.amqp_consumer", *options])

    def done(self) -> int:
        """Messages acknowledged until now."""
        self.printed()
        return self._progress.done()


def _messages(count: int, groups: int) -> list[tuple[bytes, bytes]]:
    """Additions of members to groups in turn."""
    headers = table(message_type("MEMBER_ADDED"))
    return [
        (body("AddedMemberToGroupEvent", f"group-{n % groups}", addedMember=f"user-{n // groups}"), headers)
        for n in range(count)
    ]


def _steady(part: Part, done: Callable[[], int], total: int) -> tuple[float, float]:
    """(messages a second, CPU seconds a message) of the steady part."""
    samples = [(time.monotonic(), part.cpu_s(), 0)]
    deadline = time.monotonic() + _ROUND_S
    while samples[-1][2] < total:
        if time.monotonic() > deadline:
            raise click.ClickException(f"{samples[-1][2]} of {total} messages after {_ROUND_S:.0f} s")
        time.sleep(_SAMPLE_S)
        samples.append((time.monotonic(), part.cpu_s(), done()))
    first = next(s for s in samples if s[2] >= total * _STEADY[0])
    last = next(s for s in samples if s[2] >= total * _STEADY[1])
    if last[2] == first[2]:
        # A machine that stood still between two samples: what can be told is what it took from the one before.
        say(f"{total} messages were over between two samples: ask for more of them")
        first = next(s for s in reversed(samples) if s[2] < last[2])
    return (last[2] - first[2]) / (last[0] - first[0]), (last[1] - first[1]) / (last[2] - first[2])


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--messages", default=40_000, show_default=True, help="Messages a round.")
@click.option("--partitions", default=16, show_default=True)
@click.option("--groups", default=200, show_default=True)
def main(rounds: int, messages: int, partitions: int, groups: int) -> None:
    """Messages a second of AMQP in, until they are acknowledged."""
    load = load_now()
    ours: list[tuple[float, float]] = []
    bare: list[tuple[float, float]] = []
    with lab(partitions) as service, running(service.folder / "rabbit") as rabbit:
        service.worker().wait_open(partitions)
        warm = Bridge(service, rabbit)  # it makes the queue
        _wait(lambda: b'"bridge serves"' in warm.printed())
        warm.stop()
        publisher = RawPublisher(rabbit.port)
        work = _messages(messages, groups)
        for n in range(rounds):
            for name, found, make in (
                ("the bridge", ours, lambda: Bridge(service, rabbit)),
                ("bare aio-pika", bare, lambda n=n: Bare(service, rabbit, n)),
            ):
                publisher.publish_all(work, queue=_QUEUE)
                part = make()
                try:
                    found.append(_steady(part, part.done, messages))
                finally:
                    part.stop()
                say(f"round {n + 1}: {name}: {found[-1][0]:,.0f}/s, {found[-1][1] * 1e6:.0f} µs of CPU each")
        publisher.close()
    tell("AMQP in", load, list(_figures(ours, bare)))


def _wait(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _ROUND_S
    while not look():
        if time.monotonic() > deadline:
            raise click.ClickException("the bridge does not serve")
        time.sleep(_SAMPLE_S)


def _figures(ours: list[tuple[float, float]], bare: list[tuple[float, float]]) -> Iterator[Figure]:
    limit = Figure("bare aio-pika, acknowledging", "messages/s", [rate for rate, _ in bare])
    bare_cost = Figure("bare aio-pika, CPU", "µs a message", [cost * 1e6 for _, cost in bare])
    yield Figure("acknowledged", "messages/s", [rate for rate, _ in ours], at_least=TARGET, limit=limit)
    yield limit
    yield Figure("CPU of the bridge", "µs a message", [cost * 1e6 for _, cost in ours], limit=bare_cost)
    yield bare_cost


if __name__ == "__main__":
    main()
