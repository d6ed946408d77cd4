"""`python -m app`: the commands by name, each imported when it is asked for."""

from importlib import import_module

import click

from app.cli.launch.errors import LaunchError
from app.config import SettingsError
from app.kafka.consumer import ReadError
from app.kafka.topics import TopicsError

NAMES = (
    "up",
    "topics",
    "processor",
    "gateway",
    "bridge",
    "token",
    "revoke",
    "chat",
    "settings",
    "replay",
    "schemas",
    "verify",
    "deadletters",
)


class _Commands(click.Group):
    """The modules of this package that export `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in NAMES:
            return None
        command = import_module(f"app.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Auerbach: group chat on Faust and Kafka.

    Settings come from the environment; `settings` lists them.
    """


def main() -> None:
    """Run the command line. What cannot be done is said in a line each, never in a traceback.

    Exit code 2: it cannot work as it was asked for. 1: it worked, and lost its broker.
    """
    try:
        commands(prog_name="python -m app")
    except (SettingsError, TopicsError, LaunchError) as refused:
        _tell(refused)
        raise SystemExit(2) from None
    except ReadError as lost:
        _tell(lost)
        raise SystemExit(1) from None


def _tell(refused: Exception) -> None:
    for line in str(refused).splitlines():
        click.echo(f"error: {line}", err=True)
