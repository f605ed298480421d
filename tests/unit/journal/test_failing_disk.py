"""An error of the disk at any call: what it covers is not acknowledged; upkeep costs space or time only."""

from collections.abc import Iterator

import pytest
from support.fake_disk import FakeDisk, FakeFiles
from support.journal_owner import JournalOwner

from journal import care
from journal.errors import JournalError, StoreFailed, StoreUnavailable
from journal.options import JournalOptions

OPTIONS = JournalOptions(
    file_bytes=4_096,
    allocated_bytes=1_024,
    small_file_bytes=1_024,
    reserve_bytes=2_000,
    checkpoint_bytes=1_000,
    carried_messages_max=2,
    read_bytes=1_024,
    idle_check_s=0.02,
)
OF_UPKEEP = ("reserve-", "checkpoint-")
UPKEEP_ALONE = ("allocate", "trim", "written")
ERROR = StoreFailed("Input/output error")


class FailingDisk(FakeDisk):
    """A disk of which one call fails, counted from when it is told.

    Attributes:
        left: calls until then; None: it does not fail.
        failed: operation and file of the call that failed.
    """

    left: int | None = None
    failed: tuple[str, str] | None = None

    def count(self, operation: str, name: str = "") -> None:
        """Counts down."""
        super().count(operation, name)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                self.failed = operation, name
                raise StoreUnavailable(str(ERROR)) if operation in {"names", "read"} else ERROR


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(care, "RETRY_S", 0.001)


def prepared(disk: FakeDisk) -> tuple[set[int], int]:
    """A store with a past: what is live in it, and the highest number."""
    owner = JournalOwner(OPTIONS, files=FakeFiles(disk))
    owner.send(range(1, 25), 200)
    owner.consume(range(1, 20))
    owner.close()
    return set(range(20, 25)), 24


def serve(disk: FakeDisk, live: set[int], ref: int) -> tuple[set[int], set[int], bool]:
    """Opens, sends and consumes; what must be live, what may be, and whether a mastership has ended."""
    may = set(live)
    try:
        owner = JournalOwner(OPTIONS, files=FakeFiles(disk))
    except JournalError:
        return live, may, False
    for _ in range(25):
        ref += 1
        may.add(ref)
        if not owner.send([ref], 200):
            break
        live.add(ref)
        oldest = min(live)
        live.discard(oldest)
        if not owner.consume([oldest]):
            break
        may.discard(oldest)
    owner.run(0.002)
    ended = bool(owner.errors)
    try:
        owner.close()
    except JournalError:
        ended = True
    return live, may, ended


def calls() -> Iterator[int]:
    """Every call for the first masters, then some of them."""
    yield from range(120)
    yield from range(120, 400, 7)


@pytest.mark.parametrize("part", range(4))
def test_an_error_at_any_call_loses_nothing(part: int) -> None:
    """P1: whichever call of the disk fails, all that was acknowledged is there for the next master."""
    failed: set[str] = set()
    for left in list(calls())[part::4]:
        disk = FailingDisk()
        live, ref = prepared(disk)
        disk.left = left
        live, may, ended = serve(disk, live, ref)
        disk.left = None
        if disk.failed is not None:
            failed.add(disk.failed[0])
            is_upkeep = disk.failed[1].startswith(OF_UPKEEP) or disk.failed[0] in UPKEEP_ALONE
            assert not (ended and is_upkeep), disk.failed
        again = JournalOwner(OPTIONS, files=FakeFiles(disk))
        seen = set(again.live())
        assert live <= seen <= may, (left, disk.failed)
        again.close()
    assert failed >= {"write", "sync"}


@pytest.mark.parametrize("operation", ["create_data", "extend", "write", "sync", "truncate", "close"])
@pytest.mark.parametrize("kind", ["checkpoint", "data"])
def test_what_ends_a_mastership_and_what_does_not(operation: str, kind: str) -> None:
    """A data file that cannot be written ends it for good; a checkpoint is written again later."""
    disk = FakeDisk()
    owner = JournalOwner(OPTIONS, files=FakeFiles(disk))
    owner.send(range(1, 4), 200)
    disk.fail(operation, ERROR, kind)
    sent = owner.send(range(4, 60), 200)
    assert sent is (kind == "checkpoint")
    if sent:
        owner.wait(lambda: owner.journal.state.checkpoints, "a checkpoint")
    else:
        assert owner.errors == [ERROR]
        assert not owner.send([60])
        assert len(owner.errors) == 1
    owner.close()


@pytest.mark.parametrize("operation", ["allocate", "trim", "remove"])
def test_a_reserve_that_cannot_be_kept_stops_nobody(operation: str) -> None:
    """An error at the reserve's file neither ends the mastership nor makes the disk look full."""
    disk = FakeDisk()
    owner = JournalOwner(OPTIONS, files=FakeFiles(disk))
    owner.send(range(1, 4), 200)
    disk.fail(operation, ERROR, "reserve")
    assert owner.send(range(4, 40), 200)
    assert not owner.journal.full
    assert owner.full == []
    owner.close()


def test_compaction_that_cannot_read_goes_on_elsewhere() -> None:
    """A data file that cannot be read stays, and so does what lives in it."""
    disk = FakeDisk()
    owner = JournalOwner(OPTIONS, files=FakeFiles(disk))
    owner.send(range(1, 10), 200)
    for _ in range(30):
        disk.fail("read", StoreUnavailable("Input/output error"), "data-000001-000000")
    for ref in range(10, 200):
        assert owner.send([ref], 200)
        if ref % 10:
            assert owner.consume([ref])
    assert owner.live() == [*range(1, 10), *range(10, 200, 10)]
    assert not owner.errors
    owner.close()
