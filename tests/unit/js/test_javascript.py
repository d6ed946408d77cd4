"""Runs the JavaScript tests beside this file with Node's own test runner."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.mjs")), ids=lambda file: file.name.removesuffix(".test.mjs"))
def test_javascript(file: Path) -> None:
    command = [str(NODE), "--test", "--test-reporter=spec", file.name]

    ran = subprocess.run(command, cwd=HERE, capture_output=True, check=False, text=True, timeout=120)

    assert ran.returncode == 0, ran.stdout + ran.stderr
