"""A browser, and people with it, on the shared service."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.support.browser import ARGS
from tests.support.person import WITHIN_MS, NewPerson, Person
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def browser(chromium: str, kafka_jars: Path) -> Iterator[Browser]:
    """The browser, one for the tests of a module."""
    # `kafka_jars` first: it runs a loop of its own, which it cannot once Playwright's is there.
    expect.set_options(timeout=WITHIN_MS)
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=chromium, args=ARGS, timeout=2 * WITHIN_MS)
        yield program
        program.close()


@pytest.fixture
def person(browser: Browser, stack: Stack) -> Iterator[NewPerson]:
    """Makes people, each in a browser context of their own."""
    contexts = []

    def make(url: str | None = None, **options: Any) -> Person:
        context = browser.new_context(**options)
        contexts.append(context)
        return Person(context.new_page(), url or stack.http_url())

    yield make
    for context in contexts:
        context.close()
