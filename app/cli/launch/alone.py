"""`up --only NAME`: one process of the service, in place of this command."""

import asyncio
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from app.cli.launch import parts, preflight
from app.cli.launch.broker import choose
from app.cli.launch.child import environment, log_path, open_log
from app.cli.launch.claims import Claim
from app.cli.launch.errors import LaunchError
from app.config import Settings

NAME = re.compile(r"kafka|(processor|gateway|bridge)-[0-9]{1,3}")


def become(settings: Settings, name: str, say: Callable[[str], None]) -> NoReturn:
    """Turn into the process `name`, with the pid and log files that it has under `up`. Nothing starts it again.

    The pid stays ours: who started this command can signal, pause and kill the process itself.

    Raises:
        LaunchError: it runs already, cannot run, or there is no process of that name.
    """
    if NAME.fullmatch(name) is None:
        raise LaunchError(f"--only {name}: must be kafka, processor-N, gateway-N or bridge-N")
    preflight.check_disk(settings.data)
    claim = Claim.take(settings.data, name)
    part = _part(settings, name, say)
    claim.record(os.getpid())
    say(f"{name}: pid {os.getpid()}, log {log_path(settings.data, name)}")
    _exec(part, claim, settings)


def _part(settings: Settings, name: str, say: Callable[[str], None]) -> parts.Part:
    if name.startswith("processor"):
        return parts.processor(settings, name)
    if name.startswith("gateway"):
        ports = {"PORT": parts.gateway_port(settings, name), **parts.legacy_ports(settings, name)}
        _need_free(settings, name, ports)
        return parts.gateway(settings, name)
    if name.startswith("bridge"):
        _need_free(settings, name, {"AUERBACH_BRIDGE_PORT": parts.bridge_port(settings, name)})
        return parts.bridge(settings, name)
    if settings.kafka_bootstrap is not None:
        raise LaunchError(
            f"--only kafka: KAFKA_BOOTSTRAP={settings.kafka_bootstrap} says that a broker is there already"
        )
    preflight.check_kafka_ports(settings)
    broker = asyncio.run(choose(settings, say))
    assert broker.part is not None
    return broker.part


def _need_free(settings: Settings, name: str, ports: dict[str, int]) -> None:
    for setting, port in ports.items():
        if not preflight.is_free(settings.host, port):
            raise LaunchError(f"{name}: port {port} is already in use on {settings.host}; {setting} decides it")


def _exec(part: parts.Part, claim: Claim, settings: Settings) -> NoReturn:
    os.set_inheritable(claim.fd, True)
    with Path(os.devnull).open("rb") as nothing, open_log(log_path(settings.data, part.name)) as log:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if part.folder is not None:
        os.chdir(part.folder)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would pass that on
    os.execvpe(part.command[0], part.command, environment(part, claim))  # noqa: S606 - a program of ours, no shell
