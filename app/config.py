"""Every setting: one place, read from the environment, checked at start, all bad ones reported at once."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.authentication import AuthenticationSettings
from app.neighbours import NeighbourSettings


class SettingsError(Exception):
    """One or more settings are wrong; the message names each."""


class ProcessSettings(BaseSettings):
    """What the processes of the service need to find each other, and how they run: part of `Settings`."""

    host: str = Field("127.0.0.1", alias="HOST", description="Address the gateways listen on.")
    port: int = Field(
        8080, alias="PORT", ge=1, le=65_535, description="Port of the first gateway; the next ones count up."
    )
    data: Path = Field(
        Path(".local"),
        alias="DATA",
        description="Folder for everything that is written: the broker, caches, logs, pids.",
    )
    kafka_bootstrap: str | None = Field(
        None,
        alias="KAFKA_BOOTSTRAP",
        description="An existing broker, host:port[,host:port]. Without it `up` starts one.",
    )
    kafka_port: int = Field(
        9092,
        alias="KAFKA_PORT",
        ge=1,
        le=65_534,
        description="Port of the broker that `up` starts (its controller uses the next one).",
    )
    processors: int = Field(1, alias="PROCESSORS", ge=1, le=64, description="Processors that `up` starts.")
    gateways: int = Field(1, alias="GATEWAYS", ge=1, le=64, description="Gateways that `up` starts.")
    app_id: str = Field(
        "auerbach",
        alias="AUERBACH_APP_ID",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Consumer group and prefix of the changelog topics.",
    )
    partitions: int = Field(
        16,
        alias="AUERBACH_PARTITIONS",
        ge=1,
        le=1024,
        description="Partitions of each topic, fixed for the life of the log.",
    )
    replication: int = Field(
        1,
        alias="AUERBACH_REPLICATION",
        ge=1,
        le=9,
        description="Replicas of each partition; at 3 or more, two must hold a record.",
    )
    worker: str = Field(
        "processor-0",
        alias="AUERBACH_WORKER",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="Stable name of this worker's slot: group.instance.id and cache folder.",
    )
    gateway: str = Field(
        "gateway-0",
        alias="AUERBACH_GATEWAY",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="Stable name of this gateway's slot, used in logs.",
    )
    views_host: str = Field(
        "127.0.0.1",
        alias="AUERBACH_VIEWS_HOST",
        description="Address of a processor's views: must be reachable by the gateways.",
    )
    views_port: int = Field(
        0,
        alias="AUERBACH_VIEWS_PORT",
        ge=0,
        le=65_535,
        description="Port of a processor's views; 0: any free one.",
    )
    session_timeout_s: float = Field(
        10,
        alias="AUERBACH_SESSION_TIMEOUT_S",
        ge=6,
        le=300,
        description="A processor silent for this long loses its partitions, seconds.",
    )
    standbys: int = Field(
        1,
        alias="AUERBACH_STANDBYS",
        ge=0,
        le=8,
        description="Other processors that keep a partition's rows too, to take it over sooner; the same for all.",
    )
    flush_interval_ms: int = Field(
        200,
        alias="AUERBACH_FLUSH_INTERVAL_MS",
        ge=10,
        le=60_000,
        description="How often changed rows go to the tables.",
    )
    delivery_deadline_s: float = Field(
        30,
        alias="AUERBACH_DELIVERY_DEADLINE_S",
        ge=1,
        description="A record not held by the broker after this closes its partition, seconds.",
    )
    request_timeout_s: float = Field(
        10,
        alias="AUERBACH_REQUEST_TIMEOUT_S",
        ge=1,
        description="A request without an outcome gets `timeout` after this, seconds.",
    )
    drain_delay_s: float = Field(
        0,
        alias="AUERBACH_DRAIN_DELAY_S",
        ge=0,
        le=600,
        description="A gateway told to end is not ready for this long before it sends anybody away, seconds.",
    )
    drain_spread_s: float = Field(
        10,
        alias="AUERBACH_DRAIN_SPREAD_S",
        ge=0,
        le=600,
        description="A gateway that drains closes its sockets one by one, over at most this, seconds.",
    )
    metrics: bool = Field(
        True,
        alias="AUERBACH_METRICS",
        description="Whether gateways serve /metrics, to anybody who reaches their port.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="AUERBACH_LOG_LEVEL", description="Least level that is logged."
    )


class Settings(NeighbourSettings, AuthenticationSettings, ProcessSettings):
    """The service's settings, the last base's first. `python -m app settings` prints them with their meaning."""

    model_config = SettingsConfigDict(extra="ignore", populate_by_name=True, case_sensitive=True)

    @property
    def bootstrap(self) -> str:
        """The broker to talk to: the given one, else the one that `up` starts."""
        return self.kafka_bootstrap or f"127.0.0.1:{self.kafka_port}"

    @property
    def partitions_given(self) -> int | None:
        """The partition count, where somebody chose it; the log's own is then held against it."""
        return self.partitions if "partitions" in self.model_fields_set else None

    def need_authentication(self) -> None:
        """Refuse to open a door that nobody could pass.

        Raises:
            SettingsError: neither development mode nor a way to check tokens is set, or there is no file of that name.
        """
        refuse(authentication_faults(self))


class Fault(NamedTuple):
    """What is wrong with settings that are right one by one: their names, and what a person is told."""

    names: frozenset[str]
    told: str


Check = Callable[[Settings], Iterable[Fault]]


def authentication_faults(settings: Settings) -> Iterator[Fault]:
    """Why nobody could authenticate, or not in the way that was asked for."""
    if settings.auth == "jwt" and settings.jwt_secret is None and settings.jwt_jwks is None:
        yield Fault(
            frozenset({"AUERBACH_AUTH", "AUERBACH_JWT_SECRET", "AUERBACH_JWT_JWKS"}),
            "AUERBACH_JWT_SECRET: must be set (or AUERBACH_JWT_JWKS), unless AUERBACH_AUTH=dev",
        )
    if settings.jwt_jwks is not None and not settings.jwt_jwks_is_url and not Path(settings.jwt_jwks).is_file():
        yield Fault(
            frozenset({"AUERBACH_JWT_JWKS"}),
            f"AUERBACH_JWT_JWKS: {settings.jwt_jwks}: no such file",
        )


def refuse(faults: Iterable[Fault]) -> None:
    """Stop at settings that do not go together.

    Raises:
        SettingsError: there is a fault; one line for each.
    """
    told = [fault.told for fault in faults]
    if told:
        raise SettingsError("\n".join(told))


def load(*checks: Check, **overrides: object) -> Settings:
    """The settings from the environment, with `overrides` by field name, held against each other by `checks`.

    Raises:
        SettingsError: one line for each setting that is wrong, and for each fault that a check found.
    """
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as invalid:
        bad = _bad_ones(invalid)
        told = [f"{name}: {what}" for name, what in bad.items()]
        told += [fault.told for fault in _faults_beside(set(bad), checks, overrides)]
        raise SettingsError("\n".join(told)) from None
    refuse(fault for check in checks for fault in check(settings))
    return settings


def _bad_ones(invalid: ValidationError) -> dict[str, str]:
    """Names in the environment, and what is wrong with each."""
    aliases = {name: str(field.alias) for name, field in Settings.model_fields.items()}
    named = ((str(error["loc"][0]), error["msg"]) for error in invalid.errors())
    return {aliases.get(name, name): what.removeprefix("Value error, ") for name, what in named}


def _faults_beside(bad: set[str], checks: Iterable[Check], overrides: dict[str, object]) -> Iterator[Fault]:
    """What is wrong between those that are right one by one: the bad ones are taken for unset, and accused of nothing.

    So that all is told at once, and who corrects one setting is not told of the next.
    """
    unset = {name: field.default for name, field in Settings.model_fields.items() if field.alias in bad}
    settings = Settings(**{**overrides, **unset})
    return (fault for check in checks for fault in check(settings) if bad.isdisjoint(fault.names))
