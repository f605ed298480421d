"""The executor of documents reads, types and compares as its description says."""

from pathlib import Path

import pytest
from docs.transcript import Shell, Step, execute, matches, steps

DOCUMENT = """
Text.

```console
$ echo one
one
$ true
```

```
$ not executed
```

```console repeat
$ printf 'a\\n' &&
> echo b
a
b
```
"""


def test_steps() -> None:
    """Only console blocks count; a command may go on in the next line."""
    assert list(steps(DOCUMENT)) == [
        Step(5, "echo one", "one", repeat=False),
        Step(7, "true", "", repeat=False),
        Step(15, "printf 'a\\n' &&\necho b", "a\nb", repeat=True),
    ]


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("", ""),
        ("one", "one\n"),
        ("one...", "one and more\n"),
        ("a  b", "a      b   \n"),
        ("first\n...\nlast", "first\n1\n2\nlast\n"),
        ("first\n...\nlast", "first\nlast\n"),
        ("...", "anything\nat all\n"),
        ("port ... (any)", "port 61616 (any)\n"),
    ],
)
def test_what_matches(expected: str, printed: str) -> None:
    """Ellipses and column spaces are free."""
    assert matches(expected, printed)


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("one", "two\n"),
        ("one", ""),
        ("", "one\n"),
        ("one...", "none\n"),
        ("a b", "ab\n"),
        ("one", "one\ntwo\n"),
    ],
)
def test_what_does_not_match(expected: str, printed: str) -> None:
    """Everything else must be as written."""
    assert not matches(expected, printed)


def test_one_shell_for_all_commands(tmp_path: Path) -> None:
    """Variables live from command to command, and what is printed belongs to its command."""
    with Shell(tmp_path, {}) as shell:
        execute(shell, Step(1, "x=5", "", repeat=False))
        execute(shell, Step(2, "echo $x; echo error >&2", "5\nerror", repeat=False))


def test_repeats_until_it_shows(tmp_path: Path) -> None:
    """A repeated step is typed again until the output is the expected one."""
    with Shell(tmp_path, {}) as shell:
        execute(shell, Step(1, "echo x >> file; wc -l < file", "3", repeat=True))


def test_other_output_is_reported(tmp_path: Path) -> None:
    """A planted difference fails, with the place and both texts."""
    with Shell(tmp_path, {}) as shell, pytest.raises(AssertionError, match=r"line 7(.|\n)*two(.|\n)*one"):
        execute(shell, Step(7, "echo one", "two", repeat=False))
