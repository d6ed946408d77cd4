"""What one does with messages on the page: change, take back, answer, react, mention."""

from playwright.sync_api import expect

from tests.support.person import NewPerson, Person


def two_in(person: NewPerson, group: str) -> tuple[Person, Person]:
    """Alice and Bob in a new group of hers."""
    alice, bob = person(), person()
    alice.sign_in("alice")
    bob.sign_in("bob", alice.create(group))
    bob.join()
    return alice, bob


def test_ones_own_messages_are_changed_and_taken_back_for_all(person: NewPerson) -> None:
    alice, bob = two_in(person, "Changes")
    alice.say("one moment", "a slip")
    expect(bob.messages).to_have_text(["one moment", "a slip"])

    alice.choose("one moment", "Edit")
    expect(alice.box).to_have_value("one moment")
    alice.say("a moment")
    expect(bob.message("a moment")).to_contain_text("edited")
    alice.choose("a slip", "Delete…")
    alice.answer("Delete")

    expect(bob.messages).to_have_text(["a moment", "This message was deleted"])
    bob.message("a moment").hover()
    bob.message("a moment").get_by_role("button", name="More").click()
    expect(bob.page.get_by_role("menuitem", name="Reply")).to_be_visible()
    expect(bob.page.get_by_role("menuitem", name="Edit")).to_have_count(0)
    expect(bob.page.get_by_role("menuitem", name="Delete…")).to_have_count(0)
    assert alice.faults == bob.faults == []


def test_an_answer_leads_to_its_message_however_far_back(person: NewPerson) -> None:
    alice, bob = two_in(person, "Answers")
    group = alice.page.evaluate("decodeURIComponent(location.hash.slice(7))")
    bob.say("the question")
    alice.message("the question").hover()
    alice.message("the question").get_by_role("button", name="Reply").click()
    expect(alice.page.get_by_text("Reply to bob")).to_be_visible()
    alice.say("the answer")
    expect(bob.message("the answer")).to_contain_text("bob")
    expect(bob.message("the answer").locator(".quote")).to_contain_text("the question")
    seq = bob.message("the question").get_attribute("data-seq")
    alice.ask(*[("send", {"group": group, "text": f"line {n}"}) for n in range(250)], sockets=8)
    alice.ask(("send", {"group": group, "text": "a late answer", "reply_to": int(seq or 0)}))

    bob.page.reload()
    late = bob.message("a late answer").locator(".quote")
    expect(late).to_contain_text("the question")
    late.click()

    expect(bob.message("the question")).to_be_focused()
    expect(bob.message("the question")).to_be_in_viewport()
    assert alice.faults == bob.faults == []


def test_reactions_are_counted_say_whose_they_are_and_go_again(person: NewPerson) -> None:
    alice, bob = two_in(person, "Reactions")
    alice.say("cake!")
    bob.message("cake!").hover()
    bob.message("cake!").get_by_role("button", name="React").click()
    bob.dialog("Pick a reaction").get_by_role("button", name="🎉").click()

    alice.page.get_by_role("button", name="🎉 1: bob").click()
    expect(bob.page.get_by_role("button", name="🎉 2: you, alice")).to_have_attribute("aria-pressed", "true")
    alice.message("cake!").focus()
    bob.page.get_by_role("button", name="🎉 2").click()
    expect(alice.page.locator(".chip")).to_have_text(["🎉 1"])
    expect(alice.message("cake!")).to_be_focused()  # though its row was made anew
    alice.message("cake!").hover()
    alice.message("cake!").get_by_role("button", name="React").click()
    picker = alice.dialog("Pick a reaction")
    picker.get_by_label("Another reaction").fill("<b>")
    picker.get_by_role("button", name="Add").click()

    expect(bob.page.locator(".chip")).to_have_text(["🎉 1", "<b> 1"])
    bob.choose("cake!", "Who reacted…")
    expect(bob.dialog("Reactions").get_by_text("alice")).to_have_count(2)
    assert alice.faults == bob.faults == []


def test_a_name_is_completed_and_the_one_who_is_meant_sees_it(person: NewPerson) -> None:
    alice, bob = two_in(person, "Names")

    alice.box.press_sequentially("hi @b")
    expect(alice.page.get_by_role("option", name="bob")).to_have_attribute("aria-selected", "true")
    alice.box.press("Enter")
    expect(alice.box).to_have_value("hi @bob ")
    alice.box.press("Enter")

    expect(bob.page.locator(".mention.me")).to_have_text("@bob")
    expect(alice.page.locator(".mention")).to_have_text("@bob")
    assert alice.faults == bob.faults == []
