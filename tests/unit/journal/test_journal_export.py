"""`python -m journal export` and `import`: what goes out comes in again, all of it or nothing."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.journal_stores import (
    OTHER_QUEUE,
    QUEUE,
    SMALL,
    TOPIC,
    append,
    bodies,
    fill,
    fingerprint,
    flip,
    open_journal,
    opened,
)
from support.store_histories import StoreHistory

from journal import restore as restoring
from journal.__main__ import main
from journal.errors import ExportInvalid, ImportRefused, StoreFull, StoreInUse
from journal.export import export_files
from journal.files import PosixFiles
from journal.inspection import inspect_files
from journal.journal import Journal
from journal.options import JournalOptions
from journal.progress import Progress
from journal.record import (
    SCHEDULED,
    AddDestination,
    AddMessage,
    AddScheduled,
    AddSubscription,
    Redelivered,
    RemoveMessage,
    Reschedule,
)
from journal.restore import Interrupted, Restored, read_through, refuse_running, restore
from journal.state import State

SMALL_RESERVE = JournalOptions(create=True, reserve_bytes=1000)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of two masters."""
    directory = tmp_path / "store"
    fill(directory)
    fill(directory)
    return directory


def exported(directory: Path, *globs: str) -> bytes:
    """An export of a store."""
    stream = io.BytesIO()
    export_files(PosixFiles(directory), str(directory), stream, globs)
    return stream.getvalue()


def lines(export: bytes, kind: str = "message") -> list[dict[str, Any]]:
    """Its lines of one kind."""
    return [fields for fields in map(json.loads, export.splitlines()) if fields["type"] == kind]


def imported(directory: Path, export: bytes, **options: Any) -> Restored:
    """Imports it."""
    contents = read_through(io.BytesIO(export), Progress())
    directory.mkdir(exist_ok=True)
    arguments = {"owner": "import (pid 1 on nowhere)", "options": SMALL_RESERVE, **options}
    return restore(directory, io.BytesIO(export), contents, **arguments)


def state_of(directory: Path) -> State:
    """What is live in a store."""
    return inspect_files(PosixFiles(directory), str(directory)).state


def test_what_goes_out_comes_in_again(store: Path, tmp_path: Path) -> None:
    """Export, import into an empty directory, export: the two exports are the same, byte for byte."""
    first = exported(store)
    done = imported(tmp_path / "copy", first)
    assert exported(tmp_path / "copy") == first
    assert done.messages == len(lines(first)) > 40
    assert done.shift == 0
    state = state_of(tmp_path / "copy")
    assert state.next_ref == state_of(store).next_ref
    assert "queue://empty" in state.queues
    assert state.last_producer_sequence("p:1") == state_of(store).last_producer_sequence("p:1")


def test_bodies_and_pending_sets_are_restored(store: Path, tmp_path: Path) -> None:
    """Each message has its body, each queue its order, and each durable subscription what was pending."""
    imported(tmp_path / "copy", exported(store))
    with opened(store) as old, opened(tmp_path / "copy") as new:
        places = [QUEUE, OTHER_QUEUE, TOPIC]
        assert bodies(new, places) == bodies(old, places)
        assert old.state.subscriptions.keys() == new.state.subscriptions.keys()
        for key, subscription in old.state.subscriptions.items():
            assert list(new.state.subscriptions[key].pending) == list(subscription.pending)
        assert len(new.state.subscriptions["c1", "gold"].pending) > 3


def test_earlier_deliveries_come_along(tmp_path: Path) -> None:
    """How often a message was delivered, and when it may be again; of a topic for each subscription."""
    with opened(tmp_path / "store", SMALL_RESERVE) as journal:
        subscriptions = [AddSubscription(name, "s", TOPIC, "", False) for name in ("c1", "c2", "c3")]
        messages = [AddMessage(1, QUEUE, "", 0, b"a"), AddMessage(2, TOPIC, "", 0, b"b")]
        deliveries = [
            Redelivered(1, QUEUE, 3, 5_000),
            Redelivered(2, TOPIC, 1, 0, "c1", "s"),
            Redelivered(2, TOPIC, 2, 6_000, "c3", "s"),
        ]
        append(journal, *subscriptions, *messages, *deliveries)
    export = exported(tmp_path / "store")
    assert [each.get("redelivered") for each in lines(export)] == [
        [{"counter": 3, "not_before_ms": 5_000}],
        [
            {"subscription": 0, "counter": 1, "not_before_ms": 0},
            {"subscription": 2, "counter": 2, "not_before_ms": 6_000},
        ],
    ]
    with opened(tmp_path / "copy", SMALL_RESERVE) as journal:
        append(journal, AddMessage(1, QUEUE, "", 0, b"there before"))
    imported(tmp_path / "copy", export)
    state = state_of(tmp_path / "copy")
    assert list(state.redelivered[QUEUE].entries_after(-1)) == [(2, (5_000, 3))]
    assert list(state.subscriptions["c3", "s"].redelivered.entries_after(-1)) == [(3, (6_000, 2))]
    assert not state.subscriptions["c2", "s"].redelivered


@pytest.mark.parametrize("seed", range(25))
def test_any_store_survives_the_round_trip(seed: int, tmp_path: Path) -> None:
    """Whatever a store has been through: an import of its export gives the same export again."""
    history = StoreHistory(seed)
    history.run(3)
    stream = io.BytesIO()
    export_files(history.files, "here", stream)
    imported(tmp_path / "copy", stream.getvalue())
    assert exported(tmp_path / "copy") == stream.getvalue()


class BusyStream(io.BytesIO):
    """While lines are written to it the store's masters come, compact, remove files and go."""

    def __init__(self, history: StoreHistory) -> None:
        super().__init__()
        self.history = history
        self.writes = 0

    def write(self, data: Any) -> int:
        """Every few lines there is another master."""
        self.writes += 1
        if self.writes % 7 == 0:
            self.history.master(15)
        return super().write(data)


@pytest.mark.parametrize("seed", range(25))
def test_an_export_goes_on_while_masters_come_and_go(seed: int) -> None:
    """What is live from the beginning to the end is in the export, once, with its body."""
    history = StoreHistory(seed)
    history.run(3)
    before = inspect_files(history.files, "here").state
    stream = BusyStream(history)
    done = export_files(history.files, "here", stream)
    after = inspect_files(history.files, "here").state
    assert done.damaged == 0, done.errors
    export = {(each["destination"], each["ref"]): each["body"] for each in lines(stream.getvalue())}
    assert len(export) == done.messages
    for name, messages in before.queues.items():
        still = set(after.queues.get(name, ()))
        for ref in messages:
            if ref in still:
                assert base64.b64decode(export[name, ref]) == history.bodies[ref]
    read_through(io.BytesIO(stream.getvalue()), Progress())


def test_an_export_changes_nothing(store: Path) -> None:
    """The store is not touched: no file appears, changes or goes."""
    before = fingerprint(store)
    exported(store)
    assert fingerprint(store) == before


def test_two_exports_of_one_store_are_equal(store: Path) -> None:
    """Nothing in an export depends on when it was written, so that copies can be compared."""
    assert exported(store) == exported(store)


def test_globs_choose_destinations(store: Path) -> None:
    """`*` is any part of a name, a name without a scheme is a queue's, and their subscriptions come along."""
    chosen = exported(store, "orders.*")
    assert {fields["destination"] for fields in lines(chosen)} == {QUEUE}
    assert lines(chosen, "subscription") == []
    both = exported(store, "queue://b*", "topic://prices.*")
    assert {fields["destination"] for fields in lines(both)} == {OTHER_QUEUE, TOPIC}
    assert {fields["name"] for fields in lines(both, "subscription")} == {"all", "gold"}
    assert lines(both, "export")[0]["filter"] == ["queue://b*", "topic://prices.*"]


def test_an_import_into_a_store_comes_behind_what_is_there(store: Path, tmp_path: Path) -> None:
    """What was there keeps its numbers and comes first; its subscriptions get only what is theirs."""
    target = tmp_path / "target"
    with opened(target) as journal:
        append(
            journal,
            AddSubscription("c1", "all", "topic://prices.>", "", False),
            AddSubscription("other", "all", "topic://>", "", False),
            AddMessage(500, QUEUE, "", 0, b"was there"),
            AddMessage(501, TOPIC, "", 0, b"for both"),
        )
    done = imported(target, exported(store))
    assert done.shift > 400
    with opened(store) as old, opened(target) as new:
        assert bodies(new, [QUEUE])[QUEUE] == [b"was there", *bodies(old, [QUEUE])[QUEUE]]
        assert list(new.state.subscriptions["other", "all"].pending) == [501]
        pending = list(new.state.subscriptions["c1", "all"].pending)
        assert pending[0] == 501
        assert len(pending) == 1 + len(old.state.subscriptions["c1", "all"].pending)


def test_a_subscription_of_other_terms_is_not_overwritten(store: Path, tmp_path: Path) -> None:
    """A durable subscription of the same name to another topic would lose what is pending: refused."""
    target = tmp_path / "target"
    with opened(target) as journal:
        append(journal, AddSubscription("c1", "gold", "topic://other", "", False))
    before = state_of(target).next_ref
    with pytest.raises(ImportRefused, match="gold of client c1"):
        imported(target, exported(store))
    state = state_of(target)
    assert state.next_ref == before
    assert not state.queues


def test_an_export_is_imported_once(store: Path, tmp_path: Path) -> None:
    """A second import of the same export into the same store is refused, unless it is wanted."""
    export = exported(store)
    imported(tmp_path / "copy", export)
    with pytest.raises(ImportRefused, match="imported into this store before"):
        imported(tmp_path / "copy", export)
    assert exported(tmp_path / "copy") == export
    done = imported(tmp_path / "copy", export, again=True)
    assert done.messages == len(lines(export))
    assert len(lines(exported(tmp_path / "copy"))) == 2 * done.messages


def test_an_import_that_is_interrupted_is_taken_back(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All or nothing: what several batches have stored is removed in one, and nothing else."""
    monkeypatch.setattr(restoring, "PART_BYTES", 500)
    target = tmp_path / "target"
    with opened(target) as journal:
        append(journal, AddMessage(1, QUEUE, "", 0, b"was there"))
    asked: list[int] = []

    def interrupted() -> bool:
        asked.append(1)
        return len(asked) > 5

    with pytest.raises(Interrupted) as caught:
        imported(target, exported(store), interrupted=interrupted)
    assert caught.value.__notes__ == ["What had been stored was taken back."]
    state = state_of(target)
    assert list(state.queues[QUEUE]) == [1]
    assert list(state.queues) == [QUEUE]
    assert not state.topics
    assert not state.subscriptions
    imported(target, exported(store))
    assert len(state_of(target).queues[QUEUE]) > 5


def test_an_import_that_was_killed_goes_on_where_it_ended(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill in the middle the same import adds the rest: nothing is missing, nothing twice."""
    monkeypatch.setattr(restoring, "PART_BYTES", 500)
    export = exported(store)
    stored = restoring._Owner.store
    calls: list[int] = []

    class Killed(BaseException):
        """As if the process were gone."""

    def dies(self: Any, journal: Journal, records: Any) -> None:
        calls.append(1)
        if len(calls) == 4:
            raise Killed
        stored(self, journal, records)

    monkeypatch.setattr(restoring._Owner, "store", dies)
    with pytest.raises(Killed):
        imported(tmp_path / "copy", export)
    partly = len(lines(exported(tmp_path / "copy")))
    assert 0 < partly < len(lines(export))
    done = imported(tmp_path / "copy", export)
    assert (done.earlier, done.messages) == (partly, len(lines(export)) - partly)
    assert exported(tmp_path / "copy") == export


def test_a_full_disk_is_noticed_before_anything_is_stored(store: Path, tmp_path: Path) -> None:
    """An export that does not fit is refused, with a sentence that says so, and nothing of it is stored."""
    export = exported(store)

    class FullFiles(PosixFiles):
        """A disk with a few bytes left."""

        def free_bytes(self) -> int:
            """Next to nothing."""
            return 1

    contents = read_through(io.BytesIO(export), Progress())
    contents.body_bytes = 1 << 30
    (tmp_path / "copy").mkdir()
    with pytest.raises(StoreFull, match="full"):
        restore(
            tmp_path / "copy",
            io.BytesIO(export),
            contents,
            owner="x",
            files=FullFiles(tmp_path / "copy"),
            options=SMALL_RESERVE,
        )
    assert not state_of(tmp_path / "copy").queues


def test_an_export_that_changes_while_it_is_imported_is_taken_back(store: Path, tmp_path: Path) -> None:
    """The second reading is compared with the first."""
    export = exported(store)
    contents = read_through(io.BytesIO(export), Progress())
    (tmp_path / "copy").mkdir()
    other = exported(store, "orders.*")
    with pytest.raises(ExportInvalid, match="changed while it was imported"):
        restore(tmp_path / "copy", io.BytesIO(other), contents, owner="x", options=SMALL_RESERVE)
    assert not state_of(tmp_path / "copy").queues


def test_scheduled_messages_are_exported_and_imported(tmp_path: Path) -> None:
    """A message that is due later comes along with its body, its time as it is now, and its repetitions."""
    store = tmp_path / "store"
    store.mkdir()
    with opened(store) as journal:
        append(journal, *(AddScheduled(ref, "p", ref, b"%d" % ref, 1_000 * ref, -1) for ref in (1, 2, 3)))
        append(journal, Reschedule(1, 9_000, 4), RemoveMessage(2, SCHEDULED), AddDestination(QUEUE))
    assert main(["verify", str(store)]) == 0
    export = exported(store)
    assert [(each["ref"], each["due_ms"], each["repeats"]) for each in lines(export)] == [
        (1, 9_000, 4),
        (3, 3_000, -1),
    ]
    imported(tmp_path / "copy", export)
    state = state_of(tmp_path / "copy")
    assert [(ref, state.due(ref)) for ref in state.scheduled] == [(1, (9_000, 4)), (3, (3_000, -1))]
    assert list(state.queues) == [QUEUE]
    with opened(tmp_path / "copy") as journal:
        assert [journal.read(ref, SCHEDULED) for ref in (1, 3)] == [b"1", b"3"]


def test_a_scheduled_message_without_its_time_is_no_export(tmp_path: Path) -> None:
    """A line that does not say when the message is due is refused before the store is touched."""
    store = tmp_path / "store"
    store.mkdir()
    with opened(store) as journal:
        append(journal, AddScheduled(1, "", 0, b"x", 1_000, 0))
    with pytest.raises(ExportInvalid, match="`due_ms`"):
        imported(tmp_path / "copy", exported(store).replace(b'"due_ms":1000,', b""))


def test_a_damaged_message_is_told_by_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message that cannot be read is named, the others are exported, and the exit code is 1."""
    store = tmp_path / "store"
    for _ in range(3):
        fill(store, 60)
    inspection = inspect_files(PosixFiles(store), str(store))
    cold = next(each for each in inspection.data_files if each.live_bytes > 1000)
    places = {
        (name, ref): place
        for name, messages in inspection.state.queues.items()
        for ref, place in messages.entries_after(-1)
    }
    name, ref = next(
        key
        for key, place in places.items()
        if f"data-{place.location >> 44:06d}-{place.location >> 29 & 0x7FFF:06d}" == cold.name
    )
    place = places[name, ref]
    flip(store / cold.name, (place.location & (1 << 29) - 1) + place.length - 1)
    assert main(["export", str(store), str(tmp_path / "out.jsonl")]) == 1
    out = capsys.readouterr().out
    assert f"lost: message {ref} of {name}: damaged: {store / cold.name}" in out
    assert "CANNOT BE READ" in out
    export = (tmp_path / "out.jsonl").read_bytes()
    assert lines(export, "end")[0]["damaged"] == 1
    done = imported(tmp_path / "copy", export)
    assert done.messages == len(places) - 1 + sum(map(len, inspection.state.topics.values()))


@pytest.mark.parametrize(
    ("owner", "runs", "said"),
    [
        ("broker (pid 17 on here)", lambda _pid, _host: True, "is running"),
        ("broker (pid 17 on there)", lambda _pid, _host: None, "--take-over"),
        ("somebody", lambda _pid, _host: False, "--take-over"),
        ("broker (pid 17 on here)", lambda _pid, _host: False, ""),
    ],
)
def test_a_store_whose_master_may_run_is_refused(
    owner: str, runs: Callable[[int, str], bool | None], said: str, tmp_path: Path
) -> None:
    """A master that runs, or of which nobody knows, is not fenced by an import; a dead one is."""
    journal = open_journal(tmp_path / "store", SMALL, owner)
    append(journal, AddMessage(1, QUEUE, "", 0, b"x"))
    inspection = inspect_files(PosixFiles(tmp_path / "store"), "here")
    try:
        if said:
            with pytest.raises(StoreInUse, match=said):
                refuse_running(inspection, runs)
        else:
            refuse_running(inspection, runs)
    finally:
        journal.close(10)
    closed = inspect_files(PosixFiles(tmp_path / "store"), "here")
    assert closed.closed
    refuse_running(closed, runs)
