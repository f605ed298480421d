"""Limits of the host: open files, memory, and processors that halt as soon as they wait."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from fabric.doctor.model import Check, Verdict, Verdicts, not_checked, ok, problem, warning
from fabric.doctor.scene import HALT_POLL, HALT_POLL_NS
from fabric.processes import running_process

if TYPE_CHECKING:
    from fabric.doctor.scene import Scene

FILES_PROBLEM: Final = 1024
FILES_WARNING: Final = 8192
"""A broker admits 1,000 connections on each connector unless it is told otherwise."""
MEMORY_MIB_PROBLEM: Final = 128
MEMORY_MIB_WARNING: Final = 512
"""ZooKeeper takes up to 128 MiB of heap, a container 60 and what its messages need."""


def open_files(scene: Scene) -> Verdicts:
    """How many files, and so connections, containers may have open: each raises its limit to the hard one."""
    processes = {"A process that is started here": 0}
    for name in scene.home.container_names():
        process = running_process(scene.home.container(name))
        if process is not None:
            processes[f"Container {name}"] = process.pid
    for who, pid in processes.items():
        with contextlib.suppress(ProcessLookupError):
            yield _files_verdict(who, scene.machine.open_files(pid)[1])


def _files_verdict(who: str, hard: int) -> Verdict:
    if hard < 0:
        return ok(f"{who} may have any number of files open.")
    what = f"{who} may have {hard} files open, which limits the connections to a broker."
    raise_it = "Raise it: `nofile` in /etc/security/limits.conf, or LimitNOFILE= of the systemd unit."
    if hard <= FILES_PROBLEM:
        return problem(what, raise_it)
    return warning(what, raise_it) if hard < FILES_WARNING else ok(what)


def memory(scene: Scene) -> Verdicts:
    """What memory is left."""
    fields = dict(line.split(":", 1) for line in scene.machine.meminfo().splitlines() if ":" in line)
    text = fields.get("MemAvailable", "").split()
    if not text or not text[0].isdigit():
        yield not_checked("The system does not say how much memory is available.")
        return
    available_mib = int(text[0]) // 1024
    what = f"{available_mib} MiB of memory are available."
    if available_mib < MEMORY_MIB_PROBLEM:
        yield problem(f"{what} The system may end processes.", "End what is not needed, or add memory.")
    elif available_mib < MEMORY_MIB_WARNING:
        yield warning(what, "A further container with a broker may not fit.")
    else:
        yield ok(what)


def halting(scene: Scene) -> Verdicts:
    """Whether processors that wait for the disk or a client halt at once."""
    try:
        driver, poll_ns = scene.machine.halting()
    except FileNotFoundError:
        yield not_checked("The system does not say how its processors wait.")
        return
    if driver != HALT_POLL:
        yield ok(f"Processors wait as {driver} has them.")
    elif poll_ns:
        yield ok(f"Processors look for work for {poll_ns / 1000:g} µs before they halt.")
    else:
        yield warning(
            "The processors of this virtual machine halt as soon as they wait. A producer that waits for each"
            " message sends a fifth less.",
            f"As root: `echo 200000 > {HALT_POLL_NS}`; docs/howto/tune-a-host.md says what that costs.",
        )


CHECKS: Final = (
    Check("limit.files", "open files of a process", open_files),
    Check("limit.memory", "memory that is left", memory),
    Check("limit.halting", "processors that halt as soon as they wait", halting),
)
