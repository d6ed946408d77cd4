"""What old apps send: messages without ids or answers, posted one after another, each once (protocol §8)."""

import asyncio
import random
import uuid
from collections import deque
from collections.abc import Callable

from app.domain.commands import Send
from app.domain.outcomes import Rejection
from app.telemetry import logger
from web.commander import Result
from web.conversation import Service
from web.legacy import metrics
from web.legacy.following import OUTSIDE

QUEUED = 256
# An old app is told nothing of a message that may be lost: the connection fails, which it notices.
CERTAIN_WITHIN_S = 60.0
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0

_log = logger("web")


class Posting:
    """The messages of one socket, in the order in which they came.

    `on_uncertain` is called when it could not be found out whether a message was posted, `on_outside` when the owner
    says that the user is no member (any more). Nothing is posted after either.
    """

    def __init__(
        self,
        service: Service,
        group: str,
        user: str,
        *,
        on_uncertain: Callable[[], None],
        on_outside: Callable[[], None],
    ) -> None:
        self._service = service
        self._group = group
        self._user = user
        self._on_uncertain = on_uncertain
        self._on_outside = on_outside
        self._loop = asyncio.get_running_loop()
        self._texts: deque[str] | None = None  # made with the first text: most sockets only listen
        self._begun = False
        self._over = False
        self._task: asyncio.Task[None] | None = None
        self._moved: asyncio.Future[None] | None = None
        self._on_empty: Callable[[], None] | None = None

    def __len__(self) -> int:
        """Messages that are not posted yet, the one under way included."""
        return len(self._texts) if self._texts is not None else 0

    async def put(self, text: str) -> None:
        """Post `text` after those before it; waits while too many wait."""
        while len(self) >= QUEUED:
            await self._progress()
        if self._over:
            metrics.RECEIVED.labels("dropped").inc()
            return
        if self._texts is None:
            self._texts = deque()
        self._texts.append(text)
        self._start()

    def begin(self) -> None:
        """The user is a member: post what came, and what comes."""
        self._begun = True
        self._start()

    def when_empty(self, then: Callable[[], None]) -> None:
        """Call `then` as soon as nothing waits."""
        if len(self):
            self._on_empty = then
        else:
            then()

    async def finish(self, within_s: float) -> None:
        """Wait until nothing waits any more; what is left `within_s` later is dropped."""
        try:
            async with asyncio.timeout(within_s):
                while len(self):
                    await self._progress()
        except TimeoutError:
            _log.warning("messages of an old socket were not posted in time", group=self._group, count=len(self))
        finally:
            self.drop()
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])

    def drop(self) -> None:
        """Post nothing more. What is under way goes on."""
        self._over = True
        if self._texts:
            metrics.RECEIVED.labels("dropped").inc(len(self._texts))
            self._texts.clear()
        self._tell_progress()

    def _start(self) -> None:
        if self._begun and self._task is None and len(self):
            self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._texts:
                refused = await self._post(self._texts[0])
                if not self._texts:
                    break  # dropped meanwhile
                self._texts.popleft()
                metrics.RECEIVED.labels(refused or "posted").inc()
                if refused in {"uncertain", "outside"}:
                    self.drop()
                    (self._on_uncertain if refused == "uncertain" else self._on_outside)()
                self._tell_progress()
        except Exception:  # noqa: BLE001 - an edge: the connection fails, so that its client knows
            metrics.RECEIVED.labels("failed").inc()
            _log.exception("a message of an old socket could not be posted", group=self._group)
            self.drop()
            self._on_uncertain()
        finally:
            self._task = None

    async def _post(self, text: str) -> str | None:
        """Post one message; None, or why it was not."""
        key = uuid.uuid4().hex
        give_up = self._loop.time() + CERTAIN_WITHIN_S
        pause_s = FIRST_PAUSE_S
        while True:
            result = await self._submit(text, key, give_up)
            if not isinstance(result, Rejection):
                return None
            if result.code in OUTSIDE:
                return "outside"
            if not result.temporary:
                _log.info("a message of an old socket was refused", group=self._group, code=result.code)
                return "refused"
            wait_s = pause_s * random.uniform(0.5, 1)
            if self._loop.time() + wait_s >= give_up:
                _log.error("it is unknown whether a message of an old socket was posted", group=self._group)
                return "uncertain"
            await asyncio.sleep(wait_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _submit(self, text: str, key: str, give_up: float) -> Result:
        """One try. With the same `key` a repetition of what was appended takes no effect a second time."""
        commander = self._service.commander
        settled: asyncio.Future[Result] = self._loop.create_future()

        def on_result(result: Result) -> None:
            if not settled.done():
                settled.set_result(result)

        command = Send(
            id=commander.next_id(),
            group=self._group,
            by=self._user,
            origin=commander.origin,
            client_msg_id=key,
            text=text,
        )
        deadline = min(self._loop.time() + self._service.request_timeout_s, give_up)
        commander.submit(command, deadline=deadline, on_result=on_result)
        return await settled

    async def _progress(self) -> None:
        if self._moved is None:
            self._moved = self._loop.create_future()
        await asyncio.shield(self._moved)

    def _tell_progress(self) -> None:
        moved, self._moved = self._moved, None
        if moved is not None:
            moved.set_result(None)
        if self._on_empty is not None and not len(self):
            then, self._on_empty = self._on_empty, None
            then()
