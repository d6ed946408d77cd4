"""What librdkafka says goes to the process's own log, and not forty times a second while a broker is away."""

import logging
from time import monotonic
from typing import Any

EVERY_S = 1.0


class Throttle(logging.Filter):
    """Lets one record through in `EVERY_S`, and has it say how many were held back before it."""

    def __init__(self) -> None:
        super().__init__()
        self._last = -EVERY_S
        self._held_back = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is logged."""
        now = monotonic()
        if now - self._last < EVERY_S:
            self._held_back += 1
            return False
        if self._held_back:
            record.msg = f"{record.msg} (and {self._held_back} more before)"
        self._last, self._held_back = now, 0
        return True


LOGGER = logging.getLogger("librdkafka")
LOGGER.addFilter(Throttle())


def client_settings() -> dict[str, Any]:
    """Settings of a client that is polled: its logs arrive when it is."""
    return {"logger": LOGGER, "log_level": 3, "reconnect.backoff.max.ms": 1000}
