"""The other end of `fan_out`, in a process of its own: a group's members, and the owner who writes its events.

A line on standard input is a task: `post BURSTS SIZE` appends so many bursts of so many events, each when all members
have got the one before; `again BURSTS SIZE` does so with the last event, for a gateway that does not look at them.
Each is answered with `done`.
"""

import sys

import click
from confluent_kafka import Producer

from app.domain.events import Event, MessagePosted, encode_event
from app.kafka import topics
from app.log.records import NOWHERE, event_headers
from benchmarks.lab import OWNER, TEXT
from benchmarks.raw_client import Drain, RawClient
from web.frames import text_frame

GROUP = "group"
EPOCH = 0  # the claim's offset: the first record
HEAD = 100_000  # the group's seq before the first event: all have the same number of digits, and so of bytes
_AT = "2026-11-25T01:20:00.123Z"
# What is given to the producer together leaves together, as from an owner that has decided a record of commands.
_LINGER_MS = 2


def event(seq: int) -> Event:
    """The event `seq` of the group: a message of 100 bytes."""
    return Event(
        group=GROUP,
        seq=seq,
        id=f"commands.0.{seq}.0",
        kind="message.posted",
        by=OWNER,
        at=_AT,
        client_msg_id=f"{seq}",
        data=MessagePosted(text=TEXT),
    )


@click.command()
@click.option("--bootstrap", required=True)
@click.option("--port", required=True, type=int)
@click.option("--members", required=True, type=int)
def main(bootstrap: str, port: int, members: int) -> None:
    """Open the sockets, say `done`, and do what is asked until standard input ends."""
    to = Producer({"bootstrap.servers": bootstrap, "linger.ms": _LINGER_MS, "log_level": 2})
    clients = [RawClient(port, f"user-{n}") for n in range(members)]
    for client in clients:
        client.ask(type="subscribe", id=1, group=GROUP, state=False)
    drain = Drain(clients)
    each = len(text_frame(encode_event(event(HEAD + 1)))) * members
    seq = HEAD
    print("done", flush=True)
    for line in sys.stdin:
        task, bursts, size = line.split()
        for _ in range(int(bursts)):
            for _ in range(int(size)):
                seq += task == "post"
                _append(to, event(seq))
            to.poll(0)
            drain.take(int(size) * each)
        print("done", flush=True)


def _append(to: Producer, posted: Event) -> None:
    headers = event_headers(posted, epoch=EPOCH, command_id=posted.id, topic_id="commands", place=NOWHERE)
    to.produce(topics.EVENTS, encode_event(posted), GROUP.encode(), 0, headers=headers)


if __name__ == "__main__":
    main()
