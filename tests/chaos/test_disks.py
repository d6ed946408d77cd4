"""What may become of a processor's local tables: whatever it is, they are a cache of the log, and healed from it."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from app.domain.commands import CreateGroup, Send
from tables.store import OFFSET_KEY
from tests.support.audit import Ledger, Witness, begin
from tests.support.driver import ORIGIN, WITHIN_S
from tests.support.sabotage import Processor
from tests.support.waiting import eventually

PARTITIONS = 2
LEFT = 70


@pytest.fixture(scope="module")
def witness(module_broker: str) -> Iterator[Witness]:
    seeing = Witness(begin(module_broker, PARTITIONS))
    yield seeing
    seeing.close()


@pytest.fixture(scope="module")
def processor(witness: Witness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processor]:
    """Runs and serves when a test gets it, and must when the test is over."""
    running = Processor(witness.driver.bootstrap, tmp_path_factory.mktemp("processor"))
    running.start_and_wait(witness.driver)
    yield running
    running.kill()


class Traffic:
    """Messages in two groups of each partition, so that each table has rows."""

    def __init__(self, witness: Witness, new_group: Callable[[], str]) -> None:
        self.ledger = Ledger(witness)
        self._driver = witness.driver
        self._texts = itertools.count()
        groups: dict[int, list[str]] = {number: [] for number in range(PARTITIONS)}
        while any(len(each) < 2 for each in groups.values()):
            group = new_group()
            groups[self._driver.partition(group)].append(group)
        self.groups = [group for each in groups.values() for group in each]
        for group in self.groups:
            self.ledger.send(CreateGroup(id=self._id(group), group=group, by="olga", origin=ORIGIN, name="n"))
        self.send()

    def send(self, count: int = 5) -> None:
        """Some messages in each group, on disk and in the tables when this returns."""
        for group in self.groups:
            for text in itertools.islice(self._texts, count):
                self.ledger.send(self._post(group, f"{text}"), self._post(group, f"{text}"))
        self.ledger.wait_settled()
        self.ledger.witness.wait_written(range(PARTITIONS))

    def _post(self, group: str, text: str) -> Send:
        return Send(id=self._id(group), group=group, by="olga", origin=ORIGIN, client_msg_id=text, text=text)

    def _id(self, group: str) -> str:
        return f"{group}:{self._driver.next_id()}"


@pytest.fixture
def traffic(witness: Witness, processor: Processor, new_group: Callable[[], str]) -> Traffic:
    return Traffic(witness, new_group)


def databases(processor: Processor) -> list[Path]:
    """The RocksDB of each table and partition."""
    found = sorted((processor.data / "tables").rglob("*.db"))
    assert len(found) == 2 * PARTITIONS
    return found


def opened(database: Path) -> Rdict:
    return Rdict(str(database), options=Options(raw_mode=True))


def into_files(database: Path) -> list[Path]:
    """Have its rows in SST files, and these."""
    rocks = opened(database)
    rocks.flush()
    rocks.close()
    files = sorted(database.glob("*.sst"))
    assert files
    return files


def lose_everything(database: Path) -> None:
    shutil.rmtree(database)


def lose_a_file(database: Path) -> None:
    into_files(database)[0].unlink()


def lose_the_current_file(database: Path) -> None:
    (database / "CURRENT").unlink()


def cut_the_current_file(database: Path) -> None:
    os.truncate(database / "CURRENT", 3)


def cut_the_manifest(database: Path) -> None:
    into_files(database)
    manifest = max(database.glob("MANIFEST-*"))
    os.truncate(manifest, manifest.stat().st_size // 2)


def cut_the_log(database: Path) -> None:
    newest = max(database.glob("*.log"))
    os.truncate(newest, newest.stat().st_size * 2 // 3)


def spoil_the_rows(database: Path) -> None:
    """Some bytes in every data file are others; the files are opened all the same."""
    for file in into_files(database):
        with file.open("r+b") as raw:
            raw.seek(0)
            raw.write(bytes(64))


@pytest.mark.parametrize(
    "damage",
    [
        lose_everything,
        lose_a_file,
        lose_the_current_file,
        cut_the_current_file,
        cut_the_manifest,
        cut_the_log,
        spoil_the_rows,
    ],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_table_is_loaded_again(
    traffic: Traffic, processor: Processor, damage: Callable[[Path], None]
) -> None:
    processor.kill()
    for database in databases(processor):
        damage(database)
    start_again(processor)
    traffic.send()
    assert traffic.ledger.audit() == []


def start_again(processor: Processor) -> None:
    """As its supervisor does: what it finds only while it reads ends it once."""
    for _ in range(3):
        processor.start()
        outcome = eventually(
            lambda: processor.serves(PARTITIONS) or processor.exit_code(), within_s=WITHIN_S, what="a start"
        )
        if outcome is True:
            return
        assert outcome == LEFT, processor.printed()
    pytest.fail(f"does not get on its feet:\n{processor.printed()}")


def test_a_table_put_back_to_an_older_copy_catches_up(traffic: Traffic, processor: Processor, tmp_path: Path) -> None:
    tables = processor.data / "tables"
    processor.kill()
    shutil.copytree(tables, tmp_path / "older")
    processor.start_and_wait(traffic.ledger.driver)
    traffic.send()
    processor.kill()
    shutil.rmtree(tables)
    shutil.copytree(tmp_path / "older", tables)
    processor.start_and_wait(traffic.ledger.driver)
    traffic.send()
    assert traffic.ledger.audit() == []


def test_a_table_beyond_its_changelogs_end_stops_its_partition_and_says_so(
    traffic: Traffic, processor: Processor
) -> None:
    """The log was lost or put back: nothing is guessed, nothing is written."""
    processor.kill()
    beyond = next(d for d in databases(processor) if d.name.startswith("groups-0"))
    rocks = opened(beyond)
    rocks[OFFSET_KEY] = b"1000000"
    rocks.close()
    processor.start()
    eventually(
        lambda: "the local table reaches offset 1000000" in processor.printed(), within_s=WITHIN_S, what="the error"
    )
    processor.kill()
    shutil.rmtree(beyond)  # what the error tells an operator to do
    processor.start_and_wait(traffic.ledger.driver)
    traffic.send()
    assert traffic.ledger.audit() == []
