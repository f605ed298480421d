"""The systemd units: what they hold, and what systemd itself says of them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fabric.systemd import UNITS, Host, UnitsNotWritten, unit_texts, write_units

EXPOSURE_MAX = 5.0
"""Of `systemd-analyze security`: 10 is a service without any protection."""


def host(folder: Path, **given: object) -> Host:
    """A host whose interpreter exists."""
    return Host(folder, "root", Path(sys.executable), **given)  # type: ignore[arg-type]  # as the test says


def test_the_unit_of_the_root_container(tmp_path: Path) -> None:
    """Children outlive it, it is restarted after a failure, and only the fabric's directories are written."""
    text = unit_texts(host(tmp_path, shared=[Path("/shared/a")], environment={"JAVA_HOME": "/opt/java"}))[
        UNITS[0]
    ]
    lines = text.splitlines()
    assert f"ExecStart={sys.executable} -m fabric.container --home {tmp_path} %i" in lines
    for line in ("KillMode=process", "Restart=on-failure", "Type=notify", "NoNewPrivileges=yes", "User=root"):
        assert line in lines
    assert f"ReadWritePaths={tmp_path} /shared/a" in lines
    assert f"RequiresMountsFor={tmp_path} /shared/a" in lines
    assert 'Environment="JAVA_HOME=/opt/java"' in lines
    assert "$" not in text


def test_homes_are_hidden_unless_they_are_needed(tmp_path: Path) -> None:
    """A fabric in somebody's home can still write there."""
    python = Path("/usr/bin/env")
    assert "ProtectHome=yes" in unit_texts(Host(Path("/var/lib/fabric"), "f", python))[UNITS[0]]
    assert "ProtectHome=read-only" in unit_texts(Host(Path("/home/f/fabric"), "f", python))[UNITS[0]]


def test_a_home_that_holds_the_interpreter_is_not_hidden(tmp_path: Path) -> None:
    """The one of a virtual environment is a link, which may lead to somebody's home."""
    link = tmp_path / "python"
    link.symlink_to("/home/f/python")
    assert "ProtectHome=read-only" in unit_texts(Host(Path("/var/lib/fabric"), "f", link))[UNITS[0]]


@pytest.mark.parametrize("path", ["/with blank", "relative", '/quo"te', "/new\nline"])
def test_paths_that_systemd_would_read_otherwise(path: str) -> None:
    """They are refused, with nothing written."""
    with pytest.raises(UnitsNotWritten, match="cannot stand in a unit"):
        unit_texts(Host(Path(path), "f", Path("/usr/bin/python3")))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """It is said how to do it."""
    (tmp_path / "file").touch()
    with pytest.raises(UnitsNotWritten, match="cannot be written"):
        write_units(host(tmp_path), tmp_path / "file" / "units")


@pytest.fixture
def analyze() -> str:
    """Systemd's own look at units."""
    found = shutil.which("systemd-analyze")
    assert found, "systemd-analyze is missing: `./dev` installs it"
    return found


def test_systemd_understands_them(tmp_path: Path, analyze: str) -> None:
    """No unknown key, no value that it would ignore."""
    written = write_units(host(tmp_path / "home"), tmp_path)
    done = subprocess.run(
        [analyze, "verify", "--man=no", *(str(path).replace("@", "@root") for path in _instances(written))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = [line for line in done.stderr.splitlines() if "fabric" in line]
    assert said == [], done.stderr


def _instances(written: list[Path]) -> list[Path]:
    """Templates are verified by an instance: a link to each beside it."""
    for path in written:
        path.with_name(path.name.replace("@", "@root")).symlink_to(path)
    return written


def test_what_a_broken_unit_would_look_like(tmp_path: Path, analyze: str) -> None:
    """The check above can fail."""
    (path,) = [path for path in write_units(host(tmp_path / "home"), tmp_path) if "host" not in path.name]
    path.write_text(path.read_text().replace("KillMode=process", "KillMode=nonsense"))
    _instances([path])
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(path).replace("@", "@root")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "nonsense" in done.stderr


def test_they_are_not_exposed(tmp_path: Path, analyze: str) -> None:
    """Systemd counts what a service could do beyond its work."""
    (path,) = [path for path in write_units(host(tmp_path / "home"), tmp_path) if "host" not in path.name]
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) < EXPOSURE_MAX, done.stdout
