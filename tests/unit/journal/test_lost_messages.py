"""Live messages whose records are damaged: told, copied, given up; everything else is delivered."""

import pytest
from support.fake_disk import FakeDisk, FakeFiles
from support.journal_owner import QUEUE, JournalOwner, body_of

from journal.errors import MessageDamaged, MessageUnknown, MessageUnreadable, StoreUnavailable
from journal.fence import data_files
from journal.follower import Follower
from journal.options import JournalOptions
from journal.record import AddMessage, AddSubscription

OPTIONS = JournalOptions(
    file_bytes=4_096,
    allocated_bytes=1_024,
    checkpoint_bytes=2_000,
    carried_messages_max=-1,
    reserve_bytes=1_000,
    idle_check_s=0.02,
)
TOPIC = "topic://prices"


@pytest.fixture
def disk() -> FakeDisk:
    """An empty disk."""
    return FakeDisk()


def open_journal(disk: FakeDisk, follower: Follower | None = None) -> JournalOwner:
    """Becomes master."""
    return JournalOwner(OPTIONS, files=FakeFiles(disk), follower=follower)


def flip(disk: FakeDisk, ref: int) -> str:
    """Flips a bit in the body of a message; returns the name of its data file."""
    for name in map(str, reversed(data_files(list(disk.files)))):
        content = disk.files[name].content
        at = content.find(body_of(ref, 200)[:60])
        if at >= 0:
            content[at + 30] ^= 4
            return name
    raise AssertionError(f"message {ref} is not there")


def copies(disk: FakeDisk) -> list[str]:
    """The files in quarantine."""
    return sorted(name for name in list(disk.files) if name.startswith("quarantine"))


def with_backlog(disk: FakeDisk) -> None:
    """A store whose older data files recovery does not read."""
    owner = open_journal(disk)
    for count in (1, 2):
        owner.send(range(owner.journal.state.next_ref, 30 * count + 1), 200)
        owner.wait(lambda: len(owner.journal.state.checkpoints) >= count, "checkpoints")  # noqa: B023 - now
    owner.close()


def test_a_damaged_message_is_given_up_when_it_is_read(
    disk: FakeDisk, caplog: pytest.LogCaptureFixture
) -> None:
    """The reader is told file, offset and where the copy is; nobody sees the message again."""
    owner = open_journal(disk)
    owner.send(range(1, 4), 200)
    name = flip(disk, 2)
    place = owner.journal.state.place(2, QUEUE)
    record = bytes(disk.files[name].content[place.location % (1 << 29) :][: place.length])
    with pytest.raises(MessageDamaged, match=rf"damaged: fake/{name}, \d+ bytes from offset \d+; .* copy in"):
        owner.journal.read(2, QUEUE)
    (copy,) = copies(disk)
    assert bytes(disk.files[copy].content) == record
    assert f"{name}" in caplog.text
    assert "message 2 of queue://a is lost" in caplog.text
    assert owner.journal.lost_messages == 1
    with pytest.raises(MessageUnknown):
        owner.journal.read(2, QUEUE)
    assert owner.journal.read(3, QUEUE) == body_of(3, 200)
    owner.close()
    again = open_journal(disk)
    assert again.live() == [1, 3]
    again.close()


def test_a_message_that_the_disk_does_not_give_stays(disk: FakeDisk) -> None:
    """A read error may pass: the message is not given up, and can be read when it has passed."""
    owner = open_journal(disk)
    owner.send(range(1, 4), 200)
    disk.fail("read", StoreUnavailable("Input/output error"), "data")
    with pytest.raises(MessageUnreadable, match=r"Input/output error; wanted were \d+ bytes from offset \d+"):
        owner.journal.read(2, QUEUE)
    assert owner.journal.read(2, QUEUE) == body_of(2, 200)
    assert owner.journal.lost_messages == 0
    assert copies(disk) == []
    owner.close()


def test_a_damaged_message_of_a_topic_is_given_up_for_all(disk: FakeDisk) -> None:
    """No durable subscription waits for it any more."""
    owner = open_journal(disk)
    owner.commit(*(AddSubscription("c", name, TOPIC, "", False) for name in "xy"))
    owner.commit(*(AddMessage(ref, TOPIC, "p", ref, body_of(ref, 200)) for ref in (1, 2)))
    flip(disk, 1)
    with pytest.raises(MessageDamaged, match="message 1 of topic://prices"):
        owner.journal.read(1, TOPIC)
    subscriptions = owner.journal.state.subscriptions.values()
    assert [list(each.pending) for each in subscriptions] == [[2], [2]]
    owner.close()


def test_a_new_master_looks_for_damage_that_it_did_not_read(disk: FakeDisk) -> None:
    """Flipped bits in old data files are found soon, not when their message is dispatched."""
    with_backlog(disk)
    flip(disk, 5)
    flip(disk, 7)
    owner = open_journal(disk)
    assert not owner.journal.report.damages
    owner.wait(lambda: owner.journal.lost_messages == 2, "the look at old records")
    assert owner.live() == [ref for ref in range(1, 61) if ref not in (5, 7)]
    assert len(copies(disk)) == 2
    owner.run(0.05)
    owner.close()
    again = open_journal(disk)
    again.run(0.1)
    assert again.live() == [ref for ref in range(1, 61) if ref not in (5, 7)]
    assert again.journal.lost_messages == 0
    again.close()


def test_damage_that_a_slave_has_read_is_reported_by_the_master_it_becomes(disk: FakeDisk) -> None:
    """What was damaged before a takeover is told, and kept, as if there had been no slave."""
    owner = open_journal(disk)
    owner.send(range(1, 6), 200)
    owner.close()
    name = flip(disk, 4)
    follower = Follower(FakeFiles(disk))
    follower.poll()
    assert follower.place is not None
    assert copies(disk) == []
    again = open_journal(disk, follower)
    (damage,) = again.journal.report.damages
    assert damage.file == f"fake/{name}"
    assert damage.quarantine == f"fake/{copies(disk)[0]}"
    assert again.live() == [1, 2, 3, 5]
    again.close()


@pytest.mark.parametrize("where", ["a record", "the first header", "a header"])
def test_compaction_passes_damage_over(disk: FakeDisk, where: str) -> None:
    """P9: a data file with a damaged batch does not stay for ever."""
    owner = open_journal(disk)
    owner.send(range(1, 31), 200)
    name = str(data_files(list(disk.files))[1])
    file = disk.files[name]
    place = {"a record": None, "the first header": 64 + 20, "a header": file.content.index(b"FMQb", 100) + 20}
    at = place[where]
    if at is None:
        at = file.content.index(b"/", 1000)
    file.content[at] ^= 4
    kept = [ref for ref in range(1, 31) if ref % 5 == 0]
    assert owner.consume(ref for ref in range(1, 31) if ref % 5)
    for ref in range(31, 200):
        assert owner.send([ref], 200)
        assert owner.consume([ref])
    for ref in kept:
        with_loss = _read(owner, ref)
        assert with_loss in {body_of(ref, 200), b""}
    refs = iter(range(200, 5_000))
    while name in disk.files:  # upkeep goes on with the log, in its own thread
        ref = next(refs)
        assert owner.send([ref], 200)
        assert owner.consume([ref])
        owner.run()
    assert len(owner.live()) >= len(kept) - 1
    assert all(owner.journal.read(ref, QUEUE) == body_of(ref, 200) for ref in owner.live())
    owner.close()


def _read(owner: JournalOwner, ref: int) -> bytes:
    try:
        return owner.journal.read(ref, QUEUE)
    except MessageDamaged:
        return b""
