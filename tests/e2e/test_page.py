"""The chat page in a real browser, against the whole service."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

from tests.support.stack import MakeStack, Stack

# Nothing that Chromium does on its own account: no updates, no look-ups.
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WITHIN_MS = 20_000
# A gateway's return takes seconds, the page's next try up to 30 more.
BACK_WITHIN_MS = 60_000
MEASURE = (Path(__file__).parent / "measure_page.js").read_text()


class Person:
    """A user with a browser of their own. `faults` is what its console and scripts have complained of."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.faults: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(message.text)

    def sign_in(self, name: str, hash_: str = "") -> None:
        self.page.goto(f"{self.url}/{hash_}")
        self.page.get_by_label("Name", exact=True).fill(name)
        self.page.get_by_role("button", name="Start chatting").click()
        expect(self.page.locator("#me")).to_have_text(name)

    def create(self, name: str) -> str:
        """Create a group; its hash."""
        self.page.get_by_label("New group").fill(name)
        self.page.get_by_role("button", name="Create", exact=True).click()
        expect(self.page.get_by_role("heading", name=name, exact=True)).to_be_visible()
        link = self.page.get_by_label("Link to this group").input_value()
        assert link.startswith(f"{self.url}/#group=")
        return link.removeprefix(f"{self.url}/")

    def join(self) -> None:
        self.page.get_by_role("button", name="Join this group").click()
        expect(self.box).to_be_visible()

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

    def expect_all_sent(self, within_ms: float = WITHIN_MS) -> None:
        expect(self.page.locator("#messages [data-state]")).to_have_count(0, timeout=within_ms)


NewPerson = Callable[..., Person]


@pytest.fixture(scope="module")
def browser(chromium: str, kafka_jars: Path) -> Iterator[Browser]:
    # `kafka_jars` first: it runs a loop of its own, which it cannot once Playwright's is there.
    expect.set_options(timeout=WITHIN_MS)
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=chromium, args=ARGS)
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


def test_two_users_see_each_others_messages_live(person: NewPerson, stack: Stack) -> None:
    alice, bob = person(), person(stack.http_url(1))
    alice.sign_in("alice")
    group = alice.create("Lunch")
    bob.sign_in("bob", group)
    bob.join()

    alice.say("Anyone hungry?")
    expect(bob.messages).to_have_text(["Anyone hungry?"])
    bob.say("Always.")

    expect(alice.messages).to_have_text(["Anyone hungry?", "Always."])
    expect(alice.page.get_by_role("log")).to_contain_text("bob joined")
    expect(alice.page.get_by_label("Members").get_by_role("listitem")).to_have_count(2)
    assert re.match(r"\d{4}-\d\d-\d\dT", alice.page.locator(".message time").first.get_attribute("datetime") or "")
    alice.expect_all_sent()
    assert alice.faults == bob.faults == []


def test_what_was_written_while_a_gateway_was_dead_comes_once_and_in_order(
    person: NewPerson, make_stack: MakeStack
) -> None:
    own = make_stack(gateways=2, processors=1, restart=False)
    alice, bob = person(own.http_url(0)), person(own.http_url(1))
    alice.sign_in("alice")
    bob.sign_in("bob", alice.create("Lunch"))
    bob.join()
    bob.say("before")
    expect(alice.messages).to_have_text(["before"])

    alice.say("at the last moment")
    own.kill("gateway-0")
    expect(alice.page.locator("#connection")).to_contain_text("Reconnecting in")
    alice.say("while away")
    expect(alice.page.locator("[data-state=sending]").last).to_contain_text("while away")
    missed = [f"missed {n}" for n in range(30)]
    bob.say(*missed)
    bob.expect_all_sent()
    own.start_one("gateway-0")

    alice.expect_all_sent(BACK_WITHIN_MS)
    expect(alice.messages).to_have_count(len(missed) + 3)
    texts = alice.messages.all_inner_texts()
    assert sorted(texts) == sorted(["before", "at the last moment", "while away", *missed])
    assert [text for text in texts if text in missed] == missed
    expect(bob.messages).to_have_text(texts)
    bob.say("welcome back")
    expect(alice.messages).to_have_text([*texts, "welcome back"])
    refused = "WebSocket connection to"  # the browser tells of every try that found no gateway
    assert [fault for fault in alice.faults if refused not in fault] == bob.faults == []


def test_a_reload_comes_back_to_the_group_and_older_messages_are_scrolled_to(person: NewPerson) -> None:
    alice = person()
    alice.sign_in("ann")
    alice.create("Diary")
    lines = [f"line {n}" for n in range(120)]
    alice.say(*lines)
    alice.expect_all_sent()

    alice.page.reload()
    expect(alice.messages.last).to_have_text(lines[-1])
    assert alice.messages.count() < len(lines)
    while (shown := alice.messages.count()) < len(lines):  # one look: more may come between two
        alice.page.get_by_role("log").evaluate("log => { log.scrollTop = 0; }")
        expect(alice.messages.nth(shown)).to_be_attached()

    expect(alice.messages).to_have_text(lines)
    expect(alice.page.get_by_role("button", name="Load earlier messages")).to_be_hidden()
    assert alice.faults == []


def test_names_and_texts_are_shown_literally(person: NewPerson) -> None:
    name, title = "<b onclick=alert(1)>mallory</b>", '"><script>window.hacked = 1</script>'
    text = "<img src=x onerror=\"window.hacked = 1\"> & &lt;i&gt; <a href='javascript:hacked=1'>x</a>"
    mallory, bob = person(), person()
    mallory.sign_in(name)
    group = mallory.create(title)
    bob.sign_in("bob", group)
    bob.join()

    mallory.say(text)

    expect(bob.messages).to_have_text([text])
    expect(bob.page.locator(".message .by")).to_have_text([name])
    expect(bob.page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    for one in (bob, mallory):
        assert one.page.locator("img, #messages :is(b, i, a), script:not([src])").count() == 0
        assert one.page.evaluate("window.hacked") is None
        assert one.faults == []


def test_only_the_services_own_scripts_and_styles_run(person: NewPerson) -> None:
    alice = person()

    response = alice.page.goto(alice.url)

    assert response is not None
    policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    alice.page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.ran = 1";
          document.body.append(script);
        }"""
    )
    assert alice.page.evaluate("window.ran") is None


def test_a_message_that_is_refused_can_be_discarded(person: NewPerson) -> None:
    alice = person()
    alice.sign_in("alma")
    alice.create("Refusals")

    alice.say("nul \0 is refused")
    expect(alice.page.locator("[data-state=failed]")).to_contain_text("Not sent.")
    alice.page.get_by_role("button", name="Retry").click()
    expect(alice.page.locator("[data-state=failed]")).to_contain_text("Not sent.")
    alice.page.get_by_role("button", name="Discard").click()

    expect(alice.messages).to_have_count(0)
    alice.say("x" * 16_385)
    expect(alice.page.get_by_text("too long, by 1 bytes")).to_be_visible()
    expect(alice.box).to_have_value("x" * 16_385)
    assert alice.faults == []


def test_who_is_removed_is_told_and_may_join_again(person: NewPerson) -> None:
    alice, bob = person(), person()
    alice.sign_in("alice")
    bob.sign_in("bob", alice.create("Club"))
    bob.join()
    bob.say("hello")
    expect(alice.messages).to_have_text(["hello"])

    alice.page.get_by_role("button", name="Remove bob").click()
    alice.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(bob.page.get_by_text("You were removed from this group.")).to_be_visible()
    expect(bob.box).to_be_hidden()
    bob.join()
    alice.say("welcome back")

    expect(bob.messages).to_have_text(["hello", "welcome back"])
    assert alice.faults == bob.faults == []


def test_members_are_added_by_name_and_leave(person: NewPerson) -> None:
    alice, bob = person(), person()
    alice.sign_in("alice")
    group = alice.create("Invited")
    alice.page.get_by_label("Add someone").fill("bob")
    alice.page.get_by_role("button", name="Add", exact=True).click()
    expect(alice.page.get_by_role("log")).to_contain_text("alice added bob")

    bob.sign_in("bob", group)
    bob.page.get_by_role("button", name="Leave group").click()
    bob.page.get_by_role("dialog").get_by_role("button", name="Leave").click()

    expect(alice.page.get_by_role("log")).to_contain_text("bob left")
    expect(bob.page.get_by_text("Pick a group")).to_be_visible()
    assert alice.faults == bob.faults == []


def test_unread_messages_are_counted_in_the_list_and_the_title(person: NewPerson) -> None:
    alice, bob = person(), person()
    alice.sign_in("alice")
    bob.sign_in("bob", alice.create("First"))
    bob.join()
    alice.create("Second")
    alice.box.fill("a draft for the second")

    bob.say("one", "two")

    first = alice.page.get_by_role("navigation", name="Groups").get_by_role("link", name="First")
    expect(first).to_contain_text("2 unread")
    expect(alice.page).to_have_title("(2) Second · Auerbach")
    first.click()
    expect(first).not_to_contain_text("unread")
    expect(alice.page).to_have_title("First · Auerbach")
    expect(alice.box).to_have_value("")


def test_everything_goes_by_keyboard(person: NewPerson) -> None:
    alice = person()
    keyboard = alice.page.keyboard
    alice.page.goto(alice.url)
    expect(alice.page.get_by_label("Name", exact=True)).to_be_focused()
    keyboard.type("kay")
    keyboard.press("Enter")
    expect(alice.page.get_by_label("New group")).to_be_focused()
    keyboard.type("Keys")
    keyboard.press("Enter")
    expect(alice.box).to_be_focused()

    keyboard.type("two")
    keyboard.press("Shift+Enter")
    keyboard.type("lines")
    keyboard.press("Enter")

    expect(alice.messages).to_have_text(["two\nlines"])
    expect(alice.box).to_be_focused()
    keyboard.press("Shift+Tab")
    expect(alice.page.get_by_role("log", name="Messages")).to_be_focused()


def test_screen_readers_find_their_way(person: NewPerson) -> None:
    alice = person()
    alice.sign_in("sue")
    alice.create("Voices")

    assert alice.page.locator("html").get_attribute("lang") == "en"
    expect(alice.page.get_by_role("main")).to_have_count(1)
    expect(alice.page.get_by_role("navigation", name="Groups")).to_be_visible()
    expect(alice.page.get_by_role("complementary", name="Members")).to_be_visible()
    alice.say("spoken")
    expect(alice.messages).to_have_text(["spoken"])
    expect(alice.page.get_by_role("log", name="Messages")).to_have_attribute("aria-live", "polite")
    expect(alice.page.locator("#connection").get_by_role("status")).to_have_text("Online")
    nameless = """() => [...document.querySelectorAll("input, textarea, button")].filter((control) =>
        control.checkVisibility() && !control.labels?.length && !control.ariaLabel && !control.textContent.trim()
      ).map((control) => control.outerHTML)"""
    assert alice.page.evaluate(nameless) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_narrow_phone_and_reads_well_in_both_schemes(
    person: NewPerson, scheme: Literal["light", "dark"]
) -> None:
    alice = person(viewport={"width": 320, "height": 600}, color_scheme=scheme)
    views = []

    alice.page.goto(alice.url)
    views.append(measure(alice.page))
    alice.sign_in(f"a-rather-long-name-of-a-{scheme}-person")
    views.append(measure(alice.page))
    alice.page.get_by_label("New group").fill("A group whose name has no end, or ends very late")
    alice.page.get_by_role("button", name="Create", exact=True).click()
    alice.say("averyveryverylongwordthatdoesnotfit" * 4, "short")
    alice.expect_all_sent()
    views.append(measure(alice.page))
    alice.page.get_by_role("button", name="1 member").click()
    views.append(measure(alice.page))
    alice.page.get_by_role("button", name="Close").click()
    alice.page.get_by_role("link", name="Back to the groups").click()
    expect(alice.page.get_by_role("link", name="A group whose name")).to_be_visible()

    assert [view["width"] for view in views] == [320] * 4
    assert [view["faint"] for view in views] == [[]] * 4
    dark = [view["ground"] == "rgb(16, 19, 24)" for view in views]
    assert dark == [scheme == "dark"] * 4


def measure(page: Page) -> dict[str, Any]:
    """The page's width, its ground, and `faint`: texts with a contrast below WCAG's 4.5 : 1."""
    measured: dict[str, Any] = page.evaluate(MEASURE)
    return measured
