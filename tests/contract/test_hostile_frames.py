"""Whatever a client sends, each request gets its one reply, and the gateway serves on."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.contract.client import Client
from tests.contract.conftest import Connect
from tests.support import hostile
from web.requests import TYPES

FRAMES = 400


def script(seed: int, group: str) -> list[tuple[str, hostile.Reading]]:
    """Frames, each with what the protocol says of it."""
    dice, frames = Random(seed), list[tuple[str, hostile.Reading]]()
    for number in range(FRAMES):
        text = hostile.frame(dice, json.dumps(number) if number % 2 else None).replace('"g"', json.dumps(group))
        reading = hostile.read(text, TYPES)
        if reading is not None and len(text.encode()) <= 65_536:
            frames.append((text, reading))
    return frames


@pytest.mark.parametrize("seed", [1, 2])
async def test_each_request_gets_its_one_reply_and_the_socket_serves_on(
    connect: Connect, new_group: Callable[[], str], seed: int
) -> None:
    group = new_group()
    alice, other = await connect("alice", seed % 2), await connect("alice")
    assert (await alice.ask("create_group", group=group, name="G", members=[{"user": "bob"}]))["ok"]
    assert (await alice.ask("send", group=group, text="hi", client_msg_id="first"))["seq"] == 2
    frames = script(seed, group)
    replies, sending = list[dict[str, Any]](), asyncio.create_task(_send(alice, frames))
    while len(replies) < 2 * len(frames):
        frame = await alice.next()
        if frame["type"] == "reply":
            replies.append(frame)
    await sending

    ids = Counter(json.dumps(reading.id) for _, reading in frames)
    ids.update(json.dumps(f"between {at}") for at in range(len(frames)))
    assert Counter(json.dumps(reply["id"]) for reply in replies) == ids
    told = Counter("ok" if reply["ok"] else reply["error"]["code"] for reply in replies)
    assert told["ok"] > len(frames)
    assert told["invalid"] > len(frames) / 4
    assert not told.keys() & {"internal", "timeout", "unavailable"}
    assert (await alice.ask("ping"))["ok"]
    fresh = new_group()
    assert (await alice.ask("create_group", group=fresh, name="G"))["seq"] == 1
    assert (await alice.ask("send", group=fresh, text="x", client_msg_id="x"))["seq"] == 2
    assert [m["seq"] for m in (await other.ask("history", group=fresh))["messages"]] == [2]
    assert all(frame["type"] != "reply" for frame in alice.others)


async def _send(client: Client, frames: list[tuple[str, hostile.Reading]]) -> None:
    # A good frame behind each, so that no three malformed ones come in a row.
    for at, (text, _) in enumerate(frames):
        await client.send(text)
        await client.send({"type": "ping", "id": f"between {at}"})
