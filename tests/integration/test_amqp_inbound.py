"""AMQP in on a real RabbitMQ and a real Kafka: what each message of the user service becomes (protocol §8)."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka import Message

from app.domain.events import Event, GroupCreated, MemberJoined, MemberRemoved, NewMember
from app.kafka import topics
from app.kafka.leaders import wait_led
from tests.support import raw_amqp
from tests.support.bridges import Bridge, UserService, body
from tests.support.driver import Driver
from tests.support.processors import processors
from tests.support.rabbit import Rabbit
from tests.support.raw_amqp import entry, message_type, table, text
from tests.support.waiting import eventually

PARTITIONS = 2
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
def service(module_broker: str, rabbit: Rabbit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    wait_led(module_broker, topics.create(module_broker, "auerbach", PARTITIONS, 1), PARTITIONS)
    driver = Driver(module_broker)
    data = tmp_path_factory.mktemp("in")
    with processors(driver, data, 1) as (processor,):
        processor.start_open()
        bridge = Bridge(data, module_broker, rabbit, settings={"USER_SERVICE_EVENT_QUEUE": QUEUE})
        try:
            bridge.start_ready()
            users = UserService(rabbit)
            yield Service(driver, bridge, users)
            users.close()
        finally:
            bridge.stop()


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def letters(driver: Driver, containing: bytes) -> list[Message]:
    """The dead letters whose value or headers have these bytes."""
    return [
        m
        for m in driver.read(topics.DEAD_LETTERS)
        if containing in (m.value() or b"") or any(containing in (v or b"") for _, v in m.headers() or [])
    ]


def letter(driver: Driver, containing: bytes) -> dict[str, bytes | None]:
    """The headers of the one dead letter with these bytes."""
    (found,) = eventually(lambda: letters(driver, containing), within_s=20, what="a dead letter")
    return dict(found.headers())


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


REFUSED = {
    "no headers": ((0, b""), "no headers"),
    "empty headers": (raw_amqp.properties(table()), "no headers"),
    "no message_type": (raw_amqp.properties(table(entry(b"x", b"I", b"\0\0\0\1"))), "no message_type"),
    "an unknown type": (raw_amqp.properties(table(message_type("GROUP_RENAMED"))), "unknown message_type"),
    "another case": (raw_amqp.properties(table(message_type("group_deleted"))), "unknown message_type"),
    "an integer": (raw_amqp.properties(table(entry(b"message_type", b"I", b"\0\0\0\1"))), "unknown message_type"),
    "a boolean": (raw_amqp.properties(table(entry(b"message_type", b"t", b"\1"))), "unknown message_type"),
    "nothing": (raw_amqp.properties(table(entry(b"message_type", b"V", b""))), "unknown message_type"),
    "a byte array": (
        raw_amqp.properties(table(entry(b"message_type", b"x", text(b"GROUP_DELETED")))),
        "unknown message_type",
    ),
    "bytes that are no text": (
        raw_amqp.properties(table(entry(b"message_type", b"S", text(b"\xff\xfe")))),
        "unknown message_type",
    ),
    "a table": (
        raw_amqp.properties(table(entry(b"message_type", b"F", table(message_type("GROUP_DELETED"))))),
        "unknown message_type",
    ),
    "an array": (
        raw_amqp.properties(table(entry(b"message_type", b"A", text(b"S" + text(b"GROUP_DELETED"))))),
        "unknown message_type",
    ),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_a_message_with_wrong_headers_is_put_aside_and_the_next_one_served(
    service: Service, new_group: Callable[[], str], case: str
) -> None:
    group = new_group()
    props, reason = REFUSED[case]

    service.users.publish_raw(body("GroupDeletedEvent", group), props)
    service.users.created(group, "ada")

    service.driver.wait_for_events(group, 1)
    headers = letter(service.driver, group.encode())
    assert (headers["reason"] or b"").decode().startswith(reason)
    assert headers["topic"] == f"amqp:{QUEUE}".encode()


def nested(kind: bytes, depth: int) -> bytes:
    value = b""
    for _ in range(depth):
        value = (b"\1a" if kind == b"F" else b"") + kind + struct.pack(">I", len(value)) + value
    return value


# What RabbitMQ 3.10 takes and pamqp 4.0.1 raises on; without `bridges.inbound.lenient` each of them ends the
# connection, and comes back for ever.
UNDECODABLE = {
    "an instant in the year 584556019": entry(b"t", b"T", b"\xff" * 8),
    "a name that is not UTF-8": entry(b"\xff\xfe", b"I", b"\0\0\0\1"),
    "tables 10,000 deep": nested(b"F", 10_000),
    "arrays 20,000 deep": entry(b"a", b"A", text(nested(b"A", 20_000))),
}


@pytest.mark.parametrize("case", list(UNDECODABLE))
def test_headers_that_the_client_library_cannot_decode_do_not_stop_the_queue(
    service: Service, new_group: Callable[[], str], case: str
) -> None:
    group = new_group()
    encoded = table(message_type("GROUP_DELETED"), UNDECODABLE[case])

    service.users.publish_raw(body("GroupDeletedEvent", group), raw_amqp.properties(encoded))
    service.users.created(group, "ada")

    service.driver.wait_for_events(group, 1)
    headers = letter(service.driver, group.encode())
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
    assert letter(service.driver, group.encode())["reason"] == b"undecodable headers"


STRANGE = {
    "a decimal": entry(b"d", b"D", b"\xff\xff\xff\xff\xff"),
    "an instant": entry(b"d", b"T", struct.pack(">Q", 1_700_000_000)),
    "nothing": entry(b"d", b"V", b""),
    "bytes": entry(b"d", b"x", text(b"\xff\x00")),
    "an array": entry(b"d", b"A", text(b"I\0\0\0\1S" + text(b"\xff"))),
    "a table": entry(b"d", b"F", table(message_type("GROUP_DELETED"))),
    "numbers": b"".join(
        entry(kind, kind, value)
        for kind, value in {
            b"b": b"\xff",
            b"B": b"\xff",
            b"s": b"\xff" * 2,
            b"u": b"\xff" * 2,
            b"I": b"\xff" * 4,
            b"i": b"\xff" * 4,
            b"l": b"\xff" * 8,
            b"L": b"\xff" * 8,
            b"f": struct.pack(">f", 1.5),
            b"d": struct.pack(">d", 1.5),
        }.items()
    ),
    "text that is not UTF-8": entry(b"d", b"S", text(b"\xff\xfe")),
    "one header of 100 KiB": entry(b"d", b"S", text(b"v" * 102_400)),
    "100 KiB of headers": b"".join(entry(b"%d" % i, b"S", text(b"v" * 20)) for i in range(3500)),
    "what the AMQP 1.0 plugin adds": entry(b"x-amqp-1.0-properties", b"x", text(b"\x00\x53\x73\xc0\x01\x00"))
    + entry(b"x-amqp-1.0-app-properties", b"x", text(b"\x00\x53\x74\xc1\x01\x00")),
}


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
    assert after - before == len(whole) + 1


@pytest.mark.parametrize(
    ("group", "user"), [("", "ada"), ("x" * 129, "ada"), (" g", "ada"), ("g\0", "ada"), ("..", "ada"), ("bad-user", "")]
)
def test_ids_that_no_door_lets_in_are_put_aside(service: Service, group: str, user: str) -> None:
    whole = body("GroupCreatedEvent", group, createdBy=user)

    service.users.publish("GROUP_CREATED", whole)

    headers = letter(service.driver, whole)
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

    (found,) = eventually(lambda: letters(service.driver, marker), within_s=20, what="a dead letter")
    headers = dict(found.headers())
    assert found.value() == marker
    assert (headers["message_type"], headers["trace"]) == (b"GROUP_CREATED", b"t-1")
    assert (headers["amqp.exchange"], headers["amqp.message_id"]) == (b"group_updates_exchange", b"m-1")


def test_a_body_too_large_for_a_record_is_cut_and_says_so(service: Service, new_group: Callable[[], str]) -> None:
    marker = new_group().encode() + b" is large"

    service.users.publish("GROUP_CREATED", marker + b"x" * 100_000 * 30)

    headers = letter(service.driver, marker)
    assert (headers["cut"] or b"").startswith(b"body of %d bytes, SHA-256 " % (len(marker) + 3_000_000))


def test_nothing_of_a_message_is_in_the_log(service: Service, new_group: Callable[[], str]) -> None:
    group = new_group()

    service.users.publish("GROUP_RENAMED", b"secret-body-" + group.encode())

    letter(service.driver, b"secret-body-" + group.encode())
    assert service.bridge.logged("dead letter")
    assert "secret-body-" not in service.bridge.printed()


def test_the_queue_is_durable_and_has_one_consumer(service: Service, rabbit: Rabbit) -> None:
    lines = rabbit.ctl("list_queues", "name", "durable", "consumers", "--no-table-headers").splitlines()

    assert f"{QUEUE}\ttrue\t1" in lines
