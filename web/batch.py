"""The groups of one `subscribe`: prepared at the same time, each with a result of its own (protocol §4)."""

import asyncio
from collections.abc import Sequence
from typing import Any

from app.domain.outcomes import Rejection
from app.telemetry import logger
from web import frames, metrics
from web.reads_client import UnavailableError
from web.refusals import INTERNAL, NO_OWNER
from web.requests import Subscribe
from web.subscriptions import Prepared, Subscriptions, begins, without_page

# First pages that a batch keeps until its reply; those beyond are fetched again when their turn comes.
PAGES_BYTES = 1_048_576

Item = Subscribe | tuple[str, Rejection]

_log = logger("web")


async def prepare_all(subscriptions: Subscriptions, items: Sequence[Item], deadline: float) -> list[Prepared]:
    """What `Subscriptions.prepare` makes of each, in the order of `items`; who fails is refused alone.

    `deadline` is the loop's time. What is prepared is not admitted yet.
    """
    room = PAGES_BYTES

    async def one(item: Item) -> Prepared:
        nonlocal room
        if isinstance(item, tuple):
            return item[1]
        try:
            prepared = await subscriptions.prepare(item, deadline)
        except UnavailableError:
            return NO_OWNER
        except Exception:  # noqa: BLE001 - an edge: the others of the batch are begun all the same
            metrics.ERRORS.labels("subscribe").inc()
            _log.exception("a subscription failed")
            return INTERNAL
        if isinstance(prepared, tuple):
            room -= sum(len(bytes(frame)) for frame in prepared[1].frames)
            if room < 0:
                prepared = (prepared[0], without_page(prepared[1]))
        return prepared

    return await asyncio.gather(*(one(item) for item in items))


def results(items: Sequence[Item], admitted: Sequence[Prepared]) -> list[dict[str, Any]]:
    """What the reply says of each group, in the order of `items`."""
    groups = [item[0] if isinstance(item, tuple) else item.group for item in items]
    return [
        {"group": group, "ok": False, "error": frames.error_body(each)}
        if isinstance(each, Rejection)
        else {"ok": True, **begins(group, each[1])}
        for group, each in zip(groups, admitted, strict=True)
    ]
