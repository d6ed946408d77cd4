"""What `make` installs for the tests, with an apt-get that only notes how it was called."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


class Machine:
    """A machine without RabbitMQ, where whoever runs make is `uid`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policy = folder / "policy-rc.d"
        self.seen = folder / "seen"
        (folder / "bin").mkdir()
        (folder / ".venv").mkdir()
        self.program("apt-get", f'echo "$1 $(cat {self.policy} 2>/dev/null | tail -n 1)" >>{self.seen}')
        for real in ("sh", "cat", "tail", "rm", "chmod", "echo", "printf", "test"):
            (folder / "bin" / real).symlink_to(f"/usr/bin/{real}")

    def program(self, name: str, body: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def make(self, uid: int) -> subprocess.CompletedProcess[str]:
        self.program("id", f"echo {uid}")
        command = [
            "/usr/bin/make",
            f"--file={ROOT / 'Makefile'}",
            f"--directory={self.folder}",
            "--no-print-directory",
            f"RABBITMQ_SERVER={self.folder / 'none'}",
            f"POLICY_RC_D={self.policy}",
            "rabbitmq",
        ]
        env = {"PATH": str(self.folder / "bin")}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_root_gets_rabbitmq_and_no_service_of_it(machine: Machine) -> None:
    made = machine.make(0)

    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("installing rabbitmq-server ")
    assert machine.seen.read_text().splitlines() == ["update exit 101", "install exit 101"]
    assert not machine.policy.exists()


def test_the_policy_of_the_machine_stays_as_it_is(machine: Machine) -> None:
    machine.policy.write_text("exit 0")

    machine.make(0)

    assert machine.seen.read_text().splitlines()[-1] == "install exit 0"
    assert machine.policy.read_text() == "exit 0"


def test_an_installation_that_fails_is_told_and_leaves_no_policy(machine: Machine) -> None:
    machine.program("apt-get", "echo E: no network; exit 100")

    made = machine.make(0)

    assert made.returncode != 0
    assert "E: no network" in made.stderr
    assert not machine.policy.exists()


def test_who_may_not_install_is_told_what_to_install_and_the_tests_go_on(machine: Machine) -> None:
    made = machine.make(1000)

    assert made.returncode == 0
    assert "apt-get install rabbitmq-server" in made.stdout
    assert not machine.seen.exists()


def test_a_rabbitmq_that_is_there_is_left_alone(machine: Machine) -> None:
    machine.program("rabbitmq-server", "")

    made = machine.make(0)

    assert (made.returncode, made.stdout) == (0, "")
    assert not machine.seen.exists()
