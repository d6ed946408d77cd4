"""Who is online in a group, as far as was told (protocol §5): signals may be lost, and are with a connection."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from auerbach_client.answers import GroupState, Online
from auerbach_client.errors import AuerbachError
from auerbach_client.frames import Presence

if TYPE_CHECKING:
    from auerbach_client.client import Client


class PresenceView:
    """`users` are online; so many may be that it lacks some (`more`).

    `own` starts a task and ends it with the conversation. `on_change` is called when signals or an answer came.
    """

    def __init__(
        self,
        client: "Client",
        group: str,
        *,
        own: Callable[[Coroutine[Any, Any, None]], object],
        on_change: Callable[[], None],
    ) -> None:
        self.users: set[str] = set()
        self.more = False
        self._client = client
        self._group = group
        self._own = own
        self._on_change = on_change
        self._asking = False

    def begin(self, told: GroupState | Online) -> None:
        """Take over what the server tells."""
        self.users, self.more = set(told.online), told.online_more

    def take(self, told: GroupState | Presence | None) -> None:
        """Take in what a subscription tells (`Subscription.on_presence`); None: nothing, on a new connection."""
        match told:
            case GroupState():
                self.begin(told)
            case Presence():
                self.users.difference_update(told.left)
                self.users.update(told.joined)
                self._on_change()
            case None if not self._asking:
                self._asking = True
                self._own(self._ask())

    async def _ask(self) -> None:
        """Ask anew, for signals were missed."""
        try:
            self.begin(await self._client.presence(self._group))
        except AuerbachError:
            pass  # what is known is kept; the run says what is wrong
        finally:
            self._asking = False
        self._on_change()
