"""Keeps processes running: starts, restarts, and stops them in the reverse order of their start."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

from app.cli.launch.child import Child, log_path
from app.cli.launch.claims import Claim
from app.cli.launch.errors import LaunchError, TakenError
from app.cli.launch.parts import Part
from app.cli.launch.preflight import check_disk
from app.cli.launch.restarts import Restarts

# How long processes of an earlier run may take to end: one that was started alone, and was just told to.
LEAVING_S = 15
BAD_SETTING = 2


class Supervisor:
    """The processes of one data folder.

    `say` gets a line for each thing that a person would want to know. With `restart` a process that dies is started
    again; a process that ends with code 2 before `settled` has a setting that cannot work, and fails the whole.
    """

    def __init__(self, data: Path, *, restart: bool, say: Callable[[str], None]) -> None:
        self.hurry = asyncio.Event()
        self._data = data
        self._restart = restart
        self._say = say
        self._claims: dict[str, Claim] = {}
        self._children: dict[str, Child] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._stages: list[list[str]] = []
        self._settled = False
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def claim(self, name: str) -> None:
        """Take `name` on this data folder, waiting for a process of an earlier run that is on its way out.

        Raises:
            TakenError: it stays.
        """
        try:
            self._claims[name] = Claim.take(self._data, name)
        except TakenError:
            self._say(f"{name}: waiting up to {LEAVING_S} s for the one of an earlier run to end")
            self._claims[name] = await asyncio.to_thread(Claim.take, self._data, name, LEAVING_S)

    async def start(self, *parts: Part) -> None:
        """Start parts that are claimed, as one stage: what is started together is stopped together."""
        self._stages.append([part.name for part in parts])
        for part in parts:
            child = await self._spawn(part)
            keeper = asyncio.create_task(self._keep(part, child), name=part.name)
            keeper.add_done_callback(self._kept)
            self._keepers[part.name] = keeper

    def settled(self) -> None:
        """All have been seen to work."""
        self._settled = True

    async def failed(self) -> None:
        """Wait until the whole cannot go on.

        Raises:
            LaunchError: why.
        """
        await asyncio.shield(self._failed)

    def running(self) -> list[str]:
        """The names of those that run now, in the order in which they are stopped."""
        return [name for stage in reversed(self._stages) for name in stage if name in self._children]

    async def stop(self) -> None:
        """Stop all, the last stage first. `hurry` makes it SIGKILL."""
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        for stage in reversed(self._stages):
            await asyncio.gather(*(self._end(name) for name in stage if name in self._children))
        for claim in self._claims.values():
            claim.release()
        self._claims.clear()
        if not self._failed.cancel() and not self._failed.cancelled():
            self._failed.exception()  # seen, though nobody waits for it any more

    async def _end(self, name: str) -> None:
        await self._children.pop(name).stop(self.hurry)

    async def _spawn(self, part: Part) -> Child:
        child = await Child.start(part, self._claims[part.name], self._data)
        self._children[part.name] = child
        return child

    async def _keep(self, part: Part, child: Child) -> None:
        restarts = Restarts()
        while True:
            born = time.monotonic()
            code = await child.ended()
            del self._children[part.name]
            how = _how(code)
            if not self._settled and code == BAD_SETTING:
                raise LaunchError(f"{part.name} refuses to start:\n{child.last_words()}")
            if not self._restart:
                return self._let_go(part.name, how)
            now = time.monotonic()
            await self._pause(part.name, how, restarts.died(now, now - born))
            child = await self._spawn(part)

    def _kept(self, keeper: asyncio.Task[None]) -> None:
        if not keeper.cancelled() and (refused := keeper.exception()) is not None:
            self._fail(refused)

    async def _pause(self, name: str, how: str, pause_s: float) -> None:
        try:
            check_disk(self._data)
        except LaunchError as full:
            self._say(str(full))  # likely why; whoever makes room finds the process trying
        log = f"see {log_path(self._data, name)}"
        if pause_s == 0:
            self._say(f"{name} {how}; starting it again ({log})")
            return
        self._say(f"{name} {how}, again and again; next start in {pause_s:.0f} s ({log})")
        await asyncio.sleep(pause_s)

    def _let_go(self, name: str, how: str) -> None:
        self._claims.pop(name).release()
        self._say(f"{name} {how}; not started again (--no-restart)")
        if not self._children:
            self._fail(LaunchError("no process is left"))

    def _fail(self, refused: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(refused)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
