"""RabbitMQ's address and its parts: what they may hold, and what an address says (its URI specification)."""

import ipaddress
import re
from typing import Any
from urllib.parse import unquote, urlsplit

# AMQP 0-9-1 names are short strings.
_SHORT_BYTES = 255
# What Connection.Open takes (its domain `path`).
_VIRTUAL_HOST_CHARACTERS = 127
# A name of DNS, of hosts or of a container; what it may not have is what separates the parts of an address.
_HOST = re.compile(r"[^\s/@:?#%\[\]\\]{1,253}")


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
        "its host": bad_host(found["rabbitmq_host"]),
        "its port": "must be 1 to 65535" if found["rabbitmq_port"] == 0 else None,
        "its user": bad_name(found.get("rabbitmq_username", "-")),
        "its password": bad_password(found.get("rabbitmq_password", "-")),
        "its virtual host": bad_virtual_host(found.get("rabbitmq_virtual_host", "-")),
    }
    return "; ".join(f"{part} {why}" for part, why in faults.items() if why) or None


def bad_host(value: str) -> str | None:
    """What is wrong with a host, that is a name or an address of IPv4 or IPv6 without brackets."""
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


def bad_name(value: str) -> str | None:
    """What is wrong with a name of RabbitMQ's: of a user, a queue, an exchange."""
    if not value:
        return "must not be empty"
    if not _is_utf8(value):
        return "must be UTF-8"
    if len(value.encode()) > _SHORT_BYTES:
        return f"must be at most {_SHORT_BYTES} bytes"
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        return "must have no control characters"
    return None


def bad_virtual_host(value: str) -> str | None:
    """What is wrong with a virtual host's name."""
    if len(value) > _VIRTUAL_HOST_CHARACTERS:
        return f"must be at most {_VIRTUAL_HOST_CHARACTERS} characters"
    # In a URL they are steps in a path, escaped or not (RFC 3986 §6.2.2.3). A `%2F` is taken for `/` by aiormq.
    return "must not be . or .." if value in {".", ".."} else bad_name(value)


def bad_password(value: str) -> str | None:
    """What is wrong with a password; it is not quoted."""
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
