"""Runs the JavaScript tests beside this file with Node's own test runner."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# The first that takes a plain .js file for a module, and whose test runner can stop the clock.
NEEDED = (20, 19)


def _node() -> str | None:
    """Node, if it is here and new enough."""
    node = shutil.which("node")
    if node is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, check=True, text=True, timeout=30).stdout
    major, minor, *_ = version.strip().removeprefix("v").split(".")
    return node if (int(major), int(minor)) >= NEEDED else None


NODE = _node()


@pytest.mark.skipif(NODE is None, reason="needs Node {}.{} or newer".format(*NEEDED))
@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.mjs")), ids=lambda file: file.name.removesuffix(".test.mjs"))
def test_javascript(file: Path) -> None:
    command = [str(NODE), "--test", "--test-reporter=spec", file.name]

    ran = subprocess.run(command, cwd=HERE, capture_output=True, check=False, text=True, timeout=120)

    assert ran.returncode == 0, ran.stdout + ran.stderr
