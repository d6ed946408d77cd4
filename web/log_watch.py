"""Whether the log is still the one that this gateway began to read (design §3, protocol §1).

A topic that was deleted and made again has its old name, and offsets that a reader of the old one takes for its own.
Only Kafka's id of the topic tells the two apart.
"""

import asyncio
from collections.abc import Callable

from app.kafka import topics
from web.log_reader import OtherLogError

EVERY_S = 5.0

# The id of the log that is there now, None if that is not known; blocks meanwhile.
Look = Callable[[], str | None]


async def watch(log_id: str, look: Look, on_look: Callable[[bool], None], every_s: float = EVERY_S) -> None:
    """Look every `every_s`, until cancelled. `on_look` is told each time whether the log could be looked at.

    Raises:
        OtherLogError: the log is another one now. One that cannot be looked at is waited for.
    """
    while True:
        await asyncio.sleep(every_s)
        found = await asyncio.to_thread(look)
        on_look(found is not None)
        if found is not None and found != log_id:
            raise OtherLogError(f"{topics.EVENTS} is another log now ({found}, it was {log_id}): start anew")
