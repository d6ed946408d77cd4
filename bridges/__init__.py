"""Bridges to RabbitMQ, which neighbours use: their messages into commands, events and push records out to them.

In: messages of the user service's queue (`amqp_inbound`). Out: commands on Kafka, and what cannot become any as dead
letters; events on an exchange (`amqp_outbound`). The pieces of either are in `inbound` and `outbound`. A part is one
direction with one connection of its own (`connection`); `bridge` runs the parts of a process side by side. No state
but in the brokers: a bridge can be killed and started anywhere.
"""
