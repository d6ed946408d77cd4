"""How a gateway's process ends when it cannot go on: in one structured line, with an exit code."""

from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException

from app.config import Settings, SettingsError
from app.kafka.consumer import ReadError
from app.kafka.topics import TopicsError
from tests.support.ports import free_ports
from web import gateway

SETTINGS = Settings(AUERBACH_AUTH="dev")  # type: ignore[call-arg]


def fail_with(monkeypatch: pytest.MonkeyPatch, why: Exception) -> None:
    async def run(_settings: Settings) -> None:
        raise why

    monkeypatch.setattr(gateway, "_run", run)


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (
            KafkaException(KafkaError(KafkaError._FATAL, "out of order sequence", fatal=True)),
            {"event": "the gateway cannot go on", "why": "out of order sequence"},
        ),
        (ReadError("out of range"), {"event": "the gateway cannot go on", "why": "out of range"}),
        (
            KeyError("bug"),
            {"event": "the gateway failed; the fault is ours", "why": "KeyError('bug')", "exc_info": True},
        ),
    ],
)
def test_what_it_cannot_go_on_after_is_one_structured_line_and_code_1(
    monkeypatch: pytest.MonkeyPatch, why: Exception, said: dict[str, Any]
) -> None:
    fail_with(monkeypatch, why)
    with structlog.testing.capture_logs() as logged, pytest.raises(SystemExit) as ended:
        gateway.main(SETTINGS)
    assert ended.value.code == 1
    assert [{name: line.get(name) for name in said} for line in logged] == [said]
    assert logged[0]["log_level"] == "critical"


@pytest.mark.parametrize("why", [SettingsError("PORT: taken"), TopicsError("no topics")])
def test_what_a_person_can_set_right_is_left_to_the_command_line(
    monkeypatch: pytest.MonkeyPatch, why: Exception
) -> None:
    fail_with(monkeypatch, why)
    with pytest.raises(type(why)):
        gateway.main(SETTINGS)


def test_a_broker_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "START_S", 0.2)
    away = SETTINGS.model_copy(update={"kafka_bootstrap": "127.0.0.1:9", "port": free_ports(1)})
    with pytest.raises(TopicsError, match=r"^127\.0\.0\.1:9: Failed to get metadata"):
        gateway.main(away)
