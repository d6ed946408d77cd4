"""Runs the JavaScript tests beside this file with Node's own test runner, and compiles the types."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CLIENT = HERE.parents[2] / "clients" / "js"
TYPESCRIPT = CLIENT / "node_modules" / "typescript"
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


@pytest.mark.skipif(NODE is None or not TYPESCRIPT.exists(), reason="needs `npm install` in clients/js: TypeScript")
def test_the_declarations_are_what_the_module_is_and_fit_its_use(tmp_path: Path) -> None:
    # Beside its declarations the module itself would never be looked at.
    shutil.copy(CLIENT / "auerbach.js", tmp_path / "module.js")
    shutil.copy(CLIENT / "auerbach.d.ts", tmp_path)
    shutil.copy(HERE / "conforms.ts", tmp_path)
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}))
    options = {
        "strict": True, "allowJs": True, "checkJs": True, "noEmit": True, "types": [],
        "target": "es2022", "module": "nodenext", "lib": ["es2023", "dom", "dom.iterable"],
    }  # fmt: skip
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["conforms.ts"]}))

    compiled = subprocess.run(
        [str(NODE), str(TYPESCRIPT / "bin" / "tsc"), "-p", str(tmp_path)],
        capture_output=True, check=False, text=True, timeout=120,
    )  # fmt: skip

    assert compiled.returncode == 0, compiled.stdout
