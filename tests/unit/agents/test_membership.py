"""Leaving the group: in which order, and what is sent."""

import asyncio
from io import BytesIO
from typing import Any, cast

import aiokafka
import pytest
from aiokafka.client import ConnectionGroup

from agents import membership as module
from agents.membership import LeaveGroup, LeaveGroupRequest_v3, LeaveGroupResponse_v3, leave


class Coordinator:
    """aiokafka's coordinator as far as leaving knows it, and its client."""

    coordinator_id = 7
    group_id = "auerbach"
    member_id = "processor-1-uuid"
    _group_instance_id = "processor-1"

    def __init__(self, errors: tuple[int, int] = (0, 0)) -> None:
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._coordination_task = asyncio.create_task(self._until_closing())
        self._errors = errors
        self.done: list[str] = []
        self.sent: list[tuple[int, Any, Any]] = []

    async def _until_closing(self) -> None:
        await self._closing
        while not self.sent:  # a join that only the answer to the leaving ends
            await asyncio.sleep(0)
        self.done.append("coordination ended")

    async def _stop_heartbeat_task(self) -> None:
        assert self._closing.done()
        self.done.append("heartbeat stopped")

    async def _stop_commit_offsets_refresh_task(self) -> None:
        self.done.append("refresh stopped")

    async def send(self, node: int, request: LeaveGroup, *, group: ConnectionGroup) -> Any:
        self.sent.append((node, request.prepare({13: (0, 5)}), group))
        whole, member = self._errors
        return LeaveGroupResponse_v3(0, whole, [(self.member_id, self._group_instance_id, member)])


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAVE_S", 60)


def consumer(coordinator: Coordinator) -> aiokafka.AIOKafkaConsumer:
    class Stand:
        """A consumer of that coordinator."""

        _coordinator = coordinator
        _client = coordinator

    return cast("aiokafka.AIOKafkaConsumer", Stand())


async def test_nothing_joins_again_once_the_request_to_leave_is_sent() -> None:
    coordinator = Coordinator()
    await leave(consumer(coordinator))
    assert coordinator.done == ["heartbeat stopped", "coordination ended", "refresh stopped"]
    ((node, request, connection),) = coordinator.sent
    assert node == 7
    assert request.members == [("processor-1-uuid", "processor-1")]
    # A join under way would hold up what is sent on the coordinator's own connection.
    assert connection is ConnectionGroup.DEFAULT


@pytest.mark.parametrize("errors", [(15, 0), (0, 82)])
async def test_a_refusal_is_said_and_the_stop_goes_on(errors: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Log:
        """Who hears it."""

        def warning(self, event: str, **_: str) -> None:
            said.append(event)

    monkeypatch.setattr(module, "log", Log())
    await leave(consumer(Coordinator(errors)))
    assert said == ["could not leave the group; the session will time out"]


async def test_who_never_found_the_group_has_nothing_to_leave() -> None:
    coordinator = Coordinator()
    coordinator.coordinator_id = cast("int", None)
    await leave(consumer(coordinator))
    assert not coordinator.sent
    coordinator._coordination_task.cancel()


def test_the_request_is_kafkas_version_3_byte_by_byte() -> None:
    request = LeaveGroup("g", "m", "i").prepare({13: (0, 5)})
    assert isinstance(request, LeaveGroupRequest_v3)
    # group, then an array of one: member id, group instance id; each string behind its length (KIP-345).
    assert request.encode().hex(" ") == "00 01 67 00 00 00 01 00 01 6d 00 01 69"
    answer = LeaveGroupResponse_v3.decode(BytesIO(bytes.fromhex("00000000 0000 00000001 00016d 000169 0052")))
    assert (answer.error_code, answer.members) == (0, [("m", "i", 82)])
