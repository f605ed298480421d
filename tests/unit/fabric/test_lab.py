"""The walk-through's own arithmetic, and how it shows that a command failed."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fabric import lab
from fabric.home import Home
from fabric.lab import ClientRun, CommandFailed, Commands, longest_gap_ms


def scripted(folder: Path, name: str, script: str) -> Commands:
    """The command line with one program that does what the test says."""
    commands = Commands(folder / "home", {})
    commands.folder = folder
    program = folder / name
    program.write_text(f"#!{sys.executable}\n{script}\n", "utf-8")
    program.chmod(0o755)
    return commands


def test_gap_is_the_longest_after_a_moment() -> None:
    """Only gaps that end after the fault count."""
    assert longest_gap_ms([0.0, 5.0, 5.1, 5.4, 5.5], after=5.0) == pytest.approx(300)


def test_gap_without_sends() -> None:
    """No sends, no gap."""
    assert longest_gap_ms([], after=0) == 0


def test_numbers_of_sent_messages(tmp_path: Path) -> None:
    """Messages are counted by the lines that the client prints for them."""
    lines = "[x] : Thread-0 Sent: test message: 0\\nother\\n[x] : Thread-0 Sent: test message: 12"
    commands = scripted(tmp_path, "mq-client", f"print('{lines}')")
    run = ClientRun(commands.start("mq-client"))
    run.wait(timeout_s=10)
    assert [number for _, number in run.numbers("Sent:")] == [0, 12]
    assert run.numbers("Received") == []


def test_failed_command_shows_what_it_printed(tmp_path: Path) -> None:
    """A step that fails shows the command, its exit code and its words."""
    commands = scripted(tmp_path, "fabric", "print('no such thing'); raise SystemExit(3)")
    with pytest.raises(CommandFailed, match=r"`fabric status` ended with exit code 3:\nno such thing"):
        commands.run("fabric", "status")


def test_slow_command_is_given_up(tmp_path: Path) -> None:
    """A command that hangs does not hang the walk-through."""
    commands = scripted(tmp_path, "fabric", "import threading; threading.Event().wait(60)")
    with pytest.raises(CommandFailed, match=r"`fabric status` did not end within 0.2 s"):
        commands.run("fabric", "status", timeout_s=0.2)


def test_failed_client_shows_its_last_words(tmp_path: Path) -> None:
    """A client that ends badly is quoted."""
    commands = scripted(tmp_path, "mq-client", "print('refused'); raise SystemExit(2)")
    run = ClientRun(commands.start("mq-client"))
    with pytest.raises(CommandFailed, match=r"exit code 2:\nrefused"):
        run.wait(timeout_s=10)


def test_master_and_slaves(tmp_path: Path) -> None:
    """The master is read from the table of the cluster."""
    rows = [
        {"id": "root", "masters": ["root"], "slaves": []},
        {"id": "tolerantbroker", "masters": ["b2"], "slaves": ["b"]},
    ]
    commands = scripted(tmp_path, "fabric", f"print('{json.dumps(rows)}')")
    assert (commands.master(), commands.slaves()) == ("b2", ["b"])


def test_stop_without_a_fabric(tmp_path: Path) -> None:
    """Ending a lab that does not run says so, and is no error."""
    result = CliRunner().invoke(lab.main, ["--stop"], env={"LAB_HOME": str(tmp_path / "none")})
    assert (result.exit_code, result.output) == (0, "No such fabric is running.\n")


def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path: Path) -> None:
    """The error names the variable that chooses another one."""
    (tmp_path / "file").touch()
    done = CliRunner().invoke(lab.main, env={"LAB_HOME": str(tmp_path / "file" / "home")})
    assert done.exit_code == 1
    assert "Choose another folder with LAB_HOME." in done.output
    assert "1. " not in done.output


def test_the_console_of_a_fabric_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its root container is started; then the address and the login are said."""
    home = tmp_path / "home"
    commands = scripted(
        tmp_path, "fabric", "import sys; print('http://here:8181' if 'zk-get' in sys.argv else '')"
    )
    monkeypatch.setattr(Home, "has_fabric", lambda self: True)
    monkeypatch.setattr(lab, "Commands", lambda *_: commands)
    result = CliRunner().invoke(lab.main, ["--console"], env={"LAB_HOME": str(home)})
    assert result.exit_code == 0, result.output
    assert "is down, and is started" in result.output
    assert "http://here:8181" in result.output
    assert "User admin, password admin." in result.output
