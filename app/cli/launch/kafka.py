"""Apache Kafka on this machine: one process, broker and controller (design §8).

Every path is relative to `DATA/kafka`, where it runs: Kafka splits folders at commas and reads its settings as
Latin-1, and a data folder may have any name.
"""

import base64
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from app.cli.launch.errors import LaunchError
from app.cli.launch.java import CHECKOUT, find_jars, find_java, kafka_version
from app.cli.launch.parts import KAFKA, Part
from app.cli.launch.tools import output_of
from app.config import Settings

_LOG4J = CHECKOUT / "deploy" / "kafka" / "log4j2.xml"
_FORMAT_S = 60

_SERVER = """\
# Written at each start of `up`.
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=BROKER://127.0.0.1:{port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs={logs}
# Topics are made on purpose (design §3).
auto.create.topics.enable=false
# A worker that starts is given its partitions at once.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=6000
# One broker: its own topics have one copy, and few partitions are few files to open at a start.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# The default takes a quarter of our heap.
log.cleaner.dedupe.buffer.size=33554432
"""


async def prepare(settings: Settings, say: Callable[[str], None]) -> tuple[Part, str]:
    """Get Kafka ready to start: its process, and what it is in words. Formats the storage the first time.

    Raises:
        NotHereError: no Java, or no Maven where Maven is needed.
        LaunchError: fetching or formatting failed.
    """
    java, java_version = await find_java()
    libs = await find_jars(settings.data, say)
    home = settings.data / "kafka"
    base = (java, "-cp", f"{libs}/*", "-Djava.awt.headless=true", "-Djava.io.tmpdir=tmp", "-XX:-UsePerfData")
    try:
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        (home / "server.properties").write_text(server_properties(settings.kafka_port, "data"))
        if not (home / "data").is_dir():
            await _format(base, home, settings.kafka_port)
    except OSError as failed:
        raise LaunchError(f"DATA: cannot write in {home} ({failed.strerror})") from None
    command = (
        *base,
        "-XX:+UseSerialGC",
        "-Xmx512m",
        # A broker that limps on without memory is worse than one that is started again.
        "-XX:+ExitOnOutOfMemoryError",
        f"-Dlog4j2.configurationFile={_LOG4J.as_uri()}",
        "kafka.Kafka",
        "server.properties",
    )
    return Part(KAFKA, command, folder=home, stop_s=10), f"Apache Kafka {kafka_version()} on Java {java_version}"


def server_properties(port: int, logs: str) -> str:
    """The broker's settings; the controller listens on the next port."""
    return _SERVER.format(port=port, controller=port + 1, logs=logs)


async def _format(base: tuple[str, ...], home: Path, port: int) -> None:
    """Make `home/data`, whole or not at all: what a killed format leaves is made anew."""
    shutil.rmtree(home / "new", ignore_errors=True)
    (home / "format.properties").write_text(server_properties(port, "new"))
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = (
        "kafka.tools.StorageTool",
        "format",
        "--standalone",
        f"--cluster-id={cluster_id}",
        "--config=format.properties",
    )
    code, printed = await output_of((*base, *tool), timeout_s=_FORMAT_S, folder=home)
    if code != 0:
        raise LaunchError(
            f"Kafka could not format {home}: {printed.strip().splitlines()[-1] if printed.strip() else code}"
        )
    (home / "new").rename(home / "data")
