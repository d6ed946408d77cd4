"""What the machine allows at best: the same work done bare, measured in the same run as what it is the limit of.

In: a broker with topics like the service's, or sockets. Out: rates, CPU times and delays. Each does what must be done
in any case, as durably (acks, flush, record sizes), and nothing that is ours: `pipe` and `agent` write a record for
each command, through librdkafka alone and through Faust; `relay` carries it from socket to sockets.
"""
