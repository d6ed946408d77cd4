"""Requests that wait for their reply: repeated after a reconnection and after a refusal for now, within a deadline."""

import asyncio
import itertools
import math
import random
import uuid
from typing import Any, Protocol

from auerbach_client.backoff import Backoff
from auerbach_client.errors import ChatError, EndedError
from auerbach_client.frames import Reply, encode
from auerbach_client.lanes import Lanes
from auerbach_client.link import Key

CHANGING = frozenset(
    {
        "create_group", "update_group", "delete_group", "join", "leave", "add_member", "remove_member", "unban",
        "set_role", "send", "edit", "delete", "react", "unreact",
    }
)  # fmt: skip

# A `client_msg_id` is remembered for 10 minutes in any case (protocol §2), after which a repetition might take effect
# twice; so long do we repeat what may have taken effect, less the time that the last repetition may take.
_REPEATED_S = 570.0

# Refusals after which it is certain that this attempt had no effect (protocol §2, §9).
_WITHOUT_EFFECT = frozenset({"unavailable", "rate_limited"})


class Post(Protocol):
    """Where requests go out."""

    def post(self, key: Key, frame: bytes) -> bool:
        """Send `frame`, if there is a connection; whether there is."""

    def withdraw(self, key: Key) -> bool:
        """Do not send what has this key, if it was not sent yet."""


class Requests:
    """At most `limit` requests are open, of those that change one group `lane`; who asks for more waits.

    Each ends by a reply, an error, or its deadline `timeout_s` after its turn has come; one that changes something and
    may have done so, before its id may be forgotten.
    """

    def __init__(self, link: Post, *, limit: int, lane: int, retry: Backoff, timeout_s: float) -> None:
        self._link = link
        self._retry = retry
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(limit)
        self._lanes = Lanes(lane)
        self._ids = itertools.count(1)
        self._open: dict[int, tuple[_Asking, asyncio.Future[Reply]]] = {}
        self._frame_bytes: int | None = None
        self._ended: EndedError | None = None
        self._over = asyncio.Event()

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    async def ask(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        """The reply's fields to the request `kind`.

        One that changes something goes out with a `client_msg_id`, made here if there is none, so that a repetition
        does not take effect twice.

        Raises:
            ChatError: it was refused; or there is no outcome within the deadline: `timeout` if it may have taken
                effect or still may, else what it was refused for now with.
            EndedError: the client is at its end. Whether the request took effect is unknown if it was sent.
        """
        changing = kind in CHANGING
        if changing and "client_msg_id" not in fields:
            fields = {**fields, "client_msg_id": uuid.uuid4().hex}
        async with self._lanes.turn(fields.get("group") if changing else None), self._slots:
            number = next(self._ids)
            deadline = asyncio.timeout(self._timeout_s)
            asking = _Asking(
                number, encode({"type": kind, "id": number, **fields}), fields.get("client_msg_id"), deadline,
                repeated_s=_REPEATED_S if changing else math.inf,
            )  # fmt: skip
            try:
                async with deadline:
                    asking.begin()
                    return await self._repeat(asking)
            except TimeoutError:
                raise asking.outcome() from None
            finally:
                # Cancelled or late: nobody waits any more, and what was not sent yet need not be.
                self._open.pop(number, None)
                self._link.withdraw(number)

    async def _repeat(self, asking: "_Asking") -> dict[str, Any]:
        """Ask until there is an outcome that lasts."""
        for attempt in itertools.count(1):
            reply = await self._attempt(asking)
            if reply.ok:
                return reply.fields
            refused = to_error(reply.fields.get("error") or {}, asking.client_msg_id)
            if not refused.temporary:
                raise refused
            asking.refused(refused)
            await self._pause(self._wait_s(attempt, refused))
        raise AssertionError("an endless count has ended")

    async def _attempt(self, asking: "_Asking") -> Reply:
        if self._ended is not None:
            raise self._ended
        self._check_size(asking.frame)
        future = asyncio.get_running_loop().create_future()
        self._open[asking.number] = (asking, future)
        self._post(asking)
        reply: Reply = await future
        return reply

    def _post(self, asking: "_Asking") -> None:
        if self._link.post(asking.number, asking.frame):
            asking.posted()

    async def _pause(self, wait_s: float) -> None:
        """Wait, but not for longer than there is a client."""
        try:
            async with asyncio.timeout(wait_s):
                await self._over.wait()
        except TimeoutError:
            return

    def _wait_s(self, attempt: int, refused: ChatError) -> float:
        if refused.retry_after_s is not None:
            return refused.retry_after_s * random.uniform(1.0, 1.2)
        return self._retry.delay_s(attempt)

    def _check_size(self, frame: bytes) -> None:
        """What is over a limit is not sent, as the server would close the socket over it (1009)."""
        if self._frame_bytes is not None and len(frame) > self._frame_bytes:
            raise ChatError("too_large", f"the request has {len(frame)} bytes, the server takes {self._frame_bytes}")

    def connected(self, frame_bytes: int) -> None:
        """A new connection: post again what got no reply, in the order asked."""
        self._frame_bytes = frame_bytes
        for asking, future in list(self._open.values()):
            if future.done():
                continue
            try:
                self._check_size(asking.frame)
            except ChatError as error:
                future.set_exception(error)
            else:
                self._post(asking)

    def answered(self, reply: Reply) -> None:
        """Give the reply to who waits for it."""
        _, future = self._open.get(reply.id, (None, None)) if isinstance(reply.id, int) else (None, None)
        if future is not None and not future.done():
            future.set_result(reply)

    def ended(self, error: EndedError) -> None:
        """Fail all that are open, and all to come."""
        self._ended = error
        self._over.set()
        for _, future in self._open.values():
            if not future.done():
                future.set_exception(error)


class _Asking:
    """A request and what is known of its effect, which decides on its deadline too.

    `deadline` is its caller's; what may have taken effect is repeated for `repeated_s` from when it first went out.
    """

    def __init__(
        self, number: int, frame: bytes, client_msg_id: str | None, deadline: asyncio.Timeout, *, repeated_s: float
    ) -> None:
        self.number = number
        self.frame = frame
        self.client_msg_id = client_msg_id
        self._deadline = deadline
        self._repeated_s = repeated_s
        self._ends = math.inf
        self._certain: ChatError | None = None
        self._under_way = False
        self._doubtful = False

    def begin(self) -> None:
        """The caller's deadline is set."""
        self._ends = self._deadline.when() or math.inf

    def posted(self) -> None:
        """It goes out, maybe again after a connection that ended without a reply: then that attempt stays in doubt."""
        if not (self._under_way or self._doubtful):
            now = asyncio.get_running_loop().time()
            self._deadline.reschedule(min(self._ends, now + self._repeated_s))
        self._doubtful = self._doubtful or self._under_way
        self._under_way, self._certain = True, None

    def refused(self, error: ChatError) -> None:
        """Take note of a refusal for now."""
        self._under_way = False
        self._doubtful = self._doubtful or error.code not in _WITHOUT_EFFECT
        if not self._doubtful:
            self._certain = error
            self._deadline.reschedule(self._ends)

    def outcome(self) -> ChatError:
        """What to say when the deadline has come: the last refusal, if no attempt can have had an effect."""
        if self._certain is not None:
            return self._certain
        why = "no outcome in time; it may still take effect"
        return ChatError("timeout", why, temporary=True, client_msg_id=self.client_msg_id)


def to_error(error: dict[str, Any], client_msg_id: str | None = None) -> ChatError:
    """A reply's `error` as an exception."""
    field, after_ms = error.get("field"), error.get("retry_after_ms")
    return ChatError(
        str(error.get("code", "internal")),
        str(error.get("message", "")),
        field if isinstance(field, str) else None,
        error.get("temporary") is True,
        client_msg_id,
        after_ms / 1000 if isinstance(after_ms, int | float) and after_ms >= 0 else None,
    )
