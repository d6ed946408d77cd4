"""`chat` from a pipe: it enters, sends, shows, and says what was not taken."""

import jwt

from tests.support.fake_gateway import FakeGateway
from tests.unit.cli_chat.conftest import Run

SECRET = "0123456789abcdef0123456789abcdef"


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
