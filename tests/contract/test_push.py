"""Push records through a whole service: what an offline member misses, and only that (protocol §8, AMQP out)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from io import BytesIO
from typing import Any

import aio_pika
import pytest
from fastavro import parse_schema, schemaless_reader

from tests.contract.client import Client
from tests.support.amqp_out import OutBridge, bound_queue
from tests.support.rabbit import Rabbit
from tests.support.stack import Stack
from tests.support.until import until_answer
from tests.unit.bridges.outbound.test_push import SCHEMA

Connect = Callable[..., Awaitable[Client]]


@pytest.fixture(scope="module")
def bridge(stack: Stack, rabbit: Rabbit, queue: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OutBridge]:
    """A bridge that publishes push records, and nothing else."""
    pushing = OutBridge(stack.bootstrap, rabbit, tmp_path_factory.mktemp("push"), "", AUERBACH_AMQP_PUSH="true")
    pushing.start_ready()
    yield pushing
    assert pushing.stop() == 0


@pytest.fixture(scope="module")
def queue(rabbit: Rabbit) -> str:
    """The queue of push records, made before any bridge."""
    return bound_queue(rabbit, "push-notifications", "", kind="headers")


async def pushes(rabbit: Rabbit, queue: str, taken: list[Any]) -> None:
    """Take push records for as long as the test runs."""
    async with await aio_pika.connect(rabbit.url) as connection:
        channel = await connection.channel()
        async with (await channel.get_queue(queue)).iterator(no_ack=True) as messages:
            async for message in messages:
                record = schemaless_reader(BytesIO(message.body), parse_schema(SCHEMA), None)
                taken.append((message, record))


async def test_a_message_is_pushed_for_members_who_are_offline_and_not_while_all_others_are_online(
    rabbit: Rabbit, bridge: OutBridge, queue: str, connect: Connect, new_group: Callable[[], str]
) -> None:
    group, taken = new_group(), []
    alice, bob = await connect("alice", 0), await connect("bob", 1)
    members = [{"user": "bob"}]
    assert (await alice.ask("create_group", group=group, name="Friends 🎉", members=members))["ok"]
    for client in (alice, bob):
        assert (await client.ask("subscribe", group=group))["ok"]

    async def online() -> list[str]:
        return sorted((await alice.ask("presence", group=group))["online"])

    async def both() -> bool:
        return await online() == ["alice", "bob"]

    async def alone() -> bool:
        return await online() == ["alice"]

    def fate(name: str) -> float:
        return bridge.metric(f'auerbach_bridge_pushes_total{{fate="{name}"}}')

    async def missed_by_nobody() -> bool:
        """Say something, and see what becomes of it. Where the owner stood still, it is pushed without being asked."""
        nobody, either = fate("nobody"), fate("nobody") + fate("unasked")
        text = f"everybody is here {either}"
        assert (await alice.ask("send", group=group, text=text, client_msg_id=text))["ok"]

        async def decided() -> bool:
            return fate("nobody") + fate("unasked") > either

        await until_answer(decided)
        return fate("nobody") > nobody

    await until_answer(both)
    unasked = fate("unasked")
    taking = asyncio.create_task(pushes(rabbit, queue, taken))
    try:
        await until_answer(missed_by_nobody)
        unasked = fate("unasked") - unasked
        await bob.socket.close()
        await until_answer(alone)
        sent: list[str] = []

        async def one_more() -> bool:
            text = f"are you there? {len(sent)}"
            sent.append(text)
            assert (await alice.ask("send", group=group, text=text, client_msg_id=f"c-{len(sent)}"))["ok"]
            return any(record["message"]["body"] in sent for _, record in taken)

        await until_answer(one_more)
    finally:
        taking.cancel()
        await asyncio.wait({taking})

    bodies = [record["message"]["body"] for _, record in taken if record["recipient"]["value"] == group]
    assert sum(body.startswith("everybody is here") for body in bodies) == unasked
    # What was decided a moment ago holds for a second: not the very first need be the first that is pushed.
    message, record = next(each for each in taken if each[1]["message"]["body"] in sent)
    assert record == {
        "recipient": {"value": group},
        "sender": {"username": "alice"},
        "message": {"title": "Friends 🎉", "body": record["message"]["body"]},
    }
    assert message.headers == {"message_type": "GROUP_WISE_NOTIFICATION"}
    assert message.message_id.endswith("-push")
    assert message.delivery_mode == 2
