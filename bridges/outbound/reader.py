"""The reader of the log for the way out: a thread with one consumer of the group that bridges share (design I4).

Partitions come and go with the group's rebalances, all at once (Kafka's eager protocol): each assignment is a
*generation*. It begins at places that were committed, or are found (`starts`); when it ends, what is under way is
waited for, within a bound, and committed. What a generation hands over after its end counts for nothing.
"""

import asyncio
import random
import threading
from collections.abc import Callable
from time import monotonic

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from app.kafka import consumer as kafka
from app.kafka import topics
from app.kafka.topics import Layout
from app.log.records import RecordError
from app.telemetry import logger
from bridges.outbound import metrics
from bridges.outbound.commits import commit, lag
from bridges.outbound.positions import PositionError, group_id
from bridges.outbound.receiver import Loop, Receiver
from bridges.outbound.starts import Starts
from bridges.outbound.steps import Generation, Step, joined

BATCH = 500
# Batches on their way to the loop: beyond it the thread waits, and librdkafka's own bounds stop the fetching.
BATCHES_AHEAD = 4
COMMIT_S = 1.0
# A generation's end waits so long for what is under way; what is not confirmed then is published again by the next one.
FINISH_S = 5.0
# The process's end must fit into what a bridge allows its parts (`bridges.bridge`).
LAST_FINISH_S = 1.5
ANSWER_S = 1.0
# Nobody takes records: then the fetching stops, and the group is told all the same that we live.
FULL_S = 0.2
LEAST_PAUSE_S, MOST_PAUSE_S = 0.5, 15.0

_log = logger("bridge")

# The place is not in the log any more: retention was quicker, or it is another log.
_OUT_OF_LOG = {
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001 - its public name
    KafkaError.OFFSET_OUT_OF_RANGE,
}


class Reader:
    """Reads the partitions that the group gives this bridge, from the committed places on."""

    def __init__(
        self,
        bootstrap: str,
        app_id: str,
        session_timeout_s: float,
        receiver: Receiver,
        *,
        earliest: bool,
        look: Callable[[], Layout],
    ) -> None:
        """`look` and `earliest`: as for `Starts`."""
        self._waits_for: str | None = "its place in the log"
        self._unanswered = False
        self._bootstrap = bootstrap
        self._group = group_id(app_id)
        self._session_ms = round(1000 * session_timeout_s)
        self._receiver = receiver
        self._starts = Starts(bootstrap, self._group, earliest=earliest, look=look)
        self._closing = threading.Event()
        self._to_loop = Loop(self._closing.set)
        self._room = threading.Semaphore(BATCHES_AHEAD)
        self._fault: Exception | None = None
        self._numbers = 0
        self._generation: Generation | None = None
        self._thread = threading.Thread(target=self._run, name="amqp-out-reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    async def close(self) -> None:
        """Finish what is under way, commit, leave the group; waits for a broker that is away no longer than a bound."""
        self._closing.set()
        await asyncio.to_thread(self._thread.join, LAST_FINISH_S + ANSWER_S)

    def on_look(self, log_id: str | None) -> None:
        """The broker was asked for the log's id, and told it, or did not answer (None).

        A topic that was deleted and made again has its old name, and offsets that we take for ours.
        """
        self._unanswered = log_id is None
        read = self._starts.log_id
        if log_id is not None and read is not None and log_id != read:
            self._fault = PositionError(f"{topics.EVENTS} is another log now ({log_id}, it was {read})")

    @property
    def waits_for(self) -> str | None:
        """What keeps it from reading; None if nothing does."""
        return f"Kafka at {self._bootstrap}" if self._unanswered else self._waits_for

    def _run(self) -> None:
        """Read, and after a failure begin anew with growing pauses, until closed."""
        failures = 0
        told = ""
        while not self._closing.is_set():
            began = monotonic()
            try:
                self._read_log()
            except (kafka.ReadError, topics.TopicsError, KafkaException, RecordError) as failed:
                why = failed.args[0].str() if isinstance(failed, KafkaException) else str(failed)
                expected = True
            except Exception as failed:  # noqa: BLE001 - an edge: a thread that ends silently would publish nothing more
                why, expected = repr(failed), False
                metrics.ERRORS.labels("reader").inc()
                _log.error("the reader of the log failed; the fault is ours", exc_info=failed)
            else:
                return
            self._waits_for = f"the log: {why}"
            if expected and told != why:
                told = why
                _log.error("the log cannot be read", cause=why)
            failures = 0 if monotonic() - began > MOST_PAUSE_S else failures + 1
            longest = min(MOST_PAUSE_S, LEAST_PAUSE_S * 2 ** min(failures, 10))
            self._closing.wait(random.uniform(LEAST_PAUSE_S, longest))

    def _read_log(self) -> None:
        self._starts.look()
        self._fault = None
        consumer = Consumer(
            kafka.settings(
                self._bootstrap,
                **{
                    "group.id": self._group,
                    "session.timeout.ms": self._session_ms,
                    "heartbeat.interval.ms": min(1000, self._session_ms // 3),
                    "partition.assignment.strategy": "range",
                    "queued.max.messages.kbytes": 8_192,
                    "on_commit": self._on_commit,
                },
            )
        )
        try:
            consumer.subscribe(
                [topics.EVENTS], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            self._follow(consumer)
        finally:
            try:
                self._end(consumer, LAST_FINISH_S)
            finally:
                consumer.close()

    def _follow(self, consumer: Consumer) -> None:
        committed_at = observed_at = monotonic()
        while not self._closing.is_set():
            self._step(consumer)
            if self._fault is not None:
                raise self._fault
            if monotonic() - committed_at >= COMMIT_S:
                committed_at = monotonic()
                self._commit(consumer, wait=False)
            if monotonic() - observed_at >= COMMIT_S:
                observed_at = monotonic()
                self._observe_lag(consumer)

    def _step(self, consumer: Consumer) -> None:
        if self._receiver.full():
            self._wait_for_room(consumer)
            return
        # `consume(n, t)` would wait the whole t unless n records come (design §5).
        first = consumer.poll(0.1)
        if first is not None:
            self._hand_over([first, *consumer.consume(BATCH - 1, 0)])

    def _wait_for_room(self, consumer: Consumer) -> None:
        """Wait for a short while without reading; then stop the fetching, but go on serving the group's rebalances."""
        until = monotonic() + FULL_S
        while self._receiver.full() and monotonic() < until and not self._closing.wait(0.005):
            pass
        generation = self._generation
        if not self._receiver.full() or generation is None:
            return
        places = [TopicPartition(topics.EVENTS, p) for p in generation.partitions]
        consumer.pause(places)
        committed_at = monotonic()
        while self._receiver.full() and self._generation is generation and self._fault is None:
            if self._closing.is_set():
                return
            message = consumer.poll(0.05)
            if message is not None:  # it was on its way when the fetching stopped
                self._hand_over([message])
            if monotonic() - committed_at >= COMMIT_S:
                committed_at = monotonic()
                self._commit(consumer, wait=False)
        if self._generation is generation:
            consumer.resume(places)

    def _hand_over(self, messages: list[Message]) -> None:
        steps = []
        for message in messages:
            error = message.error()
            if error is None:
                # The group may have been rebalanced within the call that gave these.
                generation = self._generation
                if generation is not None and generation.is_next(message):
                    steps.append(generation.step(message))
            elif error.fatal() or error.code() in _OUT_OF_LOG:
                raise kafka.ReadError(f"{message.topic()}/{message.partition()}: {error.str()}")
            else:
                metrics.ERRORS.labels("kafka").inc()
                _log.warning("reading the log", error=error.str())
        if not steps or self._generation is None:
            return
        while not self._room.acquire(timeout=0.1):
            if self._closing.is_set():
                return
        self._to_loop.call(self._give, self._generation.number, joined(steps))

    def _give(self, generation: int, steps: list[Step]) -> None:
        self._room.release()
        if self._fault is not None:
            return  # a batch before this one is missing
        try:
            self._receiver.take(generation, steps)
        except Exception as failed:  # noqa: BLE001 - an edge: what is missing here must not be committed past
            metrics.ERRORS.labels("flow").inc()
            self._fault = failed

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Find the places and begin there; a failure is kept for `_follow`: what is raised here would be lost."""
        partitions = [each.partition for each in assigned]
        try:
            places = self._starts.places(consumer, partitions, self._closing.is_set)
        except Exception as failed:  # noqa: BLE001 - an edge: raised by `_follow`
            self._fault = failed
            consumer.unassign()
            return
        self._numbers += 1
        assert self._starts.log_id is not None
        generation = Generation(self._numbers, self._starts.log_id, places)
        self._generation = generation
        begun = [TopicPartition(topics.EVENTS, p, place.offset) for p, place in places.items()]
        consumer.assign(begun)
        consumer.resume(begun)  # a pause of the generation before is not this one's
        self._to_loop.call(self._receiver.begin, generation.number, places)
        # Before it is ready: a bridge that began at the end, and is killed before its first event, must not begin at a
        # later end.
        commit(consumer, generation, places, wait=True)
        self._waits_for = None
        _log.info("partitions assigned", partitions=sorted(places), generation=generation.number)

    def _on_revoke(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        self._end(consumer, FINISH_S)
        consumer.unassign()

    def _on_lost(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        """Others have them already: what is under way is theirs to repeat."""
        generation, self._generation = self._generation, None
        if generation is not None:
            _log.warning("partitions lost: the group gave them to others", generation=generation.number)
            self._to_loop.wait(self._receiver.finish(generation.number, 0), ANSWER_S)
        consumer.unassign()

    def _end(self, consumer: Consumer, within_s: float) -> None:
        """End the generation: wait for what is under way, and commit up to where it reached."""
        if self._generation is None:
            return
        self._to_loop.wait(self._receiver.finish(self._generation.number, within_s), within_s + ANSWER_S)
        try:
            self._commit(consumer, wait=True)
        finally:
            self._generation = None

    def _commit(self, consumer: Consumer, *, wait: bool) -> None:
        generation = self._generation
        if generation is not None:
            commit(consumer, generation, self._receiver.reached(generation.number), wait=wait)

    def _on_commit(self, error: KafkaError | None, _: list[TopicPartition]) -> None:
        if error is None:
            return
        metrics.ERRORS.labels("commit").inc()
        _log.warning("a position was not committed; it is tried again", error=error.str())
        if self._generation is not None:
            self._generation.committed.clear()

    def _observe_lag(self, consumer: Consumer) -> None:
        generation = self._generation
        metrics.LAG.set(lag(consumer, self._receiver.reached(generation.number)) if generation is not None else 0)
