"""Who came and went in a group, and the frame that tells it (protocol §5)."""

from dataclasses import dataclass
from functools import cached_property

import msgspec

from web.frames import text_frame

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True)
class PresenceChange:
    """What the followers of a group are told at once: users who are online now, and users who are not any more.

    `again`: (user, session id) of users who opened a further legacy channel while they were online. Only followers of
    the replaced service's protocol show it; a channel of that user and group with another session id has been
    replaced, and closes itself. A user who is in `joined` as well is shown once.
    """

    group: str
    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    again: tuple[tuple[str, str], ...] = ()

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
