"""A stranger's client of the replaced service's gRPC: all that it knows of the messages it asks by reflection."""

import asyncio
from typing import Any, Self

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "chatservice.ChatService"
METHOD = f"/{SERVICE}/RetrieveLastMessages"
WITHIN_S = 90  # against hanging: far longer than a gateway takes to answer


class Rpc:
    """A channel with gRPC's own limits. Calls block, so they are made in threads."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._known: tuple[Any, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def described(self) -> tuple[Any, list[str]]:
        """The service's descriptor, and the names of the services that the server lists."""
        database = ProtoReflectionDescriptorDatabase(self.channel)
        return DescriptorPool(database).FindServiceByName(SERVICE), sorted(database.get_services())

    async def call(self, group: str, number: str, *, timeout_s: float | None = WITHIN_S) -> Any:
        """The response to a request; `status` was there."""
        request, response = await asyncio.to_thread(self._messages)
        asked = request(group_id=group, number_of_messages=number).SerializeToString()
        answer = response.FromString(await self.raw(asked, timeout_s=timeout_s))
        assert answer.HasField("status")
        return answer

    async def code(self, group: str, number: str = "50", *, timeout_s: float | None = WITHIN_S) -> str:
        """The status code of a call, by name."""
        status = (await self.call(group, number, timeout_s=timeout_s)).status
        return str(status.DESCRIPTOR.file.enum_types_by_name["StatusCode"].values_by_number[status.code].name)

    async def texts(self, group: str, number: str = "50") -> list[str]:
        """The messages' texts; fails if the call did not go well."""
        answer = await self.call(group, number)
        assert answer.status.code == 0, answer.status
        return [message.content for message in answer.messages]

    def burst(self, group: str, number: str, count: int) -> list[Any]:
        """The answers to so many calls at once; grpc.RpcError if one of them fails."""
        request, response = self._messages()
        asked = request(group_id=group, number_of_messages=number).SerializeToString()
        call = self.channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)
        calls = [call.future(asked, timeout=WITHIN_S, wait_for_ready=True) for _ in range(count)]
        return [response.FromString(each.result()) for each in calls]

    async def raw(self, request: bytes, *, timeout_s: float | None = WITHIN_S) -> bytes:
        """The bytes of the answer to any bytes; grpc.RpcError if the call itself fails."""
        call = self.channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)
        answer: bytes = await asyncio.to_thread(call, request, timeout=timeout_s, wait_for_ready=True)
        return answer

    def _messages(self) -> tuple[Any, Any]:
        """The classes of request and response, from a pool of their own."""
        if self._known is None:
            [method] = self.described()[0].methods
            self._known = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        return self._known
