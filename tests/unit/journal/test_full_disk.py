"""P10, the journal's side: a full disk stops sends and nothing else, and ends by itself."""

import copy
from collections.abc import Iterable

import pytest
from support.fake_disk import FakeDisk, FakeFiles, _File
from support.journal_owner import QUEUE, JournalOwner, body_of

from journal import care
from journal.errors import StoreFull, StoreUnavailable
from journal.fence import data_files, reserves
from journal.options import JournalOptions
from journal.record import AddMessage, RemoveMessage

OPTIONS = JournalOptions(
    file_bytes=32_768,
    allocated_bytes=8_192,
    small_file_bytes=8_192,
    reserve_bytes=50_000,
    checkpoint_bytes=8_192,
    batch_bytes_max=8_192,
    idle_check_s=0.05,
)
CAPACITY = 300_000


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of the reserve is used up a hundred times as fast."""
    monkeypatch.setattr(care, "FULL_RETRY_S", 0.01)


ALLOCATING = pytest.mark.parametrize("disk", [True], indirect=True, ids=["allocates"])
"""For what only a file system that can allocate promises."""


@pytest.fixture(params=[True, False], ids=["allocates", "writes"])
def disk(request: pytest.FixtureRequest) -> FakeDisk:
    """A small disk, with a file system that can allocate and with one that cannot."""
    disk = FakeDisk()
    disk.allocates = request.param
    disk.capacity = CAPACITY
    return disk


def open_journal(disk: FakeDisk) -> JournalOwner:
    """Becomes master, and has the reserve settled."""
    owner = JournalOwner(OPTIONS, files=FakeFiles(disk))
    reserve = f"reserve-{owner.journal.epoch}"
    owner.wait(
        lambda: owner.journal.full or (reserve in disk.files and disk.files[reserve].size), "the reserve"
    )
    return owner


def killed(owner: JournalOwner, disk: FakeDisk) -> dict[str, _File]:
    """What the disk holds if the owner is killed now."""
    with owner.journal._writer._disk:  # so that no batch is written meanwhile; upkeep goes on
        return copy.deepcopy(dict(disk.files))


def consume(owner: JournalOwner, refs: Iterable[int]) -> bool:
    """Consumes as fast as consumers of a disk a hundred times as large would, for what upkeep takes."""
    for ref in refs:
        if not owner.consume([ref]):
            return False
        owner.run(0.002)
    return True


def fill(owner: JournalOwner, ref: int = 0, size: int = 1000) -> int:
    """Sends until the journal is full; returns the last message's number."""
    while not owner.journal.full:
        ref += 1
        assert owner.send([ref], size)
    return ref


def test_a_full_disk_is_told_before_anything_fails(disk: FakeDisk) -> None:
    """The owner hears that the disk is full while acknowledgements still have space."""
    owner = open_journal(disk)
    assert not owner.journal.full
    last = fill(owner)
    owner.wait(lambda: owner.full == [True])
    assert last > 200
    assert not owner.journal.has_room(10)
    assert consume(owner, range(1, last + 1))
    owner.close()
    assert not reserves(disk.files)


def test_consumers_free_a_full_disk_without_a_restart(disk: FakeDisk) -> None:
    """When space returns the journal takes sends again by itself, and nothing was lost."""
    owner = open_journal(disk)
    last = fill(owner)
    assert consume(owner, range(1, last - 10))
    owner.wait(lambda: owner.full[-1:] == [False], "space")
    assert not owner.journal.full
    assert disk.used < CAPACITY // 2
    assert owner.send([last + 1])
    assert owner.live() == list(range(last - 10, last + 2))
    owner.close()


def test_others_fill_the_disk_and_free_it(disk: FakeDisk) -> None:
    """A disk that others have filled to the last byte takes acknowledgements; sends when they are gone."""
    owner = open_journal(disk)
    assert owner.send(range(1, 40))
    ballast = FakeFiles(disk)
    ballast.allocate("ballast", CAPACITY - disk.used)
    for ref in range(40, 60):
        assert owner.send([ref])
    owner.wait(lambda: owner.journal.full)
    assert owner.consume(range(1, 50))
    ballast.remove("ballast")
    owner.wait(lambda: not owner.journal.full, "space")
    assert owner.live() == list(range(50, 60))
    owner.close()


def test_a_data_file_is_small_while_the_disk_is_full(disk: FakeDisk) -> None:
    """What is written on a full disk can be removed soon."""
    owner = open_journal(disk)
    last = fill(owner)
    before = set(data_files(list(disk.files)))
    for ref in range(last, last // 2, -1):
        assert consume(owner, [ref])
        files = dict(disk.files)  # upkeep goes on
        sizes = [files[str(name)].size for name in set(data_files(files)) - before]
        if not owner.journal.full:  # what was consumed has made room
            break
        assert all(size <= 2 * OPTIONS.small_file_bytes for size in sizes)
    owner.close()


def test_opening_on_a_full_disk(disk: FakeDisk) -> None:
    """The next master begins in what the last one had reserved."""
    owner = open_journal(disk)
    last = fill(owner)
    files = killed(owner, disk)
    owner.close()
    disk.files = files
    disk.capacity = disk.used
    again = open_journal(disk)
    assert again.journal.full
    assert again.live() == list(range(1, last + 1))
    assert consume(again, range(1, last + 1))
    again.wait(lambda: not again.journal.full, "space")
    again.close()
    assert reserves(disk.files) == []


@ALLOCATING
def test_opening_on_a_disk_without_a_byte_left(disk: FakeDisk) -> None:
    """Even without a reserve the next master finds what the last one had allocated ahead."""
    owner = open_journal(disk)
    assert owner.send(range(1, 30))
    files = killed(owner, disk)
    owner.close()
    disk.files = {name: file for name, file in files.items() if name not in {"reserve-1", "live-1"}}
    disk.capacity = disk.used
    again = open_journal(disk)
    assert again.live() == list(range(1, 30))
    assert again.journal.full
    again.close()


def test_without_any_space_the_mastership_ends(disk: FakeDisk) -> None:
    """What cannot be written is not acknowledged, and the error says what to do."""
    owner = open_journal(disk)
    last = fill(owner)
    while owner.send([last + 1]):
        last += 1
    (error,) = owner.errors
    assert isinstance(error, StoreFull)
    assert "free some space" in str(error)
    owner.close()
    disk.capacity = 2 * CAPACITY
    again = open_journal(disk)
    assert again.live()[: last - 1] == list(range(1, last))
    again.close()


def test_a_message_that_does_not_fit_is_known_before_it_is_sent(disk: FakeDisk) -> None:
    """One very large message must not end the mastership."""
    disk.capacity = 40 << 20
    owner = open_journal(disk)
    assert owner.journal.has_room(1000)
    assert owner.journal.has_room(20 << 20)
    assert not owner.journal.has_room(40 << 20)
    disk.fail("free_bytes", StoreUnavailable("nobody knows"))
    assert owner.journal.has_room(40 << 20)
    owner.close()


def test_live_bytes_are_those_of_all_live_records(disk: FakeDisk) -> None:
    """What the broker's limit is held against is kept with every record, and costs nothing to ask."""
    disk.capacity = None
    owner = open_journal(disk)
    owner.send(range(1, 50))
    owner.consume(range(1, 50, 3))
    state = owner.journal.state
    assert owner.journal.live_bytes == sum(state.usage.values()) > 30 * 500
    owner.close()
    again = open_journal(disk)
    assert again.journal.live_bytes == sum(again.journal.state.usage.values()) > 30 * 500
    again.consume(again.live())
    assert again.journal.live_bytes == 0
    again.close()


@ALLOCATING
def test_a_batch_longer_than_the_rest_of_its_file_is_allocated_first(disk: FakeDisk) -> None:
    """No write finds the disk full in its middle as long as the reserve has space."""
    owner = open_journal(disk)
    assert owner.send([1])
    FakeFiles(disk).allocate("ballast", CAPACITY - disk.used)
    writes = disk.operations["write"]
    assert owner.commit(AddMessage(2, QUEUE, "p", 2, body_of(2, 18_000)), RemoveMessage(1, QUEUE))
    assert disk.operations["write"] == writes + 1
    assert owner.journal.full
    owner.close()
