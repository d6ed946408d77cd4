"""Settings of the replaced service's doors and of RabbitMQ, by names that its operators set (protocol §8)."""

import ipaddress
import re
from typing import Any, Literal, Self
from urllib.parse import quote, unquote, urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings

# AMQP 0-9-1 names are short strings.
_SHORT_BYTES = 255
# A name of DNS, of hosts or of a container; what it may not have is what separates the parts of an address.
_HOST = re.compile(r"[^\s/@:?#%\[\]\\]{1,253}")
# Exchanges of another type, which the replaced service's neighbours declare.
_HEADERS_EXCHANGES = frozenset({"group_updates_exchange", "push-notifications"})


class NeighbourSettings(BaseSettings):
    """What the service needs to stand in another one's place: part of `app.config.Settings`."""

    legacy: bool = Field(
        False,
        alias="AUERBACH_LEGACY",
        description="Whether gateways serve the replaced service's WebSocket and gRPC too; both trust their caller.",
    )
    http_port: int = Field(
        8180,
        alias="HTTP_PORT",
        ge=1,
        le=65_535,
        description="Port of the replaced service's WebSocket at the first gateway; the next ones count up.",
    )
    grpc_port: int = Field(
        50_051,
        alias="GRPC_PORT",
        ge=1,
        le=65_535,
        description="Port of the replaced service's gRPC at the first gateway; the next ones count up.",
    )
    amqp_url: str | None = Field(
        None,
        alias="AMQP_URL",
        description="RabbitMQ as one address, amqp[s]://user:password@host:port/vhost; it decides over the five below.",
    )
    rabbitmq_host: str = Field("127.0.0.1", alias="RABBITMQ_HOST", description="RabbitMQ's host.")
    rabbitmq_port: int = Field(5672, alias="RABBITMQ_PORT", ge=1, le=65_535, description="RabbitMQ's port.")
    rabbitmq_virtual_host: str = Field("/", alias="RABBITMQ_VIRTUAL_HOST", description="RabbitMQ's virtual host.")
    rabbitmq_username: str = Field("guest", alias="RABBITMQ_USERNAME", description="RabbitMQ's user.")
    rabbitmq_password: str = Field(
        "guest", alias="RABBITMQ_PASSWORD", description="That user's password, as it is: nothing in it is escaped."
    )
    user_service_event_queue: str = Field(
        "auerbach-group-updates",
        alias="USER_SERVICE_EVENT_QUEUE",
        description="Queue of the user service's group updates; an existing one is used as it is.",
    )
    user_service_event_queue_durable: bool = Field(
        True,
        alias="USER_SERVICE_EVENT_QUEUE_DURABLE",
        description="Whether that queue is made to outlive RabbitMQ's restart; the replaced service made it not to.",
    )
    bridge: str = Field(
        "bridge-0",
        alias="AUERBACH_BRIDGE",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="Stable name of this bridge's slot, used in logs.",
    )
    bridge_port: int = Field(
        8280,
        alias="AUERBACH_BRIDGE_PORT",
        ge=1,
        le=65_535,
        description="Port of the first bridge's health and metrics; the next ones count up.",
    )
    bridge_prefetch: int = Field(
        500,
        alias="AUERBACH_BRIDGE_PREFETCH",
        ge=1,
        le=10_000,
        description="Messages that RabbitMQ gives out before they are acknowledged.",
    )
    amqp_events_exchange: str | None = Field(
        None,
        alias="AUERBACH_AMQP_EVENTS_EXCHANGE",
        description="Durable topic exchange that gets every event, `group.<id>.<kind>`. Unset: none does.",
    )
    amqp_events_from: Literal["latest", "earliest"] = Field(
        "latest",
        alias="AUERBACH_AMQP_EVENTS_FROM",
        description="Where a bridge begins that never published: with new events, or with the oldest that are kept.",
    )
    amqp_push: bool = Field(
        False,
        alias="AUERBACH_AMQP_PUSH",
        description="Whether messages that some member misses are put on the exchange `push-notifications`.",
    )

    @field_validator("amqp_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        found = parts_of(value) if value is not None else None
        if isinstance(found, str):
            raise ValueError(found)
        return value

    @field_validator("rabbitmq_host")
    @classmethod
    def _host(cls, value: str) -> str:
        bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
        if why := _bad_host(bare):
            raise ValueError(why)
        return bare

    @field_validator("rabbitmq_password")
    @classmethod
    def _password(cls, value: str) -> str:
        if why := _bad_password(value):
            raise ValueError(why)
        return value

    @field_validator(
        "rabbitmq_virtual_host",
        "rabbitmq_username",
        "user_service_event_queue",
        "amqp_events_exchange",
    )
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        if value is not None and (why := _bad_name(value)):
            raise ValueError(why)
        return value

    @field_validator("user_service_event_queue", "amqp_events_exchange")
    @classmethod
    def _ours(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("amq."):
            raise ValueError("names that begin with `amq.` are RabbitMQ's own")
        return value

    @field_validator("amqp_events_exchange")
    @classmethod
    def _topic(cls, value: str | None) -> str | None:
        # pamqp refuses to name any other exchange.
        if value is not None and not re.fullmatch(r"[a-zA-Z0-9_.:@#,/+ -]*", value):
            raise ValueError("must have no other characters than letters, digits, spaces and _.:@#,/+-")
        if value in _HEADERS_EXCHANGES:
            raise ValueError(f"{value} is a headers exchange of the replaced service; events go to a topic exchange")
        return value

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        """Have the five parts of the one address: after each was checked, so that a bad one is told beside it."""
        found = parts_of(self.amqp_url) if self.amqp_url is not None else {}
        assert isinstance(found, dict)  # `_address` has seen it
        for name, value in found.items():
            setattr(self, name, value)
        return self

    @property
    def rabbitmq_given(self) -> bool:
        """Whether somebody said where RabbitMQ is: then it is waited for, else only used where it answers."""
        return not self.model_fields_set.isdisjoint({"amqp_url", "rabbitmq_host"})

    @property
    def rabbitmq_tls(self) -> bool:
        """Whether RabbitMQ is spoken to over TLS."""
        return self.amqp_url is not None and self.amqp_url.lower().startswith("amqps:")

    @property
    def rabbitmq_url(self) -> str:
        """RabbitMQ's address with everything escaped; it holds the password."""
        scheme = "amqps" if self.rabbitmq_tls else "amqp"
        login = f"{quote(self.rabbitmq_username, safe='')}:{quote(self.rabbitmq_password, safe='')}"
        host = f"[{self.rabbitmq_host}]" if ":" in self.rabbitmq_host else self.rabbitmq_host
        return f"{scheme}://{login}@{host}:{self.rabbitmq_port}/{quote(self.rabbitmq_virtual_host, safe='')}"

    @property
    def rabbitmq_place(self) -> str:
        """RabbitMQ's address for people: without user and password."""
        return f"{self.rabbitmq_host}:{self.rabbitmq_port}, virtual host {self.rabbitmq_virtual_host}"


def parts_of(url: str) -> dict[str, Any] | str:
    """What an address says, by the names of the settings (RabbitMQ's URI specification), or why it is none.

    What it leaves out is absent. No reason quotes it: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        # An empty path is left out, and so is `/`: what other clients take for the virtual host `/`.
        texts = {
            "rabbitmq_username": parts.username,
            "rabbitmq_password": parts.password,
            "rabbitmq_virtual_host": parts.path[1:] or None,
        }
        found: dict[str, Any] = {k: unquote(v, errors="strict") for k, v in texts.items() if v is not None}
    except UnicodeDecodeError:
        return "must be UTF-8 in what is escaped"
    except ValueError:
        return "its host or port is none; in user and password, @ : / ? # % are %40 %3A %2F %3F %23 %25"
    if parts.scheme not in {"amqp", "amqps"} or not host:
        return "must be amqp[s]://user:password@host:port/vhost"
    if parts.query or parts.fragment:
        return "takes no ?options and no #fragment; in a password they are %3F and %23"
    found |= {"rabbitmq_host": host, "rabbitmq_port": _port_of(parts.scheme) if port is None else port}
    return _fault_in(found) or found


def _port_of(scheme: str) -> int:
    return 5671 if scheme == "amqps" else 5672


def _fault_in(found: dict[str, Any]) -> str | None:
    faults = {
        "its host": _bad_host(found["rabbitmq_host"]),
        "its port": "must be 1 to 65535" if found["rabbitmq_port"] == 0 else None,
        "its user": _bad_name(found.get("rabbitmq_username", "-")),
        "its password": _bad_password(found.get("rabbitmq_password", "-")),
        "its virtual host": _bad_name(found.get("rabbitmq_virtual_host", "-")),
    }
    return "; ".join(f"{part} {why}" for part, why in faults.items() if why) or None


def _bad_host(value: str) -> str | None:
    if not value:
        return "must not be empty"
    if _is_address(value) or (_HOST.fullmatch(value) and _is_utf8(value)):
        return None
    return "must be a host's name or address alone; the port is RABBITMQ_PORT"


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _bad_name(value: str) -> str | None:
    if not value:
        return "must not be empty"
    if not _is_utf8(value):
        return "must be UTF-8"
    if len(value.encode()) > _SHORT_BYTES:
        return f"must be at most {_SHORT_BYTES} bytes"
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        return "must have no control characters"
    return None


def _bad_password(value: str) -> str | None:
    if not value:
        return "must not be empty: RabbitMQ lets nobody in without one"
    if not _is_utf8(value):
        return "must be UTF-8"
    if "\0" in value:
        return "must have no NUL: SASL's PLAIN ends it there (RFC 4616)"
    return None


def _is_utf8(value: str) -> bool:
    # What is no UTF-8 in the environment comes as lone surrogates (PEP 383).
    return not any("\ud800" <= c <= "\udfff" for c in value)
