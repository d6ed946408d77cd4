"""Settings: every bad one is told at once, by its name, and RabbitMQ's address is what its parts say."""

import os
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import config
from app.amqp_address import parts_of
from app.config import Fault, Settings, SettingsError
from tests.support.stack import clean_environment

BAD = [
    ("RABBITMQ_HOST", ""),
    ("RABBITMQ_HOST", "rabbit:5672"),
    ("RABBITMQ_HOST", "amqp://rabbit"),
    ("RABBITMQ_HOST", "user@rabbit"),
    ("RABBITMQ_HOST", "two words"),
    ("RABBITMQ_HOST", "[::1"),
    ("RABBITMQ_PORT", ""),
    ("RABBITMQ_PORT", "0"),
    ("RABBITMQ_PORT", "-1"),
    ("RABBITMQ_PORT", "65536"),
    ("RABBITMQ_PORT", "amqp"),
    ("RABBITMQ_VIRTUAL_HOST", ""),
    ("RABBITMQ_VIRTUAL_HOST", "v" * 128),
    ("RABBITMQ_VIRTUAL_HOST", ".."),
    ("RABBITMQ_USERNAME", ""),
    ("RABBITMQ_USERNAME", "tab\tbed"),
    ("RABBITMQ_USERNAME", "no UTF-8: \udcff"),
    ("RABBITMQ_PASSWORD", ""),
    ("RABBITMQ_PASSWORD", "no UTF-8: \udcff"),
    ("USER_SERVICE_EVENT_QUEUE", ""),
    ("USER_SERVICE_EVENT_QUEUE", "amq.gen"),
    ("USER_SERVICE_EVENT_QUEUE", "q" * 256),
    ("USER_SERVICE_EVENT_QUEUE_DURABLE", "perhaps"),
    ("HTTP_PORT", "0"),
    ("GRPC_PORT", "65536"),
    ("AUERBACH_LEGACY", "perhaps"),
    ("AUERBACH_BRIDGE", "../bridge"),
    ("AUERBACH_BRIDGE_PORT", "0"),
    ("AUERBACH_BRIDGE_PREFETCH", "0"),
    ("AUERBACH_AMQP_EVENTS_EXCHANGE", ""),
    ("AUERBACH_AMQP_EVENTS_EXCHANGE", "amq.topic"),
    ("AUERBACH_AMQP_EVENTS_EXCHANGE", "e" * 128),
    ("AUERBACH_AMQP_EVENTS_EXCHANGE", "group_updates_exchange"),
    ("AUERBACH_AMQP_EVENTS_FROM", "yesterday"),
    ("AUERBACH_AMQP_PUSH", "perhaps"),
]

BAD_ADDRESSES = {
    "": "must be amqp",
    "rabbit:5672": "must be amqp",
    "http://rabbit": "must be amqp",
    "amqp://": "must be amqp",
    "amqp://user:pa/ss@rabbit": "its host or port is none",
    "amqp://rabbit:70000": "its host or port is none",
    "amqp://rabbit:0": "its port must be 1 to 65535",
    "amqp://rabbit:amqp": "its host or port is none",
    "amqp://[::1": "its host or port is none",
    "amqp://user:pa?ss@rabbit": "its host or port is none",
    "amqp://rabbit/?heartbeat=5": "takes no",
    "amqp://rabbit/#vhost": "takes no",
    "amqp://user:%ff@rabbit": "must be UTF-8",
    "amqp://:password@rabbit": "its user must not be empty",
    "amqp://user:@rabbit": "its password must not be empty",
    "amqp://user:a%00b@rabbit": "its password must have no NUL",
    f"amqp://rabbit/{'v' * 128}": "its virtual host must be at most 127 characters",
}

# What the environment can hold: everything but NUL, and no lone surrogate that would be no UTF-8.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
names = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1, max_size=60)

virtual_hosts = names.filter(lambda name: name not in {".", ".."})


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)


def refused(*checks: config.Check) -> list[str]:
    with pytest.raises(SettingsError) as stopped:
        config.load(*checks)
    return str(stopped.value).splitlines()


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_setting_is_one_line_with_its_name(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)

    (line,) = refused()

    assert line.startswith(f"{name}: ")


def test_all_bad_settings_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    last_of_each = dict(BAD)
    for name, value in {**last_of_each, "AMQP_URL": "rabbit", "PORT": "eighty"}.items():
        monkeypatch.setenv(name, value)

    lines = refused()

    assert sorted(line.partition(":")[0] for line in lines) == sorted({*last_of_each, "AMQP_URL", "PORT"})


@pytest.mark.parametrize(("address", "why"), BAD_ADDRESSES.items())
def test_an_address_that_is_none_is_one_line_with_its_name(
    address: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMQP_URL", address)

    (line,) = refused()

    assert line.startswith(f"AMQP_URL: {why}")


@pytest.mark.parametrize("address", ["amqp://user:sesame/x@rabbit", "amqp://user:sesame@", "amqp://u:sesame@[rabbit"])
def test_what_is_said_of_a_bad_address_does_not_quote_its_password(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMQP_URL", address)

    assert "sesame" not in "".join(refused())


def test_a_bad_setting_is_told_even_where_the_address_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMQP_URL", "amqp://rabbit")
    monkeypatch.setenv("RABBITMQ_PORT", "amqp")

    assert [line.partition(":")[0] for line in refused()] == ["RABBITMQ_PORT"]


def test_settings_that_do_not_go_together_are_told_beside_the_bad_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_PORT", "amqp")

    lines = refused(config.authentication_faults)

    assert [line.partition(":")[0] for line in lines] == ["RABBITMQ_PORT", "AUERBACH_JWT_SECRET"]


def test_a_bad_setting_is_not_accused_of_what_its_default_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "eighty")

    lines = refused(lambda settings: [Fault(frozenset({"PORT", "HTTP_PORT"}), f"PORT: {settings.port} is taken twice")])

    assert len(lines) == 1
    assert "taken twice" not in lines[0]


def test_a_value_of_the_command_line_is_checked_like_one_of_the_environment() -> None:
    with pytest.raises(SettingsError, match=r"^AUERBACH_BRIDGE: [^\n]*$"):
        config.load(lambda _: [], bridge="../bridge")


def test_the_address_decides_over_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMQP_URL", "amqps://bob:p%40ss@[2001:db8::1]/a%2Fb")
    monkeypatch.setenv("RABBITMQ_HOST", "elsewhere")

    settings = config.load()

    assert settings.rabbitmq_tls
    assert (settings.rabbitmq_host, settings.rabbitmq_port) == ("2001:db8::1", 5671)
    assert (settings.rabbitmq_username, settings.rabbitmq_password) == ("bob", "p@ss")
    assert settings.rabbitmq_virtual_host == "a/b"
    assert settings.rabbitmq_url == "amqps://bob:p%40ss@[2001:db8::1]:5671/a%2Fb"


def test_what_the_address_leaves_out_is_taken_from_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMQP_URL", "amqp://rabbit")
    monkeypatch.setenv("RABBITMQ_USERNAME", "bob")
    monkeypatch.setenv("RABBITMQ_PASSWORD", "a:b@c/d%e")

    settings = config.load()

    assert settings.rabbitmq_url == "amqp://bob:a%3Ab%40c%2Fd%25e@rabbit:5672/%2F"


@pytest.mark.parametrize(
    "host", ["::1", "[::1]", "fe80::1%eth0", "127.0.0.1", "rabbit_1.example.org", "häuschen.example"]
)
def test_a_host_is_a_name_or_an_address_of_either_kind(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_HOST", host)

    assert config.load().rabbitmq_host == host.strip("[]")


def test_the_place_that_people_are_told_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMQP_URL", "amqp://user:sesame@rabbit/chat")

    assert config.load().rabbitmq_place == "rabbit:5672, virtual host chat"


@pytest.mark.parametrize(
    ("name", "value", "waited_for"),
    [("RABBITMQ_HOST", "127.0.0.1", True), ("AMQP_URL", "amqp://127.0.0.1", True), ("RABBITMQ_PORT", "5673", False)],
)
def test_rabbitmq_is_given_by_who_says_where_it_is(
    name: str, value: str, waited_for: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    assert config.load().rabbitmq_given is waited_for


@given(username=names, password=texts, virtual_host=virtual_hosts, port=st.integers(1, 65_535), tls=st.booleans())
def test_an_address_made_from_parts_says_the_same_parts(
    username: str, password: str, virtual_host: str, port: int, tls: bool
) -> None:
    parts = {"rabbitmq_username": username, "rabbitmq_password": password, "rabbitmq_virtual_host": virtual_host}
    made = Settings.model_validate({**parts, "rabbitmq_host": "::1", "rabbitmq_port": port}).rabbitmq_url
    url = made.replace("amqp:", "amqps:", 1) if tls else made

    read = Settings.model_validate({"amqp_url": url})

    assert read.rabbitmq_url == url
    assert parts_of(url) == {**parts, "rabbitmq_host": "::1", "rabbitmq_port": port}


@given(username=names, password=texts, virtual_host=virtual_hosts)
def test_any_client_reads_the_same_parts_from_the_address(username: str, password: str, virtual_host: str) -> None:
    parts = {"rabbitmq_username": username, "rabbitmq_password": password, "rabbitmq_virtual_host": virtual_host}

    read = urlsplit(Settings.model_validate(parts).rabbitmq_url)

    assert (unquote(read.username or ""), unquote(read.password or "")) == (username, password)
    assert unquote(read.path.removeprefix("/")) == virtual_host


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_is_said_to_be_none(text: str) -> None:
    found = parts_of(f"amqp://{text}")

    if isinstance(found, dict):
        url = Settings.model_validate(found).rabbitmq_url
        assert parts_of(url) == {
            "rabbitmq_username": "guest",
            "rabbitmq_password": "guest",
            "rabbitmq_virtual_host": "/",
            **found,
        }
    else:
        assert found
