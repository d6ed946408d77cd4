"""The way in from RabbitMQ, piece by piece; `bridges.amqp_inbound` puts it together.

A delivery comes in (`deliveries`), its meaning is found (`updates`), and it leaves as commands or as a dead letter on
Kafka (`writing`, `dead_letters`), acknowledged once all before it is on disk (`ledger`).
"""
