"""Requests that wait for their reply: repeated after a reconnection and after a refusal for now, within bounds."""

import asyncio
import itertools
import random
import uuid
from collections.abc import Callable
from typing import Any

from auerbach_client.backoff import Backoff
from auerbach_client.errors import ChatError, EndedError
from auerbach_client.frames import Reply, encode
from auerbach_client.link import Key

CHANGING = frozenset(
    {
        "create_group", "update_group", "delete_group", "join", "leave", "add_member", "remove_member", "unban",
        "set_role", "send", "edit", "delete", "react", "unreact",
    }
)  # fmt: skip


class Requests:
    """At most `limit` requests are open; who asks for more waits. Each ends by a reply, an error or its deadline."""

    def __init__(
        self, post: Callable[[Key, bytes], None], *, limit: int, retry: Backoff, attempts: int, timeout_s: float
    ) -> None:
        self._post = post
        self._retry = retry
        self._attempts = attempts
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(limit)
        self._ids = itertools.count(1)
        self._open: dict[int, tuple[bytes, asyncio.Future[Reply]]] = {}
        self._frame_bytes: int | None = None
        self._ended: EndedError | None = None

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    async def ask(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        """The reply's fields to the request `kind`.

        One that changes something goes out with a `client_msg_id`, made here if there is none, so that a repetition
        does not take effect twice.

        Raises:
            ChatError: it was refused; or there is no outcome within the deadline (`timeout`).
            EndedError: the client is at its end. Whether the request took effect is unknown if it was sent.
        """
        if kind in CHANGING and "client_msg_id" not in fields:
            fields = {**fields, "client_msg_id": uuid.uuid4().hex}
        client_msg_id = fields.get("client_msg_id")
        async with self._slots:
            number = next(self._ids)
            frame = encode({"type": kind, "id": number, **fields})
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._repeat(number, frame, client_msg_id)
            except TimeoutError:
                why = f"no outcome within {self._timeout_s:g} s; it may still take effect"
                raise ChatError("timeout", why, temporary=True, client_msg_id=client_msg_id) from None
            finally:
                self._open.pop(number, None)

    async def _repeat(self, number: int, frame: bytes, client_msg_id: str | None) -> dict[str, Any]:
        """Ask until there is an outcome that lasts, or the attempts are used up."""
        for attempt in itertools.count(1):
            reply = await self._attempt(number, frame)
            if reply.ok:
                return reply.fields
            error = reply.fields.get("error") or {}
            refused = to_error(error, client_msg_id)
            if not refused.temporary or attempt >= self._attempts:
                raise refused
            await asyncio.sleep(self._wait_s(attempt, error))
        raise AssertionError("an endless count has ended")

    async def _attempt(self, number: int, frame: bytes) -> Reply:
        if self._ended is not None:
            raise self._ended
        self._check_size(frame)
        future = asyncio.get_running_loop().create_future()
        self._open[number] = (frame, future)
        self._post(number, frame)
        reply: Reply = await future
        return reply

    def _wait_s(self, attempt: int, error: dict[str, Any]) -> float:
        after_ms = error.get("retry_after_ms")
        if isinstance(after_ms, int | float) and after_ms >= 0:
            return after_ms / 1000 * random.uniform(1.0, 1.2)
        return self._retry.delay_s(attempt)

    def _check_size(self, frame: bytes) -> None:
        """What is over a limit is not sent, as the server would close the socket over it (1009)."""
        if self._frame_bytes is not None and len(frame) > self._frame_bytes:
            raise ChatError("too_large", f"the request has {len(frame)} bytes, the server takes {self._frame_bytes}")

    def connected(self, frame_bytes: int) -> None:
        """A new connection: post again what got no reply, in the order asked."""
        self._frame_bytes = frame_bytes
        for number, (frame, future) in list(self._open.items()):
            if future.done():
                continue
            try:
                self._check_size(frame)
            except ChatError as error:
                future.set_exception(error)
            else:
                self._post(number, frame)

    def answered(self, reply: Reply) -> None:
        """Give the reply to who waits for it."""
        _, future = self._open.get(reply.id, (b"", None)) if isinstance(reply.id, int) else (b"", None)
        if future is not None and not future.done():
            future.set_result(reply)

    def ended(self, error: EndedError) -> None:
        """Fail all that are open, and all to come."""
        self._ended = error
        for _, future in self._open.values():
            if not future.done():
                future.set_exception(error)


def to_error(error: dict[str, Any], client_msg_id: str | None = None) -> ChatError:
    """A reply's `error` as an exception."""
    field = error.get("field")
    return ChatError(
        str(error.get("code", "internal")),
        str(error.get("message", "")),
        field if isinstance(field, str) else None,
        error.get("temporary") is True,
        client_msg_id,
    )
