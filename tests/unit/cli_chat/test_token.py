"""`token`: what is signed, and what is refused."""

import jwt
import pytest
from click.testing import CliRunner

from app.cli import token
from app.config import SettingsError

SECRET = "0123456789abcdef0123456789abcdef"


def test_a_token_says_who_and_until_when_and_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUERBACH_JWT_SECRET", SECRET)
    monkeypatch.setenv("AUERBACH_JWT_AUDIENCE", "chat")
    monkeypatch.setenv("AUERBACH_JWT_ISSUER", "here")

    printed = CliRunner().invoke(token.command, ["alice", "--ttl", "120"], catch_exceptions=False).output.strip()

    claims = jwt.decode(printed, SECRET, algorithms=["HS256"], audience="chat", issuer="here")
    assert claims["sub"] == "alice"
    assert claims["exp"] - claims["iat"] == 120


def test_without_a_secret_there_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUERBACH_JWT_SECRET", raising=False)

    with pytest.raises(SettingsError, match="AUERBACH_JWT_SECRET"):
        CliRunner().invoke(token.command, ["alice"], catch_exceptions=False)


def test_what_is_no_user_id_gets_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUERBACH_JWT_SECRET", SECRET)

    refused = CliRunner().invoke(token.command, [" alice"])

    assert refused.exit_code == 2
    assert "whitespace" in refused.output
