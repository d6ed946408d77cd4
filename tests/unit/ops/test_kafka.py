"""The settings of the broker that `up` starts."""

from app.cli.launch.kafka import server_properties


def settings_of(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_the_broker_and_its_controller_listen_on_this_machine_only() -> None:
    settings = settings_of(server_properties(9500, "data"))

    assert settings["listeners"] == "BROKER://127.0.0.1:9500,CONTROLLER://127.0.0.1:9501"
    assert settings["controller.quorum.bootstrap.servers"] == "127.0.0.1:9501"


def test_topics_are_never_made_by_accident() -> None:
    assert settings_of(server_properties(9500, "data"))["auto.create.topics.enable"] == "false"


def test_a_processor_may_have_the_shortest_session_that_its_setting_allows() -> None:
    from app.config import Settings

    least = next(rule.ge for rule in Settings.model_fields["session_timeout_s"].metadata if hasattr(rule, "ge"))

    assert int(settings_of(server_properties(9500, "data"))["group.min.session.timeout.ms"]) <= least * 1000
