"""The group that reads are asked of."""

import pytest

from app.domain.commands import CreateGroup, Join
from tests.unit.agents.owner import Owner, by


@pytest.fixture
def owner() -> Owner:
    owner = Owner()
    owner.ask(CreateGroup(**by("ann"), name="first", join="open"), Join(**by("bob")))
    return owner
