"""What records mean: acknowledgements, deliveries, and what the fence voids."""

import pytest

from app.domain.commands import CreateGroup, Send
from app.domain.events import Event, MessagePosted, encode_event
from app.kafka import topics
from app.kafka.partition import partition_for
from app.presence import announcement_headers
from app.reads import Outcome, OwnerRecord, encode_outcome, encode_owner
from tests.unit.web.world import LOG_ID, ORIGIN, PARTITIONS, Record, World, claim_record, event_record
from web.commander import Accepted, Result
from web.live_events import Run
from web.log_reader import Start

P = partition_for(b"g", PARTITIONS)


class Follower:
    def __init__(self) -> None:
        self.seqs: list[int] = []

    def on_run(self, run: Run) -> None:
        self.seqs += [event.seq for event in run.events]

    def lost(self) -> None:
        raise AssertionError


def posted(seq: int, *, offset: int, epoch: int, command_id: str = "other") -> Record:
    event = Event(group="g", seq=seq, id="e", kind="message.posted", by="a", at="then", data=MessagePosted(text="x"))
    return event_record(event, encode_event(event), partition=P, offset=offset, epoch=epoch, command_id=command_id)


@pytest.fixture
async def follower(world: World) -> Follower:
    follower = Follower()
    world.hub.follow(b"g", follower)
    return follower


def submit(world: World) -> tuple[str, list[Result]]:
    """A command that waits; its id and where its outcome will be."""
    results: list[Result] = []
    number = world.commander.next_id()
    command = Send(id=number, group="g", by="a", text="x", client_msg_id="c")
    world.commander.submit(command, deadline=1e9, on_result=results.append)
    return number, results


async def test_a_void_record_is_neither_delivered_nor_an_acknowledgement(world: World, follower: Follower) -> None:
    number, results = submit(world)
    world.intake.take(
        [posted(1, offset=1, epoch=0), claim_record(P, 2), posted(2, offset=3, epoch=0, command_id=number)]
    )
    assert follower.seqs == [1]
    assert results == []
    world.intake.take([posted(2, offset=4, epoch=2, command_id=number)])
    assert follower.seqs == [1, 2]
    assert results == [Accepted(2, "then")]
    assert world.intake.epoch(P) == 2


async def test_a_claim_of_one_partition_voids_nothing_in_another(world: World, follower: Follower) -> None:
    world.intake.take([claim_record((P + 1) % PARTITIONS, 9), posted(1, offset=1, epoch=0)])
    assert follower.seqs == [1]


async def test_reading_begins_with_the_epoch_of_its_place(world: World, follower: Follower) -> None:
    world.intake.begin(Start({}, dict.fromkeys(range(PARTITIONS), (10, 7)), dict.fromkeys(range(PARTITIONS), 10)))
    world.intake.take([posted(1, offset=10, epoch=6), posted(1, offset=11, epoch=7)])
    assert follower.seqs == [1]
    assert world.intake.epoch(P) == 7


async def test_a_record_of_nobodys_group_is_dropped_by_its_key(world: World) -> None:
    world.intake.take([Record(topics.EVENTS, P, 5, b"g", b"not json", [])])  # decoding it would be an error
    assert world.intake.epoch(P) == 0


async def test_what_is_no_event_is_passed_over(world: World, follower: Follower) -> None:
    broken = [
        Record(topics.EVENTS, P, 1, b"g", b"not json", []),
        Record(topics.EVENTS, P, 2, None, b"{}", []),
        Record(topics.EVENTS, P, 3, b"g", None, []),
        Record(topics.REPLIES, 0, 4, ORIGIN.encode(), b"not json"),
        Record(topics.OWNERS, 0, 5, b"x", b"not json"),
    ]
    world.intake.take([*broken, posted(1, offset=6, epoch=0)])
    assert follower.seqs == [1]


async def test_only_replies_to_this_gateway_count(world: World) -> None:
    number, results = submit(world)
    value = encode_outcome(Outcome(command=number, duplicate=True, seq=4, at="then"))
    world.intake.take([Record(topics.REPLIES, 0, 0, b"gateway-other", value)])
    assert results == []
    world.intake.take([Record(topics.REPLIES, 0, 1, ORIGIN.encode(), value)])
    assert results == [Accepted(4, "then", duplicate=True)]


@pytest.mark.parametrize(
    ("owner", "url"),
    [
        (OwnerRecord(url="http://new", epoch=9, offset=10, worker="w", log=LOG_ID), "http://new"),
        (OwnerRecord(url="http://old", epoch=-1, offset=10, worker="w", log=LOG_ID), "http://o"),
        (OwnerRecord(url="http://other", epoch=9, offset=10, worker="w", log="another"), "http://o"),
    ],
)
async def test_the_owner_is_the_one_of_the_highest_epoch_of_this_log(
    world: World, owner: OwnerRecord, url: str
) -> None:
    world.intake.take([Record(topics.OWNERS, 0, 0, b"%d" % P, encode_owner(owner))])
    known = world.owners.get(P)
    assert known is not None
    assert known.url == url


async def test_it_says_what_it_waits_for_until_the_log_is_read(world: World) -> None:
    ends = dict.fromkeys(range(PARTITIONS), 0) | {P: 2}
    world.intake.begin(Start({}, dict.fromkeys(range(PARTITIONS), (0, -1)), ends))
    assert world.intake.waits_for() == [f"events partition {P} to be read up to 2"]
    world.intake.take([posted(1, offset=0, epoch=0)])
    assert len(world.intake.waits_for()) == 1
    world.intake.take([posted(2, offset=1, epoch=0)])
    assert world.intake.waits_for() == []


async def test_a_group_that_was_never_followed_is_acknowledged(world: World) -> None:
    results: list[Result] = []
    command = CreateGroup(id=world.commander.next_id(), group="new", by="a", origin=ORIGIN, name="N")
    world.commander.submit(command, deadline=1e9, on_result=results.append)
    world.auto_deliver = False
    world.decide(command)
    world.deliver()
    assert [result.seq for result in results if isinstance(result, Accepted)] == [1]


async def test_a_record_of_the_signals_topic_that_is_no_announcement_is_passed_over(
    world: World, follower: Follower
) -> None:
    good = b'{"type":"signal","group":"g","kind":"presence","joined":["ann"],"left":[]}'
    headers = announcement_headers(0, 1)
    for value, given in ((b"{", headers), (good, []), (b'{"type":"signal","group":"g","kind":"x"}', headers)):
        world.intake.take([Record(topics.SIGNALS, P, 0, b"g", value, given)])
    world.intake.take([posted(1, offset=1, epoch=0)])
    assert follower.seqs == [1]
