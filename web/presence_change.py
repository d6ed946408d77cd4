"""Who came and went in a group, and the frame that tells it (protocol §5)."""

from dataclasses import dataclass
from functools import cached_property

import msgspec

from web.frames import text_frame

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True)
class PresenceChange:
    """What the followers of a group are told at once: users who are online now, and users who are not any more.

    `again` and `opened` are for followers of the replaced service's protocol alone. `again`: users who opened a further
    channel while they were online, as often as they did. `opened`: (user, session id) of all channels that users who
    have a socket here opened at any gateway, in their order: the last one of each user replaces the others.
    """

    group: str
    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    opened: tuple[tuple[str, str], ...] = ()

    @cached_property
    def _frame(self) -> bytes | None:
        return _frame_of(self.group, self.joined, self.left)

    def frame_for(self, user: str) -> bytes | None:
        """The frame that a socket of `user` gets, None for none: one's own coming is no news."""
        if user in self.joined:
            return _frame_of(self.group, tuple(name for name in self.joined if name != user), self.left)
        return self._frame


def _frame_of(group: str, joined: tuple[str, ...], left: tuple[str, ...]) -> bytes | None:
    if not joined and not left:
        return None
    signal = {"type": "signal", "group": group, "kind": "presence", "joined": joined, "left": left}
    return text_frame(_encoder.encode(signal))
