"""The pages about the journal's tool say what the tool does."""

import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from support.journal_stores import QUEUE, append, fill, opened

from journal.__main__ import _parser, main
from journal.record import AddMessage

DOCS = Path(__file__).resolve().parents[2] / "docs"
REFERENCE = (DOCS / "reference" / "journal-tool.md").read_text()
HOW_TO = (DOCS / "howto" / "work-with-a-store.md").read_text()


def command_lines(page: str) -> list[list[str]]:
    """The arguments of every use of the tool in a page's examples."""
    lines = [
        line.strip() for block in re.findall(r"```\n(.*?)```", page, re.DOTALL) for line in block.splitlines()
    ]
    uses = [part for line in lines for part in re.split(r" \| | > ", line) if "python -m journal" in part]
    return [shlex.split(use)[3:] for use in uses]


@pytest.mark.parametrize("arguments", command_lines(HOW_TO), ids=" ".join)
def test_every_example_is_a_command_line(arguments: list[str]) -> None:
    """What the how-to page shows can be typed."""
    assert _parser().parse_args(arguments).path.is_absolute()


def keys(found: Any) -> set[str]:
    """All keys of a JSON value, but for those that are names of destinations."""
    if isinstance(found, list):
        return set().union(*map(keys, found))
    if isinstance(found, dict):
        return {key for key in found if "://" not in key}.union(*map(keys, found.values()))
    return set()


def test_every_key_is_documented(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Each key of each command's JSON, and of an export's lines, stands in the reference."""
    store = tmp_path / "store"
    for _ in range(3):
        fill(store, 60)
    documented = set(re.findall(r"`([a-z0-9_]+)`", REFERENCE))
    commands = ["inspect", "verify", "stats"]
    found: list[Any] = []
    for command in commands:
        assert main([command, str(store), "--json"]) == 0
        found.append(json.loads(capsysbinary.readouterr().out))
    data = next(path for path in sorted(store.glob("data-*")) if path.stat().st_size > 3000)
    content = bytearray(data.read_bytes())
    content[2500] ^= 255
    data.write_bytes(content)
    main(["verify", str(store), "--json"])
    found.append(json.loads(capsysbinary.readouterr().out))
    assert found[-1]["damages"]
    main(["export", str(store), "--json"])
    captured = capsysbinary.readouterr()
    found.append(json.loads(captured.err))
    found += [json.loads(line) for line in captured.out.splitlines()]
    assert sorted(set().union(*map(keys, found)) - documented) == []


def test_the_bodies_are_the_stored_bytes(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """A program that knows nothing but the page reads an export: header, lines, end."""
    with opened(tmp_path / "store") as journal:
        append(journal, AddMessage(7, QUEUE, "p", 1, bytes(range(256))))
    assert main(["export", str(tmp_path / "store")]) == 0
    lines = [json.loads(line) for line in io.BytesIO(capsysbinary.readouterr().out)]
    assert [line["type"] for line in lines] == ["export", "destination", "producer", "message", "end"]
    assert lines[0]["version"] == 1
    assert lines[3]["ref"] == 7
