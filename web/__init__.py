"""The gateway: what a client asks becomes a command or a read; what the log says becomes frames.

In: WebSocket frames and HTTP requests (protocol.md), records of the events, replies and owners topics.
Out: command records, reads to the owners of partitions, frames to sockets. Nothing here decides what a
group allows, and nothing is kept on disk: a gateway that dies loses its sockets and nothing else. `inspect` is another
process's: the operators' pages of a processor.
"""
