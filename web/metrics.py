"""What a gateway counts, by Prometheus' conventions of names. No label grows with users or groups."""

from prometheus_client import Counter, Gauge, Histogram

from web.live_events import Run

SOCKETS = Gauge("auerbach_gateway_sockets", "Open sockets.")
FOLLOWED = Gauge("auerbach_gateway_followed_groups", "Groups that somebody here follows.")
PENDING = Gauge("auerbach_gateway_pending_commands", "Commands without an outcome yet.")
REQUESTS = Counter("auerbach_gateway_requests", "Replies by request type and outcome.", ["type", "outcome"])
ACK_SECONDS = Histogram(
    "auerbach_gateway_ack_seconds",
    "From a command's arrival to its outcome.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
COMMAND_RECORDS = Counter("auerbach_gateway_command_records", "Records of commands that were produced.")
LOG_RECORDS = Counter("auerbach_gateway_log_records", "Records read, by topic and fate.", ["topic", "fate"])
FRAMES = Counter("auerbach_gateway_event_frames", "Events written to sockets.")
BYTES = Counter("auerbach_gateway_event_bytes", "Bytes of the frames of events written to sockets.")
FAN_OUT_SECONDS = Histogram(
    "auerbach_gateway_fan_out_seconds",
    "From the timestamp of an event in the log, by the clock of who wrote it, until it is written to all sockets here.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
SLOW_SOCKETS = Gauge("auerbach_gateway_slow_sockets", "Sockets that something waits for.")
READER_LAG = Gauge("auerbach_gateway_reader_lag_records", "Records of the events topic that are not read yet.")
LOOP_LAG_SECONDS = Histogram(
    "auerbach_gateway_loop_lag_seconds",
    "How late the loop came back to a timer.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
GAPS = Counter("auerbach_gateway_gaps", "Subscriptions that had to fetch events they had missed.")
CLOSES = Counter("auerbach_gateway_closes", "Sockets closed by us, by code.", ["code"])
OWNER_READS = Counter("auerbach_gateway_owner_reads", "Reads asked of owners, by result.", ["result"])
RPC_CALLS = Counter("auerbach_gateway_rpc_calls", "Calls of the replaced service's gRPC, by status code.", ["code"])
PRESENCE_REPORTS = Counter(
    "auerbach_gateway_presence_reports", "Reports to owners of who is online, by word.", ["word"]
)
PRESENCE_FRAMES = Counter("auerbach_gateway_presence_frames", "Changes of presence given to a group's followers.")
RPC_UNDER_WAY = Gauge("auerbach_gateway_rpc_under_way", "Calls of that gRPC that wait for a group's owner.")
ERRORS = Counter("auerbach_gateway_errors", "Exceptions caught at an edge, by place.", ["place"])


def count_events(run: Run, sockets: int) -> None:
    """The events of `run` were written to so many sockets."""
    FRAMES.inc(sockets * len(run.events))
    BYTES.inc(sockets * len(run.frames))
