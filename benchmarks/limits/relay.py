"""`python -m benchmarks.limits.relay`: bare sockets and librdkafka in a gateway's place, in a process of its own.

A client's first line names its group; then each message is its size (two bytes, big-endian) and a command, which is
appended as it is. What `pipe` writes for it is sent to all of the group, with `send(2)` for each. No protocol is
spoken, nobody is asked who he is, and nothing is made up for who comes back.
"""

import selectors
import socket
import struct
import threading
from collections import defaultdict
from dataclasses import dataclass, field

import click
from confluent_kafka import Consumer, Producer, TopicPartition

from app.domain.commands import Send, encode_command
from app.kafka import consumer
from app.kafka.partition import partition_for
from benchmarks.lab import OWNER, producer
from benchmarks.limits import topics

LISTENING = "listening"
_SIZE = struct.Struct("!H")
_BATCH = 500


class Client:
    """A member at the other end, in the place of `RawClient`."""

    def __init__(self, port: int, group: str) -> None:
        self._group = group
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(group.encode() + b"\n")

    def send(self, request: dict[str, object]) -> None:
        """Send what a client of the service would send as this request."""
        key = str(request["client_msg_id"])
        command = Send(id=key, group=self._group, by=OWNER, client_msg_id=key, text=str(request["text"]))
        encoded = encode_command(command)
        self.socket.sendall(_SIZE.pack(len(encoded)) + encoded)

    def stay(self) -> None:
        """Nobody is shown out here."""


@dataclass
class _Peer:
    """A client's socket, its group once it has named it, and what has come and is not whole yet."""

    socket: socket.socket
    group: bytes = b""
    held: bytes = b""


@dataclass
class _Relay:
    to: Producer
    partitions: int
    members: dict[bytes, list[socket.socket]] = field(default_factory=lambda: defaultdict(list))

    def take(self, peer: _Peer, data: bytes) -> None:
        """Data of a client."""
        held = peer.held + data
        if not peer.group:
            peer.group, newline, held = held.partition(b"\n")
            if not newline:
                peer.group, peer.held = b"", peer.group
                return
            self.members[peer.group].append(peer.socket)
        while len(held) >= _SIZE.size and len(held) >= (end := _SIZE.size + _SIZE.unpack_from(held)[0]):
            partition = partition_for(peer.group, self.partitions)
            self.to.produce(topics.PIPE, held[_SIZE.size : end], peer.group, partition)
            self.to.poll(0)
            held = held[end:]
        peer.held = held

    def deliver(self, reading: Consumer) -> None:
        """Send what is read to the members of its group, for ever."""
        while True:
            first = reading.poll(0.1)
            for message in () if first is None else (first, *reading.consume(_BATCH, 0)):
                if message.error() is None:
                    for member in self.members.get(message.key() or b"", ()):
                        member.send(message.value() or b"")


@click.command()
@click.option("--bootstrap", required=True)
@click.option("--partitions", required=True, type=int)
@click.option("--port", required=True, type=int)
def main(bootstrap: str, partitions: int, port: int) -> None:
    """Relay until SIGTERM."""
    relay = _Relay(producer(bootstrap), partitions)
    reading = Consumer(consumer.settings(bootstrap))
    reading.assign([TopicPartition(topics.EVENTS, partition, 0) for partition in range(partitions)])
    threading.Thread(target=relay.deliver, args=(reading,), daemon=True).start()
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    ready = selectors.EpollSelector()
    ready.register(listener, selectors.EVENT_READ)
    print(LISTENING, flush=True)
    while True:
        for key, _ in ready.select():
            if key.data is None:
                peer, _ = listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(peer, selectors.EVENT_READ, _Peer(peer))
            elif data := key.data.socket.recv(65_536):
                relay.take(key.data, data)
            else:
                ready.unregister(key.data.socket)


if __name__ == "__main__":
    main()
