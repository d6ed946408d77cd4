"""All old sockets of this gateway: their pings and their drain."""

from web.legacy import metrics
from web.legacy.session import LegacySession
from web.sessions import Sockets


class LegacySessions(Sockets[LegacySession]):
    """The open sockets. Each is looked at four times a second: the old service pings after one second of silence."""

    every_s = 0.25
    between_slices_s = 0
    idle_s = 0.05
    gauge = metrics.SOCKETS
