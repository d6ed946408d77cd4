"""What a bridge counts, by Prometheus' conventions of names. No label grows with users, groups or messages."""

from prometheus_client import Counter, Gauge

CONNECTED = Gauge("auerbach_bridge_connected", "Whether a part's connection to RabbitMQ serves.", ["part"])
LOSSES = Counter("auerbach_bridge_losses", "Connections to RabbitMQ that failed or ended, by part.", ["part"])

IN_MESSAGES = Counter("auerbach_bridge_in_messages", "Messages of the user service's queue, by fate.", ["fate"])
IN_DEAD_LETTERS = Counter("auerbach_bridge_in_dead_letters", "Messages put aside, by reason.", ["reason"])
IN_RECORDS = Counter("auerbach_bridge_in_records", "Records of commands that were produced.")
IN_OPEN = Gauge("auerbach_bridge_in_open_messages", "Messages that are not acknowledged yet.")
IN_STANDING_BY = Gauge("auerbach_bridge_in_standing_by", "Whether another bridge consumes, and this one waits.")
