"""What the way out to RabbitMQ counts, by Prometheus' conventions of names. No label grows with users or groups."""

from prometheus_client import Counter, Gauge

EVENTS = Counter(
    "auerbach_bridge_out_events", "Events by fate: confirmed, again (published once more), or void.", ["fate"]
)
UNCONFIRMED = Gauge("auerbach_bridge_out_unconfirmed", "Messages that RabbitMQ has not confirmed yet.")
HELD = Gauge("auerbach_bridge_out_held", "Events that were read and are not done with yet.")
LAG = Gauge("auerbach_bridge_out_lag_records", "Records of the log, in this bridge's partitions, not published yet.")
PUSHES = Counter(
    "auerbach_bridge_pushes",
    "Messages by what became of their push: sent, unasked (sent, the owner did not say), nobody (was missed by nobody),"
    " old, redacted, unreadable, or gone (the group is).",
    ["fate"],
)
AUDIENCES = Counter("auerbach_bridge_audiences", "Owners asked who is offline, by result.", ["result"])
ERRORS = Counter("auerbach_bridge_out_errors", "Faults caught at an edge, by place.", ["place"])
