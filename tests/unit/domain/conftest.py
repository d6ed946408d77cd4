"""A group with everybody in it."""

import pytest

from tests.unit.domain.chat import Chat, usual_chat


@pytest.fixture
def chat() -> Chat:
    return usual_chat()
