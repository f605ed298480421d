"""P10 on a real file system of 64 MiB: filled by messages, filled by others, taken over while full."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.journal_owner import QUEUE, JournalOwner, body_of
from support.small_disk import SmallDisk

from journal.errors import StoreFenced
from journal.options import JournalOptions
from journal.record import AddMessage

pytestmark = pytest.mark.integration
OPTIONS = JournalOptions(create=True)
BODY_BYTES = 20_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A mounted file system of 64 MiB."""
    disk = SmallDisk(tmp_path, 64)
    disk.mount()
    try:
        if not disk.mounted:
            pytest.skip("no small file system can be mounted: this needs root, and loop devices or tmpfs")
        yield disk
    finally:
        disk.unmount()


def open_journal(disk: SmallDisk) -> JournalOwner:
    """Becomes master, and has the reserve settled."""
    owner = JournalOwner(OPTIONS, directory=disk.path / "store")
    reserve = disk.path / "store" / f"reserve-{owner.journal.epoch}"
    owner.wait(
        lambda: owner.journal.full or (reserve.exists() and reserve.stat().st_size > 1 << 20), "the reserve"
    )
    return owner


def fill(owner: JournalOwner, ref: int = 0) -> int:
    """Sends until the journal says that it is full; the last message's number."""
    while not owner.journal.full:
        ref += 1
        assert owner.commit(AddMessage(ref, QUEUE, "p", ref, body_of(ref, BODY_BYTES)))
    return ref


def check(owner: JournalOwner, refs: range) -> None:
    """All that is live is whole, and nothing else is there."""
    assert owner.live() == list(refs)
    assert all(owner.journal.read(ref, QUEUE) == body_of(ref, BODY_BYTES) for ref in refs)


def test_messages_fill_the_disk_and_consumers_free_it(disk: SmallDisk) -> None:
    """Nothing acknowledged is lost, consumers are never stopped, and sends go on without a restart."""
    owner = open_journal(disk)
    last = fill(owner)
    assert last * BODY_BYTES > 30 << 20
    for _ in range(2):
        assert owner.consume(owner.live()[: 2 * len(owner.live()) // 3])
        owner.wait(lambda: not owner.journal.full, "space")
        last = fill(owner, last)
    check(owner, range(owner.live()[0], last + 1))
    assert owner.consume(owner.live())
    owner.wait(lambda: not owner.journal.full, "space")
    assert owner.full == [True, False] * (len(owner.full) // 2)
    owner.close()
    again = open_journal(disk)
    assert again.live() == []
    assert not again.journal.report.damages
    again.close()


def test_others_fill_the_disk_to_the_last_block(disk: SmallDisk) -> None:
    """Acknowledgements have the reserve; when the others are gone, sends go on."""
    owner = open_journal(disk)
    assert owner.send(range(1, 201), BODY_BYTES)
    disk.fill()
    last = fill(owner, 200)
    assert disk.free_bytes < 16 << 20
    disk.fill()
    assert owner.consume(range(1, last - 49))
    assert not owner.errors
    disk.free()
    owner.wait(lambda: not owner.journal.full, "space")
    assert owner.send([last + 1], BODY_BYTES)
    check(owner, range(last - 49, last + 2))
    owner.close()


def test_a_takeover_on_a_full_disk(disk: SmallDisk) -> None:
    """The next master serves in what the last one had reserved, and its consumers free the disk."""
    owner = open_journal(disk)
    last = fill(owner)
    disk.fill()
    again = JournalOwner(OPTIONS, directory=disk.path / "store")
    owner.wait(lambda: owner.errors, "the end of the first master")
    assert isinstance(owner.errors[0], StoreFenced)
    again.wait(lambda: again.journal.full, "the shortage")
    check(again, range(1, last + 1))
    assert again.consume(range(1, last + 1))
    disk.free()
    again.wait(lambda: not again.journal.full, "space")
    owner.close()
    again.close()
