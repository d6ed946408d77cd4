"""What the clients of these tests bring along: tokens, groups, and JSON of any depth."""

import time
from typing import Any

import jwt

from tests.contract.client import Client
from tests.unit.web.world import SECRET


def token(user: str = "alice", lives_s: float = 60, **claims: Any) -> str:
    return jwt.encode({"sub": user, "exp": int(time.time() + lives_s), **claims}, SECRET, algorithm="HS256")


async def create(client: Client, group: str = "g", **fields: Any) -> None:
    assert (await client.ask("create_group", group=group, name="G", **fields))["ok"]


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels
