"""A consumer group's position that the commands topic does not reach: refused from beyond, said loudly from before."""

from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from app.domain.commands import CreateGroup
from app.kafka import positions, topics
from app.kafka.leaders import wait_led
from tests.support.driver import ORIGIN, WITHIN_S, Driver
from tests.support.processors import SESSION_S
from tests.support.stack import Command, clean_environment
from tests.support.waiting import eventually

APP_ID = "auerbach"
NOT_YET = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError._WAIT_COORD,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
}


@pytest.fixture(scope="module")
def driver(module_broker: str) -> Driver:
    """The topics, two partitions each, with five commands in each partition."""
    topics.create(module_broker, APP_ID, partitions=2, replication=1)
    wait_led(module_broker, [topics.COMMANDS], 2)
    driver = Driver(module_broker)
    for partition in range(2):
        group = next(group for n in range(100) if driver.partition(group := f"g{n}") == partition)
        for n in range(5):
            driver.send(CreateGroup(id=f"c{partition}{n}", group=group, by="a", name="G", origin=ORIGIN))
    return driver


def commit(bootstrap: str, app_id: str, *offsets: int) -> None:
    """Have a consumer group commit an offset in each partition."""
    places = [TopicPartition(topics.COMMANDS, p, offset) for p, offset in enumerate(offsets)]
    group = Consumer({"bootstrap.servers": bootstrap, "group.id": app_id})

    def committed() -> bool:
        try:
            return all(place.error is None for place in group.commit(offsets=places, asynchronous=False))
        except KafkaException as failed:
            if failed.args[0].code() in NOT_YET:
                return False  # the broker has just made its topic of committed offsets
            raise

    eventually(committed, within_s=WITHIN_S, what=f"{app_id} has committed {offsets}")
    group.close()


def test_a_group_that_never_committed_has_no_position(driver: Driver) -> None:
    assert positions.committed(driver.bootstrap, "nobody", 2) == []


def test_positions_within_the_log_are_taken(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    commit(driver.bootstrap, "within", 0, 5)
    positions.check(driver.bootstrap, "within", driver.layout)
    assert positions.committed(driver.bootstrap, "within", 2) == [(0, 0, 0, 5), (1, 0, 5, 5)]
    assert [record for record in caplog.records if record.name == "positions"] == []


def test_a_position_beyond_the_end_is_refused_naming_both_offsets_until_it_is_put_back(driver: Driver) -> None:
    commit(driver.bootstrap, "beyond", 5, 9)
    with pytest.raises(positions.PositionsError) as refused:
        positions.check(driver.bootstrap, "beyond", driver.layout)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{topics.COMMANDS}/1: consumer group beyond has decided up to offset 9, the log ends at 5;")
    commit(driver.bootstrap, "beyond", 5, 5)
    positions.check(driver.bootstrap, "beyond", driver.layout)


def test_commands_that_were_deleted_undecided_are_said_and_passed_over(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    commit(driver.bootstrap, "late", 1, 3)
    _delete_before(driver.bootstrap, partition=0, offset=4)
    positions.check(driver.bootstrap, "late", driver.layout)
    (record,) = (record for record in caplog.records if record.name == "positions")
    assert record.levelname == "ERROR"
    assert record.getMessage() == (
        f"{topics.COMMANDS}/0: 3 commands were deleted before they were decided: decided up to offset 1, "
        "the log begins at 4; going on from there"
    )


def test_a_processor_does_not_start_beyond_the_end_and_decides_nothing(driver: Driver, tmp_path: Path) -> None:
    commit(driver.bootstrap, APP_ID, 7, 5)
    env = clean_environment(KAFKA_BOOTSTRAP=driver.bootstrap, DATA=str(tmp_path / "data"))
    process = Command(tmp_path / "out", env, "processor", "--worker", "processor-0")
    assert process.ended() == 2
    assert f"error: {topics.COMMANDS}/0: consumer group {APP_ID} has decided up to offset 7, the log ends at 5" in (
        process.printed()
    )
    assert driver.log() == []


def test_a_processor_goes_on_from_the_start_of_a_log_that_lost_undecided_commands(
    driver: Driver, tmp_path: Path
) -> None:
    commit(driver.bootstrap, APP_ID, 2, 5)
    _delete_before(driver.bootstrap, partition=0, offset=4)
    where = {"KAFKA_BOOTSTRAP": driver.bootstrap, "DATA": str(tmp_path / "data")}
    env = clean_environment(**where, AUERBACH_SESSION_TIMEOUT_S=SESSION_S)
    process = Command(tmp_path / "out", env, "processor", "--worker", "processor-0")
    try:
        # What was committed and never decided, in the other partition, is decided too (docs/adr/014).
        decided = eventually(
            lambda: found if "c04" in (found := [v.record.command_id for v in driver.log()]) else None,
            within_s=WITHIN_S,
            what="the command that is left is decided",
        )
    finally:
        code = process.stop()
    assert [command for command in decided or () if command.startswith("c0")] == ["c04"]
    assert "2 commands were deleted before they were decided" in process.printed()
    assert code == 0


def _delete_before(bootstrap: str, partition: int, offset: int) -> None:
    """What retention does to old records."""
    place = TopicPartition(topics.COMMANDS, partition, offset)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_records([place])[place].result(30)
