"""What the service is, free of transport.

In: commands as bytes and values. Out: events, refusals, and the bytes of both.
`domain` is the pure core; `log` the record format and its fencing; `kafka` the broker's clients
behind small interfaces; `bootstrap` and `cli` the top layer, the only one that sees every room.
"""
