"""`python -m benchmarks.limits.rpc_server`: answers every call with the same bytes, in a process of its own.

What gRPC itself takes on uvloop, without any history to look into.
"""

from pathlib import Path

import click
import grpc
import uvloop

SERVICE = "bare.Bare"
METHOD = "Answer"


@click.command()
@click.option("--port", required=True, type=int)
@click.option("--answer", required=True, type=click.Path(path_type=Path), help="The file with the bytes.")
def main(port: int, answer: Path) -> None:
    """Serve until SIGTERM."""
    uvloop.run(_serve(port, answer.read_bytes()))


async def _serve(port: int, answer: bytes) -> None:
    async def call(_request: bytes, _context: object) -> bytes:
        return answer

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(call)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    main()
