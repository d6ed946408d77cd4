"""What is under way to RabbitMQ: positions reach up to what is confirmed, and a lost channel repeats in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from bridges.connection import LostError
from bridges.outbound.channel import Outgoing, Publisher
from bridges.outbound.flow import HELD_EVENTS, Flow
from bridges.outbound.positions import Place
from bridges.outbound.push import Push, Pushes
from bridges.outbound.steps import Item, Step
from tests.support.until import until


class Channel:
    """A channel: what was published on it, confirmed when the test says so."""

    def __init__(self, flow: Flow, messages: int = 1000) -> None:
        self.fault: str | None = None
        self.published: list[Outgoing] = []
        self.unconfirmed = 0
        self._flow, self._messages = flow, messages

    @property
    def room(self) -> tuple[int, int]:
        return self._messages - self.unconfirmed, 8 * 1024 * 1024

    async def publish(self, messages: list[Outgoing]) -> None:
        self.published += messages
        self.unconfirmed += len(messages)

    def confirm(self, *numbers: int) -> None:
        for number in numbers:
            self.unconfirmed -= 1
            self.published[number].confirmed()
        self._flow.change()

    def end(self, why: str = "gone") -> None:
        self.fault = why
        self._flow.change()


class FakePushes:
    """Pushes that are decided when the test says so."""

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[Push | None]] = []

    def decide(self, item: Item) -> asyncio.Future[Push | None]:
        self.asked.append(asyncio.get_running_loop().create_future())
        return self.asked[-1]


def item(offset: int, partition: int = 0) -> Item:
    return Item(partition, offset, 0, "g1", offset, "message.posted", f"e{offset}", 0, b"{}")


def event(offset: int, partition: int = 0) -> Step:
    return Step(partition, Place(offset + 1, 0), item(offset, partition))


def nothing(offset: int, epoch: int, partition: int = 0) -> Step:
    return Step(partition, Place(offset + 1, epoch), None)


def push_of(offset: int) -> Push:
    return Push("g1", "anna", "Friends", "hello", f"e{offset}", 0)


@asynccontextmanager
async def publishing(flow: Flow, messages: int = 1000) -> AsyncIterator[Channel]:
    channel = Channel(flow, messages)
    task = asyncio.create_task(flow.publish_on(cast("Publisher", channel)))
    yield channel
    task.cancel()
    await asyncio.wait({task})


@pytest.fixture
def flow() -> Flow:
    made = Flow("events", None)
    made.begin(1, {0: Place(0, -1), 1: Place(0, -1)})
    return made


def ids(channel: Channel) -> list[str]:
    return [message.message_id for message in channel.published]


async def test_a_position_reaches_up_to_the_first_event_that_is_not_confirmed(flow: Flow) -> None:
    flow.take(1, [event(0), event(1), event(2), event(0, 1)])
    async with publishing(flow) as channel:
        await until(lambda: len(channel.published) == 4)
        channel.confirm(0, 2)
        assert flow.reached(1) == {0: Place(1, 0), 1: Place(0, -1)}

        channel.confirm(1, 3)

        assert flow.reached(1) == {0: Place(3, 0), 1: Place(1, 0)}


async def test_claims_and_void_records_move_a_position_once_all_before_them_is_confirmed(flow: Flow) -> None:
    flow.take(1, [nothing(0, 0), event(1), nothing(2, 2), nothing(3, 2)])
    assert flow.reached(1)[0] == Place(1, 0)
    async with publishing(flow) as channel:
        await until(lambda: channel.published)

        channel.confirm(0)

        assert flow.reached(1)[0] == Place(4, 2)


async def test_a_lost_channel_repeats_all_behind_the_first_unconfirmed_event_in_order(flow: Flow) -> None:
    flow.take(1, [event(0), event(1), event(2)])
    async with publishing(flow) as channel:
        await until(lambda: len(channel.published) == 3)
        channel.confirm(0, 2)
    flow.take(1, [event(3)])

    async with publishing(flow) as channel:
        await until(lambda: len(channel.published) == 3)
        assert ids(channel) == ["e1", "e2", "e3"]
        channel.confirm(1, 2)
        assert flow.reached(1)[0] == Place(1, 0)
        channel.confirm(0)
        assert flow.reached(1)[0] == Place(4, 0)


async def test_a_channel_that_ended_is_told_with_its_cause(flow: Flow) -> None:
    channel = Channel(flow)
    publishing_on = asyncio.create_task(flow.publish_on(cast("Publisher", channel)))
    flow.take(1, [event(0)])
    await until(lambda: channel.published)

    channel.end("a queue refused it")

    with pytest.raises(LostError, match="a queue refused it"):
        await publishing_on


async def test_no_more_is_under_way_than_the_channel_has_room_for(flow: Flow) -> None:
    flow.take(1, [event(n) for n in range(10)])
    async with publishing(flow, messages=3) as channel:
        await until(lambda: len(channel.published) == 3)
        channel.confirm(0, 1)
        await until(lambda: len(channel.published) == 5)
        assert channel.unconfirmed == 3


async def test_reading_pauses_while_much_is_held_and_goes_on_when_it_is_done(flow: Flow) -> None:
    flow.take(1, [event(n) for n in range(HELD_EVENTS)])
    assert flow.full()
    async with publishing(flow) as channel:
        await until(lambda: channel.published)

        channel.confirm(0)

        assert not flow.full()


async def test_the_end_of_a_generation_waits_for_what_is_sent_and_drops_what_is_not(flow: Flow) -> None:
    flow.take(1, [event(0), event(1)])
    async with publishing(flow, messages=1) as channel:
        await until(lambda: channel.published)
        finishing = asyncio.create_task(flow.finish(1, 600))
        await asyncio.sleep(0)
        assert not finishing.done()

        channel.confirm(0)
        await finishing

        assert flow.reached(1)[0] == Place(1, 0)
        assert ids(channel) == ["e0"]


async def test_the_end_of_a_generation_waits_for_nobody_without_a_channel(flow: Flow) -> None:
    flow.take(1, [event(0)])
    async with publishing(flow) as channel:
        await until(lambda: channel.published)

    await asyncio.wait_for(flow.finish(1, 600), 60)

    assert flow.reached(1)[0] == Place(0, -1)


async def test_confirmations_and_steps_of_an_ended_generation_move_nothing(flow: Flow) -> None:
    flow.take(1, [event(0)])
    async with publishing(flow) as channel:
        await until(lambda: channel.published)
        await flow.finish(1, 0)
        flow.begin(2, {0: Place(0, -1)})
        flow.take(1, [event(0), event(1)])

        channel.confirm(0)

        assert flow.reached(2) == {0: Place(0, -1)}
        assert flow.reached(1) == {}
        flow.take(2, [event(0)])
        await until(lambda: len(channel.published) == 2)
        channel.confirm(1)
        assert flow.reached(2) == {0: Place(1, 0)}


class PushedFlow:
    """A flow whose pushes are decided by hand."""

    def __init__(self, exchange: str | None = "events") -> None:
        self.pushes = FakePushes()
        self.flow = Flow(exchange, cast("Pushes", self.pushes))
        self.flow.begin(1, {0: Place(0, -1)})


async def test_an_event_is_done_when_its_push_is_confirmed_too() -> None:
    pushed = PushedFlow()
    pushed.flow.take(1, [event(0)])
    async with publishing(pushed.flow) as channel:
        await until(lambda: channel.published)
        channel.confirm(0)
        assert pushed.flow.reached(1)[0] == Place(0, -1)

        pushed.pushes.asked[0].set_result(push_of(0))
        await until(lambda: len(channel.published) == 2)
        assert pushed.flow.reached(1)[0] == Place(0, -1)
        channel.confirm(1)

        assert pushed.flow.reached(1)[0] == Place(1, 0)
        assert ids(channel) == ["e0", "e0-push"]


async def test_an_event_that_is_pushed_to_nobody_waits_for_nothing_more() -> None:
    pushed = PushedFlow()
    pushed.flow.take(1, [event(0)])
    async with publishing(pushed.flow) as channel:
        await until(lambda: channel.published)
        channel.confirm(0)

        pushed.pushes.asked[0].set_result(None)

        await until(lambda: pushed.flow.reached(1)[0] == Place(1, 0))


async def test_a_push_that_was_confirmed_is_not_sent_again_with_its_event() -> None:
    pushed = PushedFlow()
    pushed.flow.take(1, [event(0)])
    async with publishing(pushed.flow) as channel:
        await until(lambda: channel.published)
        pushed.pushes.asked[0].set_result(push_of(0))
        await until(lambda: len(channel.published) == 2)
        channel.confirm(1)

    async with publishing(pushed.flow) as channel:
        await until(lambda: channel.published)
        channel.confirm(0)

        assert ids(channel) == ["e0"]
        assert pushed.flow.reached(1)[0] == Place(1, 0)
        assert len(pushed.pushes.asked) == 1


async def test_a_push_that_was_not_confirmed_is_sent_again() -> None:
    pushed = PushedFlow()
    pushed.flow.take(1, [event(0)])
    async with publishing(pushed.flow) as channel:
        await until(lambda: channel.published)
        channel.confirm(0)
        pushed.pushes.asked[0].set_result(push_of(0))
        await until(lambda: len(channel.published) == 2)

    async with publishing(pushed.flow) as channel:
        await until(lambda: len(channel.published) == 2)
        assert sorted(ids(channel)) == ["e0", "e0-push"]


async def test_where_events_are_not_published_pushes_alone_are() -> None:
    pushed = PushedFlow(exchange=None)
    pushed.flow.take(1, [event(0), event(1)])
    async with publishing(pushed.flow) as channel:
        await until(lambda: len(pushed.pushes.asked) == 2)
        pushed.pushes.asked[0].set_result(None)
        pushed.pushes.asked[1].set_result(push_of(1))
        await until(lambda: channel.published)
        channel.confirm(0)

        assert ids(channel) == ["e1-push"]
        assert pushed.flow.reached(1)[0] == Place(2, 0)


async def test_what_is_asked_for_an_ended_generation_is_given_up() -> None:
    pushed = PushedFlow()
    pushed.flow.take(1, [event(0)])
    async with publishing(pushed.flow) as channel:
        await until(lambda: channel.published)

        await pushed.flow.finish(1, 0)

        assert pushed.pushes.asked[0].cancelled()
