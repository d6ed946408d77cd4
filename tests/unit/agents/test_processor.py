"""What a processor does before its worker runs."""

import gc
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agents import processor
from app.config import Settings
from app.kafka.topics import Layout


def test_the_collector_is_spared_what_was_made_before_the_worker_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []

    class Worker:
        def __init__(self, *_: Any, **__: Any) -> None:
            seen.append((gc.get_freeze_count(), gc.get_threshold()[0]))

        def execute_from_commandline(self) -> None:
            pass

    made = SimpleNamespace(app=SimpleNamespace(web=SimpleNamespace(web_app=None)), inspector=lambda: None)
    monkeypatch.setattr(processor, "Worker", Worker)
    monkeypatch.setattr(processor, "_Processor", lambda *_: made)
    monkeypatch.setattr(processor.topics, "check", lambda *_: Layout(1, "log", "commands"))
    monkeypatch.setattr(processor.positions, "check", lambda *_: None)
    thresholds = gc.get_threshold()
    try:
        processor.main(Settings(DATA=tmp_path), cast("Any", lambda *_: None))  # type: ignore[call-arg]
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
    assert seen[0][0] > 0
    assert seen[0][1] >= 50_000
