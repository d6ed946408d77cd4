"""What a bridge counts, by Prometheus' conventions of names. No label grows with users, groups or messages."""

from prometheus_client import Counter, Gauge

CONNECTED = Gauge("auerbach_bridge_connected", "Whether a part's connection to RabbitMQ serves.", ["part"])
LOSSES = Counter("auerbach_bridge_losses", "Connections to RabbitMQ that failed or ended, by part.", ["part"])
