"""A broker that is silent, and one that is killed: what clients are told, and what becomes of their requests."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import msgspec
import pytest

from app.kafka import topics
from tests.contract.client import WITHIN_S, Client
from tests.support.driver import Driver
from tests.support.stack import Broker, MakeStack
from tests.support.until import until
from web.end_offsets import EndOffsets, EndUnknownError, KafkaEnds

MESSAGES = 300
AT_ONCE = 40  # long messages that the gateway may hold for a reader that stands still (1 MiB)


async def test_end_offsets_are_told_again_after_the_broker_was_killed(make_broker: Callable[[], Broker]) -> None:
    broker = await asyncio.to_thread(make_broker)
    await asyncio.to_thread(topics.create, broker.bootstrap, "auerbach", 2, 1)
    ends = EndOffsets(KafkaEnds(broker.bootstrap))

    async def told() -> int:
        while True:
            try:
                return await ends.after_now(1)
            except EndUnknownError:
                await asyncio.sleep(0.05)

    assert await asyncio.wait_for(told(), WITHIN_S) == 0
    os.kill(int((broker.data / "run" / "kafka.pid").read_text()), signal.SIGSTOP)
    with pytest.raises(EndUnknownError):
        await tell_until_silent(ends)
    await asyncio.to_thread(broker.kill)
    down = asyncio.create_task(told())  # asks while there is no broker, so that "no leader" is learned
    await asyncio.to_thread(broker.start)
    assert await asyncio.wait_for(down, WITHIN_S) == 0
    assert await asyncio.wait_for(told(), WITHIN_S) == 0


async def tell_until_silent(ends: EndOffsets) -> None:
    """What is told meanwhile is true."""
    while True:
        assert await ends.after_now(1) == 0


async def send(client: Client, key: str) -> int:
    """Post a long message; the request's id."""
    return await client.start("send", group="g", text=f"{key:16000}", client_msg_id=key)


async def ask_until_done(client: Client, kind: str, **fields: Any) -> None:
    """Repeat a request that is refused for now: it may have little time here."""
    async with asyncio.timeout(WITHIN_S):
        while not (reply := await client.ask(kind, **fields))["ok"]:
            assert reply["error"]["temporary"], reply


async def send_until_all_have_outcomes(
    client: Client, keys: Sequence[str], codes: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """Repeat what is refused for now, as the protocol tells clients; the replies that say yes.

    `codes` has what was said of each key: what got a `timeout` once may be in the log, whatever is said of it later.
    """
    done: dict[str, dict[str, Any]] = {}
    left = list(keys)
    async with asyncio.timeout(2 * WITHIN_S):
        while left:
            numbers = {await send(client, key): key for key in left}
            answers = {numbers[number]: reply for number, reply in (await replies(client, len(left))).items()}
            left = [key for key, reply in answers.items() if not reply["ok"]]
            assert all(answers[key]["error"]["temporary"] for key in left), answers
            codes |= {key: "timeout" for key in left if answers[key]["error"]["code"] == "timeout"}
            done |= {key: reply for key, reply in answers.items() if reply["ok"]}
    return done


async def replies(client: Client, count: int) -> dict[int, dict[str, Any]]:
    """The next `count` frames, which are replies, by their ids; they come in any order."""
    frames = [await client.next() for _ in range(count)]
    return {frame["id"]: frame for frame in frames}


async def read_until(reader: Client, key: str, seqs: list[int]) -> None:
    """Note the seqs of what the reader gets, until the message `key`."""
    while True:
        message = await reader.socket.receive()  # the broker may be away for long
        assert message.type is aiohttp.WSMsgType.TEXT, reader.socket.close_code
        frame = msgspec.json.decode(message.data)
        seqs.append(frame["seq"])
        if frame.get("client_msg_id") == key:
            return


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
        await ask_until_done(reader, "create_group", group="g", name="G", client_msg_id="g")
        await ask_until_done(reader, "subscribe", group="g")
        seqs: list[int] = []
        reading = asyncio.create_task(read_until(reader, "under way", seqs))

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
        acked: dict[str, dict[str, Any]] = {}
        keys = list(requests)
        # The first alone: what was under way is read before it.
        for some in (keys[:1], *(keys[at : at + AT_ONCE] for at in range(1, MESSAGES, AT_ONCE))):
            acked |= await send_until_all_have_outcomes(two, some, codes)
            newest = max(reply["seq"] for reply in acked.values())
            await until(lambda newest=newest: reading.done() or newest in seqs[-MESSAGES:], WITHIN_S)  # type: ignore[misc]

        pid = stack.kill("kafka")
        under_way = await one.reply(await send(one, "under way"))
        codes["under way"] = "" if under_way["ok"] else under_way["error"]["code"]
        assert codes["under way"] in {"", "timeout", "unavailable"}
        await asyncio.to_thread(stack.wait_restarted, "kafka", pid)
        acked |= await send_until_all_have_outcomes(two, ["under way"], codes)
        assert not [key for key, code in codes.items() if code == "unavailable" and acked[key]["duplicate"]]
        await asyncio.wait_for(reading, WITHIN_S)
        assert seqs == list(range(2, len(seqs) + 2))
    posted = [e for e in Driver(stack.bootstrap).events("g") if e.kind == "message.posted"]
    assert {event.client_msg_id: event.seq for event in posted} == {key: reply["seq"] for key, reply in acked.items()}
    assert len(posted) == MESSAGES + 1
