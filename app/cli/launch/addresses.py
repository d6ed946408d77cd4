"""Where to reach the processes of `up` from this machine, as a person is told."""

from app.cli.launch.parts import bridge_port, gateway_port, legacy_ports
from app.config import Settings

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


def gateway_url(settings: Settings, gateway: str) -> str:
    """The address of a gateway, and of the chat page that it serves."""
    return f"http://{_here(settings)}:{gateway_port(settings, gateway)}/"


def bridge_url(settings: Settings, bridge: str) -> str:
    """The address of a bridge's health and metrics."""
    return f"http://{_here(settings)}:{bridge_port(settings, bridge)}/"


def legacy(settings: Settings, gateway: str) -> str | None:
    """Where a gateway serves the replaced service's clients; None where it does not."""
    ports = legacy_ports(settings, gateway)
    if not ports:
        return None
    socket = f"ws://{_here(settings)}:{ports['HTTP_PORT']}/v1/messages/GROUP?user=USER"
    return f"{gateway}: old WebSocket {socket}, gRPC {_here(settings)}:{ports['GRPC_PORT']}"


def _here(settings: Settings) -> str:
    host = _EVERYWHERE.get(settings.host, settings.host)
    return f"[{host}]" if ":" in host else host
