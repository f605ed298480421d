"""The reserve by itself: what it takes of the disk, and when the store is full."""

import pytest
from support.fake_disk import FakeDisk, FakeFiles

from journal.errors import StoreFailed
from journal.options import JournalOptions
from journal.reserve import Reserve

OPTIONS = JournalOptions(reserve_bytes=1000, small_file_bytes=300)


@pytest.fixture
def disk() -> FakeDisk:
    """An empty disk of 2,000 bytes."""
    disk = FakeDisk()
    disk.capacity = 2000
    return disk


@pytest.fixture
def reserve(disk: FakeDisk) -> Reserve:
    """A reserve of which nothing was taken."""
    return Reserve(FakeFiles(disk), 7, OPTIONS)


def test_it_has_room_for_two_checkpoints(reserve: Reserve, disk: FakeDisk) -> None:
    """What upkeep needs on a full disk is set aside, as large as it would be now."""
    assert reserve.take(100)
    assert (reserve.held, disk.used, reserve.full) == (1200, 1200, False)
    assert reserve.take(50)
    assert (reserve.held, disk.used) == (1100, 1100)
    assert list(disk.files) == ["reserve-7"]


def test_it_is_given_back_piece_by_piece(reserve: Reserve, disk: FakeDisk) -> None:
    """Whoever needs space gets what it asks for, and the rest stays for the next."""
    reserve.take(100)
    assert reserve.give(300)
    assert (reserve.held, disk.used, reserve.full) == (900, 900, True)
    assert reserve.give(5000)
    assert (reserve.held, disk.used) == (0, 0)
    assert not reserve.give(1)


def test_without_space_for_all_of_it_the_store_is_full(reserve: Reserve, disk: FakeDisk) -> None:
    """A reserve that cannot be allocated takes nothing, and what was held stays."""
    reserve.take(0)
    assert not reserve.take(501)
    assert (reserve.held, disk.used, reserve.full) == (1000, 1000, True)


def test_the_end_of_a_shortage_takes_a_little_more_than_the_reserve(reserve: Reserve, disk: FakeDisk) -> None:
    """The first send after a shortage does not begin the next one."""
    reserve.take(0)
    reserve.give(1000)
    disk.capacity = 1299
    assert not reserve.take(0)
    disk.capacity = 1300
    assert reserve.take(0)
    assert (reserve.held, disk.used, reserve.full) == (1000, 1000, False)


def test_changes_are_told_once(reserve: Reserve, disk: FakeDisk) -> None:
    """The owner hears of a shortage when it begins and when it ends."""
    seen: list[bool] = []
    reserve.on_change = lambda: seen.append(reserve.full)
    for checkpoint_bytes in (0, 1000, 1000, 0, 0):
        reserve.take(checkpoint_bytes)
    reserve.give(10)
    reserve.give(10)
    assert seen == [True, False, True]


def test_what_is_needed_while_it_is_taken_is_given(reserve: Reserve, disk: FakeDisk) -> None:
    """A batch that finds the disk full at that very moment is not left without the space."""

    class Needing(FakeFiles):
        def trim(self, name: str, length: int) -> None:
            super().trim(name, length)
            if length == 1000:  # it has just been taken
                needing.give(400)

    needing = Reserve(Needing(disk), 7, OPTIONS)
    assert not needing.take(0)
    assert (needing.full, disk.used) == (True, 0)


def test_a_failing_disk_is_not_a_full_one(reserve: Reserve, disk: FakeDisk) -> None:
    """An error of the disk does not block sends: the writer finds out whether it still works."""
    disk.fail("allocate", StoreFailed("Input/output error"))
    with pytest.raises(StoreFailed):
        reserve.take(0)
    assert not reserve.full
    reserve.take(0)
    for operation in ("trim", "remove"):
        disk.fail(operation, StoreFailed("Input/output error"))
        assert reserve.give(10 if operation == "trim" else 1000)
    disk.fail("remove", StoreFailed("Input/output error"))
    reserve.release()
