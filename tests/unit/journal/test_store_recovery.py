"""The decision table of recovery, on a disk that is damaged on purpose."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import pytest
from support.fake_disk import FakeDisk, FakeFiles

from journal.batch import FileHeader, decode_batch_header, encode_file_header
from journal.bodies import Bodies
from journal.errors import (
    StoreCorrupt,
    StoreFailed,
    StoreFenced,
    StoreIncomplete,
    StoreNewer,
    StoreUnavailable,
)
from journal.fence import DataFileName, claim_name, claims, data_files, live_epochs, run
from journal.mastership import OpenBatch, Opened, become_master
from journal.options import JournalOptions
from journal.record import (
    BATCH_HEADER_BYTES,
    EPOCHS_MAX,
    FILE_HEADER_BYTES,
    AddMessage,
    EpochEnd,
    RemoveMessage,
)
from journal.state import State

QUEUE = "queue://a"
SMALL = JournalOptions(file_bytes=1000, read_bytes=300, carried_messages_max=-1)
LARGE = JournalOptions(file_bytes=100_000, carried_messages_max=-1)
CARRYING = JournalOptions(file_bytes=1000, read_bytes=300, carried_messages_max=4, carried_bytes_max=1000)


class Store:
    """A store on a fake disk, and masters that come and go."""

    def __init__(self, options: JournalOptions = LARGE) -> None:
        self.disk = FakeDisk()
        self.files = FakeFiles(self.disk)
        self.options = options
        self.ref = 0
        self.state = State()
        self.batches: list[OpenBatch] = []

    def master(
        self, *batches: Sequence[bytes], options: JournalOptions | None = None, tidies: bool = True
    ) -> Opened:
        """Becomes master, tidies up, commits some batches of messages and dies."""
        self.state = State()
        options = options or self.options
        opened = run(
            become_master(self.files, self.state, owner="test", salt=len(self.disk.files), options=options)
        )
        if tidies:
            run(opened.leftovers)
        self.batches = [opened.first]
        for bodies in batches:
            batch = OpenBatch(opened.mastership.epoch, self.batches[-1].next_place(options.file_bytes))
            records = []
            for body in bodies:
                self.ref += 1
                records.append(AddMessage(self.ref, QUEUE, "p", self.ref, body))
            batch.add(records, opened.mastership.encoder, self.state)
            run(opened.mastership.commit(batch))
            self.batches.append(batch)
        return opened

    def end(self, opened: Opened) -> None:
        """The last master marks its end, as it does when it is closed or idle."""
        batch = OpenBatch(opened.mastership.epoch, self.batches[-1].next_place(self.options.file_bytes))
        batch.add([EpochEnd()], opened.mastership.encoder, self.state)
        run(opened.mastership.commit(batch))

    def bodies(self) -> list[bytes]:
        """What the last master saw and wrote."""
        bodies = Bodies(self.files, self.state.salts)
        messages = self.state.queues.get(QUEUE)
        return [] if messages is None else [bodies.read(place) for _, place in messages.entries_after(0)]

    def flip(self, name: str, offset: int) -> None:
        """Flips one bit on the disk."""
        self.disk.corrupt(name, offset, bytes([self.disk.files[name].content[offset] ^ 1]))

    def find(self, name: str, body: bytes) -> int:
        """Where a body stands in a file."""
        return self.disk.files[name].content.index(body)


def test_a_new_store_is_empty() -> None:
    """The first master of a store is epoch 1 and sees nothing."""
    store = Store()
    opened = store.master()
    assert opened.mastership.epoch == 1
    assert opened.report.ruler == 0
    assert store.bodies() == []
    assert sorted(store.disk.files) == ["claim-1", "data-000001-000000", "live-1"]


def test_each_master_sees_what_all_before_it_wrote() -> None:
    """P1: epochs follow each other without loss, and every location points at its record."""
    store = Store(SMALL)
    for i in range(8):
        store.master(*([b"body %d/%d/%d" % (i, j, k) for k in range(3)] for j in range(6)))
    opened = store.master()
    assert store.bodies() == [
        b"body %d/%d/%d" % (i, j, k) for i in range(8) for j in range(6) for k in range(3)
    ]
    assert not opened.report.damages
    assert live_epochs(store.files.names()) == [9]
    assert claims(store.files.names()) == list(range(1, 10))


def test_removals_survive_too() -> None:
    """P1: what was consumed in one epoch stays consumed in the next."""
    store = Store()
    opened = store.master([b"one", b"two"])
    batch = OpenBatch(1, store.batches[-1].next_place(LARGE.file_bytes))
    batch.add([RemoveMessage(1, QUEUE)], opened.mastership.encoder, store.state)
    run(opened.mastership.commit(batch))
    store.master()
    store.master()
    assert store.bodies() == [b"two"]


def test_masters_without_traffic_leave_nothing_behind() -> None:
    """Restarts alone do not fill the directory or the seals."""
    store = Store()
    store.master([b"one"], [b"two"])
    for _ in range(20):
        opened = store.master()
    assert store.bodies() == [b"one", b"two"]
    assert len([n for n in store.disk.files if n.startswith("data-")]) <= 4
    assert opened.first.size < 500


def test_a_dead_masters_allocation_is_freed() -> None:
    """P9: what was preallocated and not used is given back after the takeover."""
    store = Store()
    store.master([b"one"], [b"two"])
    store.master()
    assert len(store.disk.files["data-000001-000000"].content) < 1000


def test_a_takeover_waits_for_nothing_to_be_freed() -> None:
    """P5, P9: only the token goes before the new master serves; reserve, tail and files go afterwards."""
    store = Store(replace(LARGE, carried_messages_max=10))
    store.master([b"one"], [b"two"])
    store.files.allocate("reserve-1", 1000)
    before = dict(store.disk.operations)
    opened = store.master(tidies=False)
    assert store.disk.operations["remove"] == before.get("remove", 0) + 1
    assert store.disk.operations.get("trim", 0) == before.get("trim", 0)
    assert {"reserve-1", "data-000001-000000"} <= store.disk.files.keys()
    run(opened.leftovers)
    assert not {"reserve-1", "data-000001-000000"} & store.disk.files.keys()
    assert store.bodies() == [b"one", b"two"]


def test_what_a_master_had_no_time_to_free_its_successor_frees() -> None:
    """P9: a master that dies as soon as it serves leaves nothing behind for ever."""
    store = Store(replace(LARGE, carried_messages_max=10))
    store.master([b"one"])
    store.files.allocate("reserve-1", 1000)
    store.master([b"two"], tidies=False)
    store.master()
    assert store.bodies() == [b"one", b"two"]
    assert sorted(store.disk.files) == [*(f"claim-{n}" for n in (1, 2, 3)), "data-000003-000000", "live-3"]


def test_a_takeover_on_a_nearly_full_disk_frees_first() -> None:
    """P10: what the last master kept is what the first batch of the next one needs."""
    store = Store(replace(LARGE, reserve_bytes=1000))
    store.master([b"one"])
    store.files.allocate("reserve-1", 1000)
    store.disk.capacity = store.disk.used + 10
    assert store.master(tidies=False).mastership.epoch == 2
    assert "reserve-1" not in store.disk.files
    assert store.bodies() == [b"one"]


def test_a_torn_last_batch_is_the_end() -> None:
    """A batch that was never acknowledged may be cut anywhere: all before it is delivered."""
    store = Store()
    store.master([b"one"], [b"two"], [b"three"])
    last = store.batches[-1].place.offset
    end = last + BATCH_HEADER_BYTES + store.batches[-1].size
    intact = bytes(store.disk.files["data-000001-000000"].content)
    names = set(store.disk.files)
    for cut in range(last, end, 7):
        for name in set(store.disk.files) - names:
            del store.disk.files[name]
        store.disk.files["data-000001-000000"].content[:] = intact[:cut] + bytes(len(intact) - cut)
        opened = store.master()
        assert store.bodies() == [b"one", b"two"]
        assert not opened.report.damages
        torn = opened.report.torn
        assert torn is None or torn == ("fake/data-000001-000000", last)


def test_flipped_bits_cost_one_message_and_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Damage is told with file and offset, kept as a quarantine file, and everything else is delivered."""
    store = Store()
    store.master([b"one", b"two", b"three"], [b"four"], [b"five"])
    name = "data-000001-000000"
    damaged = bytes(store.disk.files[name].content)
    store.flip(name, store.find(name, b"two"))
    opened = store.master()
    assert store.bodies() == [b"one", b"three", b"four", b"five"]
    (damage,) = opened.report.damages
    assert damage.file == f"fake/{name}"
    assert damage.offset == store_offset(damaged, 1)
    assert damage.saved == 2
    assert damage.quarantine == f"fake/quarantine-000001-000000-{damage.offset}"
    copy = bytes(store.disk.files[damage.quarantine.removeprefix("fake/")].content)
    assert copy == bytes(store.disk.files[name].content[damage.offset : damage.offset + damage.length])
    assert name in caplog.text
    again = store.master()
    assert store.bodies() == [b"one", b"three", b"four", b"five"]
    assert len(again.report.damages) == 1


def store_offset(content: bytes, index: int) -> int:
    """Where the batch with an index starts in a data file."""
    at = FILE_HEADER_BYTES
    for _ in range(index):
        header = decode_batch_header(content, at)
        assert header is not None
        at += BATCH_HEADER_BYTES + header.length
    return at


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_damaged_batch_header_loses_nothing(index: int) -> None:
    """The records behind a damaged header are found by themselves."""
    store = Store()
    store.master([b"one"], [b"two"], [b"three"], [b"four"])
    name = "data-000001-000000"
    store.flip(name, store_offset(bytes(store.disk.files[name].content), index) + 20)
    opened = store.master()
    assert store.bodies() == [b"one", b"two", b"three", b"four"]
    assert len(opened.report.damages) == 1


def test_a_damaged_file_header_loses_nothing() -> None:
    """The batches say themselves where they stand."""
    store = Store()
    store.master([b"one"], [b"two"])
    store.flip("data-000001-000000", 20)
    opened = store.master()
    assert store.bodies() == [b"one", b"two"]
    assert [(d.file, d.offset) for d in opened.report.damages] == [("fake/data-000001-000000", 0)]


def test_a_wiped_beginning_is_refused() -> None:
    """Without the first batch nobody knows the seals: guessing could bring back what was sealed away."""
    store = Store()
    store.master([b"one"], [b"two"])
    store.disk.corrupt("data-000001-000000", 0, bytes(store.batches[1].place.offset))
    with pytest.raises(StoreCorrupt, match="data-000001-000000 is damaged beyond repair"):
        store.master()


def test_a_damaged_first_batch_keeps_its_seals() -> None:
    """The seals stand twice in the first batch; the adopted records between them are saved one by one."""
    store = Store()
    store.master([b"one"], [b"two", b"three"])
    store.master([b"four"], [b"five"])
    name = "data-000002-000000"
    store.flip(name, FILE_HEADER_BYTES + BATCH_HEADER_BYTES + 14)  # the owner in the first `EpochBegin`
    opened = store.master()
    assert store.bodies() == [b"one", b"two", b"three", b"four", b"five"]
    assert [d.file for d in opened.report.damages] == [f"fake/{name}"]


def test_an_only_batch_that_was_served_is_never_taken_for_a_torn_one() -> None:
    """An epoch known to have served is not skipped because its first batch is damaged."""
    store = Store()
    store.master([b"one"], [b"two", b"three"])
    store.master()
    name = "data-000002-000000"
    store.disk.files[claim_name(2)].content[:] = b'{"data_files": 1}'
    store.flip(name, store.find(name, b"two"))
    opened = store.master()
    assert store.bodies() == [b"one", b"three"]
    assert len(opened.report.damages) == 1
    store.master([b"four"])
    store.master()
    assert store.bodies() == [b"one", b"three", b"four"]


def test_a_lost_sector_between_two_files_is_damage() -> None:
    """A batch that reads as zeros is missed as soon as a later file goes on."""
    store = Store(SMALL)
    store.master(*([b"body %d" % i + bytes(200)] for i in range(12)))
    last = [batch for batch in store.batches if batch.place.number == 0][-1]
    store.disk.corrupt("data-000001-000000", last.place.offset, bytes(BATCH_HEADER_BYTES + last.size))
    opened = store.master()
    assert len(store.bodies()) == 11
    (damage,) = opened.report.damages
    assert (damage.file, damage.offset) == ("fake/data-000001-000000", last.place.offset)


def test_a_file_that_ends_too_early_is_damage() -> None:
    """A data file that was cut is missed as soon as a later file goes on."""
    store = Store(SMALL)
    store.master(*([b"body %d" % i + bytes(200)] for i in range(12)))
    last = [batch for batch in store.batches if batch.place.number == 0][-1]
    del store.disk.files["data-000001-000000"].content[last.place.offset :]
    opened = store.master()
    assert len(store.bodies()) == 11
    (damage,) = opened.report.damages
    assert str(damage) == f"damaged: fake/data-000001-000000 ends too early, at offset {last.place.offset}"


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_missing_file_is_named(number: int) -> None:
    """A data file that somebody deleted is missed, the first and the last one too; put back, all is well."""
    store = Store(SMALL)
    store.master(*([bytes(200)] for _ in range(12)))
    assert max(name for name in store.disk.files if name.startswith("data")) == "data-000001-000003"
    store.disk.files[claim_name(1)].content[:] = b'{"data_files": 4}'
    name = f"data-000001-{number:06d}"
    file = store.disk.files.pop(name)
    with pytest.raises(StoreIncomplete, match=f"fake/{name} is missing"):
        store.master()
    store.disk.files[name] = file
    store.master()
    assert len(store.bodies()) == 12


def test_a_missing_file_is_noticed_without_the_note() -> None:
    """The gap between two data files tells of a missing one although the claim's note was lost."""
    store = Store(SMALL)
    store.master(*([bytes(200)] for _ in range(12)))
    store.disk.files[claim_name(1)].content[:] = b""
    del store.disk.files["data-000001-000001"]
    with pytest.raises(StoreIncomplete, match="data-000001-000001"):
        store.master()


def test_a_missing_file_of_a_sealed_epoch_is_named() -> None:
    """The seals tell which files there must be."""
    store = Store(SMALL)
    store.master(*([bytes(200)] for _ in range(12)))
    store.master([b"x"], [b"y"])
    del store.disk.files["data-000001-000001"]
    with pytest.raises(StoreIncomplete, match="data-000001-000001"):
        store.master()


def test_the_loss_of_a_file_can_be_accepted() -> None:
    """An operator who cannot put a file back gets everything else, and the loss is reported."""
    store = Store(SMALL)
    store.master(*([bytes(200)] for _ in range(12)))
    del store.disk.files["data-000001-000001"]
    opened = store.master(options=replace(SMALL, accept_missing=True))
    assert [d.file for d in opened.report.damages] == ["fake/data-000001-000001"]
    assert 0 < len(store.bodies()) < 12


def test_a_newer_store_is_refused_before_it_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker of an older version does not fence a newer master whose store it cannot read."""
    store = Store()
    store.master([b"one"])
    with monkeypatch.context() as newer:
        newer.setattr("journal.batch.FORMAT_VERSION", 2)
        header = encode_file_header(FileHeader(1, 0, 0))
    store.disk.corrupt("data-000001-000000", 0, header)
    names = sorted(store.disk.files)
    with pytest.raises(StoreNewer, match="version 2"):
        store.master()
    assert sorted(store.disk.files) == names


def test_a_batch_in_a_message_is_not_a_batch() -> None:
    """A client that sends a copy of a data file cannot plant batches behind a torn tail."""
    store = Store()
    store.master([b"one"], [b"two"])
    copy = bytes(store.disk.files["data-000001-000000"].content[:700])
    store.master([copy])
    name = "data-000002-000000"
    store.flip(name, store_offset(bytes(store.disk.files[name].content), 1) + 5)
    opened = store.master()
    assert store.bodies() == [b"one", b"two"]
    assert not opened.report.damages


def test_a_failed_recovery_of_a_fenced_broker_says_fenced() -> None:
    """A broker that loses the race is told so, even if its successor has tidied up under its eyes."""
    store = Store()
    store.master([b"one"], [b"two"])
    steps = become_master(store.files, State(), owner="slow", salt=1, options=LARGE)
    for step in steps:
        if step == "listed the data files":
            break
    store.master([b"three"])
    store.disk.fail("read", StoreUnavailable("gone"))
    with pytest.raises(StoreFenced):
        run(steps)


def test_a_claim_names_its_owner() -> None:
    """Whoever looks into the directory finds out who took the store and how many files it wrote."""
    store = Store()
    store.disk.notes_survive = True
    store.master()
    claim = json.loads(store.disk.files["claim-1"].content)
    assert claim == {"owner": "test", "format": 1, "data_files": 1}


@pytest.mark.parametrize("sector", [0, 64])
def test_damage_anywhere_costs_what_it_hits_and_is_reported(sector: int) -> None:
    """One flipped bit costs at most one message, a lost sector those in it, and never in silence.

    A sector with the end of the last batch and the mark behind it looks like a torn tail, and is told so.
    """
    refused = lost = 0
    for seed in range(250):
        rng = random.Random(seed)
        store = Store(replace(SMALL, file_bytes=700))
        store.disk.notes_survive = True
        for i in range(3):
            opened = store.master(*([b"%d/%d/%d" % (i, j, k) for k in range(3)] for j in range(4)))
        store.end(opened)
        bodies = store.bodies()
        name = rng.choice(sorted(n for n in store.disk.files if n.startswith("data-")))
        length = len(bytes(store.disk.files[name].content).rstrip(b"\0"))
        if not length:
            continue
        offset = rng.randrange(length)
        if sector:
            store.disk.corrupt(name, offset, bytes(min(sector, length - offset)))
        else:
            store.flip(name, offset)
        try:
            opened = store.master()
        except StoreCorrupt:
            refused += 1
            continue
        seen = store.bodies()
        missing = [body for body in bodies if body not in seen]
        assert seen == [body for body in bodies if body in seen], seed
        assert len(missing) <= (3 if sector else 1), seed
        told = opened.report.damages or (sector and opened.report.torn)
        assert not missing or told, (seed, name, offset)
        lost += len(missing)
    assert lost > 10
    assert refused <= (25 if sector else 0)


def test_a_small_index_is_carried_over_and_the_files_before_it_go() -> None:
    """P5, P9: a takeover reads what is alive, not all that was ever sent; numbers and sequences go on."""
    store = Store(CARRYING)
    store.master(*([bytes(200)] for _ in range(12)))
    store.master()
    assert DataFileName(1, 0) in data_files(store.disk.files)  # too much is alive
    opened = run(become_master(store.files, state := State(), owner="test", salt=9, options=SMALL))
    batch = OpenBatch(opened.mastership.epoch, opened.first.next_place(1000))
    batch.add([RemoveMessage(ref, QUEUE) for ref in range(1, 10)], opened.mastership.encoder, state)
    run(opened.mastership.commit(batch))
    batch = OpenBatch(opened.mastership.epoch, batch.next_place(1000))
    batch.add([RemoveMessage(10, QUEUE)], opened.mastership.encoder, state)
    run(opened.mastership.commit(batch))
    store.master()
    assert {name.epoch for name in data_files(store.disk.files)} == {4}
    store.master()
    assert (list(store.state.queues[QUEUE]), store.state.next_ref) == ([11, 12], 13)
    assert store.state.last_producer_sequence("p") == 12
    assert store.master().report.records == 6  # begin, memory, queue, two messages, begin


def test_what_was_carried_over_is_read_again_after_a_crash_before_its_batch_counts() -> None:
    """Files go only when the batch that carries their messages has passed the fence check."""
    store = Store(CARRYING)
    store.master([b"x"], [b"y"])
    for steps in range(1, 60):
        dying = become_master(store.files, State(), owner="dies", salt=3, options=CARRYING)
        assert list(islice(dying, steps))
        store.disk.power_failure()
    store.master()
    assert store.bodies() == [b"x", b"y"]


def test_a_torn_tail_is_kept_for_one_epoch() -> None:
    """What may be a damaged acknowledged batch is not removed before somebody could look at it."""
    store = Store(CARRYING)
    store.master([b"x"], [b"y"])
    place = store.batches[-1].place
    store.flip("data-000001-000000", place.offset + 60)
    assert store.master().report.torn is not None
    assert DataFileName(1, 0) in data_files(store.disk.files)
    store.master()
    assert DataFileName(1, 0) not in data_files(store.disk.files)
    assert store.bodies() == [b"x"]


@pytest.mark.parametrize("kept", [0, FILE_HEADER_BYTES])
def test_a_sealed_file_that_was_cut_is_reported(kept: int) -> None:
    """Acknowledged messages do not vanish without a word, even if nothing of their file is left."""
    store = Store(LARGE)
    store.master(*([bytes([i])] for i in range(10)))
    store.master([b"x"])
    store.disk.files["data-000001-000000"].content[kept:] = b""
    report = store.master().report
    assert [(damage.file, damage.saved) for damage in report.damages][:1] == [("fake/data-000001-000000", 0)]


def test_a_store_without_numbers_for_masters_says_so() -> None:
    """The millionth takeover is refused before anything is touched, with what to do."""
    store = Store()
    store.master([b"one"])
    store.files.create(claim_name(EPOCHS_MAX - 1), b"")
    names = set(store.disk.files)
    with pytest.raises(StoreFailed, match="export its messages"):
        store.master()
    assert set(store.disk.files) == names
