"""When a ZooKeeper server may take over certificates, and be restarted for them."""

import itertools

import pytest

from fabric.errors import StoredRecordInvalid
from fabric.server_rotation import (
    Companion,
    ShownRecord,
    doubters,
    hindrance,
    parse_shown,
    still_needed,
)


def record(name: str, signer: str, *trusted: str) -> ShownRecord:
    """What a container says."""
    return ShownRecord(name, signer, frozenset(trusted))


def test_what_is_said_comes_back() -> None:
    """What else stands there is passed over; what cannot be read is told with its path."""
    said = record("a", "1", "1", "2")
    assert parse_shown("a", "/p", said.to_bytes()) == said
    assert parse_shown("a", "/p", b'{"signer": "1", "trusted": ["1", "2"], "more": 3}') == said
    for broken in (b"", b"[]", b"{}", b'{"signer": "", "trusted": 1}'):
        with pytest.raises(StoredRecordInvalid, match="/p"):
            parse_shown("a", "/p", broken)


def test_whose_authority_is_still_needed() -> None:
    """An authority that was never trusted is not taken over from others."""
    others = [record("a", "old", "old"), record("b", "new", "new"), record("c", "old", "old")]
    assert still_needed(["old", "older"], others) == {"old": ["a", "c"]}
    assert still_needed(["old", "new"], [record("a", "", "old")]) == {}


def test_who_doubts() -> None:
    """A certificate is shown when all others trust who has signed it."""
    others = [record("b", "old", "old"), record("a", "old", "old"), record("c", "old", "old", "new")]
    assert doubters("new", others) == ["a", "b"]
    assert doubters("old", others) == []


@pytest.mark.parametrize("count", [2, 4])
def test_nobody_is_restarted_while_another_one_is_away(count: int) -> None:
    """Whatever the others wait for; and the leader goes when nobody else has to any more."""
    kinds = list(itertools.product((False, True), repeat=2))
    for chosen in itertools.product(kinds, repeat=count):
        others = [Companion(f"c{number}", *kind) for number, kind in enumerate(chosen)]
        all_serve = all(other.serves for other in others)
        nobody_waits = not any(other.waits for other in others)
        assert (not hindrance(others, leads=False)) == all_serve
        assert (not hindrance(others, leads=True)) == (all_serve and nobody_waits)


def test_one_alone_is_simply_restarted() -> None:
    """It leads nobody."""
    assert hindrance([], leads=True) == ""


def test_why_not_names_who_it_is_about() -> None:
    """In order."""
    away = [Companion("b", serves=False), Companion("a", serves=False), Companion("c", serves=True)]
    assert hindrance(away, leads=True) == "another one is away: a, b"
    waiting = [Companion("b", serves=True, waits=True)]
    assert hindrance(waiting, leads=True) == "it leads, and these come first: b"
