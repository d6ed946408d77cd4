"""A gateway takes all the descriptors that it may have."""

import resource

import pytest

from web import descriptors


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The limits in force, the last one now; the process's own stay as they are."""
    told = [(1024, 524_288)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: told[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: told.append(both))
    return told


def test_the_soft_limit_is_raised_to_the_hard_one(limits: list[tuple[int, int]]) -> None:
    assert descriptors.raise_limit() == 524_288
    assert limits[-1] == (524_288, 524_288)


def test_a_system_that_refuses_leaves_it_as_it_was(
    limits: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert descriptors.raise_limit() == 1024
    assert len(limits) == 1
