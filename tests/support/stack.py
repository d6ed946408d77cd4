"""A whole service in processes of its own: what `make run` starts, on free ports with its own data."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from app.cli.launch.broker import fault_of
from app.cli.launch.child import follow_our_death
from tests.support.ports import free_ports
from tests.support.waiting import eventually

START_S = 240  # against hanging, for a machine several times slower than any of ours
STOP_S = 120
_OURS = ("AUERBACH_", "KAFKA_", "RABBITMQ_", "AMQP_", "USER_SERVICE_")
_OUR_NAMES = {"HOST", "PORT", "HTTP_PORT", "GRPC_PORT", "DATA", "PROCESSORS", "GATEWAYS"}


def clean_environment(**settings: str) -> dict[str, str]:
    """The environment without any setting of the service, and then `settings`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OURS) and k not in _OUR_NAMES}
    return {**kept, **settings}


def following() -> Callable[[], None] | None:
    """What a process does that must not outlive us, whatever kills us (`subprocess`'s `preexec_fn`).

    Linux asks for the death of the thread that started it, not of the process: only the main thread lives as long.
    """
    return follow_our_death() if threading.current_thread() is threading.main_thread() else None


class Command:
    """One running `python -m app …`, its output in a file."""

    def __init__(self, output: Path, env: Mapping[str, str], *arguments: str) -> None:
        self.output = output
        with output.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app", *arguments],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=following(),  # noqa: PLW1509 - one C call
            )

    def printed(self) -> str:
        """All of its output until now."""
        return self.output.read_text(errors="replace")

    def wait_for(self, text: str, within_s: float = START_S) -> None:
        """Wait until it has printed `text`; fails with its output if it ends before."""

        def look() -> bool:
            ended = self.process.poll()
            seen = text in self.printed()
            assert seen or ended is None, f"ended with {ended}:\n{self.printed()}"
            return seen

        eventually(look, within_s=within_s, what=f"{text!r} in {self.output}")

    def ended(self, within_s: float = START_S) -> int:
        """Its exit code, once it has ended by itself; it is stopped if it does not."""
        try:
            return self.process.wait(within_s)
        finally:
            self.stop()

    def stop(self, number: signal.Signals = signal.SIGINT, within_s: float = STOP_S) -> int:
        """Signal it and wait for its end; SIGKILL when it takes too long. Its exit code.

        Of the time of a machine that stands still only a moment counts.
        """
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            eventually(lambda: self.process.poll() is not None, within_s=within_s, what="its end")
        except AssertionError:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end within {within_s} s:\n{self.printed()}") from None
        return self.process.returncode


class Broker:
    """One Kafka, alone: `python -m app up --only kafka`."""

    def __init__(self, data: Path, port: int | None = None) -> None:
        self.data = data
        self.port = port if port is not None else free_ports(2)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.env = clean_environment(DATA=str(data), KAFKA_PORT=str(self.port))
        self._command: Command | None = None

    def start(self) -> None:
        """Start it, or start it again after `kill`, and wait until it serves."""
        self.data.mkdir(parents=True, exist_ok=True)
        output = self.data / "kafka.out"
        output.unlink(missing_ok=True)
        self._command = Command(output, self.env, "up", "--only", "kafka")
        self._command.wait_for("kafka: pid ")
        eventually(self._serves, within_s=START_S, what=f"{self.bootstrap} serves")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal the broker; after SIGKILL it is gone when this returns."""
        assert self._command is not None
        self._command.process.send_signal(number)
        if number == signal.SIGKILL:
            self._command.process.wait(STOP_S)

    def stop(self) -> None:
        """Stop it cleanly."""
        if self._command is not None:
            self._command.stop(signal.SIGTERM)
            self._command = None

    def _serves(self) -> bool:
        assert self._command is not None
        assert self._command.process.poll() is None, self._command.printed()
        return fault_of(self.bootstrap) is None


class Stack:
    """Broker, topics, processors and gateways under one `python -m app up`.

    With `bootstrap` it uses that broker instead of starting one. Topic names are fixed, so two stacks on one broker
    are one service; a test that kills or counts takes its own broker.
    """

    def __init__(
        self,
        data: Path,
        *,
        bootstrap: str | None = None,
        processors: int = 2,
        gateways: int = 2,
        auth: str = "dev",
        partitions: int = 4,
        restart: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data
        self.processors = [f"processor-{i}" for i in range(processors)]
        self.gateways = [f"gateway-{i}" for i in range(gateways)]
        self.port = free_ports(gateways)
        self.legacy_port = free_ports(gateways)
        self.grpc_port = free_ports(gateways)
        self.bridge_port = free_ports(1)
        kafka_port = free_ports(2)
        self.bootstrap = bootstrap or f"127.0.0.1:{kafka_port}"
        self.env = clean_environment(
            DATA=str(data),
            PORT=str(self.port),
            KAFKA_PORT=str(kafka_port),
            PROCESSORS=str(processors),
            GATEWAYS=str(gateways),
            AUERBACH_AUTH=auth,
            AUERBACH_PARTITIONS=str(partitions),
            HTTP_PORT=str(self.legacy_port),
            GRPC_PORT=str(self.grpc_port),
            AUERBACH_BRIDGE_PORT=str(self.bridge_port),
            # Nobody's: a RabbitMQ that this machine happens to run is left alone.
            RABBITMQ_PORT="1",
            **({"KAFKA_BOOTSTRAP": bootstrap} if bootstrap else {}),
        )
        self.env.update(settings or {})
        self._restart = restart
        self._up: Command | None = None
        self._alone: dict[str, Command] = {}

    def start(self) -> None:
        """Start everything and wait until it says that it is ready."""
        if self._up is not None:
            self._up.process.wait(STOP_S)  # it was killed, which takes effect when it takes effect
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "up.out").unlink(missing_ok=True)
        self._up = Command(self.data / "up.out", self.env, "up", *(() if self._restart else ("--no-restart",)))
        self._up.wait_for("chat page: ")

    def stop(self) -> None:
        """Stop everything, cleanly; fails if that takes longer than `STOP_S`."""
        for name in sorted(self._alone):  # gateways before processors
            self._alone.pop(name).stop(signal.SIGTERM)
        if self._up is not None:
            up, self._up = self._up, None
            up.stop(signal.SIGTERM)

    def interrupt(self, within_s: float = STOP_S) -> int:
        """Ctrl-C, and the exit code of `up`; fails if it takes longer."""
        assert self._up is not None
        up, self._up = self._up, None
        return up.stop(signal.SIGINT, within_s)

    def start_one(self, name: str) -> None:
        """Start one process alone, as `up --only NAME`; it runs when this returns, ready or not."""
        if name in self._alone:
            self._alone.pop(name).stop(signal.SIGTERM)
        output = self.data / f"{name}.out"
        output.unlink(missing_ok=True)
        command = Command(output, self.env, "up", "--only", name)
        command.wait_for(f"{name}: pid ")
        self._alone[name] = command

    def pid(self, name: str) -> int:
        """The pid of `kafka`, `processor-N`, `gateway-N` or `up`, as its pid file has it."""
        return int((self.data / "run" / f"{name}.pid").read_text())

    def pid_of_command(self, name: str) -> int:
        """The pid of the command that `start_one` started."""
        return self._alone[name].process.pid

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signal one process; its pid. After SIGKILL, under `up` that restarts, `wait_restarted` waits for the next."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def wait_restarted(self, name: str, old_pid: int, within_s: float = START_S) -> int:
        """Wait until `name` runs with another pid; that pid."""

        def another() -> int | None:
            with contextlib.suppress(FileNotFoundError, ValueError):
                pid = self.pid(name)
                return pid if pid != old_pid else None
            return None

        pid = eventually(another, within_s=within_s, what=f"{name} started again after pid {old_pid}")
        assert pid is not None
        return pid

    def wait_ready(self, within_s: float = START_S) -> None:
        """Wait until every gateway says that it can serve."""
        for i, name in enumerate(self.gateways):
            eventually(lambda i=i: self._is_ready(i), within_s=within_s, what=f"{name} ready")  # type: ignore[misc]

    def http_url(self, gateway: int = 0) -> str:
        """The address of a gateway, without a slash at the end."""
        return f"http://127.0.0.1:{self.port + gateway}"

    def ws_url(self, gateway: int = 0, user: str | None = None) -> str:
        """The address of a gateway's WebSocket; `user` in development mode."""
        url = f"ws://127.0.0.1:{self.port + gateway}/v1/ws"
        return f"{url}?user={user}" if user is not None else url

    def log(self, name: str) -> str:
        """What a process has logged, over all its lives."""
        return (self.data / "log" / f"{name}.log").read_text(errors="replace")

    def printed(self) -> str:
        """What `up` itself has printed."""
        return (self.data / "up.out").read_text(errors="replace")

    def _is_ready(self, gateway: int) -> bool:
        try:
            with urllib.request.urlopen(f"{self.http_url(gateway)}/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False


MakeStack = Callable[..., Stack]
