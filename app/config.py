"""Every setting: one place, read from the environment, checked at start, all bad ones reported at once."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """One or more settings are wrong; the message names each."""


class Settings(BaseSettings):
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
    jwt_leeway_s: float = Field(
        5,
        alias="AUERBACH_JWT_LEEWAY_S",
        ge=0,
        description="Clock difference forgiven in exp and nbf, seconds.",
    )
    jwt_audience: str | None = Field(
        None, alias="AUERBACH_JWT_AUDIENCE", description="Required `aud` of a token, if set."
    )
    jwt_issuer: str | None = Field(None, alias="AUERBACH_JWT_ISSUER", description="Required `iss` of a token, if set.")
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
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="AUERBACH_LOG_LEVEL", description="Least level that is logged."
    )

    @model_validator(mode="after")
    def _secrets(self) -> Self:
        if self.jwt_secret is not None and len(self.jwt_secret.encode()) < 32:
            raise ValueError("AUERBACH_JWT_SECRET: must be at least 32 bytes (RFC 7518 §3.2)")
        if self.operator_token is not None and len(self.operator_token.encode()) < 32:
            raise ValueError("AUERBACH_OPERATOR_TOKEN: must be at least 32 bytes")
        return self

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
            SettingsError: neither development mode nor a way to check tokens is set.
        """
        if self.auth == "jwt" and self.jwt_secret is None:
            raise SettingsError("AUERBACH_JWT_SECRET: must be set, unless AUERBACH_AUTH=dev")


def load(**overrides: object) -> Settings:
    """The settings from the environment, with `overrides` by field name.

    Raises:
        SettingsError: one line for each setting that is wrong.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as bad:
        lines = []
        for error in bad.errors():
            name = ".".join(str(part) for part in error["loc"])
            message = error["msg"].removeprefix("Value error, ")
            lines.append(f"{name}: {message}" if name else message)
        raise SettingsError("\n".join(lines)) from None
