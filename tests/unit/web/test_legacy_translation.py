"""What old apps are told of events and presence, in frames that are made once."""

import msgspec
import pytest

from web.frames import text_frame
from web.legacy import translation as under_test
from web.legacy.translation import Batch, Translations, information
from web.presence_change import PresenceChange


def event(kind: str, seq: int = 1, **data: object) -> bytes:
    fields = {"type": "event", "group": "g", "seq": seq, "kind": kind, "by": "bob", "at": "2026-11-25T01:20:00.123Z"}
    return text_frame(msgspec.json.encode({**fields, "data": data}))


def said(batch: Batch) -> list[bytes]:
    return [frame for _, frame in batch.messages]


@pytest.mark.parametrize("size", [1, 80, 200, 30_000, 70_000])
def test_a_message_has_its_events_instant_whatever_its_length(size: int) -> None:
    batch = Translations().of_events(event("message.posted", text="é" * (size // 2)))
    told = ["NewMessage", ["g", "bob", "é" * (size // 2), "2026-11-25T01:20:00.123Z"]]
    assert batch.frames == text_frame(msgspec.json.encode(told))


def test_a_run_of_events_is_one_batch_of_what_is_known() -> None:
    frames = b"".join(
        [
            event("message.posted", text="a"),
            event("message.edited", target=1, text="b"),
            event("message.posted", text=None, deleted=True),
            event("group.updated", name="x"),
            event("reaction.added", target=1, emoji="+"),
            text_frame(b'{"type":"withheld","group":"g","from":3,"through":9}'),
            event("group.deleted"),
            event("of.tomorrow", user=5, text=[1]),
            event("member.joined", user="carol", role="member"),
        ]
    )
    batch = Translations().of_events(frames)
    assert b"".join(said(batch)) == batch.frames
    assert [len(frame) for frame in said(batch)] == list(batch.sizes)
    assert [msgspec.json.decode(frame[2:])[1][-2] for frame in said(batch)] == ["a", "client joined the group"]


def test_who_leaves_is_told_so_like_everybody() -> None:
    batch = Translations().of_events(
        event("member.removed", user="carol", banned=True) + event("member.left", user="d")
    )
    told = [information(user, "client leaved the group", "2026-11-25T01:20:00.123Z") for user in ("carol", "d")]
    assert said(batch.for_user("bob")) == said(batch.for_user("carol")) == told


def test_a_run_is_translated_once_for_all_sockets_and_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "KEPT_BYTES", 10_000)
    translations = Translations()
    frames = [event("message.posted", seq, text="x" * 500) for seq in range(100)]
    first = translations.of_events(frames[0])
    assert translations.of_events(bytes(bytearray(frames[0]))) is first
    for frame in frames:
        translations.of_events(frame)
    assert len(translations._kept) < 20
    assert translations._kept_bytes <= 10_000
    assert translations.of_events(frames[0]) == first


def test_who_comes_and_opens_a_further_channel_is_told_twice() -> None:
    [batch] = Translations().of_presence(PresenceChange("g", joined=("x",), again=("x",), opened=(("y", "s"),)))
    told = [msgspec.json.decode(frame[2:]) for frame in said(batch)]
    assert [(user, text) for _, (user, text, _) in told] == [("x", "client connected to the group")] * 2


def test_presence_is_told_in_batches_to_everybody_but_whom_it_is_about() -> None:
    users = tuple(f"u{n}" for n in range(150))
    change = PresenceChange("g", joined=users, left=("z",), again=("y",))
    translations = Translations()
    batches = translations.of_presence(change)
    assert translations.of_presence(change) is batches
    told = [msgspec.json.decode(frame[2:]) for batch in batches for frame in said(batch)]
    assert [kind for kind, _ in told] == ["Information"] * 152
    assert [user for _, (user, _, _) in told] == [*users, "y", "z"]
    assert [text for _, (_, text, _) in told[-2:]] == [
        "client connected to the group",
        "client disconnected from the group",
    ]
    assert max(len(batch.sizes) for batch in batches) <= under_test.BATCH
    assert sum(len(batch.for_user("y").sizes) for batch in batches) == 151
