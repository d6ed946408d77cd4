"""What can be known before anything is started: free ports, room on the disk, a folder that can be written."""

import shutil
import socket
from pathlib import Path

from app.cli.launch.errors import LaunchError
from app.cli.launch.parts import BRIDGE, bridge_port, gateway_names, gateway_port, legacy_ports
from app.config import Settings

LEAST_FREE_BYTES = 200_000_000


def check_disk(data: Path) -> None:
    """Make the data folder and see that something can be written there.

    Raises:
        LaunchError: it cannot be made or written, or fewer than 200 MB are free.
    """
    try:
        for folder in (data / "run", data / "log"):
            folder.mkdir(parents=True, exist_ok=True)
        probe = data / "run" / "probe"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
        free = shutil.disk_usage(data).free
    except OSError as failed:
        raise LaunchError(f"DATA: cannot write in {data} ({failed.strerror})") from None
    if free < LEAST_FREE_BYTES:
        raise LaunchError(
            f"DATA: {free // 1_000_000} MB are free on the disk of {data}; at least {LEAST_FREE_BYTES // 1_000_000} MB "
            "are needed. Make room, or set DATA to a folder on another disk"
        )


def check_gateway_ports(settings: Settings) -> None:
    """See that each gateway can listen.

    Raises:
        LaunchError: names each port that is in use, in a line for each setting.
    """
    names = gateway_names(settings)
    ports = {("PORT", settings.port): [gateway_port(settings, name) for name in names]}
    if settings.legacy:
        ports |= {
            (setting, getattr(settings, setting.lower())): [legacy_ports(settings, name)[setting] for name in names]
            for setting in ("HTTP_PORT", "GRPC_PORT")
        }
    lines = []
    for (setting, first), asked in ports.items():
        taken = [str(port) for port in asked if not is_free(settings.host, port)]
        if taken:
            lines.append(_occupied(taken, settings.host, f"{setting} (now {first})"))
    if lines:
        raise LaunchError("\n".join(lines))


def bridge_port_in_use(settings: Settings) -> str | None:
    """What to say when the bridge cannot listen.

    Raises:
        LaunchError: `HOST` is no address of this machine.
    """
    port = bridge_port(settings, BRIDGE)
    if is_free(settings.host, port):
        return None
    return _occupied([str(port)], settings.host, f"AUERBACH_BRIDGE_PORT (now {settings.bridge_port})")


def check_kafka_ports(settings: Settings) -> None:
    """See that the broker and its controller can listen.

    Raises:
        LaunchError: names each port that is in use.
    """
    ports = (settings.kafka_port, settings.kafka_port + 1)
    taken = [str(port) for port in ports if not is_free("127.0.0.1", port)]
    if taken:
        instead = f"KAFKA_PORT (now {settings.kafka_port}), or KAFKA_BOOTSTRAP to use the broker that is there"
        raise LaunchError(_occupied(taken, "127.0.0.1", instead))


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now.

    Raises:
        LaunchError: `host` is no address of this machine, or the port is not ours to take.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: connections of an earlier run in TIME_WAIT do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except (PermissionError, socket.gaierror) as failed:
        raise LaunchError(f"cannot listen on {host}:{port} ({failed.strerror}); set HOST or PORT") from None
    except OSError:
        return False
    return True


def _occupied(ports: list[str], host: str, setting: str) -> str:
    which = f"port {ports[0]} is" if len(ports) == 1 else f"ports {', '.join(ports)} are"
    return f"{which} already in use on {host}; stop what listens there, or set {setting}"
