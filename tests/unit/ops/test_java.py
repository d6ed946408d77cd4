"""Java, Maven and Kafka's jars: what is accepted, and what is said when one is missing."""

from pathlib import Path

import pytest

from app.cli.launch import java
from app.cli.launch.errors import LaunchError


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that programs are looked for in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


@pytest.mark.parametrize(
    ("printed", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "24-ea" 2025-03-18', 24),
        ('openjdk version "21" 2023-09-19', 21),
        ("command not found", None),
    ],
)
def test_the_major_version_is_read_from_every_form(printed: str, major: int | None) -> None:
    assert java.java_major(printed) == major


async def test_java_on_the_path_is_found(path: Path) -> None:
    there = program(path, "java", "echo 'openjdk version \"21.0.1\"' >&2")

    assert await java.find_java() == (str(there), 21)


async def test_java_home_comes_first(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(path, "java", "echo 'openjdk version \"21.0.1\"' >&2")
    own = program(tmp_path / "jdk" / "bin", "java", "echo 'openjdk version \"17.0.1\"' >&2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))

    assert await java.find_java() == (str(own), 17)


async def test_no_java_is_said(path: Path) -> None:
    with pytest.raises(java.NotHereError, match="no Java \\(needed: 17 or newer\\)"):
        await java.find_java()


async def test_an_old_java_is_said_with_its_version_and_place(path: Path) -> None:
    program(path, "java", "echo 'openjdk version \"11.0.2\"' >&2")

    with pytest.raises(java.NotHereError, match=f"Java 11 at {path}/java is too old"):
        await java.find_java()


async def test_a_java_that_does_not_work_is_said(path: Path) -> None:
    program(path, "java", "echo 'no version information available'; exit 1")

    with pytest.raises(java.NotHereError, match="does not work: no version information available"):
        await java.find_java()


@pytest.fixture
def no_jars_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder, and a checkout without jars of its own."""
    monkeypatch.setattr(java, "CHECKOUT", tmp_path / "checkout")
    return tmp_path / "data"


async def test_jars_that_are_there_need_no_maven(path: Path, no_jars_here: Path) -> None:
    libs = no_jars_here / "lib" / f"kafka-{java.kafka_version()}"
    libs.mkdir(parents=True)

    assert await java.find_jars(no_jars_here, print) == libs


async def test_no_maven_is_said(path: Path, no_jars_here: Path) -> None:
    with pytest.raises(java.NotHereError, match="no Maven"):
        await java.find_jars(no_jars_here, print)


async def test_mavens_first_error_is_the_message_and_nothing_half_done_stays(path: Path, no_jars_here: Path) -> None:
    script = 'for a; do case $a in -DoutputDirectory=*) /bin/mkdir -p "${a#*=}";; esac; done\n'
    script += (
        "printf '\\033[0m[ERROR] \\n[ERROR] Could not resolve kafka_2.13: no route to host\\n[ERROR] Help 1\\n'; exit 1"
    )
    program(path, "mvn", script)

    with pytest.raises(
        LaunchError, match=r"^Maven could not fetch Kafka: Could not resolve kafka_2.13: no route to host$"
    ):
        await java.find_jars(no_jars_here, print)

    assert list((no_jars_here / "lib").iterdir()) == []


async def test_what_maven_brought_is_put_in_place_and_found_again(path: Path, no_jars_here: Path) -> None:
    bring = 'for a; do case $a in -DoutputDirectory=*) /bin/mkdir -p "${a#*=}" && : > "${a#*=}/kafka.jar";; esac; done'
    program(path, "mvn", bring)
    said: list[str] = []

    libs = await java.find_jars(no_jars_here, said.append)
    (path / "mvn").unlink()

    assert await java.find_jars(no_jars_here, said.append) == libs
    assert [jar.name for jar in libs.iterdir()] == ["kafka.jar"]
    assert len(said) == 1
