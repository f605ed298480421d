"""The incremental reader: what a slave that keeps warm would follow the journal with."""

import pytest
from support.fake_disk import FakeDisk, FakeFiles

from journal.batch import BatchPlace
from journal.fence import run
from journal.mastership import Mastership, OpenBatch
from journal.options import JournalOptions
from journal.reader import EpochReader
from journal.record import FILE_HEADER_BYTES, AddDestination
from journal.state import State

OPTIONS = JournalOptions(file_bytes=300)


class Master:
    """Writes batches of one record."""

    def __init__(self, disk: FakeDisk) -> None:
        files = FakeFiles(disk, "master")
        files.create("live-1", b"")
        files.create("claim-1", b"")
        self.mastership = Mastership(files, 1, "test", 7, OPTIONS)
        self.place = BatchPlace(1, 0, FILE_HEADER_BYTES)

    def batch(self, text: str) -> OpenBatch:
        """The next batch."""
        batch = OpenBatch(1, self.place)
        batch.add([AddDestination(text)], self.mastership.encoder, State())
        self.place = batch.next_place(OPTIONS.file_bytes)
        return batch

    def commit(self, count: int, size: int = 10) -> None:
        """Commits some batches."""
        for _ in range(count):
            run(self.mastership.commit(self.batch("x" * size)))


@pytest.fixture
def disk() -> FakeDisk:
    """An empty disk with small sectors."""
    return FakeDisk(sector_bytes=16)


@pytest.mark.parametrize("read_bytes", [1, 60, 1000])
def test_a_reader_goes_on_where_it_stopped(disk: FakeDisk, read_bytes: int) -> None:
    """What is appended later is read later, once each and in order, over any number of data files."""
    master = Master(disk)
    reader = EpochReader(FakeFiles(disk, "slave"), 1, read_bytes=read_bytes)
    assert list(reader.read()) == []
    seen: list[int] = []
    for count in (1, 0, 5, 1, 12):
        master.commit(count)
        seen += [batch.header.batch for batch in reader.read()]
        assert list(reader.read()) == []
    assert seen == list(range(1, 20))
    assert reader.position.number > 2
    assert not reader.damaged_headers


def test_a_batch_in_flight_is_read_when_it_has_arrived(disk: FakeDisk) -> None:
    """A reader on another host never takes a part of a batch for the whole."""
    master = Master(disk)
    reader = EpochReader(FakeFiles(disk, "slave"), 1)
    for size in (100, 200, 50, 400):
        batch = master.batch("y" * size)
        seen: list[int] = []
        for _ in master.mastership.commit(batch):
            seen += [b.header.batch for b in reader.read()]
            assert seen in ([], [batch.place.batch])
        assert seen == [batch.place.batch]


def test_a_reader_without_a_file_finds_nothing(disk: FakeDisk) -> None:
    """An epoch that has written nothing is not an error."""
    reader = EpochReader(FakeFiles(disk), 5)
    assert list(reader.read()) == []
    assert reader.load(0, 0) == b""
