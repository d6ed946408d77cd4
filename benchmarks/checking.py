"""What must hold after a run: each line once in the log, as it was acknowledged, and the same bytes for everybody."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.cli.playback.log import Channel
from benchmarks.record import Record

Logs = Mapping[str, Sequence[bytes]]  # group → its events' frames, in order of delivery


def deviations(channels: Sequence[Channel], record: Record, held: Mapping[str, Logs]) -> Iterator[str]:
    """Each fault as a line of text, for what each reader of `held` holds; nothing if all is as it must be."""
    if not any(channel.lines for channel in channels):
        yield "nothing was played"
    for channel in channels:
        logs = {user: groups[channel.group] for user, groups in held.items()}
        yield from _unequal(channel.group, logs)
        for user, frames in logs.items():
            yield from _not_the_lines(channel, record, user, [json.loads(frame) for frame in frames])


def digest(frames: Sequence[bytes]) -> str:
    """A short name for exactly these bytes in this order."""
    return hashlib.sha256(b"\n".join(frames)).hexdigest()[:16]


def _unequal(group: str, logs: Logs) -> Iterator[str]:
    (first, reference), *others = logs.items()
    for user, frames in others:
        if list(frames) == list(reference):
            continue
        at = next((i for i, (a, b) in enumerate(zip(frames, reference, strict=False)) if a != b), None)
        where = f"event {at + 1} differs" if at is not None else f"{len(frames)} events against {len(reference)}"
        yield f"{group}: the logs of {first} and {user} are not equal: {where}"


def _not_the_lines(channel: Channel, record: Record, user: str, events: list[dict[str, Any]]) -> Iterator[str]:
    where = f"{channel.group} as {user} saw it"
    if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
        yield f"{where}: the seqs are not 1, 2, 3, … {len(events)}"
    posted = [event for event in events if event["kind"] == "message.posted"]
    if len(posted) != len(channel.lines):
        yield f"{where}: {len(posted)} messages for {len(channel.lines)} lines"
    counts = Counter((event["by"], event["client_msg_id"]) for event in posted)
    by_name = {(event["by"], event["client_msg_id"]): event for event in posted}
    for line in channel.lines:
        name = (line.by, line.client_msg_id)
        event = by_name.get(name)
        if event is None or counts[name] != 1:
            yield f"{where}: line {line.number} is there {counts[name]} times"
        elif event["data"] != {"text": line.text}:
            yield f"{where}: line {line.number} has another content: {event['data']}"
        elif record.seqs.get((channel.group, *name)) != event["seq"]:
            yield f"{where}: line {line.number} is event {event['seq']}, acknowledged as another"
