"""The frames of `chat.v1.json` as bytes: built once, written to any number of sockets (design §5)."""

from typing import Any

import msgspec

from app.domain import rules
from app.domain.outcomes import Rejection

PROTOCOL = "chat.v1.json"
FRAME_BYTES = 65_536
GROUPS = 1_000
REQUESTS_PER_SECOND = 50
HEARTBEAT_MS = 25_000

_TEXT = 0x81  # FIN and the text opcode (RFC 6455 §5.2); a server's frames carry no mask
_CLOSE = 0x88
_PING = 0x89
_PONG = 0x8A

# A number that is no integer is kept as it was written.
RequestId = int | float | str | msgspec.Raw | None

_encoder = msgspec.json.Encoder()


def text_frame(payload: bytes) -> bytes:
    """A whole unmasked text frame around `payload` (UTF-8)."""
    return _frame(_TEXT, payload)


def ping_frame() -> bytes:
    """A ping without payload."""
    return _frame(_PING, b"")


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping of `payload`, at most 125 bytes."""
    return _frame(_PONG, payload)


def close_frame(code: int) -> bytes:
    """A CLOSE that says why (RFC 6455 §7.4)."""
    return _frame(_CLOSE, code.to_bytes(2, "big"))


def reply_ok(request_id: RequestId, **fields: Any) -> bytes:
    """The frame of a reply that says yes; `fields` are what the request's type adds (protocol §2)."""
    return text_frame(_encoder.encode({"type": "reply", "id": request_id, "ok": True, **fields}))


def reply_error(request_id: RequestId, refusal: Rejection) -> bytes:
    """The frame of a reply that says no."""
    reply = {"type": "reply", "id": request_id, "ok": False, "error": error_body(refusal)}
    return text_frame(_encoder.encode(reply))


def error_body(refusal: Rejection) -> dict[str, Any]:
    """The `error` of a reply or of one result of a batch."""
    body: dict[str, Any] = {"code": refusal.code, "message": refusal.message, "temporary": refusal.temporary}
    if refusal.field is not None:
        body["field"] = refusal.field
    return body


def hello(session: str, log_id: str, user: str) -> bytes:
    """The first frame once a socket is authenticated (protocol §1)."""
    return text_frame(
        _encoder.encode(
            {
                "type": "hello",
                "protocol": PROTOCOL,
                "session": session,
                "log": log_id,
                "user": user,
                "heartbeat_ms": HEARTBEAT_MS,
                "limits": {
                    "frame_bytes": FRAME_BYTES,
                    "text_bytes": rules.TEXT_BYTES,
                    "groups": GROUPS,
                    "requests_per_second": REQUESTS_PER_SECOND,
                },
            }
        )
    )


def bye(reconnect_after_ms: int) -> bytes:
    """What comes before a drain's close (protocol §6)."""
    return text_frame(_encoder.encode({"type": "bye", "reconnect_after_ms": reconnect_after_ms}))


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload
