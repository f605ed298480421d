"""`python -m journal verify`: finds what is damaged anywhere that counts, and says what that costs."""

import json
import random
from pathlib import Path

import pytest
from support.journal_stores import QUEUE, SMALL, append, fill, fingerprint, flip, open_journal, opened
from support.store_histories import StoreHistory

from journal.__main__ import main
from journal.bodies import Bodies
from journal.errors import JournalError, MessageDamaged
from journal.fence import data_files
from journal.files import PosixFiles
from journal.inspection import inspect_files
from journal.record import AddMessage
from journal.verification import Verification, verify_files


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of several masters, several data files each."""
    directory = tmp_path / "store"
    for _ in range(3):
        fill(directory, 60)
    return directory


def verified(directory: Path) -> Verification:
    """What is found."""
    return verify_files(PosixFiles(directory), str(directory))


def cold_file(directory: Path) -> Path:
    """A data file that recovery does not read any more, and in which live messages stand."""
    inspection = inspect_files(PosixFiles(directory), str(directory))
    facts = next(each for each in inspection.data_files if each.live_bytes > 1000)
    assert inspection.report.checkpoint
    return directory / facts.name


def test_a_whole_store_is_sound(store: Path) -> None:
    """Every live message is found at its place, in the data files that recovery does not read, too."""
    found = verified(store)
    assert found.sound
    inspection = found.inspection
    places = [*inspection.state.queues.values(), *inspection.state.topics.values()]
    assert found.messages == sum(map(len, places)) > 100
    assert found.checkpoints == 2
    assert found.files > 2
    assert found.records > inspection.report.records


def test_a_flipped_bit_in_a_cold_file_is_found(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A message that cannot be read is named, with file and offset, although recovery never reads there."""
    file = cold_file(store)
    inspection = inspect_files(PosixFiles(store), str(store))
    key = data_files([file.name])[0]
    place = next(
        place
        for messages in inspection.state.queues.values()
        for _, place in messages.entries_after(-1)
        if (place.location >> 44, place.location >> 29 & 0x7FFF) == key
    )
    flip(file, (place.location & (1 << 29) - 1) + place.length - 3)
    assert not inspect_files(PosixFiles(store), str(store)).report.damages
    before = fingerprint(store)
    assert main(["verify", str(store), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["sound"] is False
    assert found["lost_messages"] == 1
    assert found["lost"][0]["file"] == str(file)
    assert found["lost"][0]["offset"] == place.location & (1 << 29) - 1
    assert [each["kind"] for each in found["damages"]] == ["damaged"]
    assert found["damages"][0]["advice"]
    assert main(["verify", str(store)]) == 1
    out = capsys.readouterr().out
    assert f"damaged: {file}, " in out
    assert "lost: message " in out
    assert "to do: " in out
    assert fingerprint(store) == before


@pytest.mark.parametrize("which", [0, 1])
def test_a_damaged_checkpoint_is_found(which: int, store: Path) -> None:
    """Either of the two checkpoints that count is read; its damage loses nothing, and is told."""
    names = sorted(path.name for path in store.glob("checkpoint-*"))
    file = store / names[which]
    flip(file, file.stat().st_size - 5)
    found = verified(store)
    assert [(each.kind, each.file) for each in found.findings] == [("checkpoint", str(file))]
    assert found.lost_count == 0
    assert found.findings[0].lost == "Nothing."


def test_a_damaged_file_header_is_found(store: Path) -> None:
    """The header of a data file counts, even if its batches say the same."""
    file = cold_file(store)
    flip(file, 20)
    found = verified(store)
    assert [(each.kind, each.file, each.offset) for each in found.findings] == [("header", str(file), 0)]
    assert found.lost_count == 0


def test_a_missing_cold_file_is_found(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A data file that somebody removed is missed for the live messages in it, which are counted."""
    file = cold_file(store)
    file.unlink()
    found = verified(store)
    assert [(each.kind, each.file) for each in found.findings] == [("missing", str(file))]
    assert int(found.findings[0].lost.split()[0]) > 3
    assert main(["verify", str(store)]) == 1
    assert f"missing: {file}" in capsys.readouterr().out


def test_a_record_that_is_not_what_its_batch_says_is_found(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record whose own checksum is wrong in a whole batch was damaged before it was written: told, too."""
    from journal import walk

    whole = walk.whole_record_at
    calls = []

    def once(data: bytes, position: int, end: int, seed: int) -> int:
        calls.append(position)
        return 0 if len(calls) == 20 else whole(data, position, end, seed)

    monkeypatch.setattr(walk, "whole_record_at", once)
    found = verified(store)
    assert [each.kind for each in found.findings] == ["record"]


def test_a_store_whose_seals_are_lost_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If nobody can say what counts, that is damage, and not a wrong path."""
    directory = tmp_path / "store"
    fill(directory)
    file = directory / "data-000001-000000"
    data = file.read_bytes()
    file.write_bytes(data[:64] + bytes(300) + data[364:])
    assert main(["verify", str(directory)]) == 1
    assert "beyond repair" in capsys.readouterr().err
    assert main(["inspect", str(directory)]) == 2


def test_quarantined_copies_are_mentioned(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Copies of earlier damage are told, and the store is sound."""
    (store / "quarantine-000001-000000-64").write_bytes(b"x")
    assert main(["verify", str(store)]) == 0
    assert "1 quarantine files" in capsys.readouterr().out


@pytest.mark.parametrize("seed", range(40))
def test_no_flipped_byte_goes_unnoticed(seed: int) -> None:
    """Whatever byte of what counts is changed, either something is reported or it changes nothing at all."""
    history = StoreHistory(seed)
    history.run(4)
    whole = verify_files(history.files, "here")
    assert whole.sound
    chance = random.Random(seed)
    counting = [each.name for each in whole.inspection.data_files if each.role != "ignored"]
    name = chance.choice(counting)
    content = history.disk.files[name].content
    at = chance.randrange(64, len(content))
    history.disk.corrupt(name, at, bytes([content[at] ^ 64]))
    try:
        found = verify_files(history.files, "here")
    except JournalError:
        return
    if not found.sound:
        return
    states = whole.inspection.state, found.inspection.state
    if states[0].queues != states[1].queues or states[0].topics != states[1].topics:
        # the last batch, which may not have been acknowledged
        assert found.inspection.report.torn is not None
        assert found.inspection.report.torn[0].endswith(
            whole.inspection.end[0] if whole.inspection.end else ""
        )


def test_verify_looks_at_a_running_master(tmp_path: Path) -> None:
    """The store of a master that has just written is sound, and nothing in it has changed."""
    directory = tmp_path / "store"
    journal = open_journal(directory, SMALL)
    append(journal, AddMessage(1, QUEUE, "", 0, b"x"))
    found = verified(directory)
    assert found.sound
    assert found.messages == 1
    journal.close(10)
    with opened(directory) as again:
        assert again.read(1, QUEUE) == b"x"


@pytest.mark.parametrize("seed", range(30))
def test_lost_are_the_messages_that_cannot_be_read(seed: int) -> None:
    """What `verify` lists as lost is exactly what a broker could not deliver."""
    history = StoreHistory(seed)
    history.run(4, 80)
    chance = random.Random(seed)
    state = verify_files(history.files, "here").inspection.state
    places = [place for messages in state.queues.values() for _, place in messages.entries_after(-1)]
    for place in chance.sample(places, min(len(places), 3)):
        name = f"data-{place.location >> 44:06d}-{place.location >> 29 & 0x7FFF:06d}"
        offset = place.location & (1 << 29) - 1
        at = offset + chance.randrange(place.length)
        history.disk.corrupt(name, at, bytes([history.disk.files[name].content[at] ^ 1]))
    try:
        found = verify_files(history.files, "here")
    except JournalError:
        return
    bodies = Bodies(history.files, found.inspection.state.salts)
    lost = set()
    state = found.inspection.state
    for name, messages in (*state.queues.items(), *state.topics.items()):
        for ref, place in messages.entries_after(-1):
            try:
                bodies.read(place)
            except MessageDamaged:
                lost.add((name, ref))
    assert {(each.destination, each.ref) for each in found.lost} == lost
    assert found.lost_count == len(lost)
