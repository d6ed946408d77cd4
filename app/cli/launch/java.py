"""Java and Kafka's jars: found, or fetched once by Maven (deploy/kafka/pom.xml)."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from app.cli.launch.errors import LaunchError
from app.cli.launch.tools import output_of

LEAST_JAVA = 17
CHECKOUT = Path(__file__).parents[3]
POM = CHECKOUT / "deploy" / "kafka" / "pom.xml"
_DOWNLOAD_S = 600


class NotHereError(LaunchError):
    """This machine lacks a program; another way to a broker may still work."""


async def find_java() -> tuple[str, int]:
    """The `java` program and its major version: `JAVA_HOME`'s, else the one on the path.

    Raises:
        NotHereError: there is none, or it is older than 17.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else None
    java = java or shutil.which("java")
    if java is None:
        raise NotHereError(f"no Java (needed: {LEAST_JAVA} or newer)")
    code, printed = await output_of((java, "-version"), timeout_s=30)
    version = java_major(printed)
    if code != 0 or version is None:
        raise NotHereError(f"{java} does not work: {printed.strip().splitlines()[0] if printed.strip() else code}")
    if version < LEAST_JAVA:
        raise NotHereError(f"Java {version} at {java} is too old (needed: {LEAST_JAVA} or newer)")
    return java, version


def java_major(printed: str) -> int | None:
    """The major version in what `java -version` prints: `1.8.0_392` is 8, `17.0.15` is 17, `24-ea` is 24."""
    found = re.search(r'version "(?:1\.)?(\d+)', printed)
    return int(found[1]) if found else None


def kafka_version() -> str:
    """The version that the pom pins."""
    found = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", POM.read_text())
    assert found is not None
    return found[1]


async def find_jars(data: Path, say: Callable[[str], None]) -> Path:
    """The folder of Kafka's jars: this data folder's, the checkout's own, else fetched into this data folder.

    Raises:
        NotHereError: they are nowhere, and there is no Maven.
        LaunchError: Maven could not fetch them.
    """
    if not POM.is_file():
        raise NotHereError("no deploy/kafka/pom.xml (this is an installed package, not a checkout)")
    name = f"kafka-{kafka_version()}"
    for place in (data, CHECKOUT / ".local"):
        if (place / "lib" / name).is_dir():
            return place / "lib" / name
    maven = shutil.which("mvn")
    if maven is None:
        raise NotHereError("no Maven (needed once, to fetch Kafka)")
    say(f"kafka: fetching {name} with Maven, once (43 MB)")
    return await _fetch(maven, data / "lib" / name)


async def _fetch(maven: str, libs: Path) -> Path:
    part = libs.with_name(f"{libs.name}.part-{os.getpid()}")
    try:
        # Its own folder until it is whole: an interrupted download is never taken for Kafka.
        command = (maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={part}")
        code, printed = await output_of(command, timeout_s=_DOWNLOAD_S)
        if code != 0:
            raise LaunchError(f"Maven could not fetch Kafka: {_first_error(printed)}")
        _put_in_place(part, libs)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return libs


def _put_in_place(part: Path, libs: Path) -> None:
    try:
        if not libs.is_dir():  # a start beside ours may have been quicker
            part.rename(libs)
    except OSError as failed:
        raise LaunchError(f"DATA: cannot write in {libs.parent} ({failed.strerror})") from None


def _first_error(printed: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed)
    errors = [line.removeprefix("[ERROR]").strip() for line in plain.splitlines() if line.startswith("[ERROR]")]
    return next((error for error in errors if error), plain.strip()[:200] or "it said nothing")
