"""The processes of a service by name: their command lines and environments."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.cli.launch.errors import LaunchError
from app.config import Settings

KAFKA = "kafka"
BRIDGE = "bridge-0"  # one is enough: RabbitMQ gives a queue to one consumer, another would stand by
BRIDGE_STOP_S = 10  # what it has taken is on disk and acknowledged by then, or RabbitMQ gives it out again
DRAINED_S = 10  # a gateway ends so soon after its last socket was told to go, even if nobody takes anything


@dataclass(frozen=True, slots=True)
class Part:
    """One process: `env` is added to ours, and it has `stop_s` seconds to end after SIGTERM."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    stop_s: float = 5


def processor_names(settings: Settings) -> list[str]:
    """`processor-0`, …"""
    return [f"processor-{i}" for i in range(settings.processors)]


def gateway_names(settings: Settings) -> list[str]:
    """`gateway-0`, …"""
    return [f"gateway-{i}" for i in range(settings.gateways)]


def gateway_port(settings: Settings, name: str) -> int:
    """The port of a gateway: `PORT` for the first, the next ones count up by the number in the name."""
    return _counted_up(settings.port, "PORT", name)


def legacy_ports(settings: Settings, name: str) -> dict[str, int]:
    """A gateway's ports for the replaced service's clients, by setting; none where those are not served."""
    if not settings.legacy:
        return {}
    return {
        "HTTP_PORT": _counted_up(settings.http_port, "HTTP_PORT", name),
        "GRPC_PORT": _counted_up(settings.grpc_port, "GRPC_PORT", name),
    }


def bridge_port(settings: Settings, name: str) -> int:
    """The port of a bridge's health: `AUERBACH_BRIDGE_PORT` for the first, the next ones count up."""
    return _counted_up(settings.bridge_port, "AUERBACH_BRIDGE_PORT", name)


def _counted_up(first: int, setting: str, name: str) -> int:
    _, _, number = name.rpartition("-")
    port = first + (int(number) if number.isascii() and number.isdigit() else 0)
    if port > 65_535:
        raise LaunchError(f"{name}: {setting}={first} counts up to {port}, past 65535")
    return port


def processor(settings: Settings, name: str) -> Part:
    """The processor of that name."""
    return Part(name, _ourselves("processor", "--worker", name), _environment(settings, AUERBACH_WORKER=name))


def gateway(settings: Settings, name: str) -> Part:
    """The gateway of that name."""
    port = str(gateway_port(settings, name))
    command = _ourselves("gateway", "--gateway", name, "--port", port)
    legacy = {setting: str(number) for setting, number in legacy_ports(settings, name).items()}
    stop_s = settings.drain_delay_s + settings.drain_spread_s + DRAINED_S
    return Part(name, command, _environment(settings, AUERBACH_GATEWAY=name, PORT=port, **legacy), stop_s=stop_s)


def bridge(settings: Settings, name: str) -> Part:
    """The bridge of that name."""
    port = str(bridge_port(settings, name))
    command = _ourselves("bridge", "--bridge", name, "--port", port)
    return Part(
        name, command, _environment(settings, AUERBACH_BRIDGE=name, AUERBACH_BRIDGE_PORT=port), stop_s=BRIDGE_STOP_S
    )


def _ourselves(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "app", *arguments)


def _environment(settings: Settings, **names: str) -> dict[str, str]:
    return {"DATA": str(settings.data), "PYTHONUNBUFFERED": "1", **names}
