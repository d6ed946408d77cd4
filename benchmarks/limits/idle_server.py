"""`python -m benchmarks.limits.idle_server`: accepts connections and keeps them, in a process of its own.

`sockets`: uvloop's transport and a protocol that greets with a byte and does nothing more. `websockets`: aiohttp's
handler, which says hello.
"""

import asyncio

import click
import uvloop
from aiohttp import web

KINDS = ("sockets", "websockets")


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--port", required=True, type=int)
def main(kind: str, port: int) -> None:
    """Serve until SIGTERM."""
    uvloop.run(_serve(kind, port))


async def _serve(kind: str, port: int) -> None:
    if kind == "sockets":
        factory: object = _Greeting
    else:
        application = web.Application()
        application.router.add_get("/v1/ws", _websocket)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        factory = runner.server
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", port, backlog=1024)  # type: ignore[arg-type]
    await server.serve_forever()


class _Greeting(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"h")  # type: ignore[attr-defined]


async def _websocket(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    await connection.send_str('{"type":"hello"}')
    async for _ in connection:
        pass
    return connection


if __name__ == "__main__":
    main()
