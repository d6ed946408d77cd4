"""How each call of `RetrieveLastMessages` is answered: every outcome is a `Status`, and the call itself succeeds.

Requests and responses are bytes here: so what is no request is answered like any other bad one, and the size of an
answer is known exactly.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from google.protobuf.message import DecodeError

from app.domain.rules import bad_id
from app.telemetry import logger
from web import metrics
from web.reads_client import ReadPort, SilentError, UnavailableError
from web.rpc import chatservice_pb2 as pb
from web.rpc.last_messages import LastMessages

UNDER_WAY = 4_000  # a call that waits for an owner is small
# A caller's deadline ends the call on its side, so the answer must be there before.
MARGIN_S = 0.25
MARGIN_SHARE = 0.25

# No group has more messages than that (a seq is below 2^53), and longer numbers are not worth to be computed.
MOST = 2**53

_number = re.compile(r"([+-]?)0*([0-9]+)")

_log = logger("web")


class Call(Protocol):
    """What is asked of gRPC's context."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None if it has none."""


class ChatService:
    """Answers calls; `timeout_s` is the longest that one waits for an owner."""

    def __init__(self, reads: ReadPort, timeout_s: float) -> None:
        self._messages = LastMessages(reads)
        self._timeout_s = timeout_s
        self._under_way: set[asyncio.Timeout] = set()
        self._ends_at: float | None = None

    def end(self, within_s: float) -> None:
        """Answer all calls within that time, also those whose owner has not answered by then."""
        self._ends_at = asyncio.get_running_loop().time() + within_s
        for bound in self._under_way:
            bound.reschedule(self._ends_at)

    async def retrieve_last_messages(self, request: bytes, call: Call) -> bytes:
        """The serialized `MessageResponse` to a serialized `RetrieveLastMessagesRequest`."""
        try:
            code, answer = await self._answer(request, call)
        except Exception as failed:  # noqa: BLE001 - an edge: the caller is told that the fault is ours
            metrics.ERRORS.labels("rpc").inc()
            _log.error("a gRPC call failed; the fault is ours", why=repr(failed), exc_info=True)
            code, answer = pb.GENERIC_ERROR, _status(pb.GENERIC_ERROR, "this call failed here; the fault is ours")
        metrics.RPC_CALLS.labels(pb.StatusCode.Name(code)).inc()
        return answer

    async def _answer(self, request: bytes, call: Call) -> tuple[pb.StatusCode, bytes]:
        try:
            asked = pb.RetrieveLastMessagesRequest.FromString(request)
        except DecodeError:
            return _refused(pb.BAD_REQUEST, "this is no RetrieveLastMessagesRequest")
        count = number_of(asked.number_of_messages)
        if count is None:
            return _refused(pb.BAD_REQUEST, "number_of_messages: must be an integer in decimal digits")
        # A group whose id can be none is one that is not there.
        if count <= 0 or bad_id(asked.group_id):
            return pb.OK, _status(pb.OK)
        if len(self._under_way) >= UNDER_WAY:
            return _refused(pb.SERVICE_UNAVAILABLE, "too many calls are under way; ask again later")
        try:
            async with self._until_the_end():
                messages = await self._messages.of(asked.group_id, count, self._deadline(call))
        except TimeoutError:
            return _refused(pb.SERVICE_UNAVAILABLE, "this gateway ends; ask again")
        except SilentError:
            return _refused(pb.REQUEST_TIMEOUT, "the group's processor did not answer in time")
        except UnavailableError:
            return _refused(pb.SERVICE_UNAVAILABLE, "the group's processor cannot be reached; ask again later")
        return pb.OK, _status(pb.OK) + messages

    @asynccontextmanager
    async def _until_the_end(self) -> AsyncIterator[None]:
        async with asyncio.timeout_at(self._ends_at) as bound:
            self._under_way.add(bound)
            metrics.RPC_UNDER_WAY.inc()
            try:
                yield
            finally:
                metrics.RPC_UNDER_WAY.dec()
                self._under_way.discard(bound)

    def _deadline(self, call: Call) -> float:
        left_s = call.time_remaining()
        if left_s is not None:
            left_s -= min(MARGIN_S, MARGIN_SHARE * left_s)
        within_s = self._timeout_s if left_s is None else min(self._timeout_s, left_s)
        return asyncio.get_running_loop().time() + within_s


def number_of(text: str) -> int | None:
    """The integer that `text` is, at most `MOST` and with any negative one as -1; None if it is none.

    >>> number_of("+007"), number_of("-3"), number_of("9" * 5_000) == MOST, number_of("1.5")
    (7, -1, True, None)
    """
    found = _number.fullmatch(text)
    if found is None:
        return None
    sign, digits = found.groups()
    if sign == "-":
        return 0 if digits == "0" else -1
    return MOST if len(digits) > len(str(MOST)) else min(int(digits), MOST)


def _refused(code: pb.StatusCode, why: str) -> tuple[pb.StatusCode, bytes]:
    return code, _status(code, why)


def _status(code: pb.StatusCode, why: str = "") -> bytes:
    """A response with this status; the field is written though all of it may be default values."""
    return pb.MessageResponse(status=pb.Status(code=code, message=why)).SerializeToString()
