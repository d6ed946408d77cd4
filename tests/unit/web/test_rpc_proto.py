"""The proto is the contract; the generated module beside it says the same."""

import subprocess
import sys
from pathlib import Path

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from web.rpc import chatservice_pb2 as pb

ROOM = Path(pb.__file__).parent


def test_the_generated_module_is_what_the_proto_gives(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOM}"]
    subprocess.run(
        [*command, f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", "chatservice.proto"], check=True, timeout=60
    )
    for made in ("chatservice_pb2.py", "chatservice_pb2.pyi"):
        assert (ROOM / made).read_text() == (tmp_path / made).read_text(), "run `make proto`"


def test_names_numbers_and_types_are_the_replaced_services() -> None:
    """Protocol §8, written out."""
    text, message, enum = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_ENUM
    file = pb.DESCRIPTOR
    fields = {
        name: [(f.number, f.name, f.type, f.is_repeated) for f in found.fields]
        for name, found in file.message_types_by_name.items()
    }
    assert file.package == "chatservice"
    assert fields == {
        "RetrieveLastMessagesRequest": [(1, "group_id", text, False), (2, "number_of_messages", text, False)],
        "MessageResponse": [(1, "status", message, False), (2, "messages", message, True)],
        "Status": [(1, "code", enum, False), (2, "message", text, False)],
        "Message": [(1, "client_id", text, False), (2, "content", text, False), (3, "timestamp", message, False)],
    }
    assert file.message_types_by_name["Message"].fields_by_name["timestamp"].message_type == Timestamp.DESCRIPTOR
    assert dict(pb.StatusCode.items()) == {
        "OK": 0,
        "BAD_REQUEST": 1,
        "SERVICE_UNAVAILABLE": 2,
        "REQUEST_TIMEOUT": 3,
        "GENERIC_ERROR": 4,
    }
    [method] = file.services_by_name["ChatService"].methods
    assert method.full_name == "chatservice.ChatService.RetrieveLastMessages"
    assert (method.input_type.name, method.output_type.name) == ("RetrieveLastMessagesRequest", "MessageResponse")
    assert (method.client_streaming, method.server_streaming) == (False, False)
