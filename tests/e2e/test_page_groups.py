"""Groups and their members on the page: what each role may do, and what is told when it may not."""

from playwright.sync_api import expect

from tests.support.person import NewPerson, Person


def menu_of(one: Person, user: str) -> list[str]:
    """What may be done about a member; nothing where there is no button."""
    button = one.page.get_by_role("button", name=f"Change {user}")
    if button.count() == 0:
        return []
    button.click()
    items = one.page.get_by_role("menuitem").all_inner_texts()
    one.page.keyboard.press("Escape")
    return items


def change(one: Person, user: str, item: str) -> None:
    one.page.get_by_role("button", name=f"Change {user}").click()
    one.page.get_by_role("menuitem", name=item).click()


def test_a_group_has_settings_that_its_owner_changes_and_an_end(person: NewPerson) -> None:
    alice, bob = person(), person()
    alice.sign_in("alice")
    bob.sign_in("bob", alice.create("Plans", topic="what next", join="open", history="joined"))
    bob.join()
    expect(bob.page.locator("#group-topic")).to_have_text("what next")
    expect(bob.page.get_by_role("button", name="Group settings")).to_be_hidden()

    alice.page.get_by_role("button", name="Group settings").click()
    expect(alice.page.locator("#settings-history")).to_have_value("joined")
    alice.set("settings-name", "Better plans")
    alice.set("settings-join", "invite")
    alice.dialog("Group settings").get_by_role("button", name="Save").click()

    expect(bob.page.locator("#group-name")).to_have_text("Better plans")
    expect(bob.page.get_by_role("log")).to_contain_text("renamed the group to “Better plans”, closed the group")
    alice.page.get_by_role("button", name="Group settings").click()
    alice.page.get_by_role("button", name="Delete group…").click()
    alice.answer("Delete group")
    expect(bob.page.get_by_text("This group was deleted.")).to_be_visible()
    expect(alice.group("Better plans")).to_have_count(0)
    assert alice.faults == bob.faults == []


def test_each_role_finds_what_it_may_do_and_no_more(person: NewPerson) -> None:
    alice, bob = person(), person()
    alice.sign_in("alice")
    group = alice.create("Roles")
    for name in ("bob", "carol"):
        alice.page.get_by_label("Add someone").fill(name)
        alice.page.get_by_role("button", name="Add", exact=True).click()
        expect(alice.page.get_by_role("button", name=f"Change {name}")).to_be_visible()
    bob.sign_in("bob", group)
    expect(bob.box).to_be_visible()
    assert menu_of(bob, "carol") == []
    assert menu_of(alice, "bob") == ["Make reader", "Make admin", "Make owner…", "Remove…"]

    change(alice, "bob", "Make admin")
    expect(bob.page.get_by_role("button", name="Change carol")).to_be_visible()
    assert menu_of(bob, "carol") == ["Make reader", "Remove…"]
    assert menu_of(bob, "alice") == []
    alice.page.get_by_role("button", name="Leave group").click()
    alice.answer("Leave")
    expect(alice.page.get_by_text("make one of them the owner first")).to_be_visible()
    change(alice, "bob", "Make owner…")
    alice.answer("Make owner")

    expect(bob.page.get_by_role("button", name="Change alice")).to_be_visible()
    expect(alice.page.get_by_role("button", name="Change bob")).to_have_count(0)
    change(bob, "alice", "Make reader")
    expect(alice.page.get_by_text("You can read here, and not write.")).to_be_visible()
    expect(alice.box).to_be_hidden()
    alice.page.get_by_role("button", name="Leave group").click()
    alice.answer("Leave")
    expect(bob.page.get_by_role("log")).to_contain_text("alice left")
    expect(alice.page.get_by_text("Pick a group")).to_be_visible()
    assert alice.faults == bob.faults == []


def test_who_is_removed_is_told_and_comes_back_unless_banned(person: NewPerson) -> None:
    alice, bob = person(), person()
    alice.sign_in("alice")
    bob.sign_in("bob", alice.create("Club", join="open"))
    bob.join()
    bob.say("hello")
    expect(alice.messages).to_have_text(["hello"])

    change(alice, "bob", "Remove…")
    alice.answer("Remove")
    expect(bob.page.get_by_text("You were removed from this group.")).to_be_visible()
    expect(bob.box).to_be_hidden()
    bob.join()
    change(alice, "bob", "Remove…")
    alice.answer("Remove and ban")
    bob.page.get_by_role("button", name="Join this group").click()
    expect(bob.page.get_by_text("You have been banned from this group.")).to_be_visible()
    alice.page.get_by_text("Bans", exact=True).click()
    alice.page.get_by_role("button", name="Lift the ban of bob").click()
    expect(alice.page.get_by_role("log")).to_contain_text("alice lifted the ban of bob")
    bob.join()
    alice.say("welcome back")

    expect(bob.messages).to_have_text(["hello", "welcome back"])
    assert alice.faults == bob.faults == []


def test_members_beyond_a_thousand_are_paged(person: NewPerson) -> None:
    alice = person()
    alice.sign_in("alice")
    alice.create("Small")
    crowd = [{"user": f"m{n:04}"} for n in range(1_050)]
    (made,) = alice.ask(("create_group", {"name": "Crowd", "members": crowd}))
    alice.page.evaluate("group => { location.hash = `#group=${group}`; }", made["group"])
    expect(alice.page.get_by_role("heading", name="Members (1000+)")).to_be_visible()
    rows = alice.page.locator("#member-list > li")
    expect(rows).to_have_count(100)

    more = alice.page.get_by_role("button", name="Show more members")
    while more.is_visible():
        shown = rows.count()
        more.click()
        expect(rows.nth(shown)).to_be_attached()

    expect(rows).to_have_count(1_051)
    expect(alice.page.get_by_role("heading", name="Members (1051)")).to_be_visible()
    alice.page.get_by_label("Find a member").fill("M1049")
    expect(rows.locator(".name")).to_have_text(["m1049"])
    assert alice.faults == []


def test_the_members_panel_tells_who_is_online_in_words(person: NewPerson) -> None:
    alice, bob = person(), person()
    alice.sign_in("alice")
    bob.sign_in("bob", alice.create("Presence", join="open"))
    bob.join()
    here = alice.page.locator("#member-list").get_by_role("listitem").filter(has_text="bob")
    expect(here).to_contain_text("online")
    expect(alice.page.get_by_role("button", name="2 members, 2 online")).to_be_visible()
    bob.page.close()
    expect(here).not_to_contain_text("online")
    expect(alice.page.get_by_text("1 online")).to_be_visible()
