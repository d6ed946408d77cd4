"""What one user asks on one socket, in order, and what follows from it (protocol §2, §4)."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from app.domain.commands import COMMANDS
from app.domain.outcomes import Rejection
from app.telemetry import logger
from web import batch, frames, metrics
from web.commander import UNAVAILABLE, Accepted, Commander, Result
from web.hub import Hub
from web.lanes import Done, Lanes
from web.outbox import Outbox
from web.presence import Presence
from web.questions import read_for, told
from web.reads_client import ReadPort, UnavailableError
from web.refusals import INTERNAL, NO_OWNER
from web.requests import (
    History,
    Members,
    Question,
    Request,
    State,
    Subscribe,
    SubscribeMany,
    Unsubscribe,
    WhoIsOnline,
    to_ask,
    to_command,
)
from web.subscriptions import Subscriptions, begins, without_page

# A client that asks faster than it is answered is not read from; nothing of it is dropped.
IN_FLIGHT = 256
ASKING = 8  # reads of one socket that are answered at a time: an answer may hold a page
BATCHING = 4  # batches of one socket whose groups are followed, and their events kept, before their reply

_log = logger("web")


@dataclass(slots=True, frozen=True)
class Service:
    """What conversations share."""

    commander: Commander
    reads: ReadPort
    hub: Hub
    presence: Presence
    request_timeout_s: float


class Conversation:
    """The requests and subscriptions of an authenticated socket.

    `on_broken` is called when a subscription cannot go on unbroken: the socket is to be closed with 4409.
    """

    def __init__(self, service: Service, user: str, outbox: Outbox, on_broken: Callable[[], None]) -> None:
        self.user = user
        self._service = service
        self._outbox = outbox
        self._loop = asyncio.get_running_loop()
        self._in_flight = 0
        self._room: asyncio.Future[None] | None = None
        self._on_answered: Callable[[], None] | None = None
        self._on_broken = on_broken
        self._tasks: dict[asyncio.Task[None], None] = {}

    # Made when they are needed: most sockets are idle, and ten thousand of them are to fit.

    @cached_property
    def _lanes(self) -> Lanes:
        return Lanes()

    @cached_property
    def _asking(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(ASKING)

    @cached_property
    def _batching(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(BATCHING)

    @cached_property
    def _subscriptions(self) -> Subscriptions:
        service, outbox = self._service, self._outbox
        return Subscriptions(
            service.hub,
            service.reads,
            service.presence,
            user=self.user,
            outbox=outbox,
            asking=self._asking,
            on_broken=self._on_broken,
        )

    def take(self, request: Request) -> None:
        """Begin to serve a request; its one reply comes by its deadline."""
        if request.type in COMMANDS:
            self._command(request)
            return
        ask = to_ask(request)
        match ask:
            case Rejection():
                self._refuse(request, ask)
            case Subscribe():
                self._read(request, ask.group, lambda deadline: self._subscribe(request, ask, deadline))
            case SubscribeMany():
                self._subscribe_many(request, ask)
            case Unsubscribe():
                self._in_flight += 1
                self._lanes.enter(ask.group, lambda done: self._unsubscribe(request, ask, done), exclusive=True)
            case History() | State() | Members() | WhoIsOnline():
                self._read(request, ask.group, lambda deadline: self._question(request, ask, deadline))

    async def room(self) -> None:
        """Wait until a further request may be taken."""
        while self._in_flight >= IN_FLIGHT:
            self._room = self._loop.create_future()
            await self._room

    def when_answered(self, call: Callable[[], None]) -> None:
        """Call `call` once every request that was taken has got its reply, maybe at once."""
        self._on_answered = call
        if not self._in_flight:
            call()

    def end(self) -> None:
        """Leave the hub and answer nothing more."""
        self._lanes.close()
        self._subscriptions.end_all()
        for task in list(self._tasks):
            task.cancel()

    # Commands

    def _command(self, request: Request) -> None:
        commander = self._service.commander
        command = to_command(request, command_id=commander.next_id(), user=self.user, origin=commander.origin)
        if isinstance(command, Rejection):
            self._refuse(request, command)
            return
        deadline = self._deadline()
        self._in_flight += 1

        def start(done: Done) -> None:
            def on_result(result: Result) -> None:
                self._tell(request, command.group, result)
                self._settled(done)

            if self._loop.time() >= deadline:
                on_result(UNAVAILABLE)
            else:
                commander.submit(command, deadline=deadline, on_result=on_result)

        self._lanes.enter(command.group, start, exclusive=False)

    def _tell(self, request: Request, group: str, result: Result) -> None:
        if isinstance(result, Rejection):
            self._refuse(request, result)
            return
        fields: dict[str, Any] = {"group": group} if request.type == "create_group" else {}
        if isinstance(result, Accepted):
            fields["seq"] = result.seq
            if request.type == "send" or result.duplicate:
                fields |= {"at": result.at, "duplicate": result.duplicate}
        self._reply(request, **fields)

    # Reads

    def _read(self, request: Request, group: str, work: Callable[[float], Coroutine[Any, Any, None]]) -> None:
        deadline = self._deadline()
        self._in_flight += 1
        self._lanes.enter(group, lambda done: self._spawn(request, work(deadline), done), exclusive=True)

    def _spawn(self, request: Request, work: Coroutine[Any, Any, None], done: Done, weight: int = 1) -> None:
        task = self._loop.create_task(self._run(request, work, done, weight))
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    async def _run(self, request: Request, work: Awaitable[None], done: Done, weight: int) -> None:
        try:
            await work
        except UnavailableError:
            self._refuse(request, NO_OWNER)
        except Exception:  # noqa: BLE001 - an edge: counted, logged, answered
            metrics.ERRORS.labels("request").inc()
            _log.exception("a request failed", type=request.type)
            self._refuse(request, INTERNAL)
        finally:
            self._settled(done, weight)

    async def _question(self, request: Request, ask: Question, deadline: float) -> None:
        presence = self._service.presence
        async with self._asking:
            if isinstance(ask, WhoIsOnline):
                await presence.heard(ask.group, deadline)  # who asks has been told that it is subscribed
            answer = await self._service.reads.ask(ask.group, lambda end: read_for(ask, self.user, end), deadline)
            if isinstance(ask, State | WhoIsOnline):
                presence.show(ask.group, answer)
                answer = msgspec.structs.replace(answer, state=presence.state_of(answer, ask.group))
            await self._outbox.drained()
            if answer.refusal is not None:
                self._refuse(request, answer.refusal)
            else:
                self._reply(request, **told(ask, answer))

    # Subscriptions

    async def _subscribe(self, request: Request, ask: Subscribe, deadline: float) -> None:
        [prepared] = self._subscriptions.admit([await self._subscriptions.prepare(ask, deadline)])
        if isinstance(prepared, Rejection):
            self._refuse(request, prepared)
            return
        subscription, answer = prepared
        if self._subscriptions.busy:
            answer = without_page(answer)  # this socket's replays wait for its reader: the page is fetched again then
        told = self._service.presence.state_of(answer, ask.group, self.user)
        state = {} if told is None else {"state": told}
        self._reply(request, **begins(ask.group, answer), **state)
        self._subscriptions.establish(subscription, answer)

    def _subscribe_many(self, request: Request, ask: SubscribeMany) -> None:
        # All lanes are entered at once, so two batches wait for each other in one order only.
        turns: list[asyncio.Future[Done]] = []
        for item in ask.items:
            if isinstance(item, Subscribe):
                turn: asyncio.Future[Done] = self._loop.create_future()
                turns.append(turn)
                self._lanes.enter(item.group, turn.set_result, exclusive=True)
        deadline = self._deadline()
        weight = max(len(ask.items), 1)  # each group of it waits and is asked for by itself
        self._in_flight += weight

        async def work() -> None:
            ends = await asyncio.gather(*turns)
            try:
                async with self._batching:
                    await self._subscribe_all(request, ask, deadline)
            finally:
                for end in ends:
                    end()

        self._spawn(request, work(), lambda: None, weight)

    async def _subscribe_all(self, request: Request, ask: SubscribeMany, deadline: float) -> None:
        prepared = self._subscriptions.admit(await batch.prepare_all(self._subscriptions, ask.items, deadline))
        self._reply(request, results=batch.results(ask.items, prepared))
        for each in prepared:
            if not isinstance(each, Rejection):
                self._subscriptions.establish(*each)

    def _unsubscribe(self, request: Request, ask: Unsubscribe, done: Done) -> None:
        self._subscriptions.end(ask.group)
        self._reply(request)
        self._settled(done)

    # Replies

    def _deadline(self) -> float:
        return self._loop.time() + self._service.request_timeout_s

    def _reply(self, request: Request, **fields: Any) -> None:
        metrics.REQUESTS.labels(request.type, "ok").inc()
        self._outbox.push(frames.reply_ok(request.id, **fields))

    def _refuse(self, request: Request, refusal: Rejection) -> None:
        metrics.REQUESTS.labels(request.type, refusal.code).inc()
        self._outbox.push(frames.reply_error(request.id, refusal))

    def _settled(self, done: Done, weight: int = 1) -> None:
        """A request has got its reply."""
        self._in_flight -= weight
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        done()
        if self._on_answered is not None and not self._in_flight:
            self._on_answered()
