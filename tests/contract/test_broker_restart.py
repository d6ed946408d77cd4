"""A broker that is silent, and one that is killed: what clients are told, and what becomes of their requests."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import msgspec
import pytest

from app.kafka import topics
from tests.contract.client import Client
from tests.support.driver import Driver
from tests.support.stack import Broker, MakeStack
from web.end_offsets import EndOffsets, EndUnknownError, KafkaEnds

MESSAGES = 300


async def test_end_offsets_are_told_again_after_the_broker_was_killed(make_broker: Callable[[], Broker]) -> None:
    broker = await asyncio.to_thread(make_broker)
    await asyncio.to_thread(topics.create, broker.bootstrap, "auerbach", 2, 1)
    ends = EndOffsets(KafkaEnds(broker.bootstrap))

    async def told() -> int:
        async with asyncio.timeout(30):
            while True:
                try:
                    return await ends.after_now(1)
                except EndUnknownError:
                    await asyncio.sleep(0.05)

    assert await told() == 0
    os.kill(int((broker.data / "run" / "kafka.pid").read_text()), signal.SIGSTOP)
    with pytest.raises(EndUnknownError):
        await tell_until_silent(ends)
    await asyncio.to_thread(broker.kill)
    down = asyncio.create_task(told())  # asks while there is no broker, so that "no leader" is learned
    await asyncio.to_thread(broker.start)
    assert await down == 0
    assert await told() == 0


async def tell_until_silent(ends: EndOffsets) -> None:
    """What is told meanwhile is true."""
    while True:
        assert await ends.after_now(1) == 0


async def send(client: Client, key: str) -> int:
    """Post a long message; the request's id."""
    return await client.start("send", group="g", text=f"{key:16000}", client_msg_id=key)


async def send_until_all_have_outcomes(client: Client, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Repeat what is refused for now, as the protocol tells clients; the replies that say yes."""
    done: dict[str, dict[str, Any]] = {}
    left = list(keys)
    async with asyncio.timeout(60):
        while left:
            numbers = {await send(client, key): key for key in left}
            answers = {numbers[number]: reply for number, reply in (await replies(client, len(left))).items()}
            left = [key for key, reply in answers.items() if not reply["ok"]]
            assert all(answers[key]["error"]["temporary"] for key in left), answers
            done |= {key: reply for key, reply in answers.items() if reply["ok"]}
    return done


async def replies(client: Client, count: int) -> dict[int, dict[str, Any]]:
    """The next `count` frames, which are replies, by their ids; they come in any order."""
    frames = [await client.next() for _ in range(count)]
    return {frame["id"]: frame for frame in frames}


async def seqs_until(reader: Client, key: str) -> list[int]:
    """The seqs of what the reader gets, until the message `key`."""
    seqs = []
    while True:
        message = await reader.socket.receive(timeout=60)
        assert message.type is aiohttp.WSMsgType.TEXT, reader.socket.close_code
        frame = msgspec.json.decode(message.data)
        seqs.append(frame["seq"])
        if frame.get("client_msg_id") == key:
            return seqs


async def test_nothing_is_lost_doubled_or_falsely_refused_by_a_broker_that_is_silent_and_then_killed(
    make_stack: MakeStack, http: aiohttp.ClientSession
) -> None:
    stack = await asyncio.to_thread(make_stack, processors=1, gateways=1, settings={"AUERBACH_REQUEST_TIMEOUT_S": "3"})
    async with AsyncExitStack() as opened:
        clients = [
            Client(await opened.enter_async_context(http.ws_connect(stack.ws_url(0, "alice")))) for _ in range(3)
        ]
        one, two, reader = clients
        for client in clients:
            await client.next()
        assert (await reader.ask("create_group", group="g", name="G"))["ok"]
        assert (await reader.ask("subscribe", group="g"))["ok"]
        reading = asyncio.create_task(seqs_until(reader, "under way"))

        # More than a gateway hands to a broker that takes nothing: the rest can be taken back.
        stack.kill("kafka", signal.SIGSTOP)
        requests = {f"{number}": (one, two)[number % 2] for number in range(MESSAGES)}
        numbers = {key: await send(client, key) for key, client in requests.items()}
        state = await one.start("state", group="another")
        answers = {one: await replies(one, MESSAGES // 2 + 1), two: await replies(two, MESSAGES // 2)}
        codes = {key: answers[client][numbers[key]]["error"]["code"] for key, client in requests.items()}
        assert set(codes.values()) == {"timeout", "unavailable"}
        assert answers[one][state]["error"]["code"] == "unavailable"
        stack.kill("kafka", signal.SIGCONT)
        acked = await send_until_all_have_outcomes(two, requests)
        assert not [key for key, code in codes.items() if code == "unavailable" and acked[key]["duplicate"]]

        pid = stack.kill("kafka")
        under_way = await one.reply(await send(one, "under way"))
        assert under_way["ok"] or under_way["error"]["code"] == "timeout"
        await asyncio.to_thread(stack.wait_restarted, "kafka", pid)
        acked |= await send_until_all_have_outcomes(two, ["under way"])
        seqs = await reading
        assert seqs == list(range(2, len(seqs) + 2))
    posted = [e for e in Driver(stack.bootstrap).events("g") if e.kind == "message.posted"]
    assert {event.client_msg_id: event.seq for event in posted} == {key: reply["seq"] for key, reply in acked.items()}
    assert len(posted) == MESSAGES + 1
