"""The page by keyboard, by ear, on a phone, large, in light and in dark."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Page, ViewportSize, expect

from tests.support.person import NewPerson, Person

MEASURE = (Path(__file__).parent / "measure_page.js").read_text()
DESK: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 360, "height": 640}


def test_everything_goes_by_keyboard(person: NewPerson) -> None:
    alice = person()
    keyboard = alice.page.keyboard
    alice.page.goto(alice.url)
    expect(alice.page.get_by_label("Name", exact=True)).to_be_focused()
    keyboard.type("kay")
    keyboard.press("Enter")
    for name in ("Keys", "Locks"):
        alice.page.get_by_role("button", name="New group").press("Enter")
        expect(alice.page.get_by_label("Group name").first).to_be_focused()
        keyboard.type(name)
        keyboard.press("Enter")
        expect(alice.page.locator("#group-name")).to_have_text(name)
        expect(alice.box).to_be_focused()

    keyboard.type("two")
    keyboard.press("Shift+Enter")
    keyboard.type("lines")
    keyboard.press("Enter")
    expect(alice.messages).to_have_text(["two\nlines"])
    alice.expect_all_sent()
    keyboard.press("ArrowUp")
    expect(alice.page.get_by_text("Edit your message")).to_be_visible()
    keyboard.press("Escape")
    keyboard.press("Shift+Tab")
    expect(alice.page.get_by_role("log", name="Messages")).to_be_focused()
    keyboard.press("ArrowUp")
    row = alice.page.locator("#messages .message")
    expect(row).to_be_focused()
    keyboard.press("Enter")
    expect(alice.page.get_by_role("menuitemcheckbox").first).to_be_focused()
    keyboard.press("Escape")
    expect(row).to_be_focused()
    keyboard.press("Enter")
    keyboard.press("ArrowRight")
    keyboard.press("Enter")
    expect(alice.page.locator(".chip")).to_have_text(["❤️ 1"])
    expect(row).to_be_focused()
    keyboard.press("Enter")
    keyboard.press("End")
    expect(alice.page.get_by_role("menuitem", name="Delete…")).to_be_focused()
    keyboard.press("Enter")
    expect(alice.dialog().get_by_role("button", name="Cancel")).to_be_focused()
    keyboard.press("Escape")
    expect(row).to_be_focused()
    keyboard.press("Alt+ArrowDown")

    expect(alice.page.locator("#group-name")).to_have_text("Keys")
    expect(alice.box).to_be_focused()
    assert alice.faults == []


def test_screen_readers_hear_what_comes_and_not_what_is_scrolled_to(person: NewPerson) -> None:
    alice, bob = person(), person()
    alice.sign_in("sue")
    bob.sign_in("ben", alice.create("Voices"))
    bob.join()
    bob.say("before")
    bob.expect_all_sent()
    alice.page.reload()
    expect(alice.messages).to_have_text(["before"])

    bob.say("after")
    alice.say("my own")

    expect(alice.page.locator("#spoken")).to_have_text("ben: after")
    expect(alice.page.get_by_role("log", name="Messages")).to_have_attribute("aria-live", "off")
    expect(alice.page.locator("#connection").get_by_role("status")).to_have_text("Online")
    expect(alice.page.get_by_role("main")).to_have_count(1)


def test_axe_finds_nothing_in_any_state(person: NewPerson) -> None:
    alice, bob = person(viewport=DESK), person(viewport=PHONE, has_touch=True)
    found: list[str] = []

    def look(*people: Person, both: bool = False) -> None:
        for one in people:
            found.extend(one.findings())
            if both:
                one.page.emulate_media(color_scheme="dark")
                found.extend(one.findings("color-contrast"))
                one.page.emulate_media(color_scheme="light")

    alice.page.goto(alice.url)
    expect(alice.page.get_by_label("Name", exact=True)).to_be_visible()
    look(alice)
    alice.sign_in("alice")
    bob.sign_in("bob", alice.create("Everything", topic="of all kinds"))
    look(bob)
    bob.join()
    alice.say("a question for @bob", "nul \0 is refused")
    bob.page.locator(".message").get_by_role("button", name="More").click()
    look(bob, both=True)
    bob.page.get_by_role("menuitem", name="Reply").click()
    bob.box.fill("see https://example.org")
    bob.page.get_by_role("button", name="Send").click()
    alice.page.get_by_role("button", name="Change bob").click()
    look(alice)
    alice.page.keyboard.press("Escape")
    alice.box.fill("@")
    alice.message("see https://example.org").hover()
    look(alice, bob, both=True)
    alice.message("a question for @bob").hover()
    alice.message("a question for @bob").get_by_role("button", name="React").click()
    look(alice)
    alice.dialog("Pick a reaction").get_by_role("button", name="👍").click()
    alice.choose("a question for @bob", "Who reacted…")
    look(alice)
    alice.page.keyboard.press("Escape")
    alice.page.get_by_role("button", name="Group settings").click()
    look(alice)
    alice.page.keyboard.press("Escape")
    alice.page.get_by_role("button", name="Leave group").click()
    look(alice)
    bob.page.get_by_role("button", name="2 members").click()
    look(bob, both=True)
    bob.page.get_by_role("button", name="Close").click()
    bob.page.get_by_role("link", name="Back to the groups").click()
    look(bob)

    assert found == []
    assert alice.faults == bob.faults == []


def test_it_fits_a_narrow_phone_and_a_desk_at_twice_the_size(person: NewPerson) -> None:
    alice = person(viewport={"width": 320, "height": 600})
    views = []

    alice.page.goto(alice.url)
    views.append(measure(alice.page))
    alice.sign_in("a-rather-long-name-of-a-person-with-much-to-say")
    views.append(measure(alice.page))
    alice.create("A group whose name has no end, or ends very late", topic="and" * 100)
    alice.say("averyveryverylongwordthatdoesnotfit" * 4, "short", "مرحبا بالجميع، كيف الحال اليوم؟")
    alice.expect_all_sent()
    views.append(measure(alice.page))
    arabic = alice.messages.last
    assert arabic.evaluate("text => getComputedStyle(text).direction") == "rtl"
    alice.page.get_by_role("button", name="1 member").click()
    views.append(measure(alice.page))
    alice.page.get_by_role("button", name="Close").click()
    alice.page.set_viewport_size({"width": 640, "height": 400})  # a desk at 200 %
    expect(alice.box).to_be_in_viewport()
    views.append(measure(alice.page))
    alice.page.get_by_role("link", name="Back to the groups").click()
    expect(alice.group("A group whose name")).to_be_visible()

    assert [view["width"] for view in views] == [320, 320, 320, 320, 640]
    assert [view["faint"] for view in views] == [[]] * 5


def measure(page: Page) -> dict[str, Any]:
    """The page's width, its ground, and `faint`: texts with a contrast below WCAG's 4.5 : 1."""
    measured: dict[str, Any] = page.evaluate(MEASURE)
    return measured
