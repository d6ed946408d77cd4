"""Which broker serves this run: the one that is given, Kafka on Java, or Kafka in Docker (design §8)."""

import asyncio
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from app.cli.launch import kafka
from app.cli.launch.errors import LaunchError
from app.cli.launch.java import CHECKOUT, NotHereError
from app.cli.launch.parts import KAFKA, Part
from app.cli.launch.tools import output_of
from app.config import Settings

_GIVEN_S = 10
_PROBE_S = 1.0
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is, what it is in words, and the process to start for it, if any."""

    bootstrap: str
    what: str
    part: Part | None = None
    ready_s: float = 120  # it takes five; a busy machine may take ten times as long


async def choose(settings: Settings, say: Callable[[str], None]) -> Broker:
    """The first way to a broker that works on this machine.

    Raises:
        LaunchError: none does; the message says what to install, or that the given broker does not answer.
    """
    if settings.kafka_bootstrap is not None:
        given = Broker(settings.kafka_bootstrap, "the broker of KAFKA_BOOTSTRAP", ready_s=_GIVEN_S)
        await wait_ready(given)
        return given
    try:
        part, what = await kafka.prepare(settings, say)
        return Broker(settings.bootstrap, what, part)
    except NotHereError as lacking:
        docker = await _docker(settings)
        if docker is not None:
            say(f"kafka: {lacking}; using Docker")
            # The image may have to be pulled first.
            return Broker(settings.bootstrap, "Apache Kafka in Docker", docker, ready_s=600)
        raise LaunchError(
            f"no broker: {lacking}, and no Docker engine answers. Install Java 17 and Maven (Debian: apt-get install "
            "openjdk-17-jre-headless maven) or Docker with Compose, or set KAFKA_BOOTSTRAP to a broker that is there"
        ) from None


async def wait_ready(broker: Broker) -> float:
    """Wait until the broker serves; how long that took, seconds.

    Raises:
        LaunchError: it does not, within its time.
    """
    start = time.monotonic()
    while True:
        fault = await asyncio.to_thread(fault_of, broker.bootstrap)
        took_s = time.monotonic() - start
        if fault is None:
            return took_s
        if took_s > broker.ready_s:
            which = "; KAFKA_BOOTSTRAP and KAFKA_PORT say where it is" if broker.part is None else ""
            raise LaunchError(f"no broker answers at {broker.bootstrap} after {broker.ready_s:.0f} s ({fault}){which}")
        await asyncio.sleep(_POLL_S)


def fault_of(bootstrap: str) -> str | None:
    """Why the broker does not serve yet; None when it does. Blocks for a second at most."""
    # log_level 0: a refused connection is what we wait through, not an error to print.
    try:
        admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200})
        brokers = admin.list_topics(timeout=_PROBE_S).brokers
    except KafkaException as failed:
        reason: str = failed.args[0].str()
        return reason
    return None if brokers else "its controller knows no broker yet"


async def _docker(settings: Settings) -> Part | None:
    docker = shutil.which("docker")
    if docker is None:
        return None
    for question in (("info",), ("compose", "version")):
        code, _ = await output_of((docker, *question), timeout_s=20)
        if code != 0:
            return None
    # A project a port, so that two stacks run side by side; its data stays in the project's volume.
    project = f"auerbach-{settings.kafka_port}"
    compose = (docker, "compose", "-p", project, "-f", str(CHECKOUT / "docker-compose.yml"))
    return Part(
        KAFKA, (*compose, "up", "--no-log-prefix", "kafka"), {"KAFKA_PORT": str(settings.kafka_port)}, stop_s=20
    )
