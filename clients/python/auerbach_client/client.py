"""The client: one user's socket, kept alive, with the protocol's requests as methods."""

from collections.abc import Sequence
from typing import Any, Self

from auerbach_client import backoff
from auerbach_client.backoff import Backoff
from auerbach_client.changes import Changes
from auerbach_client.connection import Dialer, Token
from auerbach_client.conversation import Conversation
from auerbach_client.frames import Hello
from auerbach_client.questions import Questions
from auerbach_client.session import Session
from auerbach_client.subscription import Subscription


class Client(Changes, Questions):
    """A user's connection to the service, for `async with`. Any number of tasks may use it at once.

    It reconnects with full jitter, resumes its subscriptions where they were, and repeats requests that got no reply
    with the same `client_msg_id`, so that each takes effect once. Changes of one group take effect in the order of
    the calls. A call may be cancelled at any time: its request may take effect all the same, if it was sent.

    Args:
        url: `http://host:port` of a gateway, or several of one service, taken in turn at each connection.
        user: the user's id, where the service runs in development mode.
        token: a JWT, or a function (also `async`) that returns a fresh one: it is asked for each connection, after
            a refusal, and before the token of an open connection expires. Either this or `user`.
        reconnect: the waits between connections; by default 1 to 30 s as the protocol asks.
        retry: the waits before a request that was refused for now is repeated.
        connect_timeout_s: `async with` gives up if there is no first connection within this.
        request_timeout_s: a request ends with a temporary `ChatError` if it has no outcome that lasts within this. What
            may have taken effect is repeated for less than 10 minutes even if this is longer: so long an id is known.
        reply_timeout_s: a connection on which a reply takes longer than this is broken, and replaced.
        in_flight: so many requests may be open; further calls wait.
        pipeline: so many changes of one group may be on their way at once. With 1 they take effect in the order of
            the calls whatever happens. More is faster where the server is far away, but then one that is refused
            for now is repeated behind others that were not.

    Raises:
        ValueError: both or neither of `user` and `token`, or no URL.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        user: str | None = None,
        token: Token | None = None,
        reconnect: Backoff | None = None,
        retry: Backoff | None = None,
        connect_timeout_s: float = 30,
        request_timeout_s: float = 60,
        reply_timeout_s: float = 15,
        in_flight: int = 1000,
        pipeline: int = 1,
    ) -> None:
        if in_flight < 1 or pipeline < 1:
            raise ValueError("in_flight and pipeline must be at least 1")
        self._dialer = Dialer([url] if isinstance(url, str) else url, user=user, token=token)
        self._reconnect = reconnect or backoff.reconnecting()
        self._retry = retry or backoff.repeating()
        self._connect_timeout_s = connect_timeout_s
        self._request_timeout_s = request_timeout_s
        self._reply_timeout_s = reply_timeout_s
        self._in_flight = in_flight
        self._pipeline = pipeline
        self._opened: Session | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            EndedError: the server refuses this user for good, or there is no connection within `connect_timeout_s`.
        """
        if self._opened is not None:
            raise RuntimeError("a client is entered once")
        self._opened = Session(
            self._dialer, reconnect=self._reconnect, retry=self._retry, in_flight=self._in_flight,
            pipeline=self._pipeline, request_timeout_s=self._request_timeout_s, reply_timeout_s=self._reply_timeout_s,
        )  # fmt: skip
        await self._opened.open(self._connect_timeout_s)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection. Open requests fail with `EndedError`, subscriptions end."""
        if self._opened is not None:
            await self._opened.aclose()

    @property
    def _session(self) -> Session:
        if self._opened is None:
            raise RuntimeError("not connected: use `async with Client(…)`")
        return self._opened

    @property
    def online(self) -> bool:
        """Whether there is a connection at the moment. Requests and subscriptions wait while there is none."""
        return self._session.link.online

    @property
    def hello(self) -> Hello:
        """What the server said when it last said hello: user, session, log, limits."""
        return self._session.hello

    def interrupt(self) -> None:
        """Cut the connection as a bad network does; the client comes back. For tests of what builds on it."""
        self._session.link.cut()

    def subscribe(
        self,
        group: str,
        *,
        after: int | None = None,
        last: int | None = None,
        log: str | None = None,
        state: bool = True,
        queue_events: int = 1024,
    ) -> Subscription:
        """Follow a group: from the event behind `after` on, or with the `last` few, or from now on.

        `after` and `log` are a `Subscription`'s `position` and `log` of earlier. At most `queue_events` wait for a
        consumer that is behind; what comes then is fetched again when it has caught up. Subscriptions with `state`
        False that begin together go out a hundred a request.

        Raises:
            ValueError: both `after` and `last` are given, or this client follows the group already.
        """
        return self._session.feed.subscribe(
            group, after=after, last=last, log=log, state=state, queue_events=queue_events
        )

    def conversation(self, group: str, *, recent: int = 50, most: int = 5000) -> Conversation:
        """A group as this user sees it, kept up to date: members and messages, with local echo (for `async with`).

        It begins with the `recent` last messages, and holds at most `most`.

        Raises:
            ValueError: this client follows the group already.
        """
        return Conversation(self, group, recent=recent, most=most)

    async def ping(self) -> None:
        """A sign of life, there and back."""
        await self.request("ping")

    async def request(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Any request of the protocol; fields that are None are left out. The reply's fields.

        Raises:
            ChatError: refused, or no outcome within the deadline.
            EndedError: the client is at its end.
        """
        return await self._session.request(kind, {name: value for name, value in fields.items() if value is not None})
