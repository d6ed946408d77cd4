"""Values as plain JSON: what a record means, written down so that a later version can be held to it."""

import dataclasses
from typing import Any

import msgspec

from tables.partition_tables import PartitionTables


def spelled(value: Any) -> Any:
    """`value` with every field under its wire name, defaults included; a dict of a dataclass as pairs in order."""
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        fields = {f.encode_name: spelled(getattr(value, f.name)) for f in msgspec.structs.fields(value)}
        return ({"is": tag} if tag else {}) | {k: v for k, v in fields.items() if v is not msgspec.UNSET}
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.name != "touched"}
        return {k: _pairs(v) if isinstance(v, dict) else spelled(v) for k, v in fields.items()}
    if isinstance(value, bytes | msgspec.Raw):
        return bytes(value).decode()
    if isinstance(value, dict):
        return {k: spelled(v) for k, v in value.items()}
    if isinstance(value, set):
        return sorted(value)
    return [spelled(v) for v in value] if isinstance(value, list | tuple) else value


def _pairs(value: dict[Any, Any]) -> list[Any]:
    return [[spelled(k), spelled(v)] for k, v in value.items()]


def missing(now: Any, then: Any, path: str = "") -> list[str]:
    """Where `now` does not say what `then` said; it may say more (fields of a later version)."""
    if isinstance(then, dict) and isinstance(now, dict):
        return [
            line
            for key, said in then.items()
            for line in (missing(now[key], said, f"{path}.{key}") if key in now else [f"{path}.{key} is gone"])
        ]
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [line for n, (a, b) in enumerate(zip(now, then, strict=True)) for line in missing(a, b, f"{path}[{n}]")]
    return [] if now == then and type(now) is type(then) else [f"{path}: {then!r} reads as {now!r}"]


def messages(tables: PartitionTables, group_id: str) -> dict[str, Any]:
    """What the history says of each message: the target that a command would find, its edits, who reacted."""
    group, history = tables.group(group_id), tables.history
    targets = {seq: tables.target(group, seq) for seq in range(1, group.seq + 1)}
    return {
        str(seq): {
            "target": spelled(target),
            "edits": list(history.edits(group_id, seq)),
            "reactions": history.reactions(group_id, seq, lambda _seq: True).users,
        }
        for seq, target in targets.items()
        if target is not None
    }
