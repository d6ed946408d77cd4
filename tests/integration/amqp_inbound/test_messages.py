"""AMQP in on a real RabbitMQ and a real Kafka: what each message of the user service becomes (protocol §8)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from app.domain.events import Event, GroupCreated, MemberJoined, MemberRemoved, NewMember
from tests.support import raw_amqp
from tests.support.amqp_headers import REFUSED, STRANGE, UNDECODABLE
from tests.support.amqp_in import SEEN_S, headers_of, letter
from tests.support.bridges import Bridge, UserService, body
from tests.support.driver import Driver
from tests.support.processors import processors
from tests.support.rabbit import Rabbit
from tests.support.raw_amqp import entry, message_type, table, text
from tests.support.waiting import eventually

QUEUE = "in-messages"
# Protocol §8's own bytes.
CREATED_G1 = bytes.fromhex("04673104753106416461104c6f76656c6163651e616461406578616d706c652e6f7267")
DELETED_G1 = bytes.fromhex("046731")


@dataclass
class Service:
    """Kafka with one processor, RabbitMQ, and a bridge between them."""

    driver: Driver
    bridge: Bridge
    users: UserService


@pytest.fixture(scope="module")
def service(driver: Driver, rabbit: Rabbit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("in")
    with processors(driver, data, 1) as (processor,):
        processor.start_open()
        bridge = Bridge(data, driver.bootstrap, rabbit, settings={"USER_SERVICE_EVENT_QUEUE": QUEUE})
        try:
            bridge.start_ready()
            users = UserService(rabbit)
            yield Service(driver, bridge, users)
            users.close()
        finally:
            bridge.stop()


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_a_creation_joins_its_creator_as_the_owner_by_nobody(service: Service, new_group: Callable[[], str]) -> None:
    group = new_group()

    service.users.created(group, "ada")

    (event,) = service.driver.wait_for_events(group, 1)
    assert event.by is None
    assert event.data == GroupCreated(
        name=group, topic="", join="invite", history="all", members=(NewMember("ada", "owner"),)
    )


def test_the_examples_of_the_protocol_create_and_delete_a_group(service: Service) -> None:
    service.users.publish("GROUP_CREATED", CREATED_G1)
    service.users.publish("GROUP_DELETED", DELETED_G1)

    created, deleted = service.driver.wait_for_events("g1", 2)
    assert isinstance(created.data, GroupCreated)
    assert created.data.members == (NewMember("u1", "owner"),)
    assert deleted.kind == "group.deleted"


def test_a_repeated_join_is_no_event_and_the_next_message_is_served(
    service: Service, new_group: Callable[[], str]
) -> None:
    group = new_group()

    service.users.created(group, "ada")
    service.users.added(group, "ada")
    service.users.added(group, "bob")

    assert kinds(service.driver.wait_for_events(group, 2)) == ["group.created", "member.joined"]


def test_an_addition_to_an_unknown_group_creates_it_by_nobody_with_its_id_as_its_name(
    service: Service, new_group: Callable[[], str]
) -> None:
    group = new_group()

    service.users.added(group, "bob")
    service.users.added(group, "ada")

    created, joined = service.driver.wait_for_events(group, 2)
    assert created.by is None
    assert isinstance(created.data, GroupCreated)
    assert (created.data.name, created.data.members) == (group, (NewMember("bob", "owner"),))
    assert joined.data == MemberJoined(user="ada", role="member")


def test_a_creation_of_a_group_that_is_there_joins_its_creator(service: Service, new_group: Callable[[], str]) -> None:
    group = new_group()

    service.users.added(group, "bob")
    service.users.created(group, "ada")

    assert service.driver.wait_for_events(group, 2)[1].data == MemberJoined(user="ada", role="member")


def test_the_removal_of_the_owner_names_the_next_one(service: Service, new_group: Callable[[], str]) -> None:
    group = new_group()
    for user in ("ada", "bob", "eve"):
        service.users.added(group, user)

    service.users.removed(group, "ada")

    removed = service.driver.wait_for_events(group, 4)[3]
    assert removed.by is None
    assert removed.data == MemberRemoved(user="ada", banned=False, owner="bob")


def test_what_concerns_unknown_groups_and_strangers_changes_nothing(
    service: Service, new_group: Callable[[], str]
) -> None:
    unknown, known = new_group(), new_group()
    service.users.created(known, "ada")

    service.users.removed(unknown, "ada")
    service.users.deleted(unknown)
    service.users.removed(known, "stranger")
    service.users.added(unknown, "bob")
    service.users.added(known, "bob")

    assert kinds(service.driver.wait_for_events(unknown, 1)) == ["group.created"]
    assert kinds(service.driver.wait_for_events(known, 2)) == ["group.created", "member.joined"]


def test_an_addition_after_the_deletion_begins_a_new_life(service: Service, new_group: Callable[[], str]) -> None:
    group = new_group()
    service.users.created(group, "ada")
    service.users.deleted(group)
    service.users.added(group, "bob")

    events = service.driver.wait_for_events(group, 3)
    assert kinds(events) == ["group.created", "group.deleted", "group.created"]
    assert isinstance(events[2].data, GroupCreated)
    assert events[2].data.members == (NewMember("bob", "owner"),)


def test_ids_of_any_text_arrive_byte_for_byte(service: Service) -> None:
    group, user = "Grüppe 🎉/%2F\u200d", 'u"\\\u2028;'

    service.users.created(group, user)

    (event,) = service.driver.wait_for_events(group, 1)
    assert isinstance(event.data, GroupCreated)
    assert event.data.members[0].user == user


def test_a_message_with_an_id_that_is_published_again_has_one_effect(
    service: Service, new_group: Callable[[], str]
) -> None:
    group = new_group()
    service.users.created(group, "ada", message_id=b"m1")
    service.users.added(group, "bob", message_id=b"m2")
    service.users.removed(group, "bob", message_id=b"m3")

    service.users.added(group, "bob", message_id=b"m2")
    service.users.created(group, "ada", message_id=b"m1")
    service.users.added(group, "eve", message_id=b"m4")

    events = service.driver.wait_for_events(group, 4)
    assert kinds(events) == ["group.created", "member.joined", "member.removed", "member.joined"]
    assert events[3].data == MemberJoined(user="eve", role="member")


def test_messages_of_one_id_but_other_contents_all_have_their_effect(
    service: Service, new_group: Callable[[], str]
) -> None:
    group = new_group()

    service.users.created(group, "ada", message_id=b"one")
    service.users.added(group, "bob", message_id=b"one")
    service.users.added(group, "eve", message_id=b"one")

    assert len(service.driver.wait_for_events(group, 3)) == 3


@pytest.mark.parametrize("case", list(REFUSED))
def test_a_message_with_wrong_headers_is_put_aside_and_the_next_one_served(
    service: Service, new_group: Callable[[], str], case: str
) -> None:
    group = new_group()
    props, reason = REFUSED[case]

    service.users.publish_raw(body("GroupDeletedEvent", group), props)
    service.users.created(group, "ada")

    service.driver.wait_for_events(group, 1)
    headers = headers_of(letter(service.driver, group.encode()))
    assert (headers["reason"] or b"").decode().startswith(reason)
    assert headers["topic"] == f"amqp:{QUEUE}".encode()


@pytest.mark.parametrize("case", list(UNDECODABLE))
def test_headers_that_the_client_library_cannot_decode_do_not_stop_the_queue(
    service: Service, new_group: Callable[[], str], case: str
) -> None:
    group = new_group()
    encoded = table(message_type("GROUP_DELETED"), UNDECODABLE[case])

    service.users.publish_raw(body("GroupDeletedEvent", group), raw_amqp.properties(encoded))
    service.users.created(group, "ada")

    service.driver.wait_for_events(group, 1)
    headers = headers_of(letter(service.driver, group.encode()))
    assert headers["reason"] == b"undecodable headers"
    assert encoded[:1000] in (headers["amqp.properties"] or b"")


def test_an_instant_of_a_property_that_cannot_be_decoded_does_not_stop_the_queue(
    service: Service, new_group: Callable[[], str]
) -> None:
    group = new_group()
    timestamp = 1 << 6

    service.users.publish_raw(
        body("GroupDeletedEvent", group), (1 << 13 | timestamp, table(message_type("GROUP_DELETED")) + b"\xff" * 8)
    )
    service.users.created(group, "ada")

    service.driver.wait_for_events(group, 1)
    assert headers_of(letter(service.driver, group.encode()))["reason"] == b"undecodable headers"


@pytest.mark.parametrize("case", list(STRANGE))
def test_strange_headers_beside_the_type_do_no_harm(service: Service, new_group: Callable[[], str], case: str) -> None:
    group = new_group()

    service.users.publish_raw(
        body("GroupCreatedEvent", group, createdBy="ada"),
        raw_amqp.properties(table(message_type("GROUP_CREATED"), STRANGE[case])),
    )

    assert kinds(service.driver.wait_for_events(group, 1)) == ["group.created"]


def test_short_strings_that_are_not_utf_8_do_no_harm(service: Service, new_group: Callable[[], str]) -> None:
    group = new_group()

    service.users.publish_raw(
        body("GroupCreatedEvent", group, createdBy="ada"),
        raw_amqp.properties(table(message_type("GROUP_CREATED")), message_id=b"\xff\xfe"),
        routing_key=b"\xff\xfe",
    )

    assert kinds(service.driver.wait_for_events(group, 1)) == ["group.created"]


def test_a_body_cut_at_every_byte_or_followed_by_one_is_put_aside(
    service: Service, new_group: Callable[[], str]
) -> None:
    group = new_group()
    whole = body("GroupCreatedEvent", group, createdBy="cut-user")
    before = service.bridge.metric('auerbach_bridge_in_dead_letters_total{reason="bad body"}')

    for length in range(len(whole)):
        service.users.publish("GROUP_CREATED", whole[:length])
    service.users.publish("GROUP_CREATED", whole + b"\0")
    service.users.created(group, "ada")

    (event,) = service.driver.wait_for_events(group, 1)
    assert isinstance(event.data, GroupCreated)
    assert event.data.members == (NewMember("ada", "owner"),)
    after = service.bridge.metric('auerbach_bridge_in_dead_letters_total{reason="bad body"}')
    assert after - before >= len(whole) + 1  # more only if RabbitMQ gave some out again


@pytest.mark.parametrize(
    ("group", "user"), [("", "ada"), ("x" * 129, "ada"), (" g", "ada"), ("g\0", "ada"), ("..", "ada"), ("bad-user", "")]
)
def test_ids_that_no_door_lets_in_are_put_aside(service: Service, group: str, user: str) -> None:
    whole = body("GroupCreatedEvent", group, createdBy=user)

    service.users.publish("GROUP_CREATED", whole)

    headers = headers_of(letter(service.driver, whole))
    assert (headers["reason"] or b"").startswith(b"bad id: ")


def test_a_dead_letter_has_the_body_and_headers_that_came_and_where_it_came_from(
    service: Service, new_group: Callable[[], str]
) -> None:
    marker = new_group().encode() + b" is no Avro"

    service.users.publish_raw(
        marker,
        raw_amqp.properties(
            table(message_type("GROUP_CREATED"), entry(b"trace", b"S", text(b"t-1"))), message_id=b"m-1"
        ),
    )

    found = letter(service.driver, marker)
    headers = headers_of(found)
    assert found.value() == marker
    assert (headers["message_type"], headers["trace"]) == (b"GROUP_CREATED", b"t-1")
    assert (headers["amqp.exchange"], headers["amqp.message_id"]) == (b"group_updates_exchange", b"m-1")


def test_a_body_too_large_for_a_record_is_cut_and_says_so(service: Service, new_group: Callable[[], str]) -> None:
    marker = new_group().encode() + b" is large"

    service.users.publish("GROUP_CREATED", marker + b"x" * 100_000 * 30)

    headers = headers_of(letter(service.driver, marker))
    assert (headers["cut"] or b"").startswith(b"body of %d bytes, SHA-256 " % (len(marker) + 3_000_000))


def test_nothing_of_a_message_is_in_the_log(service: Service, new_group: Callable[[], str]) -> None:
    group = new_group()

    service.users.publish("GROUP_RENAMED", b"secret-body-" + group.encode())

    letter(service.driver, b"secret-body-" + group.encode())
    assert service.bridge.logged("dead letter")
    assert "secret-body-" not in service.bridge.printed()


def test_the_queue_is_durable_and_has_one_consumer(service: Service, rabbit: Rabbit) -> None:
    def lines() -> list[str]:
        return rabbit.ctl("list_queues", "name", "durable", "consumers", "--no-table-headers").splitlines()

    eventually(lambda: f"{QUEUE}\ttrue\t1" in lines(), within_s=SEEN_S, what="a durable queue with one consumer")
