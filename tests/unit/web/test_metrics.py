"""What a gateway counts: by the conventions of names, with as many series whatever users, groups and clients do."""

import asyncio
import re

import aiohttp
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.client import WITHIN_S, Client
from tests.unit.web.asking import token
from tests.unit.web.world import Gateway, World, running

OURS = "auerbach_gateway_"
MORE = 10  # users
Series = set[tuple[str, tuple[tuple[str, str], ...]]]


async def told(gateway: Gateway) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Each of our series, with its value."""
    async with gateway.http.get(gateway.url + "/metrics") as response:
        assert response.status == 200
        families = text_string_to_metric_families(await response.text())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith(OURS) and not sample.name.endswith("_created")
    }


def value(series: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    return series.get((OURS + name, tuple(sorted(labels.items()))), 0.0)


def test_names_follow_the_conventions_and_each_says_what_it_is() -> None:
    families = [family for family in REGISTRY.collect() if family.name.startswith("auerbach_")]
    assert len(families) > 15
    for family in families:
        assert re.fullmatch(r"[A-Z][^.]+\.|[A-Z].+[a-z]\.", family.documentation), family.name
        assert re.fullmatch(r"auerbach_(gateway|bridge)_[a-z_]+", family.name)
        assert not family.name.endswith(("_ms", "_kb", "_count", "_total"))
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


async def crowd(gateway: Gateway, number: int) -> None:
    """Another user, with groups of its own, and everything that a client may do wrong."""
    user, group = f"user-{number}", f"group-{number}"
    client = await gateway.client(user)
    await client.ask("create_group", group=group, name="G")
    await client.ask("subscribe", group=group, after=0)
    await client.ask("send", group=group, text="x", client_msg_id="c")
    await client.ask("send", group=group, text="y", client_msg_id="c")
    await client.ask("history", group=f"none-{number}")
    await client.ask("state", group=group)
    await client.ask(f"kind-{number}")
    await client.ask("send", group=group, **{f"field-{number}": 1})
    await client.ask("subscribe", groups=[{"group": group}, {"group": f"none-{number}"}])
    await client.send(f"no json {number}")
    await client.send('{"id":1}')
    await client.send("[]")
    await client.closed()
    leaving = await gateway.client(user)
    await leaving.socket.close(code=4000 + number)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await gateway.connect("", token=f"bad {number}")
    unknown = await gateway.connect("")
    await unknown.ask("auth", token=token(f"somebody-{number}"))


async def test_no_series_grows_with_users_groups_or_what_clients_send(gateway: Gateway) -> None:
    for number in range(2):
        await crowd(gateway, number)
    before = await told(gateway)
    for number in range(2, 2 + MORE):
        await crowd(gateway, number)
    after = await told(gateway)
    # A few may be told of later than they came about, as what is read of signals is; none with each user.
    assert len(after.keys() - before.keys()) < MORE
    assert value(after, "requests_total", type="unknown", outcome="invalid") >= 10
    labels = {label for _, labels in after for _, label in labels}
    assert not {label for label in labels if re.search(r"user-|group-|kind-|none-|somebody", label)}


async def test_what_goes_on_is_counted(gateway: Gateway) -> None:
    before = await told(gateway)
    clients = [await gateway.client() for _ in range(3)]
    alice: Client = clients[0]
    await alice.ask("create_group", group="g", name="G")
    for client in clients:
        await client.ask("subscribe", group="g")
    await alice.ask("send", group="g", text="x", client_msg_id="c")
    for client in clients[1:]:
        assert await client.seqs(1) == [2]
    await alice.ask("history", group="none")
    await alice.send("no json")
    await alice.ask("ping")
    async with asyncio.timeout(WITHIN_S):
        while value(now := await told(gateway), "fan_out_seconds_count") == value(before, "fan_out_seconds_count"):
            await asyncio.sleep(0)

    def counted(name: str, **labels: str) -> float:
        return value(now, name, **labels) - value(before, name, **labels)

    assert value(now, "sockets") == 3
    assert value(now, "followed_groups") == 1
    assert counted("event_frames_total") == 3
    assert 3 * 150 < counted("event_bytes_total") < 3 * 300
    assert counted("requests_total", type="send", outcome="ok") == 1
    assert counted("requests_total", type="subscribe", outcome="ok") == 3
    assert counted("requests_total", type="history", outcome="no_such_group") == 1
    assert counted("requests_total", type="malformed", outcome="invalid") == 1
    assert counted("ack_seconds_count") == 2
    assert counted("command_records_total") == 2
    assert counted("fan_out_seconds_count") == 1
    assert counted("log_records_total", topic="chat.group.events.v1", fate="delivered") == 2
    for _ in range(3):
        await alice.send("[]")
    assert await alice.closed() == 4400
    assert value(await told(gateway), "closes_total", code="4400") - value(before, "closes_total", code="4400") == 1


async def test_where_metrics_are_not_enabled_there_are_none() -> None:
    async with running(World(), metrics=False) as gateway, gateway.http.get(gateway.url + "/metrics") as response:
        assert response.status == 404
