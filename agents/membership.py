"""Leaving the consumer group on an ordered stop, which `aiokafka` does for dynamic members only.

A static member that just ends keeps its partitions until its session times out: right for a crash, after which its
slot is back in a moment and nobody else is disturbed; wrong for a stop, after which nobody may come back (KIP-345).
"""

# ruff: noqa: SLF001 - aiokafka has no public way in; the tests hold what is relied on

import asyncio
from typing import Any

import aiokafka
from aiokafka import errors
from aiokafka.client import ConnectionGroup
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from app.telemetry import logger

log = logger("membership")

LEAVE_S = 5.0  # the answer takes milliseconds, on any machine; without one the session times out as after a crash


class LeaveGroupResponse_v3(Response):  # noqa: N801 - aiokafka's way to name versions
    """Kafka's LeaveGroupResponse, version 3."""

    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "members",
            Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")), ("error_code", Int16)),
        ),
    )


class LeaveGroupRequest_v3(RequestStruct):  # noqa: N801
    """Kafka's LeaveGroupRequest, version 3: the first that names static members (aiokafka knows 0 and 1)."""

    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = LeaveGroupResponse_v3
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


class LeaveGroup(Request[LeaveGroupRequest_v3]):
    """The request that takes one static member out of its group."""

    API_KEY = 13

    def __init__(self, group: str, member: str, instance: str) -> None:
        self._group = group
        self._member = member
        self._instance = instance

    def build(self, request_struct_class: type[LeaveGroupRequest_v3]) -> LeaveGroupRequest_v3:
        """The request as it is sent."""
        return request_struct_class(self._group, [(self._member, self._instance)])


async def leave(consumer: aiokafka.AIOKafkaConsumer) -> None:
    """Take a static member out of its group for good; it must not be used afterwards. Failing costs a session timeout.

    What `GroupCoordinator.close` does, in another order: nothing may join again once the request is sent, and a join
    that is under way ends with the answer to it.
    """
    coordinator: Any = consumer._coordinator
    if coordinator._closing.done() or coordinator.coordinator_id is None:
        return
    coordinator._closing.set_result(None)
    try:
        async with asyncio.timeout(LEAVE_S):
            await coordinator._stop_heartbeat_task()
            request = LeaveGroup(coordinator.group_id, coordinator.member_id, coordinator._group_instance_id)
            # Not on the coordinator's own connection: the broker reads nothing there while a join waits for others.
            answer = await consumer._client.send(coordinator.coordinator_id, request, group=ConnectionGroup.DEFAULT)
            _check(answer)
            await asyncio.wait([coordinator._coordination_task])
            await coordinator._stop_commit_offsets_refresh_task()
        log.info("left the group", slot=coordinator._group_instance_id)
    except (errors.KafkaError, TimeoutError) as failed:
        log.warning("could not leave the group; the session will time out", why=repr(failed))


def _check(answer: Any) -> None:
    for code in (answer.error_code, *(member[2] for member in answer.members)):
        if code:
            raise errors.for_code(code)
