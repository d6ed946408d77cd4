"""`python -m app`: the commands by name, each imported when it is asked for."""

from importlib import import_module
from importlib.util import find_spec

import click

from app.cli.launch.errors import LaunchError
from app.config import SettingsError
from app.kafka.topics import TopicsError

NAMES = ("up", "topics", "processor", "gateway", "token", "chat", "settings", "replay")


class _Commands(click.Group):
    """The modules of this package that export `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return _present()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _present():
            return None
        command = import_module(f"app.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command


def _present() -> list[str]:
    return [name for name in NAMES if find_spec(f"app.cli.{name}") is not None]


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Auerbach: group chat on Faust and Kafka.

    Settings come from the environment; `settings` lists them.
    """


def main() -> None:
    """Run the command line. Exit code 2: what was asked cannot be done, and the last lines say why."""
    try:
        commands(prog_name="python -m app")
    except (SettingsError, TopicsError, LaunchError) as refused:
        for line in str(refused).splitlines():
            click.echo(f"error: {line}", err=True)
        raise SystemExit(2) from None
