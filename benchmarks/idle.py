"""`python -m benchmarks.idle`: a gateway's memory for each idle connection.

One gateway and as many sockets as asked for, all in this process: authenticated, their hello read, and silent. Then
each follows the same group, which is told beside it. What the kernel keeps for a socket is not counted. The limits are
servers that do nothing with as many sockets: uvloop's transport alone, and aiohttp's WebSocket.
"""

import contextlib
import resource
import socket
from collections.abc import Callable

import click

from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.lab import OWNER, Gateway, Lab, Part, create, lab, record
from benchmarks.raw_client import WITHIN_S, RawClient
from tests.support.ports import free_ports
from tests.support.waiting import eventually

QUICK = "--sockets 50"
SOCKETS = 10_000
AT_MOST_KIB = 16.0
GROUP = "group"
_WARM = 100  # sockets opened before the first look: what is loaded with the first ones is no connection's
_BESIDE = 500  # descriptors of a process beside its sockets


@click.command()
@click.option("--rounds", default=1, show_default=True)
@click.option("--sockets", default=SOCKETS, show_default=True)
def main(rounds: int, sockets: int) -> None:
    """Memory for each idle connection."""
    load = load_now()
    _allow(sockets + _WARM + _BESIDE)
    idle: list[float] = []
    following: list[float] = []
    bare: dict[str, list[float]] = {kind: [] for kind in _BARE}
    with lab(partitions=1) as service:
        service.worker().wait_open(1)
        service.write([(0, record([create(GROUP, 1)]))])
        service.wait_written(2)
        for n in range(rounds):
            gateway = service.gateway(f"gateway-{n}")
            gateway.wait_ready()
            for found, each in zip((idle, following), _measure(gateway, sockets), strict=True):
                found.append(each)
            gateway.stop()
            for kind, connect in _BARE.items():
                bare[kind].append(_measure_bare(service, kind, connect, sockets))
            beside = ", ".join(f"bare {kind} {values[-1]:.1f} KiB" for kind, values in bare.items())
            say(f"round {n + 1}: {idle[-1]:.1f} KiB, following a group {following[-1]:.1f} KiB; {beside}")
    unit = "KiB a connection"
    limit, websockets = Figure("uvloop alone", unit, bare["sockets"]), Figure("aiohttp alone", unit, bare["websockets"])
    tell(
        f"Memory for each of {sockets:,} idle connections",
        load,
        [
            limit,
            websockets,
            Figure("idle", unit, idle, at_most=AT_MOST_KIB if sockets >= SOCKETS else None, limit=limit),
            Figure("following a group", unit, following, limit=limit),
        ],
    )


def _measure(gateway: Gateway, sockets: int) -> tuple[float, float]:
    """KiB a connection: idle, and with one subscription."""
    clients = [RawClient(gateway.port, OWNER) for _ in range(_WARM)]
    clients[0].ask(type="subscribe", id=1, group=GROUP, state=False)
    before = gateway.memory_bytes()
    clients += [RawClient(gateway.port, OWNER) for _ in range(sockets)]
    idle = gateway.memory_bytes() - before
    for client in clients[_WARM:]:
        client.ask(type="subscribe", id=1, group=GROUP, state=False)
    following = gateway.memory_bytes() - before
    for client in clients:
        client.close()
    return idle / sockets / 1024, following / sockets / 1024


def _plain(port: int) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S)
    opened.recv(1)  # its greeting: it has been accepted
    return opened


def _websocket(port: int) -> socket.socket:
    return RawClient(port, OWNER).socket


_BARE: dict[str, Callable[[int], socket.socket]] = {"sockets": _plain, "websockets": _websocket}


def _measure_bare(service: Lab, kind: str, connect: Callable[[int], socket.socket], sockets: int) -> float:
    """KiB a connection of a server that does nothing."""
    port = free_ports(1)
    server = service.owns(Part(service, kind, ["-m", "benchmarks.limits.idle_server", kind, "--port", str(port)]))
    eventually(lambda: _answers(server, port), within_s=30, what=f"the server of {kind} answers")
    opened = [connect(port) for _ in range(_WARM)]
    before = server.memory_bytes()
    opened += [connect(port) for _ in range(sockets)]
    taken = server.memory_bytes() - before
    for each in opened:
        each.close()
    server.stop()
    return taken / sockets / 1024


def _answers(server: Part, port: int) -> bool:
    server.printed()
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _allow(descriptors: int) -> None:
    """Let this process, and those that it starts, open so many files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < descriptors:
        raise click.ClickException(f"{descriptors} files must be open, the limit is {hard}: raise it (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
