"""Settings of the replaced service's doors and of RabbitMQ, by names that its operators set (protocol §8)."""

from typing import Literal, Self
from urllib.parse import quote

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings

from app.amqp_address import bad_host, bad_name, bad_password, bad_virtual_host, parts_of

# What Exchange.Declare takes (AMQP 0-9-1's domain `exchange-name`).
_EXCHANGE_CHARACTERS = 127
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
        if why := bad_host(bare):
            raise ValueError(why)
        return bare

    @field_validator("rabbitmq_password")
    @classmethod
    def _password(cls, value: str) -> str:
        if why := bad_password(value):
            raise ValueError(why)
        return value

    @field_validator("rabbitmq_virtual_host")
    @classmethod
    def _virtual_host(cls, value: str) -> str:
        if why := bad_virtual_host(value):
            raise ValueError(why)
        return value

    @field_validator("rabbitmq_username", "user_service_event_queue", "amqp_events_exchange")
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        if value is not None and (why := bad_name(value)):
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
        if value is not None and len(value) > _EXCHANGE_CHARACTERS:
            raise ValueError(f"must be at most {_EXCHANGE_CHARACTERS} characters")
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
