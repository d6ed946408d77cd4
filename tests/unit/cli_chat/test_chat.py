"""`chat` from a pipe: it enters, sends, shows, and says what was not taken."""

import jwt
import pytest
from auerbach_client import Event

from app.cli.chat import _line, _printable
from tests.support.fake_gateway import FakeGateway
from tests.unit.cli_chat.conftest import Run

SECRET = "0123456789abcdef0123456789abcdef"
BIDIRECTIONAL = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"


async def test_lines_from_a_pipe_are_sent_in_order_and_shown(gateway: FakeGateway, run: Run) -> None:
    lines = [f"line {i}" for i in range(200)]

    ran = await run("chat", "--url", gateway.url, "--user", "alice", "--group", "g", stdin="\n".join(lines).encode())

    messages = [e.data.text for e in gateway.log.group("g").events if e.kind == "message.posted"]  # type: ignore[union-attr]
    assert ran.code == 0
    assert messages == lines
    assert [line[6:] for line in ran.out.splitlines()] == ["* alice created g", *(f"alice: {line}" for line in lines)]


async def test_a_second_user_joins_and_sees_what_was_said(gateway: FakeGateway, run: Run) -> None:
    await run("chat", "--url", gateway.url, "--user", "alice", "--group", "g", stdin=b"hello\n")

    ran = await run("chat", "--url", gateway.url, "--user", "bob", "--group", "g", stdin="grüße\n".encode())

    assert [line[6:] for line in ran.out.splitlines()][1:] == ["alice: hello", "* bob joined", "bob: grüße"]


async def test_control_characters_of_others_do_not_reach_the_terminal(gateway: FakeGateway, run: Run) -> None:
    await run("chat", "--url", gateway.url, "--user", "alice", "--group", "g", stdin=b"\x1b[2Jcleared\x07\n")

    ran = await run("chat", "--url", gateway.url, "--user", "bob", "--group", "g")

    assert "�[2Jcleared�" in ran.out
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("unseen", [*BIDIRECTIONAL, *"\u2028\u2029\u200b\u2060\u00ad\ufeff\U000e0041"])
def test_what_is_not_seen_but_moves_or_hides_what_is_becomes_visible(unseen: str) -> None:
    at, data = "2026-11-25T01:20:00.123Z", {"text": f"a{unseen}b"}
    item = Event("g", 2, "e", "message.posted", f"al{unseen}ice", at, None, data, b"")

    assert _line(item) == "01:20 al�ice: a�b"


def test_joiners_spell_emoji_and_scripts_and_show_elsewhere() -> None:
    family, persian = "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"

    assert _printable(f"{family} {persian}") == f"{family} {persian}"
    assert _printable("al\u200dice") == "al�ice"


async def test_a_line_that_is_refused_is_named_and_the_others_are_sent(gateway: FakeGateway, run: Run) -> None:
    stdin = b"before\n" + b"x" * 20_000 + b"\nafter\n"

    ran = await run("chat", "--url", gateway.url, "--user", "alice", "--group", "g", stdin=stdin)

    assert ran.code == 1
    assert "too_large" in ran.err
    assert "not sent: 1 line(s)" in ran.err
    assert [line[6:] for line in ran.out.splitlines()][1:] == ["alice: before", "alice: after"]


async def test_a_service_that_wants_a_token_gets_one_signed_with_the_secret(gateway: FakeGateway, run: Run) -> None:
    class Tokens(dict[str, str]):
        def get(self, token: str, _: object = None) -> str | None:  # type: ignore[override]
            return str(jwt.decode(token, SECRET, algorithms=["HS256"])["sub"]) if token else None

    gateway.tokens = Tokens()
    ran = await run(
        "chat", "--url", gateway.url, "--user", "carol", "--group", "g", stdin=b"hi\n", AUERBACH_JWT_SECRET=SECRET
    )

    assert ran.code == 0
    assert gateway.log.group("g").events[-1].by == "carol"


async def test_a_closed_door_and_an_absent_service_are_one_clear_line(gateway: FakeGateway, run: Run) -> None:
    gateway.handshakes = [401]

    refused = await run("chat", "--url", gateway.url, "--user", "alice", "--group", "g")
    invited = await run("chat", "--url", gateway.url + "/nothing", "--user", "alice", "--group", "g")

    assert (refused.code, invited.code) == (1, 1)
    assert "HTTP 401; set AUERBACH_JWT_SECRET" in refused.err
    assert "HTTP 404" in invited.err
    assert "Traceback" not in refused.err + invited.err
