"""`python -m journal`."""

import json
from pathlib import Path

import pytest

from journal.__main__ import main
from journal.journal import Journal
from journal.options import JournalOptions
from journal.record import AddMessage, AddSubscription

QUEUE = "queue://workshop.test"
TOPIC = "topic://prices"


def open_journal(directory: Path) -> Journal:
    """A master of a store."""
    return Journal.open(
        directory,
        owner="brokercontainer",
        post=lambda call: call(),
        on_durable=lambda _: None,
        on_failed=lambda _: None,
        options=JournalOptions(create=True, file_bytes=10_000),
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A closed store with a few messages."""
    directory = tmp_path / "store"
    journal = open_journal(directory)
    journal.append([AddSubscription("client", "sub", TOPIC, "", False)])
    journal.append(
        [AddMessage(1, QUEUE, "p", 1, b"first body"), AddMessage(2, QUEUE, "p", 2, b"second body")]
    )
    journal.append([AddMessage(3, TOPIC, "p", 3, b"third")])
    journal.close(10)
    return directory


def test_inspect_shows_what_the_store_holds(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An operator sees destinations, subscriptions, files and who is master."""
    assert main(["inspect", str(store)]) == 0
    out = capsys.readouterr().out
    assert "ruling epoch    1 of brokercontainer" in out
    assert f"{QUEUE}         2    129" in out
    assert f"client     sub           {TOPIC}  " in out
    assert "data-000001-000000" in out
    assert "sound: " in out


def test_inspect_prints_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get the same as data."""
    assert main(["inspect", str(store), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["queues"] == {QUEUE: {"messages": 2, "bytes": 129}}
    assert found["topics"] == {TOPIC: {"messages": 1, "bytes": 52}}
    assert found["subscriptions"][0]["pending"] == 1
    assert found["live"] == [1]
    assert found["next_ref"] == 4
    assert found["sound"] is True
    assert found["torn"] is None


def test_looking_at_a_running_master_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store of a running broker may be looked at: no file appears, changes or goes."""
    directory = tmp_path / "store"
    journal = open_journal(directory)
    journal.append([AddMessage(1, QUEUE, "", 0, b"x")])
    journal.flush()
    before = sorted(p.name for p in directory.iterdir())
    assert main(["verify", str(directory)]) == 0
    assert "sound" in capsys.readouterr().out
    assert sorted(p.name for p in directory.iterdir()) == before
    journal.close(10)
    again = open_journal(directory)
    assert again.read(1, QUEUE) == b"x"
    again.close(10)


def test_verify_names_the_damage(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Flipped bits are told with file and offset, by exit code 1, and no quarantine file is made."""
    file = store / "data-000001-000000"
    data = bytearray(file.read_bytes())
    data[data.index(b"first body")] ^= 1
    file.write_bytes(data)
    assert main(["verify", str(store)]) == 1
    out = capsys.readouterr().out
    assert f"damaged: {file}, " in out
    assert "bytes from offset " in out
    assert "DAMAGED" in out
    assert not list(store.glob("quarantine-*"))
    assert main(["verify", "--json", str(store)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["sound"] is False
    assert found["damages"][0]["file"] == str(file)
    assert main(["inspect", str(store)]) == 0


def test_verify_misses_a_deleted_file(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A data file that is not there is damage."""
    (store / "data-000001-000000").unlink()
    assert main(["verify", str(store)]) == 1
    assert "missing: " in capsys.readouterr().out


def test_a_torn_tail_is_no_damage(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was never acknowledged is mentioned, and the store is sound."""
    with (store / "data-000001-000000").open("ab") as file:
        file.write(b"FMQb and a torn batch")
    assert main(["verify", str(store)]) == 0
    assert "torn tail: " in capsys.readouterr().out


@pytest.mark.parametrize("case", ["missing", "a file", "empty"])
def test_what_is_no_store_is_said_so(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong path gives one sentence that names it, and exit code 2."""
    path = tmp_path / "path"
    if case == "a file":
        path.write_text("x")
    elif case == "empty":
        path.mkdir()
    assert main(["verify", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(path) in captured.err
    assert captured.err.count("\n") == 1
    assert main(["verify", str(path), "--json"]) == 2
    assert str(path) in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["inspect"], ["inspect", "x", "--nope"]])
def test_a_wrong_command_line_shows_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Unknown commands and options exit with 2 and the usage."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: python -m journal" in capsys.readouterr().err
