"""A group as one user sees it, kept up to date: settings, members, messages, and what is on its way from here.

    async with chat.conversation("g1") as room:
        room.post("hello")                  # shown at once, pending
        async for _ in room.updates():      # after every change, or several
            show(room.messages)

It is fed by a subscription of its own and by pages of history; `standing`, `timeline` and `presence_view` fold them,
and `outbox` sends what is posted.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from auerbach_client.errors import AuerbachError, ChatError, EndedError
from auerbach_client.frames import Event, Reset, Withheld
from auerbach_client.messages import Message, Status
from auerbach_client.outbox import Outbox
from auerbach_client.presence_view import PresenceView
from auerbach_client.standing import Standing
from auerbach_client.timeline import Timeline

if TYPE_CHECKING:
    from auerbach_client.client import Client
    from auerbach_client.subscription import Subscription

_MOST_A_PAGE = 200

_log = logging.getLogger("auerbach_client")


class Conversation:
    """Made by `Client.conversation`, for `async with`; entering it waits for the state and the newest messages.

    Attributes:
        group: the group's id.
        ending: the event that ended the user's membership or the group; None until then. Nothing comes behind it.
        error: what ended the conversation otherwise; None until then.
        version: grows with every change.
    """

    def __init__(self, client: "Client", group: str, *, recent: int, most: int) -> None:
        if not 0 <= recent <= most:
            raise ValueError("recent must be from 0 to most")
        self.group = group
        self.ending: Event | None = None
        self.error: AuerbachError | None = None
        self.version = 0
        self._client = client
        self._recent = recent
        self._standing = Standing()
        self._timeline = Timeline("", most)
        self._outbox = Outbox(client, group, self._timeline, own=self._own, on_change=self._changed)
        self._presence = PresenceView(client, group, own=self._own, on_change=self._changed)
        self._run: Subscription | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._following: asyncio.Task[None] | None = None
        self._paging = asyncio.Lock()
        self._life = 0
        self._news = asyncio.Event()
        self._closed = False

    async def __aenter__(self) -> Self:
        """Follow the group.

        Raises:
            ChatError: the server refuses it.
            EndedError: the client is at its end.
            ValueError: this client follows the group already.
        """
        self._run = self._client.subscribe(self.group)
        self._run.on_presence = self._presence.take
        try:
            await self._run.__aenter__()
            self._timeline.user = self._client.hello.user
            if self._run.state is not None:
                self._standing.begin(self._run.state)
            self._following = self._own(self._follow(self._run))
            await self.older(self._recent)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Follow the group no longer. What has no outcome yet is not awaited: its message is failed, and may come."""
        self._closed = True
        if self._run is not None:
            await self._run.aclose()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._changed()

    @property
    def name(self) -> str:
        """The group's name."""
        return self._standing.name

    @property
    def topic(self) -> str:
        """The group's topic; empty if there is none."""
        return self._standing.topic

    @property
    def join(self) -> str:
        """Who may join: everybody (`open`), or who is added (`invite`)."""
        return self._standing.join

    @property
    def history(self) -> str:
        """What members may read: `all`, or what was sent since they `joined`."""
        return self._standing.history

    @property
    def members(self) -> Mapping[str, str]:
        """Roles by user, in the order of joining."""
        return self._standing.members

    @property
    def members_more(self) -> bool:
        """The group is so large that `members` lacks some: see `Client.member_pages`."""
        return self._standing.members_more

    @property
    def online(self) -> frozenset[str]:
        """The users who are online, as far as was told: see `online_more`."""
        return frozenset(self._presence.users)

    @property
    def online_more(self) -> bool:
        """So many are online that `online` lacks some."""
        return self._presence.more

    @property
    def seq(self) -> int:
        """The last event that is taken in."""
        return self._standing.seq

    @property
    def messages(self) -> tuple[Message, ...]:
        """What to show, each message once: posted ones by seq, then those from here that are pending or failed."""
        return self._timeline.messages

    @property
    def more(self) -> bool:
        """Whether there are older messages than those held, as far as is known."""
        return self._timeline.more

    async def updates(self) -> AsyncIterator[int]:
        """The `version`, now and after changes: once for several while the consumer is busy. Ends with the run.

        Raises:
            ChatError: the server refuses the group from now on.
            EndedError: the client is at its end.
        """
        seen = -1
        while True:
            if seen != self.version:
                seen = self.version
                yield seen
            elif self._following is None or self._following.done() or self._closed:
                break
            else:
                await self._news.wait()
        if self.error is not None:
            raise self.error

    async def older(self, limit: int = 50) -> int:
        """Scroll back: hold up to `limit` older messages more (a page has 200 at most), within the bound; how many.

        Raises:
            ChatError: the server refuses it.
            EndedError: the client is at its end.
        """
        async with self._paging:
            while self._timeline.more and (wanted := min(limit, self._timeline.room, _MOST_A_PAGE)) > 0:
                life, held = self._life, len(self._timeline.messages)
                self._timeline.expect()
                page = await self._client.history(self.group, before=self._timeline.floor, limit=wanted)
                # Of a life or a log that is void meanwhile, or overtaken by too much: once more.
                if life == self._life and self._timeline.merge(page.messages, more=page.more):
                    self._changed()
                    return len(self._timeline.messages) - held
        return 0

    def post(
        self,
        text: str,
        *,
        reply_to: int | None = None,
        mentions: Sequence[str] = (),
        attributes: dict[str, Any] | None = None,
        client_msg_id: str | None = None,
    ) -> Message:
        """Send a message and show it at once, pending; messages are posted in the order of the calls.

        Raises:
            ChatError: `overloaded`, temporary: a thousand are on their way.
            RuntimeError: the conversation is closed.
        """
        if self._closed or self._following is None:
            raise RuntimeError("the conversation is closed")
        message = Message(
            self._client.hello.user, text, client_msg_id or uuid.uuid4().hex, reply_to, tuple(mentions), attributes,
            Status.PENDING,
        )  # fmt: skip
        self._outbox.post(message)
        return message

    def retry(self, message: Message) -> None:
        """Send a failed message again, with its `client_msg_id`: if it was taken after all, it is not doubled.

        That holds for 10 minutes from its first attempt, longer where the group is not busy (protocol §2).
        """
        self._outbox.retry(message)

    def discard(self, message: Message) -> None:
        """Show a failed message no longer. If it was taken after all, it comes as any other."""
        self._outbox.discard(message)

    async def settled(self) -> None:
        """Wait until no message from here is pending."""
        while self._outbox.pending:
            await self._news.wait()

    async def _follow(self, run: "Subscription") -> None:
        last: Event | None = None
        try:
            async for item in run:
                match item:
                    case Event():
                        self._standing.apply(item)
                        self._timeline.apply(item)
                        last = item
                    case Withheld():
                        self._standing.seq = max(self._standing.seq, item.through)
                    case Reset():
                        await self._begin_again()
                self._changed()
        except AuerbachError as error:
            self.error = error
        except Exception as bug:  # noqa: BLE001 - the task's edge: who waits for updates must hear of it
            _log.exception("the conversation failed")
            self.error = EndedError(f"the conversation failed: {bug!r}")
        else:
            self.ending = None if self._closed else last
        finally:
            # Woken when this task is done, so that who looks then sees that it is.
            asyncio.get_running_loop().call_soon(self._changed)

    async def _begin_again(self) -> None:
        """All that was held is void: take the state and the newest messages anew, however long that is refused."""
        self._life += 1
        self._timeline.clear()
        self._changed()
        while True:
            try:
                state = await self._client.state(self.group)
                self._standing.begin(state)
                self._presence.begin(state)
                await self.older(self._recent)
            except ChatError as refused:
                if not refused.temporary:
                    raise
            else:
                return

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _changed(self) -> None:
        self.version += 1
        news, self._news = self._news, asyncio.Event()
        news.set()
