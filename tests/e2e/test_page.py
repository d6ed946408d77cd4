"""The chat page in a real browser, against the whole service: messages come, stay, and are shown as they are."""

import re

from playwright.sync_api import expect

from tests.support.person import NewPerson
from tests.support.stack import MakeStack, Stack

# A gateway's return takes seconds, the page's next try up to 30 more.
BACK_WITHIN_MS = 90_000
# Scrolls up, and tells which message is the first and where it is then.
TO_THE_TOP = """log => {
  log.scrollTop = 0;
  const first = log.querySelector(".message");
  return [first.dataset.seq, first.getBoundingClientRect().top];
}"""


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
    expect(alice.page.locator("#connection").get_by_role("status")).to_contain_text("Connection lost")
    expect(alice.page.get_by_role("button", name="Try now")).to_be_visible()
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


def test_a_long_history_is_scrolled_to_in_place_and_the_page_holds_a_part_of_it(person: NewPerson) -> None:
    alice = person()
    alice.sign_in("ann")
    group = alice.create("Diary").removeprefix("#group=")
    alice.ask(*[("send", {"group": group, "text": f"line {n}"}) for n in range(400)], sockets=8)

    alice.page.reload()
    row = alice.page.locator("#messages .message").first
    expect(alice.page.locator("[data-seq='401']")).to_be_in_viewport()
    while True:
        seq, before = alice.page.get_by_role("log").evaluate(TO_THE_TOP)
        if seq == "2":
            break
        expect(row).not_to_have_attribute("data-seq", seq)
        after = alice.page.locator(f"[data-seq='{seq}']").bounding_box()
        assert after is not None
        assert abs(after["y"] - before) < 60  # the day's line above it goes
        assert alice.messages.count() <= 300

    expect(alice.page.locator("#spoken")).to_be_empty()
    expect(alice.page.get_by_role("button", name="Load earlier messages")).to_be_hidden()
    alice.page.get_by_role("button", name="To the newest").click()
    expect(alice.page.locator("[data-seq='401']")).to_be_in_viewport()
    assert alice.faults == []


def test_hostile_names_and_texts_are_shown_as_they_are(person: NewPerson) -> None:
    name, title = "<b onclick=alert(1)>mallory</b> 100%/\"'😀", '"><script>window.hacked = 1</script>'
    texts = [
        "<img src=x onerror=\"window.hacked = 1\"> & &lt;i&gt; <a href='javascript:hacked=1'>x</a>",
        "\u202esdrawkcab \u2066 unclosed",
        "w" * 16_384,
        'javascript:alert(1) https://example.org/?q="><script>',
    ]
    mallory, bob = person(), person()
    mallory.sign_in(name)
    group = mallory.create(title)
    bob.sign_in("bo\u202eb\u200b", group)
    bob.join()

    mallory.say(*texts)

    expect(bob.messages).to_have_text(texts)
    expect(bob.page.locator(".message .by").first).to_have_text(name)
    expect(bob.page.locator("#group-name")).to_have_text(title)
    # A name that turns what stands beside it, or hides, is told from the one that it looks like.
    expect(mallory.page.get_by_label("Members").get_by_text("bo").first).to_have_text("boU+202EbU+200B")
    link = bob.messages.last.get_by_role("link")
    assert link.get_attribute("href") == "https://example.org/?q="
    assert "noopener" in (link.get_attribute("rel") or "").split()
    for one in (bob, mallory):
        assert one.page.locator("img, #messages :is(b, i, script), script:not([src]), [style]").count() == 0
        assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
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


def test_where_tokens_are_due_one_is_asked_for_and_why_it_was_refused_is_told(person: NewPerson) -> None:
    alice = person()
    alice.page.route("**/v1/config", lambda route: route.fulfill(json={"dev": False}))

    alice.page.goto(alice.url)
    expect(alice.page.get_by_label("Access token")).to_be_focused()
    expect(alice.page.get_by_label("Name", exact=True)).to_be_hidden()
    alice.page.keyboard.type("no token at all")
    alice.page.keyboard.press("Enter")

    expect(alice.page.get_by_role("alert").first).to_contain_text("The server did not let you in")
    expect(alice.page.get_by_label("Access token")).to_be_focused()


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


def test_what_is_unread_and_what_is_begun_stays_with_its_group(person: NewPerson) -> None:
    alice, bob = person(), person()
    alice.sign_in("alice")
    bob.sign_in("bob", alice.create("First"))
    bob.join()
    alice.create("Second")
    alice.box.fill("a draft for the second")

    bob.say("one", "@alice two")

    first = alice.group("First")
    expect(first).to_contain_text("2 unread, you are mentioned")
    expect(first).to_contain_text("bob: @alice two")
    expect(alice.page).to_have_title("(2) Second · Auerbach")
    first.click()
    expect(first).not_to_contain_text("unread")
    expect(alice.page.get_by_text("New messages", exact=True)).to_be_visible()
    expect(alice.page).to_have_title("First · Auerbach")
    expect(alice.box).to_have_value("")
    alice.page.reload()
    expect(alice.group("First")).not_to_contain_text("unread")
    alice.group("Second").click()
    expect(alice.box).to_have_value("a draft for the second")
    assert alice.faults == bob.faults == []
