"""What the page does where the log it has shown is lost, where it is signed out, and where a change was refused."""

from playwright.sync_api import Page, WebSocketRoute, expect

from tests.support.person import NewPerson

REVOKED = 4510


def of_another_log(page: Page) -> list[WebSocketRoute]:
    """Let each connection of the page name a log that is not the service's; the connections, which a test may close."""
    connections: list[WebSocketRoute] = []

    def connect(connection: WebSocketRoute) -> None:
        connections.append(connection)
        server = connection.connect_to_server()
        server.on_message(lambda frame: connection.send(str(frame).replace('"log":"', '"log":"not-', 1)))

    page.route_web_socket("**/v1/ws*", connect)
    return connections


def test_what_is_begun_refers_to_no_message_of_a_log_that_is_lost(person: NewPerson) -> None:
    alice = person()
    connections = of_another_log(alice.page)
    alice.sign_in("alice")
    alice.create("Worlds")
    alice.say("hello")
    alice.expect_all_sent()
    context = alice.page.locator("#context")

    alice.choose("hello", "Reply")
    alice.box.fill("an answer")
    expect(context).to_contain_text("Reply to")
    connections[-1].close(code=1001)
    expect(context).to_be_hidden()
    expect(alice.box).to_have_value("an answer")
    alice.say("another")
    alice.expect_all_sent()
    alice.choose("another", "Edit")
    expect(context).to_contain_text("Edit your message")
    connections[-1].close(code=1001)

    expect(context).to_be_hidden()
    expect(alice.box).to_have_value("")
    assert alice.faults == []


def test_nothing_of_the_chat_stays_open_when_one_is_signed_out(person: NewPerson) -> None:
    alice = person()
    connections = of_another_log(alice.page)
    alice.sign_in("alice")
    alice.create("Menus")
    alice.say("hello")
    alice.expect_all_sent()
    alice.message("hello").hover()
    alice.message("hello").get_by_role("button", name="More").click()
    expect(alice.page.get_by_role("menu")).to_be_visible()

    connections[-1].close(code=REVOKED)

    expect(alice.page.get_by_label("Name", exact=True)).to_be_focused()
    expect(alice.page.locator("[popover]")).to_have_count(0)


def test_after_a_change_that_was_refused_one_can_save_the_old_text(person: NewPerson) -> None:
    alice = person()
    alice.sign_in("alice")
    alice.create("Second thoughts")
    alice.say("right")
    alice.expect_all_sent()
    alice.choose("right", "Edit")
    alice.say("nul \0 is refused")
    expect(alice.page.locator("[data-state=failed]")).to_contain_text("Not changed.")

    alice.box.press("ArrowUp")
    alice.say("right")

    alice.expect_all_sent()
    expect(alice.messages).to_have_text(["right"])
    assert alice.faults == []
