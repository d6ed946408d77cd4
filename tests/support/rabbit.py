"""A real RabbitMQ in a process of its own, on free ports with its own data, cookie, logs and port mapper."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_ports
from tests.support.stack import following
from tests.support.waiting import eventually

START_S = 240  # against hanging, as in `stack`
STOP_S = 90
_MISSING = "no RabbitMQ: as root, apt-get install rabbitmq-server (do not start its service); the bridges' tests run it"
# Debian's /usr/sbin/rabbitmq-server changes the user and the folder; this is what it runs.
_BIN = Path("/usr/lib/rabbitmq/bin")
# Erlang gives nodes seven seconds to know each other: a machine may stand still for as long between two words.
_PATIENT = "-kernel net_setuptime 60"


def _program(name: str) -> str:
    found = str(_BIN / name) if (_BIN / name).exists() else shutil.which(name)
    if found is None or shutil.which("epmd") is None:
        pytest.fail(_MISSING)
    return found


class Rabbit:
    """One RabbitMQ with the virtual host `/` and an administrator `guest`; `start` after `kill` keeps its data."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = free_ports(3)
        self._epmd_port, self._dist_port = self.port + 1, self.port + 2
        self._epmd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        cookie = data / ".erlang.cookie"
        data.mkdir(parents=True, exist_ok=True)
        if not cookie.exists():
            cookie.write_text(f"cookie{os.urandom(16).hex()}")
            cookie.chmod(0o400)
        (data / "enabled_plugins").write_text("[].\n")
        (data / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "loopback_users = none\n"
            "disk_free_limit.absolute = 1MB\n"
            "vm_memory_high_watermark.absolute = 1GB\n"
            "log.file.level = info\n"
            "handshake_timeout = 60000\n"
        )
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_", "NOTIFY_"))}
        self._env = {
            **inherited,
            "HOME": str(data),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP_BYTES": "0",
            "RABBITMQ_NODENAME": f"auerbach-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(data / "mnesia"),
            "RABBITMQ_LOG_BASE": str(data / "log"),
            "RABBITMQ_CONFIG_FILE": str(data / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(data / "none.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(data / "none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(data / "rabbit.pid"),
            # Two schedulers that sleep when idle: many tests share the machine.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none {_PATIENT}",
            "RABBITMQ_CTL_ERL_ARGS": _PATIENT,
            # The script then becomes the server instead of watching over it: its pid is the server's.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a bridge to it."""
        return {
            "RABBITMQ_HOST": "127.0.0.1",
            "RABBITMQ_PORT": str(self.port),
            "RABBITMQ_VIRTUAL_HOST": "/",
            "RABBITMQ_USERNAME": "guest",
            "RABBITMQ_PASSWORD": "guest",
        }

    @property
    def url(self) -> str:
        """Its address for the administrator."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it, or start it again, and wait until it serves."""
        server = _program("rabbitmq-server")
        if self._epmd is None:
            epmd = ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self._epmd = self._popen(epmd, "epmd.out")
            eventually(lambda: _listens(self._epmd_port), within_s=START_S, what="epmd listens")
        self._server = self._popen([server], "rabbit.out")
        eventually(self._serves, within_s=START_S, what=f"RabbitMQ on port {self.port} serves")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal it; after SIGKILL or SIGTERM it is gone when this returns."""
        assert self._server is not None
        self._server.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._server.wait(STOP_S)

    def stop(self) -> None:
        """Stop it, and its port mapper."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGCONT)
            self._server.terminate()
            try:
                self._server.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints; fails if it does. It takes a second or two."""
        done = subprocess.run(
            [_program("rabbitmqctl"), "-q", "-n", self._env["RABBITMQ_NODENAME"], *arguments],
            env=self._env,
            cwd=self.data,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def import_definitions(self, definitions: Mapping[str, Any]) -> None:
        """Make users, virtual hosts and permissions at once (RabbitMQ's definitions: one call instead of many)."""
        path = self.data / "definitions.json"
        path.write_text(json.dumps(definitions))
        self.ctl("import_definitions", str(path))

    def _serves(self) -> bool:
        assert self._server is not None
        ended = self._server.poll()
        assert ended is None, f"ended with {ended}:\n{(self.data / 'rabbit.out').read_text(errors='replace')}"
        return _answers(self.port)

    def _popen(self, command: list[str], output: str) -> subprocess.Popen[bytes]:
        with (self.data / output).open("ab") as out:
            return subprocess.Popen(
                command,
                env=self._env,
                cwd=self.data,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=following(),  # noqa: PLW1509 - one C call
            )


@contextlib.contextmanager
def running(data: Path) -> Iterator[Rabbit]:
    """A started RabbitMQ of one's own, stopped afterwards."""
    rabbit = Rabbit(data)
    try:
        rabbit.start()
        yield rabbit
    finally:
        rabbit.stop()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _answers(port: int) -> bool:
    """Whether a server of AMQP greets who connects."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
        connection.settimeout(2)
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        return connection.recv(1) == b"\x01"
    return False
