"""The record format of the log, and who may be believed.

In: raw Kafka records of the events topic. Out: events, claims, and the verdict of the fence. Every reader
(owner, gateway, bridge, replay) uses this room, so that all void the same records.
"""
