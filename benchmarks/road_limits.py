"""What the road cannot be cheaper than, taken beside it: bare librdkafka on its two hops, a bare loop of `send(2)`."""

import socket
import threading
import time
from collections.abc import Callable, Sized
from contextlib import ExitStack
from dataclasses import dataclass

from confluent_kafka import Consumer, Message, TopicPartition

from app.domain.events import encode_event
from app.kafka import consumer
from app.log.records import CommandPlace, event_headers
from benchmarks.lab import Lab, post, producer, record
from benchmarks.limits import topics
from benchmarks.members import EPOCH, HEAD, event
from benchmarks.road_cost import cpu_s
from benchmarks.send_loop import send_loop
from web.frames import text_frame

_DRAIN_S = 10.0
_EVENT = encode_event(event(HEAD))
_HEADERS = event_headers(
    event(HEAD), epoch=EPOCH, command_id="gateway-0-00000000-1", topic_id="commands", place=CommandPlace(HEAD, 0)
)


@dataclass(frozen=True, slots=True)
class BareKafka:
    """Messages that went two hops: CPU seconds of each, of the broker and of the clients, and latencies in ms."""

    broker_s: float
    clients_s: float
    took_ms: list[float]


def bare_kafka(service: Lab, broker: int, rate: float, seconds: float) -> BareKafka:
    """Messages as two records: a command's is read and an event's written for it, which is read.

    `broker` is its pid; the topics are those of `limits.topics`. Each message is a record of its own, as at the road's
    usual rates. Stricter than `limits.pipe`: nobody is a member of a group, which costs the broker its commits and
    heartbeats, the more for each message the fewer there are.

    Raises:
        RuntimeError: a record was not read in time.
    """
    sent: list[float] = []
    took_ms: list[float] = []
    ended = threading.Event()
    command = record([post("road", 0)])
    to_commands, to_events = producer(service.bootstrap), producer(service.bootstrap)

    def decide(message: Message) -> None:
        to_events.produce(topics.EVENTS, _EVENT, message.key(), message.partition(), headers=_HEADERS)
        to_events.poll(0)

    def deliver(message: Message) -> None:
        took_ms.append(1000 * (time.monotonic() - sent[int(message.key() or b"0")]))

    with ExitStack() as ending:
        threads = []
        for topic, handle in ((topics.PIPE, decide), (topics.EVENTS, deliver)):
            reading = _from_the_end(service, topic)
            ending.callback(reading.close)
            threads.append(threading.Thread(target=_read, args=(reading, handle, ended), daemon=True))
        for thread in threads:
            thread.start()
        try:
            began, own, of_broker = time.monotonic(), time.process_time(), cpu_s(broker)
            while len(sent) < rate * seconds:
                due = began + len(sent) / rate
                time.sleep(max(0.0, due - time.monotonic()))
                sent.append(due)
                number = len(sent) - 1
                to_commands.produce(topics.PIPE, command, b"%d" % number, number % service.partitions)
                to_commands.poll(0)
            _wait_for(took_ms, len(sent))
            own_s, broker_s = time.process_time() - own, cpu_s(broker) - of_broker
        finally:
            ended.set()
            for thread in threads:
                thread.join(_DRAIN_S)
    return BareKafka(broker_s / len(sent), own_s / len(sent), took_ms)


def _from_the_end(service: Lab, topic: str) -> Consumer:
    """A consumer of all partitions of a topic, of what comes from now on."""
    reading = Consumer(consumer.settings(service.bootstrap))
    ends = (consumer.offsets(reading, topic, p)[1] for p in range(service.partitions))
    reading.assign([TopicPartition(topic, p, end) for p, end in enumerate(ends)])
    return reading


def _wait_for(came: Sized, count: int) -> None:
    deadline = time.monotonic() + _DRAIN_S
    while len(came) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(came)} of {count} records came back")
        time.sleep(0.01)


def bare_send_s(sockets: int, rounds: int) -> float:
    """CPU seconds for each frame of an event that a loop of `send(2)` in C writes to so many sockets."""
    frame = text_frame(_EVENT)
    spent_s = 0.0
    with ExitStack() as ending:
        pairs = [_pair(ending) for _ in range(sockets)]
        send_all = ending.enter_context(send_loop([ours.fileno() for ours, _ in pairs]))
        for _ in range(rounds):
            began = time.process_time()
            send_all(frame)
            spent_s += time.process_time() - began
            for _, theirs in pairs:
                theirs.recv(4096)
    return spent_s / rounds / sockets


def _pair(ending: ExitStack) -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = ending.enter_context(socket.create_connection(listener.getsockname()))
        ours = ending.enter_context(listener.accept()[0])
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


def _read(reading: Consumer, handle: Callable[[Message], None], ended: threading.Event) -> None:
    while not ended.is_set():
        first = reading.poll(0.1)
        for message in () if first is None else (first, *reading.consume(500, 0)):
            if message.error() is None:
                handle(message)
