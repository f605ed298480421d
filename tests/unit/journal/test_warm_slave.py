"""What a slave has followed, and what a master has removed meanwhile."""

from support.fake_disk import FakeDisk, FakeFiles
from support.journal_owner import QUEUE, JournalOwner, body_of

from journal.fence import DataFileName
from journal.follower import Follower
from journal.options import JournalOptions

OPTIONS = JournalOptions(
    file_bytes=4_096,
    allocated_bytes=1_024,
    checkpoint_bytes=1_000,
    carried_messages_max=-1,
    reserve_bytes=1_000,
    idle_check_s=0.02,
)


def test_a_slave_that_slept_while_the_log_was_tidied_loses_nothing() -> None:
    """P1: a hole where records were moved away is no damage: the slave begins anew, from a checkpoint."""
    disk = FakeDisk()
    files = FakeFiles(disk)
    first = JournalOwner(OPTIONS, files=files)
    first.send(range(1, 7), 200)
    follower = Follower(files)
    follower.poll()
    assert follower.place is not None
    assert follower.place.epoch == 1
    first.close()
    second = JournalOwner(OPTIONS, files=files)
    assert second.send([7, 8], 200)
    name, refs = str(DataFileName(2, 0)), iter(range(9, 5_000))
    while disk.files[name].size > 1_000:  # upkeep moves and trims when it comes to it, in its own thread
        ref = next(refs)
        assert second.send([ref], 200)
        assert second.consume([ref])
        second.run()
    follower.poll()
    second.close()
    third = JournalOwner(OPTIONS, files=files, follower=follower)
    assert third.live() == list(range(1, 9))
    assert all(third.journal.read(ref, QUEUE) == body_of(ref, 200) for ref in third.live())
    assert not third.journal.report.damages
    third.close()
