"""The client: one user's socket, kept alive, with the protocol's requests as methods."""

from collections.abc import Sequence
from typing import Any, Self

from auerbach_client import backoff
from auerbach_client.backoff import Backoff
from auerbach_client.changes import Changes
from auerbach_client.connection import Dialer, Token
from auerbach_client.frames import Hello
from auerbach_client.session import Session
from auerbach_client.subscription import Subscription


class Client(Changes):
    """A user's connection to the service, for `async with`.

    It reconnects with full jitter, resumes its subscriptions where they were, and repeats requests that got no reply
    with the same `client_msg_id`, so that each takes effect once. Requests of one group take effect in the order of
    the calls, except that one refused for now is repeated behind those that were not.

    Args:
        url: `http://host:port` of a gateway, or several of one service, taken in turn at each connection.
        user: the user's id, where the service runs in development mode.
        token: a JWT, or a function (also `async`) that returns a fresh one for each connection. Either this or `user`.
        reconnect: the waits between connections; by default 1 to 30 s as the protocol asks.
        retry: the waits before a request that was refused for now is repeated, up to eight times.
        connect_timeout_s: `async with` gives up if there is no first connection within this.
        request_timeout_s: a request ends with `ChatError("timeout")` if it has no outcome within this.
        reply_timeout_s: a connection on which a reply takes longer than this is broken, and replaced.
        in_flight: so many requests may be open; further calls wait.
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
    ) -> None:
        self._dialer = Dialer([url] if isinstance(url, str) else url, user=user, token=token)
        self._reconnect = reconnect or backoff.reconnecting()
        self._retry = retry or backoff.repeating()
        self._connect_timeout_s = connect_timeout_s
        self._request_timeout_s = request_timeout_s
        self._reply_timeout_s = reply_timeout_s
        self._in_flight = in_flight

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            EndedError: the server refuses this user for good, or there is no connection within `connect_timeout_s`.
        """
        self._session = Session(
            self._dialer, reconnect=self._reconnect, retry=self._retry, in_flight=self._in_flight,
            request_timeout_s=self._request_timeout_s, reply_timeout_s=self._reply_timeout_s,
        )  # fmt: skip
        await self._session.open(self._connect_timeout_s)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection. Open requests fail with `EndedError`, subscriptions end."""
        await self._session.aclose()

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
        consumer that is behind; what comes then is fetched again when it has caught up.

        Raises:
            ValueError: both `after` and `last` are given, or this client follows the group already.
        """
        return self._session.feed.subscribe(
            group, after=after, last=last, log=log, state=state, queue_events=queue_events
        )

    async def history(
        self, group: str, *, before: int | None = None, after: int | None = None, limit: int | None = None
    ) -> tuple[list[dict[str, Any]], bool]:
        """A page of messages, oldest first (items as in protocol §9), and whether there are more."""
        reply = await self.request("history", group=group, before=before, after=after, limit=limit)
        return reply.get("messages", []), reply.get("more") is True

    async def state(self, group: str, *, at_seq: int | None = None) -> dict[str, Any]:
        """The group's state (protocol §4): now, or as it was at `at_seq`."""
        state: dict[str, Any] = (await self.request("state", group=group, at_seq=at_seq)).get("state", {})
        return state

    async def members(
        self, group: str, *, limit: int | None = None, cursor: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """A page of members in the order of joining, and the cursor of the next page; None behind the last."""
        reply = await self.request("members", group=group, limit=limit, cursor=cursor)
        return reply.get("members", []), reply.get("cursor")

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
