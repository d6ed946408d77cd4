"""One process a name on a data folder, whatever is left of earlier ones."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.launch.claims import INHERITED, Claim, claimed
from app.cli.launch.errors import LaunchError, TakenError

HOLD = """
import sys, time, pathlib
from app.cli.launch.claims import claimed
with claimed(pathlib.Path(sys.argv[1]), "gateway-0"):
    print("held", flush=True)
    time.sleep(600)
"""


def pid_file(data: Path, name: str = "gateway-0") -> Path:
    return data / "run" / f"{name}.pid"


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    process.stdout.close()
    return process


def test_a_process_writes_its_pid_and_takes_it_away(tmp_path: Path) -> None:
    with claimed(tmp_path, "gateway-0"):
        assert int(pid_file(tmp_path).read_text()) == os.getpid()

    assert not pid_file(tmp_path).exists()


def test_a_second_process_of_a_name_is_refused_with_the_pid_of_the_first(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(TakenError, match=rf"gateway-0 is already running \(pid {holder.pid}\)"):
        Claim.take(tmp_path, "gateway-0")

    Claim.take(tmp_path, "gateway-1").release()
    holder.kill()
    holder.wait()


def test_a_holder_that_was_killed_blocks_nobody(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert pid_file(tmp_path).exists()

    Claim.take(tmp_path, "gateway-0").release()

    assert not pid_file(tmp_path).exists()


def test_a_pid_file_that_names_a_stranger_blocks_nobody_and_nobody_is_signalled(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (tmp_path / "run").mkdir()
    pid_file(tmp_path).write_text(str(stranger.pid))

    Claim.take(tmp_path, "gateway-0").release()

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_holder_on_its_way_out_is_waited_for(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    with pytest.raises(TakenError):
        Claim.take(tmp_path, "gateway-0", wait_s=0.3)
    holder.send_signal(signal.SIGINT)

    Claim.take(tmp_path, "gateway-0", wait_s=60).release()

    assert holder.wait() != 0


def test_a_child_runs_under_the_claim_of_who_started_it(tmp_path: Path) -> None:
    claim = Claim.take(tmp_path, "gateway-0")
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        env={**os.environ, INHERITED: str(claim.fd)},
        pass_fds=(claim.fd,),
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    child.stdout.close()
    claim.release()

    with pytest.raises(TakenError):
        Claim.take(tmp_path, "gateway-0")

    child.kill()
    child.wait()
    Claim.take(tmp_path, "gateway-0", wait_s=60).release()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where a folder should be")

    with pytest.raises(LaunchError, match=r"^DATA: cannot write in .*run \(.*\)$"):
        Claim.take(tmp_path, "kafka")
