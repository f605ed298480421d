"""Every transcript under this folder, exactly as it is written."""

from pathlib import Path

import pytest
from scenario.transcript import play

FOLDER = Path(__file__).parent / "region"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.txt")))
def test_transcript(name: str) -> None:
    """All parties see exactly what the transcript says, in that order."""
    written, seen = play(FOLDER / name)
    assert seen == written


def test_a_wrong_transcript_is_noticed(tmp_path: Path) -> None:
    """The checker can fail: a line too many is a difference."""
    path = tmp_path / "wrong.txt"
    path.write_text("connect c1\nsend c1 m1 queue://q volatile\n----\nc1: answer m1\nc1 k: m1\n")
    written, seen = play(path)
    assert seen != written
