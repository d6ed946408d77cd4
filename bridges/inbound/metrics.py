"""What the way in from RabbitMQ counts, by Prometheus' conventions of names. No label grows with users or groups."""

from prometheus_client import Counter, Gauge

MESSAGES = Counter("auerbach_bridge_in_messages", "Messages of the user service's queue, by fate.", ["fate"])
DEAD_LETTERS = Counter("auerbach_bridge_in_dead_letters", "Messages put aside, by reason.", ["reason"])
RECORDS = Counter("auerbach_bridge_in_records", "Records of commands that were produced.")
OPEN = Gauge("auerbach_bridge_in_open_messages", "Messages that are not acknowledged yet.")
STANDING_BY = Gauge("auerbach_bridge_in_standing_by", "Whether another bridge consumes, and this one waits.")
