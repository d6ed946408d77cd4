"""Plays the replaced service's three neighbours once through, in a group of its own that it deletes again.

    .venv/bin/python docs/migration/check.py --amqp amqp://guest:guest@127.0.0.1:5672/

The user service creates a group (RabbitMQ), an app enters it and writes (the old WebSocket), the gateway reads it back
(gRPC), the user service deletes it, and the app is sent away. Exit code 0: all of it works. 1: the last
line says what does not.
"""

import argparse
import asyncio
import logging
import sys
import uuid
from collections.abc import Awaitable
from datetime import datetime
from typing import TypeVar
from urllib.parse import quote

import aio_pika
import aiohttp
import grpc

from web.rpc import chatservice_pb2 as pb

USER, EXCHANGE = "auerbach-check", "group_updates_exchange"
STEP_S = 15
T = TypeVar("T")


class FailedError(Exception):
    """A step did not do what it must."""


def avro(*texts: str) -> bytes:
    """Strings as Avro has them in a record: each with its length in bytes, zigzag and base 128."""
    out = bytearray()
    for raw in (text.encode() for text in texts):
        length = len(raw) << 1
        while length > 0x7F:
            out.append(length & 0x7F | 0x80)
            length >>= 7
        out.append(length)
        out += raw
    return bytes(out)


async def publish(rabbit: aio_pika.abc.AbstractConnection, kind: str, body: bytes) -> None:
    """As the user service does: no content type, no message id, not persistent."""
    async with rabbit.channel() as channel:
        exchange = await channel.get_exchange(EXCHANGE)  # the bridge has declared it
        await exchange.publish(aio_pika.Message(body, headers={"message_type": kind}), routing_key="")


async def enter(session: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse:
    """Connect until the service knows the member: before that it accepts and closes with 1008."""
    while True:
        socket = await session.ws_connect(url)
        first = await socket.receive()
        if first.type is aiohttp.WSMsgType.TEXT:
            return socket
        if socket.close_code != aiohttp.WSCloseCode.POLICY_VIOLATION:
            raise FailedError(f"{url} closed with {socket.close_code}")
        await asyncio.sleep(0.2)


async def message_of(socket: aiohttp.ClientWebSocketResponse) -> list[str]:
    """The next NewMessage: group, user, text, instant."""
    while True:
        kind, fields = await socket.receive_json()
        if kind == "NewMessage":
            return [str(field) for field in fields]


async def closed(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """Wait for the end of the socket: its code."""
    async for _ in socket:
        pass
    return socket.close_code


async def last_message(address: str, group: str) -> pb.Message:
    """The newest message, as the old gateway asks for it."""
    async with grpc.aio.insecure_channel(address) as channel:
        ask = channel.unary_unary(
            "/chatservice.ChatService/RetrieveLastMessages",
            request_serializer=pb.RetrieveLastMessagesRequest.SerializeToString,
            response_deserializer=pb.MessageResponse.FromString,
        )
        answer = await ask(pb.RetrieveLastMessagesRequest(group_id=group, number_of_messages="10"), timeout=STEP_S)
    if answer.status.code != pb.OK or not answer.messages:
        raise FailedError(f"gRPC answers {pb.StatusCode.Name(answer.status.code)}, {len(answer.messages)} messages")
    return answer.messages[-1]


async def step(what: str, work: Awaitable[T]) -> T:
    """Do it within its time, and say so."""
    try:
        async with asyncio.timeout(STEP_S):
            done = await work
    except TimeoutError:
        raise FailedError(f"{what}: not within {STEP_S} s") from None
    except Exception as failed:  # an edge: whatever a library raises is one line for a person
        raise FailedError(f"{what}: {failed or type(failed).__name__}") from failed
    print(f"ok: {what}")
    return done


async def check(ws: str, rpc: str, amqp: str) -> None:
    """All of it."""
    group, text = f"auerbach-check-{uuid.uuid4()}", "Does it work? ✔"
    rabbit = await step("RabbitMQ lets in", aio_pika.connect(amqp))
    async with rabbit, aiohttp.ClientSession() as session:
        created = avro(group, USER, "Ada", "Lovelace", "ada@example.org")
        await step("the user service creates a group", publish(rabbit, "GROUP_CREATED", created))
        try:
            url = f"{ws}/v1/messages/{quote(group, safe='')}?user={USER}"
            socket = await step("its creator enters by the old WebSocket", enter(session, url))
            await socket.send_str(text)
            *message, instant = await step("and hears what it said", message_of(socket))
            if message != [group, USER, text]:
                raise FailedError(f"the message came as {message}")
            last = await step("the gateway reads it by gRPC", last_message(rpc, group))
            seen = (last.client_id, last.content, last.timestamp.ToMilliseconds())
            if seen != (USER, text, round(datetime.fromisoformat(instant).timestamp() * 1000)):
                raise FailedError(f"the socket said {message} at {instant}, gRPC says {seen}")
        finally:
            await step("the user service deletes the group", publish(rabbit, "GROUP_DELETED", avro(group)))
        code = await step("and its members are sent away", closed(socket))
        if code != aiohttp.WSCloseCode.POLICY_VIOLATION:
            raise FailedError(f"the socket closed with {code}, not 1008")


def arguments() -> argparse.ArgumentParser:
    """What it takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ws", default="ws://127.0.0.1:8180", help="a gateway's HTTP_PORT (default: %(default)s)")
    parser.add_argument("--grpc", default="127.0.0.1:50051", help="a gateway's GRPC_PORT (default: %(default)s)")
    parser.add_argument("--amqp", default="amqp://guest:guest@127.0.0.1:5672/", help="RabbitMQ (default: %(default)s)")
    return parser


def main() -> None:
    """Read the addresses and check."""
    asked = arguments().parse_args()
    logging.disable()  # libraries tell in lines of their own what is told here
    try:
        asyncio.run(check(asked.ws, asked.grpc, asked.amqp))
    except FailedError as failed:
        print(f"failed: {failed}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
