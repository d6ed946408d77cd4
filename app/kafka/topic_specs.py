"""What each topic must be: names, the settings without which a promise is broken, and those that are good to have."""

from collections.abc import Iterator
from dataclasses import dataclass, field

COMMANDS = "chat.group.commands.v1"
EVENTS = "chat.group.events.v1"
REPLIES = "chat.group.replies.v1"
SIGNALS = "chat.group.signals.v1"
READS = "chat.group.reads.v1"
MEMBERSHIPS = "chat.user.memberships.v1"
OWNERS = "chat.partition.owners.v1"
REVOCATIONS = "chat.user.revocations.v1"
DEAD_LETTERS = "chat.deadletters.v1"

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
_MIB = 1024 * 1024

# Kafka's own default: an array of commands has at most 256 KiB, a frame about 110 KiB.
_RECORD_BYTES = 1_048_588

# How a setting compares with what is due; all others must be equal. -1 stands for "without end".
_AT_LEAST = {"delete.retention.ms", "max.message.bytes", "min.compaction.lag.ms", "min.insync.replicas"} | {
    "retention.bytes",
    "retention.ms",
}
_AT_MOST = {"flush.messages", "segment.bytes", "segment.ms"}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic. `config` must hold, or a promise is broken; `advised` is what it is made with besides."""

    name: str
    config: dict[str, str]
    advised: dict[str, str] = field(default_factory=dict)

    def faults(self, found: dict[str, str | None]) -> Iterator[str]:
        """What is wrong with a topic that has the configuration `found`, one sentence each."""
        return self._differences(self.config, found, "must be")

    def advice(self, found: dict[str, str | None]) -> Iterator[str]:
        """What had better be otherwise."""
        return self._differences(self.advised, found, "should be")

    def _differences(self, due: dict[str, str], found: dict[str, str | None], verb: str) -> Iterator[str]:
        for setting, wanted in due.items():
            value = found.get(setting)
            if value is None or not _holds(setting, value, wanted):
                yield f"{self.name}: {setting} is {value}, {verb} {_bound(setting, wanted)}{wanted}"


def groups_changelog(app_id: str) -> str:
    """The changelog topic of the `groups` table."""
    return f"{app_id}-groups-changelog"


def history_changelog(app_id: str) -> str:
    """The changelog topic of the `history` table."""
    return f"{app_id}-history-changelog"


def changelogs(app_id: str) -> dict[str, str]:
    """The changelog topic of each table, by the table's name."""
    return {"groups": groups_changelog(app_id), "history": history_changelog(app_id)}


def specs(app_id: str, replication: int) -> list[TopicSpec]:
    """All topics with their settings at `replication` copies of each record."""
    durable = _durability(replication)
    compacted = {**durable, "cleanup.policy": "compact"}
    deleted = {**durable, "cleanup.policy": "delete"}
    commands = {
        **deleted,
        # The broker's instant is the command's `now` (design I8).
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(_RECORD_BYTES),
    }
    # One copy: an acknowledgement means flushed to its disk (design §3).
    flushed = {"flush.messages": "1"} if replication == 1 else {}
    events = {
        **deleted,
        **flushed,
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": str(_RECORD_BYTES),
    }
    return [
        TopicSpec(COMMANDS, commands, {"retention.ms": str(7 * _DAY_MS)}),
        TopicSpec(EVENTS, events),
        # Only whole segments are deleted: without small ones, what is kept for minutes would stay for a week.
        TopicSpec(REPLIES, deleted, {"retention.ms": str(_HOUR_MS), "segment.ms": str(10 * _MINUTE_MS)}),
        TopicSpec(SIGNALS, deleted, {"retention.ms": str(10 * _MINUTE_MS), "segment.ms": str(10 * _MINUTE_MS)}),
        TopicSpec(READS, compacted),
        TopicSpec(MEMBERSHIPS, compacted),
        # Gateways read it whole at their start, and only what is not in the last segment is compacted.
        TopicSpec(OWNERS, compacted, {"segment.bytes": str(_MIB)}),
        # Read whole, too. A revocation that was confirmed must outlive the machine's power: flushed, like an event.
        TopicSpec(REVOCATIONS, {**compacted, **flushed}, {"segment.bytes": str(_MIB)}),
        TopicSpec(DEAD_LETTERS, deleted, {"retention.ms": str(30 * _DAY_MS)}),
        *(_changelog(topic, compacted) for topic in changelogs(app_id).values()),
    ]


def _changelog(name: str, compacted: dict[str, str]) -> TopicSpec:
    # A late row of a fenced owner must not outlive the claim that voids it (rule F3).
    due = {**compacted, "min.compaction.lag.ms": str(_HOUR_MS)}
    advised = {
        "segment.bytes": str(64 * _MIB),
        "max.message.bytes": str(_RECORD_BYTES),
        # A disk that comes back later than this may have missed the end of a row that it still holds.
        "delete.retention.ms": str(7 * _DAY_MS),
    }
    return TopicSpec(name, due, advised)


def _durability(replication: int) -> dict[str, str]:
    """What keeps an acknowledged record, at so many copies."""
    if replication == 1:
        return {"min.insync.replicas": "1"}
    return {
        "min.insync.replicas": "2" if replication >= 3 else "1",
        # A copy that lacks acknowledged records must not become the leader.
        "unclean.leader.election.enable": "false",
    }


def _holds(setting: str, value: str, wanted: str) -> bool:
    if setting in _AT_LEAST:
        return _number(value) >= _number(wanted)
    if setting in _AT_MOST:
        return _number(value) <= _number(wanted)
    return value == wanted


def _number(value: str) -> float:
    return float("inf") if value == "-1" else int(value)


def _bound(setting: str, wanted: str) -> str:
    if wanted == "-1":
        return ""
    return "at least " if setting in _AT_LEAST else "at most " if setting in _AT_MOST else ""
