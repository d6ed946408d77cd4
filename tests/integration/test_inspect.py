"""The pages of two real processors: any of them leads to the owner, and what they say is what the log says."""

import json
import signal
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import ConsoleMessage, expect, sync_playwright

from app.domain.commands import CreateGroup, Join, Leave, RemoveMember, Send, UpdateGroup
from app.domain.evolve import evolve
from app.domain.state import Group
from app.kafka import topics
from app.reads import READS_PATH, OwnerRecord, ReadState
from tests.support.browser import ARGS
from tests.support.driver import ORIGIN, WITHIN_S, Driver
from tests.support.processors import Processor, owned_by, owners, processors
from tests.support.waiting import eventually

TOKEN = "operators-token-of-at-least-32-bytes"
SECRET = "what was said in confidence"


LATER = {503, 504}


class Answered(NamedTuple):
    """A response: `url` is where it came from in the end."""

    status: int
    url: str
    text: str
    location: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def ask(
    url: str,
    *,
    follow: bool = True,
    token: str | None = TOKEN,
    accept: str = "*/*",
    until: Callable[[Answered], object] = lambda _: True,
) -> Answered:
    """GET, in the way that curl does it, until the answer is one that was waited for.

    Pages wait some seconds for the broker, then they say so or leave out what it did not tell: again.
    """

    def look() -> Answered | None:
        answer = _ask(url, follow=follow, token=token, accept=accept)
        return answer if answer.status not in LATER and until(answer) else None

    answer = eventually(look, within_s=WITHIN_S, what=f"an answer of {url}")
    assert answer is not None
    return answer


def _ask(url: str, *, follow: bool, token: str | None, accept: str) -> Answered:
    opener = urllib.request.build_opener(*(() if follow else (_Stay,)))
    headers = {"Accept": accept, **({"Authorization": f"Bearer {token}"} if token is not None else {})}
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=WITHIN_S) as response:
            return Answered(response.status, response.url, response.read().decode(), None)
    except urllib.error.HTTPError as answer:
        with answer:
            return Answered(answer.code, url, answer.read().decode(), answer.headers.get("Location"))


@pytest.fixture(scope="module")
def driver(module_broker: str) -> Driver:
    topics.create(module_broker, "auerbach", partitions=4, replication=1)
    return Driver(module_broker)


@pytest.fixture(scope="module")
def workers(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Processor]]:
    """Two processors, each of which owns a part of the partitions."""
    data = tmp_path_factory.mktemp("inspect")
    with processors(driver, data, 2, AUERBACH_OPERATOR_TOKEN=TOKEN) as both:
        both[0].start_open()
        both[1].start()
        eventually(lambda: all(len(owned_by(driver, w.name)) == 2 for w in both), within_s=WITHIN_S, what="two each")
        eventually(lambda: all_open(driver), within_s=WITHIN_S, what="all partitions are open")
        yield both


def all_open(driver: Driver) -> bool:
    views = [ask(owner.url + "/inspect/").json for owner in {o.worker: o for o in owners(driver).values()}.values()]
    return sum(p["state"] == "open" for view in views for p in view["partitions"]) == driver.layout.partitions


def owner_and_other(driver: Driver, group: str) -> tuple[OwnerRecord, OwnerRecord]:
    owner = driver.owner(group)
    return owner, next(other for other in owners(driver).values() if other.worker != owner.worker)


def post(driver: Driver, group: str, key: str, by: str = "olga") -> Send:
    return Send(id=driver.next_id(), group=group, by=by, origin=ORIGIN, client_msg_id=key, text=SECRET)


@pytest.fixture
def group(driver: Driver, workers: list[Processor], new_group: Callable[[], str]) -> str:
    """A group with some past, whose id wants escaping."""
    name = f"{new_group()}/<b>ü & ?"
    given = {"group": name, "origin": ORIGIN}
    driver.send(
        CreateGroup(id=driver.next_id(), by="olga", name="first", join="open", **given),
        Join(id=driver.next_id(), by="mike", **given),
        Join(id=driver.next_id(), by="zoe", **given),
        post(driver, name, "k1", by="mike"),
        RemoveMember(id=driver.next_id(), by="olga", user="mike", ban=True, **given),
        UpdateGroup(id=driver.next_id(), by="olga", name="second", topic="t", history="joined", **given),
        Leave(id=driver.next_id(), by="zoe", **given),
        post(driver, name, "k2"),
    )
    driver.wait_for_events(name, 8)
    return name


def path(group: str, query: str = "") -> str:
    return f"/inspect/groups/{urllib.parse.quote(group, safe='')}{query}"


def search(**query: str) -> str:
    return f"/inspect/search?{urllib.parse.urlencode(query)}"


def has_found(answer: Answered) -> bool:
    return bool(answer.json["found"])


def test_any_worker_leads_to_the_owner(driver: Driver, group: str) -> None:
    owner, other = owner_and_other(driver, group)

    stayed = ask(other.url + path(group, "?at_seq=2"), follow=False)
    led = ask(other.url + path(group, "?at_seq=2"))

    assert (stayed.status, stayed.location) == (307, owner.url + path(group, "?at_seq=2"))
    assert led.url == owner.url + path(group, "?at_seq=2")
    assert led.json == ask(owner.url + path(group, "?at_seq=2")).json
    assert (led.json["worker"], led.json["seq"]) == (owner.worker, 2)


def test_the_state_of_then_is_the_fold_of_a_plain_reader(driver: Driver, group: str) -> None:
    owner, _ = owner_and_other(driver, group)
    plain = Group(group)
    for event in driver.events(group):
        evolve(plain, event)

        view = ask(owner.url + path(group, f"?at_seq={event.seq}")).json

        assert (view["seq"], view["head"], view["at"]) == (event.seq, 8, event.at)
        assert [view[name] for name in ("life", "name", "topic", "join", "history", "first")] == [
            plain.life, plain.name, plain.topic, plain.join, plain.history, plain.first,
        ]  # fmt: skip
        assert view["members"] == [{"user": u, "role": m.role, "joined": m.joined} for u, m in plain.members.items()]
        assert view["banned"] == sorted(plain.banned)
        assert [e["seq"] for e in view["events"]] == list(range(event.seq, 0, -1))
    assert ask(owner.url + path(group)).json["keys"] == len(plain.sent) > 0


def test_events_are_named_with_their_commands_and_no_text_is_shown(driver: Driver, group: str) -> None:
    owner, _ = owner_and_other(driver, group)
    records = {v.event.seq: v.record for v in driver.log() if v.event.group == group}

    view = ask(owner.url + path(group), until=lambda answer: all(e.get("command_id") for e in answer.json["events"]))
    page = ask(owner.url + path(group), accept="text/html")

    for shown in view.json["events"]:
        record = records[shown["seq"]]
        assert (shown["kind"], shown["command_id"], shown["offset"]) == (record.kind, record.command_id, record.offset)
    assert [e["user"] for e in view.json["events"]][1:4] == ["zoe", None, "mike"]
    assert "&lt;b&gt;ü &amp; ?" in page.text
    assert SECRET not in view.text + page.text


@pytest.mark.parametrize("query", ["?at_seq=9", "?at_seq=0", "?at_seq=-1"])
def test_a_seq_that_the_group_has_not_is_refused(driver: Driver, group: str, query: str) -> None:
    answer = ask(driver.owner(group).url + path(group, query))
    assert (answer.status, answer.json["code"]) == (400, "invalid")


def test_a_group_that_never_was_is_not_there(driver: Driver, group: str) -> None:
    answer = ask(driver.owner(group).url + path(group + "!"))
    assert (answer.status, answer.json["code"]) == (404, "no_such_group")


def test_what_an_id_is_is_found_from_any_worker(driver: Driver, group: str) -> None:
    owner, other = owner_and_other(driver, group)
    valid = next(v for v in driver.log() if v.event.group == group and v.event.seq == 4)

    by_event = ask(other.url + search(id=valid.event.id), until=has_found)
    by_key = ask(other.url + search(id="k1", group=group), until=has_found)
    by_command = ask(owner.url + search(id=valid.record.command_id), until=has_found)
    by_command_in_group = ask(other.url + search(id=valid.record.command_id, group=group), until=has_found)
    by_group = ask(owner.url + search(id=group), until=has_found)
    elsewhere = ask(other.url + search(id=group), until=lambda answer: answer.json["leads"])
    nothing = ask(other.url + search(id="nobody-knows-it"))

    for answer in (by_event, by_key, by_command, by_command_in_group):
        (found,) = answer.json["found"]
        assert (found["what"], found["group"], found["event"]["seq"]) == ("event", group, 4)
        assert found["event"]["command_id"] == valid.record.command_id
    assert by_event.url.startswith(owner.url)
    assert {"what": "group", "partition": driver.partition(group), "group": group} in by_group.json["found"]
    (lead,) = elsewhere.json["leads"]
    assert (lead["url"], lead["worker"]) == (owner.url, owner.worker)
    assert f"would be in {driver.partition(group)}" in lead["what"]
    assert nothing.json["found"] == []
    assert nothing.json["looked"]
    assert SECRET not in by_event.text + by_key.text


def test_a_users_groups_are_found_as_far_as_they_are_written(driver: Driver, group: str) -> None:
    def found() -> list[dict[str, Any]]:
        answer = ask(driver.owner(group).url + search(id="olga")).json
        return [each for each in answer["found"] if each["group"] == group]

    (membership,) = eventually(found, within_s=WITHIN_S, what="olga's membership")
    assert (membership["what"], membership["role"], membership["joined"]) == ("member", "owner", 1)


def test_a_command_that_became_no_event_is_found_by_the_id_that_its_event_would_have(
    driver: Driver, group: str
) -> None:
    refused = Join(id=driver.next_id(), group=group, by="mike", origin=ORIGIN)
    driver.send(refused)
    assert driver.outcome(refused.id).refusal is not None
    offset = max(m.offset() for m in driver.read(topics.COMMANDS) if m.key() == group.encode())

    answer = ask(
        driver.owner(group).url + search(id=f"{driver.layout.commands_topic_id}.{driver.partition(group)}.{offset}.0"),
        until=has_found,
    )

    (found,) = answer.json["found"]
    assert (found["what"], found["group"]) == ("command", group)
    assert f"join by mike, id {refused.id}: no event" in found["note"]


def test_the_partitions_are_shown_with_their_owners_and_their_lag_moves(
    driver: Driver, workers: list[Processor], group: str
) -> None:
    owner, other = owner_and_other(driver, group)
    partition = driver.partition(group)

    def seen(url: str) -> dict[str, Any]:
        cluster = ask(url + "/inspect/", until=lambda answer: answer.json["faults"] == []).json
        view: dict[str, Any] = cluster["partitions"][partition]
        return view

    eventually(lambda: seen(owner.url)["lag"] == 0, within_s=WITHIN_S, what="no lag")
    here, there = seen(owner.url), seen(other.url)
    assert (here["state"], here["owner"]["worker"], there["state"]) == ("open", owner.worker, None)
    assert here["owner"] == there["owner"]
    served = here["served"]
    assert served["epoch"] == owner.epoch
    assert served["next_event_offset"] == driver.end(group)
    assert served["decided_offset"] == here["end"] - 1 == here["committed"] - 1
    assert (served["in_flight"], served["groups_in_memory"] > 0, here["oldest_unanswered_s"]) == (0, True, 0)
    eventually(
        lambda: min(seen(owner.url)["served"]["rows"].values()) > 8, within_s=WITHIN_S, what="rows that are written"
    )
    assert seen(owner.url)["served"]["last_flush"]["rows"] > 0

    stopped = next(worker for worker in workers if worker.name == owner.worker)
    stopped.kill(signal.SIGSTOP)
    try:
        driver.send(post(driver, group, "k3"), post(driver, group, "k4"))
        assert seen(other.url)["lag"] == 1  # an array is one record
    finally:
        stopped.kill(signal.SIGCONT)
    driver.wait_for_events(group, 10)
    eventually(lambda: seen(other.url)["lag"] == 0, within_s=WITHIN_S, what="the lag is gone")


@pytest.mark.parametrize("token", [None, "wrong"])
def test_without_the_token_nobody_looks(driver: Driver, group: str, token: str | None) -> None:
    for url in ("/inspect/", path(group), search(id="x")):
        answer = ask(driver.owner(group).url + url, token=token)
        assert (answer.status, answer.json["code"]) == (401, "unauthorized")


def test_gateways_read_as_before(driver: Driver, group: str) -> None:
    (answer,) = driver.ask(ReadState(group=group, user="olga", end=driver.end(group)))
    assert answer.state is not None


def test_reads_of_no_bound_are_refused(driver: Driver, group: str) -> None:
    request = urllib.request.Request(driver.owner(group).url + READS_PATH, b" " * 2_000_000, method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=WITHIN_S)
    with refused.value as answer:
        assert answer.code == 413


@pytest.mark.parametrize(
    "url",
    ["/table/", "/table/groups/", "/table/groups/x/", "/router/", "/router/topics", "/router/groups/", "/graph/",
     "/assignment/", "/performance/", "/stats/", "/metrics"],
)  # fmt: skip
def test_fausts_own_pages_which_know_no_right_are_off(driver: Driver, group: str, url: str) -> None:
    assert ask(driver.owner(group).url + url).status == 404


def test_fausts_own_index_tells_nothing(driver: Driver, group: str) -> None:
    assert ask(driver.owner(group).url + "/").json == {"status": "OK"}


def test_a_browser_signs_in_reads_searches_and_is_led(
    chromium: str, driver: Driver, group: str, tmp_path: Path
) -> None:
    owner, other = owner_and_other(driver, group)
    faults: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and "401" not in message.text:
            faults.append(message.text)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGS)
        page = browser.new_page(color_scheme="dark")
        page.set_default_timeout(WITHIN_S * 1000)
        expect.set_options(timeout=WITHIN_S * 1000)
        page.on("console", hear)
        page.goto(other.url + path(group))
        page.get_by_label("Operators' token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("table", name="Partitions").get_by_role("row")).to_have_count(5)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 19, 24)"

        event_id = driver.events(group)[3].id
        page.get_by_label("Id of a group").fill(event_id)
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_text(event_id, exact=True).last).to_be_visible()
        assert page.url.startswith(owner.url)
        page.get_by_role("link", name="seq 4").click()
        expect(page.get_by_role("heading", name=f"Group {group}")).to_be_visible()
        expect(page.get_by_text("As it was at seq 4")).to_be_visible()
        page.get_by_role("link", name="Now").click()
        expect(page.get_by_role("table", name="Newest first").get_by_role("row")).to_have_count(9)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Operators' token")).to_be_visible()
        browser.close()
    assert faults == []
