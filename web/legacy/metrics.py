"""What is counted of the replaced service's sockets."""

from prometheus_client import Counter, Gauge

SOCKETS = Gauge("auerbach_gateway_legacy_sockets", "Open sockets of the replaced service's kind.")
RECEIVED = Counter(
    "auerbach_gateway_legacy_messages",
    "Text frames received on them, by what became of each: posted, empty, refused, uncertain, or dropped with the "
    "membership or the connection.",
    ["fate"],
)
REPLACED = Counter("auerbach_gateway_legacy_replaced", "Sockets closed because their member opened another one.")
