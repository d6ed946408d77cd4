"""The composition: settings in, one part of the service running.

Each function blocks until its part ends. A room is imported when its part is run, so that a gateway never loads
Faust and a processor of the web only its operators' pages.
"""

from app.config import Settings
from app.kafka import topics
from app.kafka.leaders import wait_led
from app.telemetry import configure_logging


def run_processor(settings: Settings) -> None:
    """Decide the commands of the partitions that this worker is given, until SIGTERM."""
    from agents import processor
    from web.inspect.routes import install

    configure_logging(settings.log_level)
    processor.main(settings, lambda application, inspector: install(application, inspector, settings.operator_token))


def run_gateway(settings: Settings) -> None:
    """Serve clients on `settings.port`, until SIGTERM.

    Raises:
        SettingsError: nobody could authenticate.
    """
    from web import gateway

    settings.need_authentication()
    configure_logging(settings.log_level)
    gateway.main(settings)


def run_bridge(settings: Settings) -> None:
    """Carry RabbitMQ's messages in and, where configured, events out, until SIGTERM."""
    from bridges import bridge

    configure_logging(settings.log_level)
    bridge.main(settings)


def make_topics(settings: Settings) -> tuple[list[str], topics.Layout]:
    """Make the topics that are missing, check all, and wait until they can be read.

    Returns the names of those made, and what is there.

    Raises:
        TopicsError: the broker does not answer, or the topics are not as they must be.
    """
    made = topics.create(settings.bootstrap, settings.app_id, settings.partitions, settings.replication)
    layout = topics.check(settings.bootstrap, settings.app_id, settings.partitions_given)
    names = [spec.name for spec in topics.specs(settings.app_id, settings.replication)]
    wait_led(settings.bootstrap, names, layout.partitions)
    return made, layout
