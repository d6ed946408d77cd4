"""The WebSocket of the replaced service, `GET /v1/messages/{group}?user=` (protocol §8), on a port of its own.

In come old apps' text frames, each a message; out go two shapes of text frames, made of the events and the presence
that the hub gives to every socket. It trusts its caller, so nobody but the old gateway may reach that port.
"""
