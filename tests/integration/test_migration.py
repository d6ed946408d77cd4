"""The programs that the migration page gives: the check, and the seed of groups that were there before."""

import contextlib
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from auerbach_client import ChatError, Client

from tests.support.ports import free_ports
from tests.support.rabbit import Rabbit
from tests.support.stack import START_S, Stack
from tests.support.until import until_answer
from tests.support.waiting import eventually

PROGRAMS = Path(__file__).parents[2] / "docs" / "migration"
QUEUE = "queue-of-the-migration"


@pytest.fixture(scope="module")
def service(kafka_jars: Path, rabbit: Rabbit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two gateways in the old one's place, and a bridge."""
    settings = {"AUERBACH_LEGACY": "1", "USER_SERVICE_EVENT_QUEUE": QUEUE, **rabbit.settings}
    one = Stack(tmp_path_factory.mktemp("migration"), processors=1, gateways=2, settings=settings)
    try:
        one.start()
        health = f"http://127.0.0.1:{one.bridge_port}/readyz"
        eventually(lambda: ready(health), within_s=START_S, what="the bridge has declared what the check uses")
        yield one
    finally:
        one.stop()


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def check(service: Stack, rabbit: Rabbit, **instead: str) -> subprocess.CompletedProcess[str]:
    # Two gateways: what one hears the other tells.
    addresses = {
        "ws": f"ws://127.0.0.1:{service.legacy_port}",
        "grpc": f"127.0.0.1:{service.grpc_port + 1}",
        "amqp": rabbit.url,
        **instead,
    }
    return run("check.py", *(word for name, address in addresses.items() for word in (f"--{name}", address)))


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAMS / program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)


def test_the_replaced_services_neighbours_find_all_that_they_use(service: Stack, rabbit: Rabbit) -> None:
    checked = check(service, rabbit)

    assert checked.returncode == 0, checked.stderr + service.log("bridge-0")[-2000:]
    assert [line.partition(": ")[0] for line in checked.stdout.splitlines()] == ["ok"] * 7


@pytest.mark.parametrize(
    ("which", "address", "step"),
    [
        ("amqp", "amqp://guest:guest@127.0.0.1:{port}/", "RabbitMQ lets in"),
        ("ws", "ws://127.0.0.1:{port}", "its creator enters by the old WebSocket"),
        ("grpc", "127.0.0.1:{port}", "the gateway reads it by gRPC"),
    ],
)
def test_a_neighbours_address_that_is_wrong_is_told_by_its_step(
    service: Stack, rabbit: Rabbit, which: str, address: str, step: str
) -> None:
    checked = check(service, rabbit, **{which: address.format(port=free_ports(1))})

    assert checked.returncode == 1
    assert checked.stderr.startswith(f"failed: {step}: ")
    assert "Traceback" not in checked.stderr


async def test_groups_that_were_there_before_have_their_members_in_the_order_of_the_list(
    service: Stack, rabbit: Rabbit, tmp_path: Path, new_group: Callable[[], str]
) -> None:
    group = new_group()
    users = [f"u{i}" for i in range(700)]  # more than are under way at a time
    members = tmp_path / "members.jsonl"
    members.write_text("".join(f'{{"group": "{group}", "user": "{user}"}}\n' for user in users))

    for _ in range(2):  # who is a member already stays one
        seeded = run("seed.py", "--amqp", rabbit.url, "--queue", QUEUE, str(members))
        assert (seeded.returncode, seeded.stdout) == (0, f"700 additions are in {QUEUE}\n"), seeded.stderr
    joined = await until_member(service, group, users[-1])

    assert joined == [(user, "owner" if user == "u0" else "member") for user in users]


async def until_member(service: Stack, group: str, user: str) -> list[tuple[str, str]]:
    """The group's members in the order of joining, once `user` is one."""
    async with Client(service.http_url(), user=user) as chat:

        async def members() -> list[tuple[str, str]] | None:
            with contextlib.suppress(ChatError):
                return [(member.user, member.role) for member in (await chat.state(group)).members]
            return None

        return await until_answer(members, 90)


def test_a_list_with_a_bad_line_is_refused_whole(service: Stack, rabbit: Rabbit, tmp_path: Path) -> None:
    members = tmp_path / "members.jsonl"
    members.write_text('{"group": "g1", "user": "u1"}\n{"group": "g1"}\n')

    seeded = run("seed.py", "--amqp", rabbit.url, "--queue", QUEUE, str(members))

    assert seeded.returncode == 1
    assert seeded.stderr == "failed: line 2: KeyError('user'); nothing was sent\n"


def test_a_queue_that_no_bridge_has_declared_is_told(service: Stack, rabbit: Rabbit, tmp_path: Path) -> None:
    members = tmp_path / "members.jsonl"
    members.write_text('{"group": "g1", "user": "u1"}\n')

    seeded = run("seed.py", "--amqp", rabbit.url, "--queue", "nobodys", str(members))

    assert seeded.returncode == 1
    assert "no queue 'nobodys'" in seeded.stderr
