"""`python -m benchmarks.resume`: a hundred clients come back at once, each for all of a group's 10,000 events.

Time until all have everything, the CPU time that gateway and processor take for it, and how far the gateway's memory
rises, beside the bytes that are delivered. The limit is a loop of `send(2)` in C that hands as many bytes to as many
sockets of this process.
"""

import time
from collections.abc import Iterator

import click

from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.lab import OWNER, Lab, Part, create, lab, post, record
from benchmarks.limits.sockets import bare_history_s
from benchmarks.raw_client import Drain, RawClient

QUICK = "--rounds 1 --clients 5 --events 700"
CLIENTS = 100
EVENTS = 10_000
GROUP = "group"
_SIZE = 16  # messages a record
_MIB = 1 << 20
# What a bare loop has, too, and its name there.
_LIMITED = {
    "until all have all|s": "until all have all",
    "delivered|MiB/s": "delivered",
    "CPU of the gateway|s": "CPU of the sender",
    "CPU of the gateway for each MiB|ms": "CPU of the sender for each MiB",
}


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--clients", default=CLIENTS, show_default=True)
@click.option("--events", default=EVENTS, show_default=True)
def main(rounds: int, clients: int, events: int) -> None:
    """Many clients resume a long history at once."""
    load = load_now()
    found: dict[str, list[float]] = {}
    bare: dict[str, list[float]] = {}
    with lab(partitions=1) as service:
        worker = service.worker()
        worker.wait_open(1)
        _fill(service, events)
        gateway = service.gateway()
        gateway.wait_ready()
        each = _bytes_of_all(gateway.port, events)
        for n in range(rounds):
            for name, value in _measure(gateway, gateway.port, worker, clients, each).items():
                found.setdefault(name, []).append(value)
            took_s, cpu_s = bare_history_s(clients, each)
            delivered = clients * each / _MIB
            for name, value in zip(
                _LIMITED, (took_s, delivered / took_s, cpu_s, 1000 * cpu_s / delivered), strict=True
            ):
                bare.setdefault(name, []).append(value)
            say(f"round {n + 1}: " + ", ".join(f"{name} {values[-1]:.2f}" for name, values in found.items()))
    limits = {name: Figure(f"bare send(2): {_LIMITED[name]}", name.split("|")[1], bare[name]) for name in _LIMITED}
    ours = [Figure(*name.split("|"), values, limit=limits.get(name)) for name, values in found.items()]
    size = f"{clients * each / _MIB:,.0f} MiB in all"
    tell(f"{clients} clients resume {events:,} events at once: {size}", load, [*limits.values(), *ours])


def _measure(gateway: Part, port: int, worker: Part, clients: int, each: int) -> dict[str, float]:
    """Figures by `name|unit`."""
    sockets = [RawClient(port, OWNER) for _ in range(clients)]
    gateway.forget_peak()
    memory, cpu_s, worker_s, began = gateway.memory_bytes(), gateway.cpu_s(), worker.cpu_s(), time.monotonic()
    for client in sockets:
        client.send(_resume())
    Drain(sockets).take(clients * each)
    took_s = time.monotonic() - began
    peak = gateway.memory_bytes("VmHWM") - memory
    cpu_s, worker_s = gateway.cpu_s() - cpu_s, worker.cpu_s() - worker_s
    for client in sockets:
        client.close()
    delivered = clients * each / _MIB
    return {
        "until all have all|s": took_s,
        "delivered|MiB/s": delivered / took_s,
        "CPU of the gateway|s": cpu_s,
        "CPU of the gateway for each MiB|ms": 1000 * cpu_s / delivered,
        "CPU of the processor|s": worker_s,
        "rise of the gateway's memory at its peak|MiB": peak / _MIB,
        "rise for each client|KiB": peak / clients / 1024,
    }


def _resume() -> dict[str, object]:
    return {"type": "subscribe", "id": 1, "group": GROUP, "after": 0, "state": False}


def _bytes_of_all(port: int, events: int) -> int:
    """The bytes of the reply and of all events, each read as what it must be."""
    client = RawClient(port, OWNER)
    client.send(_resume())
    before = client.received
    client.frame()
    for seq in range(1, events + 1):
        frame = client.frame()
        if frame.get("seq") != seq:
            raise RuntimeError(f"{frame} where {seq} was due")
    size = client.received - before
    client.close()
    return size


def _fill(service: Lab, events: int) -> None:
    service.write([(0, record([create(GROUP, 1)]))])
    service.write(list(_records(events - 1)))
    service.wait_written(1 + events)


def _records(messages: int) -> Iterator[tuple[int, bytes]]:
    for start in range(0, messages, _SIZE):
        yield 0, record([post(GROUP, n) for n in range(start, min(messages, start + _SIZE))])


if __name__ == "__main__":
    main()
