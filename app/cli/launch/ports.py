"""Which ports the settings ask for, and whether two processes would share one: known before anything is started."""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app.config import Fault, Settings

_LAST = 65_535


class Asked(NamedTuple):
    """Ports in a row that a setting asks for; `words` say so to people, `names` are all settings that decide it."""

    setting: str
    first: int
    last: int
    words: str
    names: frozenset[str]


def port_faults(settings: Settings) -> Iterator[Fault]:
    """Ports of `up` that do not exist, or that two of its processes would share.

    The bridge's is among them where a bridge is started whatever RabbitMQ does.
    """
    asked = _asked(settings)
    if settings.rabbitmq_given:
        asked.append(_bridge_asks(settings))
    for each in asked:
        if each.last > _LAST:
            yield Fault(each.names, f"{each.setting}: {each.words}, past {_LAST}")
    yield from _shared(itertools.combinations(asked, 2))


def one_gateways_port_faults(settings: Settings) -> Iterator[Fault]:
    """Ports that one gateway, started alone, would listen on twice."""
    return _shared(itertools.combinations(_gateways_ask(settings, 1), 2))


def bridge_port_faults(settings: Settings) -> Iterator[Fault]:
    """Ports that the bridge of `up` would share with another of its processes."""
    bridge = _bridge_asks(settings)
    return _shared((other, bridge) for other in _asked(settings))


def _asked(settings: Settings) -> list[Asked]:
    asked = _gateways_ask(settings, settings.gateways)
    if settings.kafka_bootstrap is None:
        port = settings.kafka_port
        words = f"KAFKA_PORT={port} takes {port + 1} for its controller too"
        asked.append(Asked("KAFKA_PORT", port, port + 1, words, frozenset({"KAFKA_PORT"})))
    if settings.views_port:
        asked.append(_one("AUERBACH_VIEWS_PORT", settings.views_port))
    return asked


def _gateways_ask(settings: Settings, gateways: int) -> list[Asked]:
    doors = {"PORT": settings.port}
    if settings.legacy:
        doors |= {"HTTP_PORT": settings.http_port, "GRPC_PORT": settings.grpc_port}
    return [_counted(setting, first, gateways) for setting, first in doors.items()]


def _counted(setting: str, first: int, gateways: int) -> Asked:
    if gateways == 1:
        return _one(setting, first)
    last = first + gateways - 1
    words = f"{setting}={first} with GATEWAYS={gateways} counts up to {last}"
    return Asked(setting, first, last, words, frozenset({setting, "GATEWAYS"}))


def _one(setting: str, port: int) -> Asked:
    return Asked(setting, port, port, f"{setting}={port}", frozenset({setting}))


def _bridge_asks(settings: Settings) -> Asked:
    return _one("AUERBACH_BRIDGE_PORT", settings.bridge_port)


def _shared(pairs: Iterable[tuple[Asked, Asked]]) -> Iterator[Fault]:
    for one, other in pairs:
        first = max(one.first, other.first)
        if first <= min(one.last, other.last):
            told = f"port {first} is asked for twice: {one.words}, and {other.words}"
            yield Fault(one.names | other.names, f"{one.setting}, {other.setting}: {told}")
