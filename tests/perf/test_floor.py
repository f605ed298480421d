"""The server that only stores and answers does both."""

from pathlib import Path

from perf.floor import floor_rate


def test_messages_are_answered(tmp_path: Path) -> None:
    """Some are, and the file is gone afterwards."""
    assert floor_rate(tmp_path, 1024, 0.05) > 0
    assert not list(tmp_path.iterdir())
