"""Acknowledgements that a client has written down, sorted by the partition that must keep them.

A file is JSON Lines: `{"group","user","client_msg_id","seq"}`, other fields are ignored. A client that was killed may
have cut its last line.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from app.cli.verifying.log_check import AckKey
from app.kafka.partition import partition_for


class AcksError(Exception):
    """A line that is no acknowledgement; the message names file and line."""


class Ack(msgspec.Struct, frozen=True):
    """What one client was told: this request of this user is the group's event `seq`."""

    group: str
    user: str
    client_msg_id: str
    seq: int


@dataclass(slots=True)
class Sorted:
    """Acknowledgements of all files, a file a partition; `cut` names the files whose last line is cut."""

    paths: dict[int, Path]
    count: int
    cut: list[Path]


_ack = msgspec.json.Decoder(Ack)
_encode = msgspec.json.encode


def sort(files: Sequence[Path], partitions: int, folder: Path) -> Sorted:
    """Write the acknowledgements of `files` to one file a partition in `folder`: no more than a line is in memory.

    Raises:
        AcksError: a line that is not the last one, or that is whole, is no acknowledgement.
    """
    found = Sorted({}, 0, [])
    with ExitStack() as open_files:
        outputs: dict[int, BinaryIO] = {}
        for file in files:
            for ack in _read(file, found.cut):
                partition = partition_for(ack.group.encode(), partitions)
                if partition not in outputs:
                    found.paths[partition] = folder / f"acks-{partition}"
                    outputs[partition] = open_files.enter_context(found.paths[partition].open("wb"))
                outputs[partition].write(_encode(ack) + b"\n")
                found.count += 1
    return found


def load(path: Path | None) -> set[AckKey]:
    """The acknowledgements of one partition, about 300 bytes each."""
    if path is None:
        return set()
    with path.open("rb") as lines:
        acks = map(_ack.decode, lines)
        return {(ack.group, ack.seq, ack.user, ack.client_msg_id) for ack in acks}


def _read(file: Path, cut: list[Path]) -> Iterator[Ack]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield _ack.decode(line)
            except msgspec.MsgspecError as bad:
                if not line.endswith(b"\n"):
                    cut.append(file)
                    return
                if line.strip():
                    raise AcksError(f"{file}:{number}: no acknowledgement: {bad}") from None
