"""Every setting: one place, read from the environment, checked at start, all bad ones reported at once."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import SettingsConfigDict

from app.neighbours import NeighbourSettings

# RFC 6454 §6.2; also the schemes of browser extensions and apps
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^\s/?#@:\[\],]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


class SettingsError(Exception):
    """One or more settings are wrong; the message names each."""


class Settings(NeighbourSettings):
    """The service's settings. `python -m app settings` prints them with their meaning."""

    model_config = SettingsConfigDict(extra="ignore", populate_by_name=True, case_sensitive=True)

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
    auth: Literal["dev", "jwt"] = Field(
        "jwt",
        alias="AUERBACH_AUTH",
        description="jwt: tokens only. dev: `?user=` is believed too; never in production.",
    )
    jwt_secret: str | None = Field(
        None, alias="AUERBACH_JWT_SECRET", description="Secret of HS256 tokens, at least 32 bytes."
    )
    jwt_jwks: str | None = Field(
        None,
        alias="AUERBACH_JWT_JWKS",
        description="Public keys of RS256, ES256 and EdDSA tokens: a JWKS (RFC 7517), as a file or an http(s) URL.",
    )
    jwt_jwks_refresh_s: float = Field(
        300,
        alias="AUERBACH_JWT_JWKS_REFRESH_S",
        ge=1,
        le=86_400,
        description="How often the JWKS is read again, seconds; a key that it lacks then checks no token any more.",
    )
    jwt_leeway_s: float = Field(
        5,
        alias="AUERBACH_JWT_LEEWAY_S",
        ge=0,
        le=3_600,
        description="Clock difference forgiven in exp and nbf, seconds.",
    )
    jwt_audience: str | None = Field(
        None, alias="AUERBACH_JWT_AUDIENCE", description="Required `aud` of a token, if set."
    )
    jwt_issuer: str | None = Field(None, alias="AUERBACH_JWT_ISSUER", description="Required `iss` of a token, if set.")
    origins: str = Field(
        "",
        alias="AUERBACH_ORIGINS",
        description="Web pages of other origins that may open sockets: https://chat.example.org,… or `*` for all.",
    )
    operator_token: str | None = Field(
        None,
        alias="AUERBACH_OPERATOR_TOKEN",
        description="Opens the processors' operator pages, at least 32 bytes. Unset: they are for this machine only.",
    )
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

    @field_validator("jwt_secret", "operator_token")
    @classmethod
    def _secret(cls, value: str | None) -> str | None:
        if value is not None and len(value.encode("utf-8", "surrogateescape")) < 32:
            raise ValueError("must be at least 32 bytes (RFC 7518 §3.2)")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _no_key(cls, value: str | None) -> str | None:
        # PyJWT would refuse every token with it: a public key that checks HS256 is known to everybody.
        if value is not None and "-----BEGIN" in value:
            raise ValueError("must not be a key in PEM; AUERBACH_JWT_JWKS takes public keys")
        return value

    @field_validator("origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in filter(None, map(str.strip, value.split(","))):
            if origin not in ("*", "null") and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin} is no origin: scheme://host[:port], without a slash at the end")
        return value

    @property
    def jwt_jwks_is_url(self) -> bool:
        """Whether the JWKS is fetched, not read from a file."""
        return self.jwt_jwks is not None and self.jwt_jwks.lower().startswith(("http://", "https://"))

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
