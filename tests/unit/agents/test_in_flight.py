"""Tickets: who waits gets on when all that was begun before has ended, in whatever order."""

import asyncio

import pytest

from agents.in_flight import InFlight, InOrder


async def test_nothing_under_way_is_settled_at_once() -> None:
    await asyncio.wait_for(InFlight().settled(), 30)


async def test_later_tickets_do_not_prolong_a_wait() -> None:
    flight = InFlight()
    first, second = flight.begin(), flight.begin()
    waiting = asyncio.create_task(flight.settled())
    await asyncio.sleep(0)
    flight.begin()
    flight.end(second)
    await asyncio.sleep(0)
    assert not waiting.done()
    flight.end(first)
    await asyncio.wait_for(waiting, 30)
    assert len(flight) == 1


async def test_who_waits_for_what_is_abandoned_is_told() -> None:
    flight = InFlight()
    flight.begin()
    waiting = asyncio.create_task(flight.settled())
    await asyncio.sleep(0)
    flight.abandon(ConnectionError("gone"))
    with pytest.raises(ConnectionError):
        await waiting


async def test_the_age_is_that_of_the_oldest() -> None:
    flight = InFlight()
    assert flight.age_s() == 0
    ticket = flight.begin()
    assert flight.age_s() >= 0
    flight.end(ticket)
    assert flight.age_s() == 0


def test_what_settles_out_of_order_is_acknowledged_in_order() -> None:
    acknowledged: list[int] = []
    order = InOrder()
    first, second, third = (order.begin(lambda n=n: acknowledged.append(n)) for n in range(3))  # type: ignore[misc]
    second()
    assert acknowledged == []
    first()
    assert acknowledged == [0, 1]
    third()
    assert acknowledged == [0, 1, 2]
