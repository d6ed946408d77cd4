"""A gateway in one process and no broker: what changes a group and what reads it, and knobs for what can go wrong.

It decides with the service's own domain, so what it answers is true; sockets, replies and connections break as a
test asks. `python -m tests.support.fake_gateway --port N` serves it, with the chat page, for work on the page.
"""

import asyncio
import contextlib
import math
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import click
import msgspec
from aiohttp import WSMsgType, web

from app.domain import instants, rules
from app.domain.commands import COMMANDS, AnyCommand
from app.domain.events import Event, GroupDeleted, MemberLeft, MemberRemoved
from app.domain.outcomes import Duplicate, Rejection
from tests.support.fake_log import FakeLog

Frame = dict[str, Any]

_ROOT = Path(__file__).parents[2]


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, refusal: Rejection) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class FakeSession:
    """One socket: what it follows, and what waits to be written to it."""

    def __init__(self, socket: web.WebSocketResponse, user: str, budget: float) -> None:
        self.socket, self.user = socket, user
        self.follows: set[str] = set()
        self._budget = budget
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue(200_000)
        self._waiting: set[asyncio.Task[None]] = set()

    def put(self, frame: bytes) -> None:
        """Have `frame` written after what waits already."""
        self._outbox.put_nowait(frame)

    def later(self, when: asyncio.Event, frames: list[bytes]) -> None:
        """Have `frames` written once `when` is set."""

        async def wait() -> None:
            await when.wait()
            _put_all(self, frames)

        task = asyncio.create_task(wait())
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def write(self) -> None:
        """Write what waits until the socket ends, or is cut because its budget of frames is used up."""
        while True:
            frame = await self._outbox.get()
            if self._budget <= 0:
                return self.cut()
            self._budget -= 1
            await self.socket.send_frame(frame, WSMsgType.TEXT)

    async def beat(self, every_s: float) -> None:
        """Ping the client now and then."""
        while True:
            await asyncio.sleep(every_s)
            await self.socket.ping()

    def cut(self) -> None:
        """End the connection as a broken network does: no close frame."""
        transport = self.socket._req.transport if self.socket._req else None
        if transport is not None:
            transport.abort()


class FakeGateway:
    """A gateway on a free port of 127.0.0.1, for `async with`.

    Knobs, all of which may be turned at any time:

    - `frames_per_socket`: called for each new socket; it is cut after so many outgoing frames.
    - `lose_replies`: so many of the next replies to requests with an effect are never sent.
    - `reply_delay_s`: each reply to a request with an effect waits so long.
    - `reads_held`: while it is there and not set, answers to `history` are made at once and sent once it is set.
    - `refusals`: the next requests with an effect get these error codes, in order, and have no effect.
    - `subscribe_refusals`: as `refusals`, for `subscribe`.
    - `handshakes`: the next handshakes get these HTTP statuses, in order; those of the users in `away` get 503.
    - `limits`: what hello says of them; none but `frame_bytes` is enforced.
    - `skip_live`, `double_live`: so many of the next live events are left out, or come twice.
    - `tokens`: token → user; what `Authorization: Bearer` and `auth` may say.
    - `heartbeat_ms`: what hello says, and how often sockets are pinged; those opened while `silent` never are.
    - `cut()`, `close(code)`, `forget()`: end all sockets, or begin a new log.
    """

    def __init__(self, port: int = 0, *, page: bool = False) -> None:
        self.log = FakeLog()
        self.sessions: set[FakeSession] = set()
        self.connections = 0
        self.requests: list[tuple[str, Frame]] = []
        self.frames_per_socket: Callable[[], float] = lambda: math.inf
        self.lose_replies = self.skip_live = self.double_live = 0
        self.reply_delay_s = 0.0
        self.reads_held: asyncio.Event | None = None
        self.refusals: list[str] = []
        self.subscribe_refusals: list[str] = []
        self.handshakes: list[int] = []
        self.away: set[str] = set()
        self.limits: dict[str, float] = {
            "frame_bytes": 65_536,
            "text_bytes": 16_384,
            "groups": 1000,
            "requests_per_second": 50,
        }
        self.tokens: dict[str, str] = {}
        self.heartbeat_ms = 25_000.0
        self.silent = False
        self._port = port
        self._app = web.Application()
        self._app.router.add_get("/v1/ws", self._serve)
        if page:
            self._app.router.add_get("/", self._page)
            self._app.router.add_get("/static/{name}", self._static)
        self._runner = web.AppRunner(self._app, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The base URL, `http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Listen."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cut all sockets and stop listening."""
        self.cut()
        await self._runner.cleanup()

    def cut(self) -> None:
        """End every socket without a close frame."""
        for session in list(self.sessions):
            session.cut()

    async def close(self, code: int, *, bye_after_ms: int | None = None) -> None:
        """Close every socket with `code`, after a `bye` frame if asked for."""
        for session in list(self.sessions):
            if bye_after_ms is not None:
                bye = msgspec.json.encode({"type": "bye", "reconnect_after_ms": bye_after_ms})
                await session.socket.send_frame(bye, WSMsgType.TEXT)
            await session.socket.close(code=code)

    def forget(self) -> None:
        """Lose the log and begin a new one; sockets stay."""
        self.log = FakeLog()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        bearer = request.headers.get("Authorization")
        user = request.query.get("user") or self.tokens.get((bearer or "")[7:], "")
        status = 503 if user in self.away else 101 if user or bearer is None else 401
        if self.handshakes:
            status = self.handshakes.pop(0)
        if status != 101:
            return web.Response(status=status)
        socket = web.WebSocketResponse(protocols=("chat.v1.json",), max_msg_size=int(self.limits["frame_bytes"]))
        await socket.prepare(request)
        session = FakeSession(socket, user, self.frames_per_socket())
        self.sessions.add(session)
        self.connections += 1
        if user:  # else the first frame will say who it is
            session.put(msgspec.json.encode(self._hello(session)))
        works = [session.write()] if self.silent else [session.write(), session.beat(self.heartbeat_ms / 1000)]
        tasks = [asyncio.create_task(work) for work in works]
        try:
            async for message in socket:
                await self._receive(session, message.data)
        finally:
            self.sessions.discard(session)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return socket

    def _hello(self, session: FakeSession) -> Frame:
        hello = {"type": "hello", "protocol": "chat.v1.json", "session": uuid.uuid4().hex, "log": self.log.id}
        return {**hello, "user": session.user, "heartbeat_ms": self.heartbeat_ms, "limits": self.limits}

    async def _receive(self, session: FakeSession, text: str | bytes) -> None:
        try:
            frame = msgspec.json.decode(text, type=dict[str, Any])
            kind = frame["type"]
        except (msgspec.MsgspecError, KeyError):
            kind, frame = "", {}
        self.requests.append((session.user, frame))
        if kind == "auth" or not session.user:
            await self._authenticate(session, kind, frame)
            return
        follow: list[bytes] = []
        try:
            fields, follow = self._answer(session, kind, frame)
            reply = {"type": "reply", "id": frame.get("id"), "ok": True, **fields}
        except RefusedError as no:
            error: Frame = {"code": no.refusal.code, "message": no.refusal.message, "temporary": no.refusal.temporary}
            if no.refusal.field is not None:
                error["field"] = no.refusal.field
            reply = {"type": "reply", "id": frame.get("id"), "ok": False, "error": error}
        frames = [msgspec.json.encode(reply), *follow]
        if kind == "history" and self.reads_held is not None:
            session.later(self.reads_held, frames)
        elif kind in COMMANDS and self.lose_replies:
            self.lose_replies -= 1
        elif kind in COMMANDS and self.reply_delay_s:
            asyncio.get_running_loop().call_later(self.reply_delay_s, _put_all, session, frames)
        else:
            _put_all(session, frames)

    async def _authenticate(self, session: FakeSession, kind: str, frame: Frame) -> None:
        """The first `auth`, a later one, or a request before it; another user's token ends the socket."""
        user, is_first = self.tokens.get(frame.get("token", "")), not session.user
        if kind == "auth" and user is not None and (is_first or user == session.user):
            session.put(msgspec.json.encode({"type": "reply", "id": frame.get("id"), "ok": True}))
            session.user = user
            if is_first:
                session.put(msgspec.json.encode(self._hello(session)))
            return
        error = {"code": "unauthorized", "message": "not with this token", "temporary": False}
        session.put(msgspec.json.encode({"type": "reply", "id": frame.get("id"), "ok": False, "error": error}))
        if kind == "auth":
            await session.socket.close(code=4501)

    def _answer(self, session: FakeSession, kind: str, frame: Frame) -> tuple[Frame, list[bytes]]:
        """The reply's fields, and the frames that follow it."""
        if kind in COMMANDS:
            return self._command(session, kind, frame), []
        match kind:
            case "subscribe":
                return self._subscribe(session, frame)
            case "unsubscribe":
                session.follows.discard(_group(frame))
                return {}, []
            case "history":
                return self._history(session, frame), []
            case "state":
                self._need_member(session, frame)
                return {"state": self.log.group(_group(frame)).view(frame.get("at_seq"))}, []
            case "members":
                self._need_member(session, frame)
                return self._members(frame), []
            case "ping":
                return {}, []
        raise RefusedError(rules.invalid("type", "there is no such request"))

    def _command(self, session: FakeSession, kind: str, frame: Frame) -> Frame:
        _refuse_next(self.refusals)
        command = _parse(kind, frame, session.user)
        outcome = self.log.append(command)
        added = {"group": command.group} if kind == "create_group" else {}
        match outcome:
            case Event():
                self._publish(outcome)
                sent = {"at": outcome.at, "duplicate": False} if kind == "send" else {}
                return {**added, "seq": outcome.seq, **sent}
            case Duplicate():
                return {**added, "seq": outcome.seq, "at": instants.to_text(outcome.at_ms), "duplicate": True}
            case Rejection():
                raise RefusedError(outcome)
        return added

    def _publish(self, event: Event) -> None:
        """Give a live event to all who follow its group; who is a member no longer gets it as the last one."""
        if self.skip_live:
            self.skip_live -= 1
            return
        copies = 2 if self.double_live else 1
        self.double_live -= copies - 1
        value = self.log.group(event.group).frames[event.seq - 1]
        gone = event.data.user if isinstance(event.data, MemberLeft | MemberRemoved) else None
        for session in self.sessions:
            if event.group in session.follows:
                _put_all(session, [value] * copies)
                if session.user == gone or isinstance(event.data, GroupDeleted):
                    session.follows.discard(event.group)

    def _subscribe(self, session: FakeSession, frame: Frame) -> tuple[Frame, list[bytes]]:
        if "groups" not in frame:
            return self._subscribe_one(session, frame, state=frame.get("state", True))
        results, follow = [], []
        for part in frame["groups"]:
            try:
                fields, frames = self._subscribe_one(session, part, state=False)
                results.append({"ok": True, **fields})
                follow += frames
            except RefusedError as no:
                error = {"code": no.refusal.code, "message": no.refusal.message, "temporary": no.refusal.temporary}
                results.append({"ok": False, "group": part.get("group"), "error": error})
        return {"results": results}, follow

    def _subscribe_one(self, session: FakeSession, frame: Frame, *, state: bool) -> tuple[Frame, list[bytes]]:
        _refuse_next(self.subscribe_refusals)
        self._need_member(session, frame)
        group = self.log.group(_group(frame))
        after, last, head, first = frame.get("after"), frame.get("last"), group.state.seq, group.state.first
        if after is not None and last is not None:
            raise RefusedError(rules.invalid("last", "after and last exclude each other"))
        recovered, start = True, head + 1
        if last is not None:
            start = group.last(session.user, last)
        elif after is not None and (after > head or frame.get("log", self.log.id) != self.log.id):
            recovered = False
        elif after is not None:
            recovered, start = after in {0, first - 1} or after >= first, max(after + 1, first)
        session.follows.add(group.state.id)
        fields = {"group": group.state.id, "seq": head, "from": start, "recovered": recovered}
        if state:
            fields["state"] = group.view()
        return fields, group.run(session.user, start, head)

    def _history(self, session: FakeSession, frame: Frame) -> Frame:
        self._need_member(session, frame)
        group = self.log.group(_group(frame))
        before, after, limit = frame.get("before", math.inf), frame.get("after", 0), frame.get("limit", 50)
        if "before" in frame and "after" in frame:
            raise RefusedError(rules.invalid("after", "before and after exclude each other"))
        found = [item for item in group.history(session.user) if after < item["seq"] < before]
        kept = found[:limit] if "after" in frame else found[-limit:]
        return {"messages": kept, "more": len(found) > len(kept)}

    def _members(self, frame: Frame) -> Frame:
        members = self.log.group(_group(frame)).view()["members"]
        start, limit = int(frame.get("cursor", 0)), frame.get("limit", 1000)
        cursor = {"cursor": str(start + limit)} if start + limit < len(members) else {}
        return {"members": members[start : start + limit], **cursor}

    def _need_member(self, session: FakeSession, frame: Frame) -> None:
        if refusal := self.log.may_read(_group(frame), session.user):
            raise RefusedError(refusal)

    async def _page(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(_ROOT / "web/static/index.html")

    async def _static(self, request: web.Request) -> web.FileResponse:
        name = request.match_info["name"]
        for path in (_ROOT / "clients/js" / name, _ROOT / "web/static" / name):
            if path.is_file():
                return web.FileResponse(path)
        raise web.HTTPNotFound


def _put_all(session: FakeSession, frames: list[bytes]) -> None:
    for frame in frames:
        session.put(frame)


def _refuse_next(codes: list[str]) -> None:
    if codes:
        code = codes.pop(0)
        temporary = code in {"timeout", "unavailable", "rate_limited"}
        raise RefusedError(Rejection(code, "as the test asked", temporary=temporary))  # type: ignore[arg-type]


def _group(frame: Frame) -> str:
    group = frame.get("group")
    if not isinstance(group, str) or (why := rules.bad_id(group)):
        raise RefusedError(rules.invalid("group", "must be an id" if not isinstance(group, str) else why or ""))
    return group


def _parse(kind: str, frame: Frame, user: str) -> AnyCommand:
    if kind == "create_group" and "group" not in frame and "client_msg_id" in frame:
        frame = {**frame, "group": uuid.uuid5(uuid.NAMESPACE_OID, f"{user}\n{frame['client_msg_id']}").hex}
    _group(frame)
    try:
        command: AnyCommand = msgspec.convert({**frame, "type": kind, "id": uuid.uuid4().hex, "by": user}, AnyCommand)
    except msgspec.ValidationError as bad:
        message = str(bad)
        field = message.partition("$.")[2].rstrip("`") or message.partition("field `")[2].partition("`")[0]
        raise RefusedError(rules.invalid(field, message)) from bad
    return command


@click.command()
@click.option("--port", default=8080, show_default=True, help="Port to listen on, at 127.0.0.1.")
def main(port: int) -> None:
    """Serve a gateway without a broker, and the chat page, until Ctrl-C."""

    async def serve() -> None:
        async with FakeGateway(port, page=True) as gateway:
            click.echo(gateway.url)
            await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


if __name__ == "__main__":
    main()
