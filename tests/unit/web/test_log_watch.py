"""A log that was made anew under its old name is seen by its id."""

import asyncio
from collections.abc import Iterator

import pytest

from web.log_reader import OtherLogError
from web.log_watch import watch


async def test_another_id_ends_the_watch_and_an_unknown_one_is_waited_for() -> None:
    told: Iterator[str | None] = iter(["the log", None, "the log", None, "another"])
    looked: list[bool] = []
    async with asyncio.timeout(30):
        with pytest.raises(OtherLogError, match=r"another log now \(another, it was the log\)"):
            await watch("the log", lambda: next(told), looked.append, every_s=0)
    assert looked == [True, False, True, False, True]
    assert next(told, "all was looked at") == "all was looked at"
