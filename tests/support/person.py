"""A user with a browser of their own, on the chat page."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import ConsoleMessage, Locator, Page, expect

WITHIN_MS = 60_000
_AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
_FINDINGS = """async (runOnly) => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"], ...(runOnly ? { runOnly } : {}) });
  const told = ({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary}`);
  return violations.flatMap(told);
}"""
# More sockets of this user, to do in bulk what the page does one by one; each at the pace that the server allows.
_ASK = """async ([user, requests, sockets]) => {
  const { Client } = await import("/static/auerbach.js");
  const clients = Array.from({ length: sockets }, () => new Client("/v1/ws", { user }));
  await Promise.all(clients.map((client) => client.connect()));
  const answers = requests.map(([type, fields], i) => clients[i % sockets].request(type, fields));
  try {
    return await Promise.all(answers);
  } finally {
    for (const client of clients) client.close();
  }
}"""


class Person:
    """A user with a browser of their own. `faults` is what its console and scripts have complained of."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.name = ""
        self.faults: list[str] = []
        page.set_default_timeout(WITHIN_MS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(message.text)

    def sign_in(self, name: str, hash_: str = "") -> None:
        self.name = name
        self.page.goto(f"{self.url}/{hash_}")
        self.page.get_by_label("Name", exact=True).fill(name)
        self.page.get_by_role("button", name="Start chatting").click()
        expect(self.page.locator("#app")).to_be_visible()

    def create(self, name: str, **choices: str) -> str:
        """Create a group, with `choices` by the ids of the form's fields; its hash."""
        self.page.get_by_role("button", name="New group").click()
        form = self.dialog("New group")
        form.get_by_label("Group name").fill(name)
        for field, value in choices.items():
            self.set(f"create-{field}", value)
        form.get_by_role("button", name="Create").click()
        expect(form).to_be_hidden()
        expect(self.page.locator("#group-name")).to_have_attribute("data-name", name)
        return self.page.evaluate("location.hash")  # type: ignore[no-any-return]

    def set(self, field: str, value: str) -> None:
        """Fill a field or choose in a list, by its id."""
        control = self.page.locator(f"#{field}")
        if control.evaluate("control => control.tagName") == "SELECT":
            control.select_option(value)
        else:
            control.fill(value)

    def join(self) -> None:
        self.page.get_by_role("button", name="Join this group").click()
        expect(self.box).to_be_visible()

    def ask(self, *requests: tuple[str, dict[str, Any]], sockets: int = 1) -> list[dict[str, Any]]:
        """Requests beside the page, by this user; the replies. With several sockets they take effect in any order."""
        return self.page.evaluate(_ASK, [self.name, requests, sockets])  # type: ignore[no-any-return]

    def dialog(self, name: str = "") -> Locator:
        return self.page.get_by_role("dialog", **({"name": name} if name else {}))

    def answer(self, label: str) -> None:
        """Answer the question that is asked."""
        self.dialog().get_by_role("button", name=label, exact=True).click()

    def group(self, name: str) -> Locator:
        """A group in the list."""
        return self.page.get_by_role("navigation", name="Groups").get_by_role("link", name=name)

    @property
    def box(self) -> Locator:
        return self.page.get_by_label("Message", exact=True)

    def say(self, *texts: str) -> None:
        for text in texts:
            self.box.fill(text)
            self.box.press("Enter")

    @property
    def messages(self) -> Locator:
        """The texts of all messages on the page, in order, those on their way included."""
        return self.page.locator("#messages .message .text")

    def message(self, text: str) -> Locator:
        """The row of the message with this text."""
        return self.page.locator(
            "#messages .message", has=self.page.locator(".text", has_text=re.compile(f"^{re.escape(text)}$"))
        )

    def choose(self, text: str, item: str) -> None:
        """Choose in the menu of a message."""
        row = self.message(text)
        row.hover()
        row.get_by_role("button", name="More").click()
        self.page.get_by_role("menuitem", name=item).click()

    def expect_all_sent(self, within_ms: float = WITHIN_MS) -> None:
        expect(self.page.locator("#messages [data-state]")).to_have_count(0, timeout=within_ms)

    def findings(self, *rules: str) -> list[str]:
        """What axe-core finds on the page as it is; with `rules`, by those alone."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(_AXE.read_text())
        found: list[str] = json.loads(json.dumps(self.page.evaluate(_FINDINGS, list(rules) or None)))
        return found


NewPerson = Callable[..., Person]
