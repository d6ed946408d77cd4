"""Clients' logs of acknowledgements: whole lines count, a cut last one is said, anything else is refused."""

from pathlib import Path

import pytest

from app.cli.verifying import acks
from app.cli.verifying.acks import AcksError
from app.kafka.partition import partition_for

WHOLE = b'{"group":"g","user":"u","client_msg_id":"k","seq":2,"latency":0.1}\n'
OTHER = b'{"group":"h","user":"u","client_msg_id":"k","seq":3}\n'
PARTITIONS = 64


def written(folder: Path, content: bytes) -> Path:
    file = folder / "client.jsonl"
    file.write_bytes(content)
    return file


def test_each_partition_is_given_its_own_once_however_often_it_was_told(tmp_path: Path) -> None:
    first, second = partition_for(b"g", PARTITIONS), partition_for(b"h", PARTITIONS)
    assert first != second

    found = acks.sort([written(tmp_path, WHOLE + OTHER + WHOLE)], PARTITIONS, tmp_path)

    assert (found.count, found.cut) == (3, [])
    assert acks.load(found.paths[first]) == {("g", 2, "u", "k")}
    assert acks.load(found.paths[second]) == {("h", 3, "u", "k")}
    assert acks.load(None) == set()


def test_a_last_line_that_a_kill_has_cut_is_left_out_and_said(tmp_path: Path) -> None:
    file = written(tmp_path, WHOLE + OTHER[:20])

    found = acks.sort([file], PARTITIONS, tmp_path)

    assert (found.count, found.cut) == (1, [file])


@pytest.mark.parametrize("bad", [b"nothing\n", b"{}\n", b'{"group":"g","user":"u","client_msg_id":"k","seq":"2"}\n'])
def test_a_whole_line_that_is_no_acknowledgement_is_refused_with_its_place(tmp_path: Path, bad: bytes) -> None:
    file = written(tmp_path, WHOLE + bad)

    with pytest.raises(AcksError, match=f"{file}:2: no acknowledgement"):
        acks.sort([file], PARTITIONS, tmp_path)
