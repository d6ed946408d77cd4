"""The JavaScript client in a real browser, against the whole service."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.support.stack import MakeStack, Stack

WITHIN_MS = 60_000
README = Path(__file__).parents[2] / "clients" / "js" / "README.md"

# `chat`, online, and the module's names, for the scripts of a test.
BEGIN = """async ([urls, user]) => {
  Object.assign(globalThis, await import("/static/auerbach.js"));
  globalThis.rejections = [];
  addEventListener("unhandledrejection", ({ reason }) => rejections.push(String(reason)));
  globalThis.statuses = [];
  globalThis.once = {}; // what is done when the client comes to a state for the first time
  globalThis.chat = new Client(urls, {
    user,
    onStatus: ({ state }) => {
      statuses.push(state);
      once[state]?.();
      delete once[state];
    },
  });
  globalThis.plain = (value) => JSON.parse(JSON.stringify(value));
  globalThis.sorted = (items) => {
    for (const { reactions } of items) for (const users of Object.values(reactions)) users.sort();
    return items;
  };
  await chat.connect();
}"""


class Tab:
    """A page of its own with a client of its own. `faults` is what its scripts have complained of."""

    def __init__(self, page: Page, origin: str, urls: list[str], user: str) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.set_default_timeout(WITHIN_MS)
        page.goto(f"{origin}/healthz")
        page.evaluate(BEGIN, [urls, user])

    def run(self, script: str, argument: Any = None) -> Any:
        """What `script`, the body of an async function of `given`, returns."""
        return self.page.evaluate(f"async (given) => {{ {script} }}", argument)

    def wait(self, condition: str, argument: Any = None) -> None:
        """Wait until the expression of `given` is true."""
        self.page.wait_for_function(f"(given) => {condition}", arg=argument)

    def complaints(self) -> list[str]:
        """What was thrown and not caught, promises included."""
        return [*self.faults, *self.run("return rejections")]


NewTab = Callable[..., Tab]


@pytest.fixture
def tab(browser: Browser) -> Iterator[NewTab]:
    """Makes tabs, each in a browser context of its own."""
    contexts = []

    def make(origin: str, user: str, *urls: str, clock: bool = False) -> Tab:
        context = browser.new_context()
        contexts.append(context)
        if clock:
            context.clock.install()  # it goes on by itself, and by `clock.run_for`
        return Tab(context.new_page(), origin, list(urls) or [origin], user)

    yield make
    for context in contexts:
        context.close()


def example(gateway: str) -> str:
    """The first example of the client's README, for `gateway`."""
    code: str = re.findall(r"```js\n(.*?)```", README.read_text(), flags=re.DOTALL)[0]
    assert len(code.splitlines()) <= 20
    return code.replace("http://127.0.0.1:8080", gateway)


EXAMPLE_SAYS = ["alice Hello! 👋", "alice Lunch at noon? ", "the end: closed"]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_the_example_of_the_readme_runs_in_node(stack: Stack, tmp_path: Path) -> None:
    shutil.copy(README.parent / "auerbach.js", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "example.js").write_text(example(stack.http_url()))

    # Before 22 Node has a WebSocket, but only when it is asked for.
    command = ["node", "--experimental-websocket", "--unhandled-rejections=strict", "example.js"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True, timeout=120)

    assert (ran.returncode, ran.stdout.splitlines()) == (0, EXAMPLE_SAYS), ran.stderr


def test_the_example_of_the_readme_runs_in_a_browser(browser: Browser, stack: Stack) -> None:
    served = r'const \1 = await import("/static/auerbach.js");'
    code = re.sub(r'import (.+) from "./auerbach.js";', served, example(stack.http_url()))
    page = browser.new_page()
    page.goto(f"{stack.http_url()}/healthz")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "log" else None)

    with page.expect_console_message(lambda message: message.text == EXAMPLE_SAYS[-1], timeout=WITHIN_MS):
        page.evaluate(f"async () => {{ {code} }}")

    page.close()
    assert said == EXAMPLE_SAYS


def test_a_conversation_that_saw_every_change_is_what_state_and_history_say(
    tab: NewTab, stack: Stack, new_group: Callable[[], str]
) -> None:
    group = new_group()
    alice, bob = tab(stack.http_url(), "alice"), tab(stack.http_url(1), "bob")
    alice.run(
        """await chat.createGroup({ group: given, name: "Lunch", join: "open", members: [{ user: "carol" }] });
           globalThis.g = chat.conversation(given);""",
        group,
    )
    alice.wait("g.phase === 'live'")

    seqs = bob.run(
        """await chat.join(given);
           globalThis.g = chat.conversation(given, { recent: 1 });
           const { seq: first } = await chat.send(given, "one", { mentions: ["alice"], attributes: { a: [1] } });
           const { seq: second } = await chat.send(given, "two", { reply_to: first });
           await chat.edit(given, first, "One");
           await chat.react(given, first, "👍");
           await chat.react(given, second, "👍");
           await chat.unreact(given, second, "👍");
           const { seq: third } = await chat.send(given, "three");
           await chat.delete(given, third);
           return [first, second, third];""",
        group,
    )
    seq = alice.run(
        """const [group, [first]] = given;
           await chat.react(group, first, "__proto__");
           await chat.updateGroup(group, { name: "Dinner", topic: "at six", history: "joined" });
           await chat.addMember(group, "dave", { role: "reader" });
           await chat.setRole(group, "dave", "member");
           await chat.removeMember(group, "carol", { ban: true });
           await chat.unban(group, "carol");
           const { seq } = await chat.setRole(group, "bob", "owner");
           return seq;""",
        [group, seqs],
    )

    for each in (alice, bob):
        each.wait("g.seq === given && g.messages.length === 3", seq)
        shown, told = each.run(
            """const { name, topic, join, history, first, seq, members } = await chat.state(given);
               const roles = (list) => list.map(({ user, role }) => [user, role]);
               const all = [];
               for await (const message of chat.eachMessage(given, { limit: 2 })) all.push(message);
               const everyone = [];
               for await (const member of chat.eachMember(given, { limit: 1 })) everyone.push(member);
               return [
                 [g.name, g.topic, g.join, g.history, g.first, g.seq, roles([...g.members.values()]),
                   roles([...g.members.values()]), sorted(plain(g.posted))],
                 [name, topic, join, history, first, seq, roles(members), roles(everyone), sorted(plain(all))],
               ];""",
            group,
        )
        assert shown == told
        assert shown[:6] == ["Dinner", "at six", "open", "joined", 1, seq]
        assert [message["text"] for message in shown[-1]] == ["One", "two", None]
    reactions = json.loads(bob.run("return JSON.stringify(g.message(given).reactions)", seqs[0]))
    assert reactions == {"👍": ["bob"], "__proto__": ["alice"]}
    alice.run("await chat.leave(given)", group)
    bob.run("await chat.deleteGroup(given)", group)
    alice.wait("g.phase === 'ended' && g.ended.kind === 'member.left'")
    bob.wait("g.phase === 'ended' && g.ended.kind === 'group.deleted'")
    assert alice.run("return chat.state(given).catch(({ code, temporary }) => [code, temporary])", group) == [
        "no_such_group",
        False,
    ]
    assert alice.complaints() == bob.complaints() == []


def test_when_its_gateway_is_killed_it_goes_on_at_the_next_and_every_message_is_shown_once(
    tab: NewTab, make_stack: MakeStack
) -> None:
    own = make_stack(gateways=2, processors=1, restart=False, settings={"AUERBACH_ORIGINS": "*"})
    alice = tab(own.http_url(1), "alice", own.http_url(0), own.http_url(1))
    bob = tab(own.http_url(1), "bob")
    groups = [f"g{n}" for n in range(5)]
    alice.run(
        """for (const group of given) await chat.createGroup({ group, name: group, members: [{ user: "bob" }] });
           globalThis.groups = given.map((group) => chat.conversation(group));
           globalThis.resets = 0;
           for (const each of groups) each.listen(({ kind }) => (resets += kind === "reset" ? 1 : 0));
           globalThis.twice = [];
           globalThis.look = setInterval(() => {
             for (const { messages } of groups) {
               const ids = messages.map(({ by, client_msg_id }) => by + client_msg_id);
               if (new Set(ids).size < ids.length) twice.push(ids);
             }
           }, 5);""",
        groups,
    )
    alice.wait("groups.every(({ phase }) => phase === 'live')")
    bob.run("globalThis.said = given.map((group) => chat.send(group, 'before'))", groups)

    alice.run(
        """once.waiting = () => { // at that moment: it may be back before anybody has looked
             for (const each of groups) for (let n = 0; n < 5; n++) each.post(`away ${n}`);
             globalThis.unsent = groups.map(({ pending }) => pending.length);
           };
           for (const each of groups) for (let n = 0; n < 5; n++) each.post(`last ${n}`);"""
    )
    own.kill("gateway-0")
    bob.run(
        "for (const group of given) for (let n = 0; n < 20; n++) said.push(chat.send(group, `missed ${n}`))", groups
    )
    alice.wait("globalThis.unsent")
    assert all(count >= 5 for count in alice.run("return unsent"))
    bob.run("await Promise.all(said)")

    alice.wait("groups.every(({ pending, posted }) => pending.length === 0 && posted.length === 31)")
    for group in groups:
        shown, told = alice.run(
            """const { messages } = await chat.history(given, { limit: 200 });
               return [plain(groups.find(({ group }) => group === given).posted), messages];""",
            group,
        )
        assert shown == told
        mine = [message["text"] for message in told if message["by"] == "alice"]
        # Sent at once, they may overtake one that was refused for now: that is the order, and nothing else.
        assert sorted(mine) == [*(f"away {n}" for n in range(5)), *(f"last {n}" for n in range(5))]
    assert alice.run("clearInterval(look); return [twice, resets]") == [[], 0]
    assert alice.run("return statuses.at(-1)") == "online"
    assert "waiting" in alice.run("return statuses")
    assert alice.complaints() == bob.complaints() == []


def test_a_dead_network_is_noticed_and_one_that_is_back_is_used_at_once(
    tab: NewTab, stack: Stack, new_group: Callable[[], str]
) -> None:
    group = new_group()
    alice, bob = tab(stack.http_url(), "alice", clock=True), tab(stack.http_url(1), "bob")
    bob.run("await chat.createGroup({ group: given, name: 'Lunch', members: [{ user: 'alice' }] })", group)
    alice.run("globalThis.g = chat.conversation(given)", group)
    alice.wait("g.phase === 'live'")

    alice.page.context.set_offline(True)  # nothing comes and goes any more, and no socket is told
    alice.run("g.post('into the void')")
    bob.run("await chat.send(given, 'hello?')", group)
    alice.page.clock.run_for(21_000)
    assert alice.run("return statuses.slice(0, 3)") == ["connecting", "online", "waiting"]
    alice.page.context.set_offline(False)

    alice.wait("g.messages.length === 2 && g.pending.length === 0")
    assert alice.run("return g.posted.map(({ text }) => text)") == ["hello?", "into the void"]
    assert alice.complaints() == bob.complaints() == []
