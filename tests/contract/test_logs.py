"""Whatever clients send, the processes' logs are lines of JSON that hold none of it."""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import msgspec

from app.domain.commands import Send, encode_command
from app.kafka import topics
from app.kafka.partition import partition_for
from app.kafka.producer import Producer
from tests.contract.client import WITHIN_S, Client
from tests.contract.conftest import Connect
from tests.support.ports import free_ports
from tests.support.stack import Command, Stack
from tests.support.until import until_answer
from tests.support.waiting import eventually

CANARY = "canary-3f1c9"
SECRET = "0123456789abcdef0123456789abcdef"
TOKEN = jwt.encode({"sub": "alice", "exp": 4_000_000_000, "canary": CANARY}, SECRET)
EXPIRED = jwt.encode({"sub": "alice", "exp": 1_000_000_000, "canary": CANARY}, SECRET)

FRAMES = (
    CANARY,
    f'["{CANARY}"]',
    f'{{"type":"{CANARY}","id":1}}',
    f'{{"type":"send","id":"{CANARY}","group":7,"text":"{CANARY}"}}',
    f'{{"type":"send","id":2,"group":"{CANARY}","text":"{CANARY * 2000}","client_msg_id":"c"}}',
    f'{{"type":"send","id":3,"group":"{CANARY}","text":"{CANARY}\\u0000","client_msg_id":"c"}}',
    f'{{"type":"auth","id":4,"token":"{EXPIRED}"}}',
)


async def test_no_text_and_no_token_gets_into_a_log_whatever_is_done_with_it(
    connect: Connect, stack: Stack, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    port = free_ports(1)
    ours = {"AUERBACH_AUTH": "jwt", "AUERBACH_JWT_SECRET": SECRET, "AUERBACH_LOG_LEVEL": "DEBUG", "DATA": str(tmp_path)}
    env = {**stack.env, **ours, "KAFKA_BOOTSTRAP": stack.bootstrap, "PORT": str(port), "AUERBACH_LEGACY": "0"}
    gateway = Command(tmp_path / "gateway.out", env, "gateway")
    try:
        await asyncio.to_thread(gateway.wait_for, "gateway serves")
        await until_ready(http, port)
        await talk(await connect("alice", 0))
        for at in (stack.port, port):
            await disturb(http, at)
        await with_tokens(http, port)
        await asyncio.to_thread(spoil, stack)
    finally:
        await asyncio.to_thread(gateway.stop)
    # Of processes that go on: what they are about to say is not looked at.
    logs = {name: whole_lines(stack.log(name)) for name in (*stack.gateways, *stack.processors)}
    for name, log in {**logs, "gateway of our own": gateway.printed()}.items():
        lines = [msgspec.json.decode(line) for line in log.splitlines()]
        assert lines, name
        assert all({"event", "level", "timestamp"} <= line.keys() for line in lines), name
        found = [line for line in log.splitlines() if CANARY in line or TOKEN in line or EXPIRED in line]
        assert found == [], name


def whole_lines(log: str) -> str:
    return log[: log.rfind("\n") + 1]


async def until_ready(http: aiohttp.ClientSession, port: int) -> None:
    async def is_ready() -> bool:
        async with http.get(f"http://127.0.0.1:{port}/readyz") as response:
            return response.status == 200

    await until_answer(is_ready)


async def talk(client: Client) -> None:
    """Requests that are served, and refused."""
    group = f"{CANARY}-group"
    await client.ask("create_group", group=group, name=CANARY, topic=CANARY)
    sent = await client.ask("send", group=group, text=CANARY, client_msg_id="1", attributes={CANARY: CANARY})
    await client.ask("edit", group=group, seq=sent["seq"], text=CANARY * 2)
    await client.ask("send", group=group, text=CANARY, client_msg_id="1")
    await client.ask("react", group=group, seq=99, emoji=CANARY[:60])
    await client.ask("subscribe", group=group, after=0)
    for frame in FRAMES:
        await client.send(frame)
    await client.closed()  # an expired token came last


async def disturb(http: aiohttp.ClientSession, port: int) -> None:
    """Handshakes and requests that are none."""
    url = f"http://127.0.0.1:{port}"
    for path in (f"/{CANARY}", f"/v1/ws?token={CANARY}", f"/v1/ws?user=%00{CANARY}", f"/static/{CANARY}"):
        async with http.get(url + path, headers={"Authorization": f"Bearer {CANARY}"}):
            pass
    for options in (
        {"protocols": [CANARY]},
        {"headers": {"Authorization": f"Bearer {EXPIRED}"}},
        {"headers": {"Origin": f"https://{CANARY}.example"}},
    ):
        try:
            async with http.ws_connect(f"{url}/v1/ws?access_token={CANARY}", **options) as ws:  # type: ignore[arg-type]
                await ws.send_bytes(CANARY.encode())
                await ws.send_str(CANARY * 10_000)
                await ws.receive(timeout=WITHIN_S)
        except aiohttp.WSServerHandshakeError:
            pass
    for head in (
        f"GET /{CANARY}\x01 HTTP/9\r\n\r\n",
        f"GET / HTTP/1.1\r\nX: {CANARY * 2000}\r\n\r\n",
        f"{CANARY}\r\n\r\n",
    ):
        await asyncio.to_thread(send_raw, port, head.encode())


def send_raw(port: int, head: bytes) -> None:
    # It is refused before all of it is read.
    with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as connection, suppress(ConnectionError):
        connection.sendall(head)
        connection.recv(1000)


async def with_tokens(http: aiohttp.ClientSession, port: int) -> None:
    """Tokens in each place where one may stand, and where one may not."""
    url = f"ws://127.0.0.1:{port}/v1/ws?token={TOKEN}"
    async with http.ws_connect(url, headers={"Authorization": f"Bearer {TOKEN}"}) as ws:
        client = Client(ws)
        await client.next()
        await client.ask("send", group="none", text=CANARY, client_msg_id="1", token=TOKEN)
        await client.ask("auth", token=TOKEN)
        await client.send(f'{{"type":"auth","id":1,"token":"{TOKEN}x"}}')
        await client.closed()
    async with http.ws_connect(url) as ws:
        client = Client(ws)
        with suppress(ConnectionError):  # the first closes it
            for token in (TOKEN[:-2], 7, TOKEN):
                await client.send({"type": "auth", "id": 1, "token": token})
        await ws.receive(timeout=WITHIN_S)


def spoil(stack: Stack) -> None:
    """Commands that do not decode, or that make no sense: dead letters."""
    key = f"{CANARY}-key".encode()
    partition = partition_for(key, 4)
    good = encode_command(Send(id="c", group="x", by="alice", text=CANARY, client_msg_id=CANARY))
    values = (CANARY.encode(), b"[" + CANARY.encode(), good.replace(b'"by"', b'"' + CANARY.encode() + b'"'), good)
    before = letters(stack)
    asyncio.run(_produce(stack.bootstrap, partition, key, values))
    eventually(lambda: letters(stack) >= before + 3, within_s=WITHIN_S, what="three dead letters in the log")


def letters(stack: Stack) -> int:
    return sum(stack.log(name).count("dead letter") for name in stack.processors)


async def _produce(bootstrap: str, partition: int, key: bytes, values: tuple[Any, ...]) -> None:
    producer = Producer(bootstrap)
    for value in values:
        await producer.deliver(topics.COMMANDS, partition, key=key, value=value)
    await producer.close(5)
