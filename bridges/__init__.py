"""Bridges to brokers that neighbours use: RabbitMQ messages into commands, events out to RabbitMQ.

In: an outside broker's messages. Out: commands on Kafka; events on an exchange. None is built yet: the first two
come with the replaced service's interface.
"""
