"""Programs that run to their end: Java's version, Maven, Kafka's formatting."""

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from pathlib import Path

from app.cli.launch.errors import LaunchError


async def output_of(command: Sequence[str], *, timeout_s: float, folder: Path | None = None) -> tuple[int, str]:
    """Exit code and everything it printed. It ends with the waiting: cancelled or too late, it is killed.

    Raises:
        LaunchError: it cannot be started, or did not end in `timeout_s`.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )
    except OSError as failed:
        raise LaunchError(f"{command[0]}: cannot be started ({failed.strerror})") from None
    try:
        async with asyncio.timeout(timeout_s):
            printed, _ = await process.communicate()
    except TimeoutError:
        raise LaunchError(f"{command[0]} did not end in {timeout_s:.0f} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()
    assert process.returncode is not None
    return process.returncode, printed.decode(errors="replace")
