"""`replay` and its player: every line once, in order, again without doubling."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Self

import pytest
from auerbach_client import Client

from app.cli.playback import player
from app.cli.playback.log import Channel, Line
from app.cli.playback.speakers import Speakers
from app.cli.playback.tally import Tally, percentiles
from tests.support.fake_gateway import FakeGateway
from tests.unit.cli_chat.conftest import Run


def channel(group: str, said: list[tuple[str, str]], minutes: bool = False) -> Channel:
    lines = [Line(i, by, text, float(i) if minutes else 0.0) for i, (by, text) in enumerate(said)]
    return Channel(group, lines, dict.fromkeys(by for by, _ in said))


def said_in(gateway: FakeGateway, group: str) -> list[tuple[str | None, str]]:
    events = gateway.log.group(group).events
    return [(e.by, e.data.text) for e in events if e.kind == "message.posted"]  # type: ignore[union-attr]


async def play(
    gateway: FakeGateway, *channels: Channel, limit: int = 50, kind: type[Client] = Client, **how: Any
) -> Tally:
    def make(user: str) -> Client:
        return kind(gateway.url, user=user)

    tally = Tally()
    async with make(player.OWNER) as owner, Speakers(make, limit) as speakers:
        await player.prepare(owner, list(channels))
        tally.begin()
        await player.play(list(channels), speakers, tally, **{"speed": None, **how})
        tally.end()
    return tally


CAST = [f"u{i}" for i in range(12)]
TALK = [(CAST[i * i % 12], f"text {i}") for i in range(80)]


async def test_each_line_is_said_by_its_speaker_in_order_when_one_waits_for_the_other(gateway: FakeGateway) -> None:
    tally = await play(gateway, channel("a", TALK), channel("b", TALK[::-1]), window=1)

    assert said_in(gateway, "a") == TALK
    assert said_in(gateway, "b") == TALK[::-1]
    assert (tally.new, tally.duplicates, tally.failures) == (160, 0, 0)


async def test_with_many_lines_under_way_each_speakers_own_stay_in_order(gateway: FakeGateway) -> None:
    await play(gateway, channel("a", TALK), window=64)

    said = said_in(gateway, "a")
    assert sorted(said) == sorted(TALK)
    for user in CAST:
        assert [line for line in said if line[0] == user] == [line for line in TALK if line[0] == user]


async def test_fewer_sockets_than_speakers_are_taken_in_turn(gateway: FakeGateway) -> None:
    used = most = 0

    class Counted(Client):
        async def __aenter__(self) -> Self:
            nonlocal used, most
            await super().__aenter__()
            used += 1
            most = max(most, used)
            return self

        async def aclose(self) -> None:
            nonlocal used
            used -= 1
            await super().aclose()

    await play(gateway, channel("a", TALK), limit=3, window=8, kind=Counted)

    assert sorted(said_in(gateway, "a")) == sorted(TALK)
    assert most <= 3 + 1  # three speakers and the owner
    assert used == 0


async def test_playing_again_doubles_nothing(gateway: FakeGateway) -> None:
    await play(gateway, channel("a", TALK))

    again = await play(gateway, channel("a", TALK))

    assert (again.new, again.duplicates) == (0, 80)
    assert len(said_in(gateway, "a")) == 80


async def test_a_longer_file_goes_on_in_the_same_group(gateway: FakeGateway) -> None:
    await play(gateway, channel("a", TALK[:10]))

    longer = await play(gateway, channel("a", [*TALK, ("somebody new", "hello")]))

    assert (longer.new, longer.duplicates, longer.failures) == (71, 10, 0)


async def test_a_cast_that_no_frame_holds_is_added_one_by_one(gateway: FakeGateway) -> None:
    crowd = [(f"user {i:04} " + "x" * 100, "hi") for i in range(400)]

    tally = await play(gateway, channel("a", crowd), limit=200, window=100)

    assert len(gateway.log.group("a").state.members) == 401
    assert tally.new == 400


async def test_lines_are_due_at_their_time_divided_by_the_speed(gateway: FakeGateway) -> None:
    since = time.monotonic()
    await play(gateway, channel("a", TALK[:31], minutes=True), speed=100, window=1)

    assert time.monotonic() - since >= 0.3
    assert said_in(gateway, "a") == TALK[:31]


async def test_a_line_that_is_refused_is_counted_with_its_number(gateway: FakeGateway) -> None:
    tally = await play(gateway, channel("a", [("u1", "good"), ("u1", "\x00"), ("u2", "good too")]))

    assert (tally.new, tally.failures) == (2, 1)
    assert "line 1 (u1 in a)" in tally.first_failures[0]


async def test_the_command_prints_a_summary_and_ends_with_1_if_a_line_was_refused(
    gateway: FakeGateway, run: Run, tmp_path: Path
) -> None:
    rows = [{"group": "a", "kind": "message", "user": by, "text": text} for by, text in TALK]
    file = tmp_path / "log.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))

    command = ("replay", str(file), "--flat-out", "--prefix", "p-", "--url", gateway.url)
    played = await run(*command)
    state = gateway.log.group("p-a").state
    by = TALK[41][0]
    del state.members[by], state.sent[by, "line-42"]
    refused = await run(*command)

    assert (played.code, refused.code) == (0, 1)
    assert "acknowledged  80 lines; 0 not" in played.out
    assert "messages/s" in played.out
    assert "acknowledged  79 lines, 79 of them earlier; 1 not" in refused.out
    assert f"line 42 ({by} in p-a): not_a_member" in refused.out


async def test_the_command_says_what_is_wrong_with_a_file_or_a_service(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text('{"group":"a"}\n')

    ran = await run("replay", str(file), "--url", "http://127.0.0.1:1")

    assert ran.code == 1
    assert "line 1: " in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        ([], "none"),
        ([0.002], "p50 2.0 ms, p99 2.0 ms, max 2.0 ms"),
        ([i / 1000 for i in range(1, 101)], "p50 50.0 ms, p99 99.0 ms, max 100.0 ms"),
    ],
)
def test_percentiles_are_of_the_ordered_values(seconds: list[float], text: str) -> None:
    assert percentiles(seconds) == text


def test_the_rate_counts_what_was_acknowledged() -> None:
    tally = Tally()
    tally.new, tally.duplicates, tally.took_s = 30, 10, 4.0

    assert tally.per_second == 10


async def test_speakers_that_are_not_taken_say_so_for_each_of_their_lines(gateway: FakeGateway) -> None:
    from auerbach_client import EndedError

    async with Speakers(lambda user: Client(gateway.url, token=user), 5) as speakers:
        for _ in range(2):
            with pytest.raises(EndedError, match="401"):
                async with speakers.speaking("a", "nobody"):
                    await asyncio.sleep(0)
