"""What a check of `fabric doctor` is, and what it may say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fabric.doctor.scene import Scene


class State(Enum):
    """How something is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and may not for long, or less well than it should."""
    PROBLEM = "problem"
    """It does not work, or a promise does not hold with it."""
    NOT_CHECKED = "not checked"
    """It could not be looked at, for the reason given."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found out about one thing.

    Attributes:
        state: how it is.
        what: a sentence that names the thing.
        do_next: what to do about it, a sentence; empty if there is nothing to do.
    """

    state: State
    what: str
    do_next: str = ""


def ok(what: str) -> Verdict:
    """It is as it should be."""
    return Verdict(State.OK, what)


def warning(what: str, do_next: str) -> Verdict:
    """It works, but."""
    return Verdict(State.WARNING, what, do_next)


def problem(what: str, do_next: str) -> Verdict:
    """It does not work."""
    return Verdict(State.PROBLEM, what, do_next)


def not_checked(what: str, do_next: str = "") -> Verdict:
    """It could not be looked at."""
    return Verdict(State.NOT_CHECKED, what, do_next)


Verdicts = Iterator[Verdict]


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: `<family>.<what>`, as `--only` takes it.
        summary: what it looks at, for `--list`.
        examine: does it; blocks; may raise `OSError`, `FabricError` and `RegistryError`, which become
            verdicts.
        needs_registry: it is not asked while the registry cannot be reached.
    """

    name: str
    summary: str
    examine: Callable[[Scene], Verdicts]
    needs_registry: bool = False

    @property
    def family(self) -> str:
        """The first part of its name."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Result:
    """A verdict with the check that gave it."""

    check: str
    verdict: Verdict

    def to_json(self) -> dict[str, str]:
        """For programs."""
        return {
            "check": self.check,
            "state": self.verdict.state.value,
            "what": self.verdict.what,
            "do_next": self.verdict.do_next,
        }
