"""What the types do not say of a field or a header: the part of the schemas that is written by hand.

JSON Schema counts characters where the rules count bytes, so a schema is a little more lenient than a door.
"""

from typing import Any

from app.domain import rules
from app.domain.events import KINDS

Schema = dict[str, Any]

_NO_CONTROL = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
_INSTANT = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$"
_DIGITS = "^[0-9]+$"


def _text(least: int, most: int, about: str) -> Schema:
    return {"description": f"{about}: {least} to {most} bytes of UTF-8.", "minLength": least, "maxLength": most}


def _identifier(about: str) -> Schema:
    rule = _text(1, rules.ID_BYTES, about)
    return rule | {"pattern": _NO_CONTROL, "description": rule["description"] + " No whitespace at its ends."}


def _number(about: str) -> Schema:
    return {"description": about, "minimum": 0, "maximum": rules.SEQ_LIMIT - 1}


# What the types do not say of a field, by its name in JSON.
FIELDS: dict[str, Schema] = {
    "group": _identifier("The group's id, compared byte for byte"),
    "user": _identifier("A user's id, compared byte for byte"),
    "by": _identifier("The user who did it; null for an outside authority"),
    "from": _identifier("Who owned the group until now"),
    "owner": _identifier("Who owns the group from now on"),
    "client_msg_id": _text(1, rules.CLIENT_MSG_ID_BYTES, "The client's own id of the change, for repetitions"),
    "name": _text(1, rules.NAME_BYTES, "The group's name"),
    "topic": _text(0, rules.TOPIC_BYTES, "The group's topic"),
    "text": _text(1, rules.TEXT_BYTES, "The message's text, without U+0000"),
    "emoji": _text(1, rules.EMOJI_BYTES, "The reaction"),
    "seq": _number("A place in the group's order, which has no gaps."),
    "target": _number("The seq of the message that this is about."),
    "reply_to": _number("The seq of the message that this answers."),
    "through": _number("The last seq that is meant."),
    "offset": _number("An offset of the partition in chat.group.events.v1, where a reader may begin."),
    "epoch": _number("The offset of the claim in force: the highest claim seen, for who begins at `offset`."),
    "mentions": {
        "description": f"Ids of users, at most {rules.MENTIONS}.",
        "maxItems": rules.MENTIONS,
        "items": {"type": "string", "minLength": 1, "maxLength": rules.ID_BYTES},
    },
    "attributes": {
        "description": f"Whatever the client adds: at most {rules.ATTRIBUTES_BYTES} bytes as compact JSON, and "
        f"{rules.VALUE_DEPTH} levels."
    },
    "at": {
        "description": "An instant in UTC, with milliseconds. Order is `seq`, never this.",
        "format": "date-time",
        "pattern": _INSTANT,
    },
    "log": {"description": "The log's id, which is Kafka's id of the topic chat.group.events.v1."},
    "worker": {"description": "The name of the owner's process."},
    "url": {"description": "Where gateways ask the owner."},
    "origin": {"description": 'The gateway that waits for the outcome; "" when nobody does.'},
    "id": {"description": "Opaque, and unique."},
}

# Headers are text in UTF-8, numbers in decimal digits.
HEADERS: dict[str, Schema] = {
    "seq": {"pattern": _DIGITS, "description": "The event's `seq`."},
    "epoch": {
        "pattern": _DIGITS,
        "description": "The offset of its writer's claim. If a higher claim stands before the record, it is void.",
    },
    "kind": {"description": 'The event\'s `kind`; "claim" for a claim.', "examples": list(KINDS)},
    "command_id": {"description": "The id of the command that it came from."},
    "command_topic_id": {"description": "Kafka's id of the topic of that command."},
    "command_offset": {"pattern": _DIGITS, "description": "Its offset, in the partition of the same number."},
    "command_index": {"pattern": _DIGITS, "description": "Its place in the array of that record; 0 if it stood alone."},
    "ce_specversion": {"const": "1.0", "description": "CloudEvents in Kafka's binary mode."},
    "ce_id": {"description": "The event's `id`."},
    "ce_type": {"pattern": "^chat\\.", "description": 'The event\'s `kind` behind "chat.".'},
    "ce_source": {"const": "/auerbach/groups", "description": "The same for all."},
    "ce_time": {"pattern": _INSTANT, "description": "The event's `at`."},
    "content-type": {"const": "application/json", "description": "The same for all."},
    "request": {
        "pattern": "^[0-9a-f]+$",
        "description": "A digest of what was asked, where a `client_msg_id` came with it. Of use to owners only.",
    },
}
OPTIONAL_HEADERS = {"request"}
