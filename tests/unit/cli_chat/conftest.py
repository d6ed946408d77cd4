"""A gateway without a broker, and the command line in processes of its own."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from tests.support.fake_gateway import FakeGateway
from tests.support.stack import clean_environment


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Awaitable[Ran]]


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with FakeGateway() as gateway:
        yield gateway


@pytest.fixture
def run() -> Run:
    """Runs `python -m app …` with `stdin` to its end."""

    async def run(*arguments: str, stdin: bytes = b"", **environment: str) -> Ran:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "app",
            *arguments,
            env=clean_environment(**environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin)
        return Ran(process.returncode or 0, out.decode(), err.decode())

    return run
