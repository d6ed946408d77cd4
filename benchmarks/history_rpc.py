"""`python -m benchmarks.history_rpc`: the last 50 messages over gRPC, of a short history and of a long one.

The cost must not grow with the history: the two are asked in turn, and their times compared round by round. The limit
is a bare gRPC server on uvloop that answers with as many bytes and looks at nothing.
"""

import time
from collections.abc import Callable
from statistics import median, quantiles

import click
import grpc

from benchmarks.figures import Figure, load_now, ratios, say, tell
from benchmarks.lab import Lab, Part, create, lab, post, record
from benchmarks.limits import rpc_server
from tests.support.ports import free_ports
from web.rpc import chatservice_pb2 as pb

QUICK = "--rounds 1 --calls 10 --large 300"
FLAT = 1.25
SMALL = 100
LARGE = 100_000
LAST = 50
_SIZE = 16  # messages a record
_WITHIN_S = 30

Ask = Callable[[], bytes]


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--calls", default=500, show_default=True, help="Calls a round, of each history.")
@click.option("--large", default=LARGE, show_default=True, help="Messages of the long history.")
def main(rounds: int, calls: int, large: int) -> None:
    """The cost of the last messages in short and long histories."""
    load = load_now()
    names = {size: f"last {LAST} of {size:,}" for size in (SMALL, large)}
    found: dict[str, list[list[float]]] = {name: [] for name in ("bare gRPC", *names.values())}
    with lab(partitions=1) as service:
        asked: dict[str, Ask] = {}
        channel = grpc.insecure_channel(f"127.0.0.1:{_served(service, list(names))}")
        for size, name in names.items():
            asked[name] = _last_of(channel, size)
        bare = grpc.insecure_channel(f"127.0.0.1:{_limit(service, asked[names[large]]())}")
        asked["bare gRPC"] = _asking(bare, f"/{rpc_server.SERVICE}/{rpc_server.METHOD}", _request(large))
        for n in range(rounds + 1):
            times = _round(asked, calls)
            if n:  # the first warms up
                for name, values in times.items():
                    found[name].append(values)
                say(f"round {n}: " + ", ".join(f"{name} {median(v):.2f} ms" for name, v in times.items()))
        channel.close()
        bare.close()
    tell("The last messages over gRPC", load, _figures(found, names[SMALL], names[large]))


def _figures(found: dict[str, list[list[float]]], small: str, large: str) -> list[Figure]:
    middle = {name: [median(values) for values in rounds] for name, rounds in found.items()}
    limit = Figure("bare gRPC, p50", "ms", middle["bare gRPC"])
    return [
        limit,
        *(Figure(f"{name}, p50", "ms", middle[name], limit=limit) for name in (small, large)),
        *(
            Figure(f"{name}, p99", "ms", [quantiles(values, n=100)[98] for values in found[name]])
            for name in (small, large)
        ),
        Figure(f"{large} against {small}", "ratio", ratios(middle[large], middle[small]), at_most=FLAT),
    ]


def _round(asked: dict[str, Ask], calls: int) -> dict[str, list[float]]:
    """Milliseconds of each call, all in turn: what slows the machine down slows each of them."""
    times: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(calls):
        for name, ask in asked.items():
            began = time.perf_counter()
            ask()
            times[name].append(1000 * (time.perf_counter() - began))
    return times


def _served(service: Lab, sizes: list[int]) -> int:
    """A processor and a gateway, and in them a group for each size; the port of the gRPC."""
    worker = service.worker()
    worker.wait_open(1)
    for size in sizes:
        service.write([(0, record([create(_group(size), 10)]))])
        service.write(
            [
                (0, record([post(_group(size), n, run=f"{size}") for n in range(start, min(size, start + _SIZE))]))
                for start in range(0, size, _SIZE)
            ]
        )
    service.wait_written(1 + sum(1 + size for size in sizes))
    http, rpc = free_ports(1), free_ports(1)
    service.gateway(AUERBACH_LEGACY="1", HTTP_PORT=str(http), GRPC_PORT=str(rpc)).wait_ready()
    return rpc


def _limit(service: Lab, answer: bytes) -> int:
    port, file = free_ports(1), service.folder / "answer"
    file.write_bytes(answer)
    program = ["-m", "benchmarks.limits.rpc_server", "--port", str(port), "--answer", str(file)]
    service.owns(Part(service, "bare", program))
    return port


def _last_of(channel: grpc.Channel, size: int) -> Ask:
    """Asks for the last messages; they were checked once."""
    ask = _asking(channel, "/chatservice.ChatService/RetrieveLastMessages", _request(size))
    answer = pb.MessageResponse.FromString(ask())
    if answer.status.code != pb.OK or len(answer.messages) != LAST:
        raise RuntimeError(f"{answer.status} with {len(answer.messages)} messages where {LAST} were due")
    return ask


def _request(size: int) -> bytes:
    return pb.RetrieveLastMessagesRequest(group_id=_group(size), number_of_messages=str(LAST)).SerializeToString()


def _asking(channel: grpc.Channel, method: str, request: bytes) -> Ask:
    call = channel.unary_unary(method, request_serializer=None, response_deserializer=None)
    return lambda: bytes(call(request, timeout=_WITHIN_S, wait_for_ready=True))


def _group(size: int) -> str:
    return f"group-{size}"


if __name__ == "__main__":
    main()
