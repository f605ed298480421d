"""Commands and their expected output in Markdown, executed: every fenced block of the language `console`.

A line that begins with `$ ` is typed into one shell that lives through the whole document; what follows it is
what the command must print. `...` alone on a line stands for any lines, `...` within a line for anything in
that line, and spaces between columns may be more or fewer. A block marked `console repeat` is typed again
until it prints what is expected, as a person would who waits for something.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from support.waiting import wait_until

COMMAND_TIMEOUT_S = 120.0
REPEAT_TIMEOUT_S = 60.0
END = "end of command"


@dataclass(frozen=True, slots=True)
class Step:
    """One command, its expected output, and where it stands."""

    line: int
    command: str
    expected: str
    repeat: bool


def steps(markdown: str) -> Iterator[Step]:
    """All commands of a document, in their order."""
    fence: str | None = None
    command: tuple[int, str] | None = None
    expected: list[str] = []

    def finished() -> Iterator[Step]:
        if command is not None:
            yield Step(command[0], command[1], "\n".join(expected), fence == "repeat")

    for number, line in enumerate(markdown.splitlines(), start=1):
        opening = re.fullmatch(r"```console ?(\w*)", line)
        if opening:
            fence, command, expected = opening[1], None, []
        elif fence is None:
            continue
        elif line == "```":
            yield from finished()
            fence, command = None, None
        elif line.startswith("$ "):
            yield from finished()
            command, expected = (number, line[2:]), []
        elif line.startswith("> ") and command is not None and not expected:
            command = (command[0], f"{command[1]}\n{line[2:]}")
        else:
            expected.append(line)


def matches(expected: str, printed: str) -> bool:
    """Whether the output is what the document shows."""
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            words = re.split(r"(\.\.\.| +)", line.rstrip())
            pattern += "".join(pattern_of(word) for word in words) + r"[ ]*\n"
    return re.fullmatch(pattern, printed.rstrip("\n") + "\n" if printed.strip() else "") is not None


def pattern_of(word: str) -> str:
    """The expression for a word, for the spaces between two, or for `...`."""
    if word == "...":
        return r".*"
    return r" +" if word.startswith(" ") else re.escape(word)


class Shell:
    """A bash that is typed into, command by command; ended with all that it started."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._output = folder / "transcript-output"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(COMMAND_TIMEOUT_S)

    def type(self, command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Type a command and return what it printed, from its start to its end."""
        assert self._process.stdin is not None
        start = self._output.stat().st_size
        self._process.stdin.write(f"{command}\necho '{END}'\n".encode())
        self._process.stdin.flush()

        def printed() -> str | None:
            text = self._output.read_bytes()[start:].decode("utf-8", errors="replace")
            return text if f"{END}\n" in text else None

        text = wait_until(printed, timeout_s, lambda: f"the end of `{command}`") or ""
        return text.replace(f"{END}\n", "")


def execute(shell: Shell, step: Step) -> None:
    """Type one command until it prints what it must, or once.

    Raises:
        AssertionError: it printed something else.
    """
    printed = shell.type(step.command)
    if step.repeat:

        def shown() -> bool:
            nonlocal printed
            if not matches(step.expected, printed):
                printed = shell.type(step.command)
            return matches(step.expected, printed)

        wait_until(shown, REPEAT_TIMEOUT_S, lambda: difference(step, printed))
    assert matches(step.expected, printed), difference(step, printed)


def difference(step: Step, printed: str) -> str:
    """What the document says beside what was printed."""
    return f"line {step.line}: $ {step.command}\nthe document says:\n{step.expected}\nit printed:\n{printed}"
