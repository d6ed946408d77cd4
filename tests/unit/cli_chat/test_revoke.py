"""`revoke`: what it refuses, and what it says when the broker does not answer."""

import time

import pytest
from click.testing import CliRunner

from app.cli import revoke
from app.kafka.consumer import ReadError
from tests.support.ports import free_ports


@pytest.mark.parametrize("user", ["", " alice", ".", "a\nb", "é" * 65])
def test_what_is_no_user_id_is_revoked_nowhere(user: str) -> None:
    refused = CliRunner().invoke(revoke.command, [user])

    assert refused.exit_code == 2
    assert "Invalid value for USER" in refused.output


async def test_a_broker_that_does_not_confirm_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoke, "DELIVER_S", 0.2)
    monkeypatch.setattr(revoke, "FLUSH_S", 0)

    with pytest.raises(ReadError, match="did not confirm the revocation"):
        await revoke.publish(f"127.0.0.1:{free_ports(1)}", 4, "alice", time.time())
