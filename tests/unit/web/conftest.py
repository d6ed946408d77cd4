"""A gateway's parts around an in-memory log, and waits that no machine uses up by standing still."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.unit.web.world import Gateway, World, running

PATIENCE_S = 600.0


@pytest.fixture(scope="module", autouse=True)
def patient() -> Iterator[None]:
    """Nobody is given up for a stall: a test that is about one of these waits sets it itself."""
    with pytest.MonkeyPatch.context() as patched:
        for wait in (
            "web.session.AUTHENTICATE_S",
            "web.session.CLOSE_S",
            "web.keys.READ_S",
            "web.keys.ASK_S",
            "web.legacy.posting.CERTAIN_WITHIN_S",
            "web.legacy.session.CERTAIN_WITHIN_S",
            "web.reads_client.CALL_S",
            "web.presence_reporter.FAREWELL_S",
        ):
            patched.setattr(wait, PATIENCE_S)
        yield


@pytest.fixture
async def world() -> World:
    return World()


@pytest.fixture
async def gateway(world: World) -> AsyncIterator[Gateway]:
    async with running(world) as gateway:
        yield gateway
