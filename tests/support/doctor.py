"""A host for `fabric doctor` on which nothing is wrong until a test plants it."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from support.memory_session import MemorySession

from fabric.doctor.model import State, Verdict
from fabric.doctor.scene import Machine, Scene, Space
from fabric.ensemble_health import ServerHealth
from fabric.home import Home

GIB = 1024**3
SERVER = ServerHealth("zk:2181", "standalone", "0 / 0 / 1", 3, 90, 0, "3.8.0")


def mount_line(point: Path | str, kind: str, options: str = "rw", super_options: str = "rw") -> str:
    """One line of mountinfo."""
    return f"36 35 98:0 / {point} {options} shared:1 - {kind} /dev/source {super_options}\n"


def healthy_machine(**planted: Any) -> Machine:
    """A machine whose answers are all right, but for those planted."""
    answers: dict[str, Any] = {
        "environment": {},
        "name": "here",
        "now_s": lambda: 1_000_000.0,
        "mountinfo": lambda: mount_line("/", "ext4"),
        "meminfo": lambda: "MemTotal: 9999999 kB\nMemAvailable: 4000000 kB\n",
        "open_files": lambda pid: (1024, 524_288),
        "halting": lambda: ("acpi_idle", 0),
        "space": lambda path: Space(100 * GIB, 50 * GIB),
        "sync_ms": lambda path: 1.0,
        "program": lambda command: 'openjdk version "17.0.9" 2023-10-17',
        "servers": lambda url, channel: [SERVER],
        "port_is_free": lambda host, port: True,
        "shown": lambda address: None,
    }
    return Machine(**{**answers, **planted})


def scene(folder: Path, session: MemorySession | None = None, no_registry: str = "", **planted: Any) -> Scene:
    """A scene with a home that exists."""
    home = Home(folder / "home")
    home.make()
    return Scene(home, healthy_machine(**planted), session, no_registry)  # type: ignore[arg-type]  # a fake


def states(verdicts: Iterable[Verdict]) -> list[State]:
    """How everything is."""
    return [verdict.state for verdict in verdicts]


def only(verdicts: Iterable[Verdict], state: State) -> Verdict:
    """The one verdict of a state."""
    found = [verdict for verdict in verdicts if verdict.state is state]
    assert len(found) == 1, found
    return found[0]


def raising(error: Exception) -> Callable[..., Any]:
    """A function that fails."""

    def fail(*_: object) -> Any:
        raise error

    return fail
