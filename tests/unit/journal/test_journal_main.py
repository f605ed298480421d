"""`python -m journal`."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.journal_stores import append, fill, fingerprint
from support.waiting import wait_until

from journal import __main__ as tool
from journal import progress as progress_module
from journal.__main__ import main
from journal.batch import encode_file_header
from journal.errors import StoreReadOnly
from journal.files import PosixFiles
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
    wait_until((directory / "reserve-1").exists, message="the reserve of the disk")
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


def test_inspect_lists_the_records_of_a_file(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each record is shown with its place and what it says, but for the body."""
    assert main(["inspect", str(store), "--records"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "data-000001-000000"
    kinds = [line.split()[3] for line in lines[2:]]
    assert kinds[:3] == ["epoch-begin", "memory", "epoch-begin"]
    assert kinds[3:7] == ["add-subscription", "add-message", "add-message", "add-message"]
    assert kinds[-1] == "epoch-end"
    assert any(f"destination={QUEUE}" in line and "body_bytes=10" in line for line in lines)


def test_inspect_lists_records_as_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get the same, and are told whether there is more."""
    arguments = ["inspect", str(store), "--records", "--file", "data-000001-000000", "--json"]
    assert main([*arguments, "--limit", "5"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["more"] is True
    assert found["records"][4]["kind"] == "add-message"
    assert found["records"][4]["ref"] == 1
    assert main([*arguments, "--limit", "0"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["more"] is False
    assert found["records"][0]["owner"] == "brokercontainer"


def test_inspect_says_when_there_are_more_records(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A listing that was cut says so."""
    assert main(["inspect", str(store), "--records", "--limit", "2"]) == 0
    assert "--limit 0 shows all" in capsys.readouterr().out


def test_inspect_lists_damaged_regions(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be read is a line of the listing, followed by the records in it that are whole."""
    file = store / "data-000001-000000"
    data = bytearray(file.read_bytes())
    data[data.index(b"first body")] ^= 1
    file.write_bytes(data)
    assert main(["inspect", str(store), "--records", "--json"]) == 0
    kinds = [each["kind"] for each in json.loads(capsys.readouterr().out)["records"]]
    assert "damaged" in kinds


@pytest.mark.parametrize("name", ["data-000009-000000", "claim-1", "../x"])
def test_a_wrong_data_file_is_said_so(name: str, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only data files of this store have records."""
    assert main(["inspect", str(store), "--records", "--file", name]) == 2
    assert f"no data file {name}" in capsys.readouterr().err


def test_stats_shows_what_is_queued_and_what_takes_the_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Destinations, subscriptions, live and dead bytes of each data file, and the bound of P9."""
    for _ in range(2):
        fill(tmp_path / "store", 60)
    assert main(["stats", str(tmp_path / "store")]) == 0
    out = capsys.readouterr().out
    assert "within" in out
    assert "queue://orders.new" in out
    assert main(["stats", str(tmp_path / "store"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["within_bound"] is True
    assert found["live_bytes"] == sum(each["bytes"] for each in found["destinations"])
    assert found["live_bytes"] == sum(each["live_bytes"] for each in found["files"])
    assert found["bound_bytes"] == 2 * found["live_bytes"] + 64 * 1024 * 1024
    assert found["disk_bytes"] >= found["data_bytes"] > 0
    assert found["producers"] == 4
    first = found["destinations"][0]
    assert 0 < first["oldest_ref"] < first["newest_ref"] < found["next_ref"]
    gold = next(each for each in found["subscriptions"] if each["name"] == "gold")
    assert gold["pending"] > 5
    assert gold["oldest_ref"] > 0


def test_export_and_import_on_the_command_line(
    store: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Through files and through standard input and output, with a line that says what was done."""
    assert main(["export", str(store)]) == 0
    captured = capsysbinary.readouterr()
    assert b"exported 3 messages" in captured.err
    assert main(["export", str(store), str(tmp_path / "out.jsonl")]) == 0
    assert b"exported 3 messages" in capsysbinary.readouterr().out
    assert (tmp_path / "out.jsonl").read_bytes() == captured.out
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600
    (tmp_path / "copy").mkdir()
    assert main(["import", str(tmp_path / "copy"), str(tmp_path / "out.jsonl"), "--check"]) == 0
    assert b"checked, nothing stored: 3 messages" in capsysbinary.readouterr().out
    assert list((tmp_path / "copy").iterdir()) == []
    assert main(["import", str(tmp_path / "copy"), str(tmp_path / "out.jsonl"), "--json"]) == 0
    done = json.loads(capsysbinary.readouterr().out)
    assert (done["messages"], done["earlier"], done["shift"]) == (3, 0, 0)
    assert main(["export", str(tmp_path / "copy"), "-"]) == 0
    assert capsysbinary.readouterr().out == captured.out


def test_import_reads_standard_input(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An export may come through a pipe, although it is read twice."""
    assert main(["export", str(store), str(tmp_path / "out.jsonl")]) == 0
    (tmp_path / "copy").mkdir()
    stdin = SimpleNamespace(buffer=io.BytesIO((tmp_path / "out.jsonl").read_bytes()))
    monkeypatch.setattr(tool.sys, "stdin", stdin)
    assert main(["import", str(tmp_path / "copy")]) == 0
    assert "imported 3 messages" in capsys.readouterr().out


def test_export_overwrites_nothing_by_accident(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is there stays, a store is no place for an export, and a failed one leaves nothing."""
    target = tmp_path / "out.jsonl"
    target.write_text("precious")
    assert main(["export", str(store), str(target)]) == 2
    assert "exists; --force overwrites it" in capsys.readouterr().err
    assert target.read_text() == "precious"
    assert main(["export", str(store), str(target), "--force"]) == 0
    before = fingerprint(store)
    assert main(["export", str(store), str(store / "out.jsonl")]) == 2
    assert "within the store" in capsys.readouterr().err
    assert fingerprint(store) == before
    assert main(["export", str(tmp_path), str(tmp_path / "other.jsonl")]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "store"]
    assert main(["export", str(store), str(tmp_path / "no" / "folder")]) == 2
    assert "No such file or directory" in capsys.readouterr().err


def test_import_refuses_other_directories(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only an empty directory becomes a store; a missing one is not made; a missing file is named."""
    export = tmp_path / "out.jsonl"
    assert main(["export", str(store), str(export)]) == 0
    assert main(["import", str(tmp_path), str(export)]) == 2
    assert "neither empty nor a store: it holds out.jsonl" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "missing"), str(export)]) == 2
    assert "No such file or directory" in capsys.readouterr().err
    (tmp_path / "copy").mkdir()
    assert main(["import", str(tmp_path / "copy"), str(tmp_path / "nowhere")]) == 2
    assert f"{tmp_path / 'nowhere'}: No such file" in capsys.readouterr().err
    export.write_bytes(export.read_bytes()[:-20])
    assert main(["import", str(tmp_path / "copy"), str(export), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "ExportInvalid"
    assert "cut off" in found["error"]
    assert list((tmp_path / "copy").iterdir()) == []


def test_import_refuses_the_store_of_a_running_master(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A master that runs is not disturbed, unless that is wanted: then it is fenced."""
    assert main(["export", str(store), str(tmp_path / "out.jsonl")]) == 0
    failed: list[object] = []
    journal = Journal.open(
        tmp_path / "other",
        owner=f"brokercontainer (pid {os.getpid()} on {socket.gethostname()})",
        post=lambda call: call(),
        on_durable=lambda _: None,
        on_failed=failed.append,
        options=JournalOptions(create=True, reserve_bytes=1000),
    )
    append(journal, AddMessage(1, QUEUE, "", 0, b"x"))
    before = fingerprint(tmp_path / "other")
    arguments = ["import", str(tmp_path / "other"), str(tmp_path / "out.jsonl")]
    for options in ([], ["--check"]):
        assert main([*arguments, *options]) == 2
        assert "the store's master is running: brokercontainer" in capsys.readouterr().err
    assert fingerprint(tmp_path / "other").keys() == before.keys()
    assert not failed
    assert main([*arguments, "--take-over"]) == 0
    wait_until(lambda: failed)
    journal.close(10)


class Terminal(io.StringIO):
    """Standard error of somebody who looks on."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["inspect"], "reading the store's log"),
        (["stats"], "reading the store's log"),
        (["verify"], "verifying ["),
        (["export", "COPY", "--force"], "exporting messages ["),
        (["import", "COPY", "--check"], "checking the export ["),
        (["import", "COPY"], "importing ["),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_long_work_shows_how_far_it_is(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], what: str
) -> None:
    """Every command that reads or writes a whole store draws a bar, for a terminal only."""
    export = tmp_path / "export.jsonl"
    assert main(["export", str(store), str(export)]) == 0
    empty = tmp_path / "empty"
    empty.mkdir()
    command, *options = [str(export) if word == "COPY" else word for word in words]
    monkeypatch.setattr(progress_module, "FIRST_S", -1.0)  # so long lasts what is short
    monkeypatch.setattr(progress_module, "INTERVAL_S", 0.0)
    for stream in (Terminal(), io.StringIO()):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            assert main([command, str(empty if command == "import" else store), *options]) == 0
        assert (what in stream.getvalue()) is stream.isatty()
        shutil.rmtree(empty)
        empty.mkdir()


def test_a_newer_store_is_left_alone(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store of a later version is not guessed about, and says what to do."""
    import journal.batch as batch_module

    file = store / "data-000001-000000"
    version = batch_module.FORMAT_VERSION
    try:
        batch_module.FORMAT_VERSION = version + 1  # type: ignore[misc] # of the software that writes it
        header = encode_file_header(batch_module.FileHeader(1, 0, 7))
    finally:
        batch_module.FORMAT_VERSION = version  # type: ignore[misc] # as above
    file.write_bytes(header + file.read_bytes()[64:])
    for command in ("inspect", "verify", "stats", "export"):
        assert main([command, str(store)]) == 2
        assert "use a newer version" in capsys.readouterr().err


def test_a_store_that_may_not_be_read_is_said_so(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without permission nothing is read, and the sentence says what is needed."""

    def read(self: PosixFiles, name: str, offset: int, length: int) -> bytes:
        raise StoreReadOnly(f"cannot read {name}: Permission denied; access is needed")

    monkeypatch.setattr(PosixFiles, "read", read)
    for command in ("inspect", "verify", "stats", "export"):
        assert main([command, str(store)]) == 2
        assert "Permission denied" in capsys.readouterr().err


def test_names_cannot_move_the_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What clients call their queues is shown without control characters."""
    journal = open_journal(tmp_path / "store")
    append(journal, AddMessage(1, "queue://\x1b[2Jevil\n\ud800", "", 0, b"x"))
    journal.close(10)
    assert main(["inspect", str(tmp_path / "store")]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "queue://\\x1b[2Jevil\\n\\ud800" in out


def run_tool(*arguments: str, **options: object) -> subprocess.Popen[str]:
    """The tool as a process."""
    command = [sys.executable, "-m", "journal", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return] # options of a process


def test_ctrl_c_ends_at_once_and_cleanly(store: Path, tmp_path: Path) -> None:
    """No traceback, exit code 130, and no half file."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "copy").mkdir()
    process = run_tool("import", str(tmp_path / "copy"), str(tmp_path / "pipe"))
    with (tmp_path / "pipe").open("wb"):  # it has opened the other end, and waits for the first line
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "journal: interrupted\n")
    assert list((tmp_path / "copy").iterdir()) == []


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """`export | head` ends quietly, with the shell's exit code for a closed pipe."""
    fill(tmp_path / "store", 300)
    with run_tool("export", str(tmp_path / "store")) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.wait(20)
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_the_first_ctrl_c_of_an_import_is_a_wish() -> None:
    """While a store is ours it is given up properly; afterwards Ctrl-C is what it was."""
    before = signal.getsignal(signal.SIGINT)
    with tool._asked_to_end() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(interrupted)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before


def test_an_import_as_another_user_is_told(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broker could not write what another user has made: the person at the terminal learns it now."""
    assert main(["export", str(store), str(tmp_path / "out.jsonl")]) == 0
    (tmp_path / "copy").mkdir()
    monkeypatch.setattr(tool.os, "geteuid", lambda: 12345)
    assert main(["import", str(tmp_path / "copy"), str(tmp_path / "out.jsonl")]) == 0
    assert "belongs to another user" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["-1", "x", ""])
def test_a_limit_is_a_number(text: str, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is no count is refused with the usage."""
    with pytest.raises(SystemExit) as exit_:
        main(["inspect", str(store), "--records", "--limit", text])
    assert exit_.value.code == 2
    assert "is no number of records" in capsys.readouterr().err


def test_processes_are_looked_for_on_this_host_only() -> None:
    """Ours runs, one that has ended does not, and of another host nobody knows."""
    here = socket.gethostname()
    assert tool._runs(os.getpid(), here) is True
    assert tool._runs(os.getpid(), here + ".else") is None
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(20)
    assert tool._runs(process.pid, here) is False
