"""Which web pages may open a socket."""

import pytest

from web.origins import Origins


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://chat.example:8080", "chat.example:8080"),
        ("http://CHAT.example:8080", "chat.EXAMPLE:8080"),
        ("https://chat.example", "chat.example"),  # TLS ended before us
        ("https://chat.example", "chat.example:443"),
        ("http://chat.example:80", "chat.example"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
def test_a_page_of_the_gateways_own_origin_may(origin: str, host: str) -> None:
    assert Origins("", names_believed=False).allow([origin], host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", "chat.example"),
        ("http://chat.example:8081", "chat.example:8080"),
        ("http://localhost:8080", "127.0.0.1:8080"),
        ("https://chat.example:80", "chat.example"),
        ("https://chat.example.evil.example", "chat.example"),
        ("https://chat.example@evil.example", "chat.example"),
        ("ftp://chat.example", "chat.example"),
        ("null", "chat.example"),
        ("null", "null"),
        ("", "chat.example"),
        ("", ""),
        ("http://", ""),
        ("chat.example", "chat.example"),
        ("http://chat.example/", "chat.example/"),
        ("http://chat.example http://evil.example", "chat.example"),
    ],
)
def test_a_page_of_another_origin_may_not_unless_all_may(origin: str, host: str) -> None:
    assert not Origins("", names_believed=False).allow([origin], host)
    assert Origins("*", names_believed=False).allow([origin], host)


def test_who_is_no_browser_may_and_who_names_two_origins_may_not() -> None:
    origins = Origins("https://a.example", names_believed=False)
    assert origins.allow([], "chat.example")
    assert not origins.allow(["https://a.example", "https://a.example"], "chat.example")


@pytest.mark.parametrize(
    "origin", ["https://a.example", "https://A.example", "https://a.example:443", "null", "app://b"]
)
def test_those_that_the_setting_names_may_beside_the_own_one(origin: str) -> None:
    origins = Origins(" https://a.Example:443 ,null,app://b, ", names_believed=True)
    assert origins.allow([origin], "127.0.0.1:8080")
    assert origins.allow(["http://127.0.0.1:8080"], "127.0.0.1:8080")
    assert not origins.allow(["http://a.example"], "127.0.0.1:8080")


@pytest.mark.parametrize(
    ("host", "may"),
    [
        ("localhost:8080", True),
        ("chat.localhost:8080", True),
        ("127.0.0.1:8080", True),
        ("192.168.1.7:8080", True),
        ("[::1]:8080", True),
        ("rebound.example:8080", False),
        ("localhost.example:8080", False),
        ("127.0.0.1.example:8080", False),
    ],
)
def test_where_names_are_believed_a_page_whose_own_name_was_resolved_to_this_machine_may_not(
    host: str, may: bool
) -> None:
    assert Origins("", names_believed=True).allow([f"http://{host}"], host) is may
    assert Origins("", names_believed=False).allow([f"http://{host}"], host)
    assert Origins(f"http://{host}", names_believed=True).allow([f"http://{host}"], host)
