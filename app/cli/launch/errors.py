"""What stops a start. Each message is for the person who typed the command: one line, and what to do."""


class LaunchError(Exception):
    """The service cannot be started, or cannot go on; the message says why and which setting decides it."""


class TakenError(LaunchError):
    """A process of that name runs already on this data folder."""
