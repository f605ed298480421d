"""The election machine and the vote."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.members import MemberRecord, active_members
from registry.roles import IGNORED, TRANSITIONS, Input, Output, Role, Standing, advance, standing

RUN = [
    (Input.START, Role.SLAVE, (Output.JOIN,)),
    (Input.ELECTED, Role.TAKING_OVER, (Output.TAKE_OVER,)),
    (Input.SERVING, Role.MASTER, (Output.PUBLISH,)),
    (Input.ELECTED, Role.MASTER, ()),
    (Input.OUTVOTED, Role.STEPPING_DOWN, (Output.WITHDRAW, Output.STEP_DOWN)),
    (Input.ELECTED, Role.STEPPING_DOWN, ()),
    (Input.STOPPED, Role.SLAVE, (Output.REJOIN,)),
    (Input.STOPPED, Role.SLAVE, ()),
    (Input.ELECTED, Role.TAKING_OVER, (Output.TAKE_OVER,)),
    (Input.FAILED, Role.SLAVE, (Output.REJOIN,)),
    (Input.STOP, Role.OFFLINE, (Output.LEAVE,)),
]


def test_a_life() -> None:
    """A broker joins, takes over, is outvoted, becomes a slave again, fails once and leaves."""
    role = Role.OFFLINE
    for kind, expected_role, expected_outputs in RUN:
        role, outputs = advance(role, kind)
        assert (role, outputs) == (expected_role, expected_outputs), kind


def test_the_table_covers_every_pair_once() -> None:
    """Each input in each role is either answered or ignored on purpose."""
    pairs = set(itertools.product(Role, Input))
    assert TRANSITIONS.keys() | IGNORED == pairs
    assert not TRANSITIONS.keys() & IGNORED


@given(st.lists(st.sampled_from(Input)))
def test_take_over_and_step_down_alternate(inputs: list[Input]) -> None:
    """Whatever happens: no second take-over before the first has ended, no step-down without a take-over."""
    role, mastering = Role.OFFLINE, False
    for kind in inputs:
        role, outputs = advance(role, kind)
        if Output.TAKE_OVER in outputs:
            assert not mastering
            mastering = True
        if Output.STEP_DOWN in outputs:
            assert mastering
        if Output.REJOIN in outputs or Output.LEAVE in outputs:
            mastering = False


@given(st.lists(st.sampled_from(Input)))
def test_stop_ends_everything(inputs: list[Input]) -> None:
    """After a stop the broker is offline, and only a start changes that."""
    role = Role.OFFLINE
    for kind in [*inputs, Input.STOP]:
        role, _ = advance(role, kind)
    for kind in set(Input) - {Input.START}:
        assert advance(role, kind) == (Role.OFFLINE, ())


def member(container: str, *, ready: bool = True, broker_id: str = "b") -> MemberRecord:
    """Make a record."""
    return MemberRecord(broker_id, container, ready=ready)


@pytest.mark.parametrize(
    ("members", "unread", "own", "expected"),
    [
        ({"01": member("a")}, (), "01", Standing.FIRST),
        ({"01": member("a"), "02": member("c")}, (), "01", Standing.FIRST),
        ({"01": member("a"), "02": member("c")}, (), "02", Standing.BEHIND),
        ({"01": member("a", ready=False), "02": member("c")}, (), "02", Standing.FIRST),
        ({"01": member("a", broker_id="other"), "02": member("c")}, (), "02", Standing.FIRST),
        ({"02": member("c", ready=False)}, (), "02", Standing.UNKNOWN),
        ({"02": member("c")}, ("01",), "02", Standing.UNKNOWN),
        ({"02": member("c")}, ("03",), "02", Standing.FIRST),
        ({"02": member("c")}, ("02",), "02", Standing.UNKNOWN),
        ({"02": member("c")}, (), None, Standing.UNKNOWN),
        ({"02": member("c")}, (), "03", Standing.UNKNOWN),
        ({"01": member("a"), "02": member("c"), "03": member("d")}, ("00",), "03", Standing.BEHIND),
        # The predecessor of our own process, whose session has not timed out yet, does not count.
        ({"01": member("c"), "02": member("c")}, (), "02", Standing.FIRST),
        # And if our container has started somebody after us, we do not.
        ({"01": member("c"), "02": member("c")}, (), "01", Standing.BEHIND),
    ],
)
def test_standing(
    members: dict[str, MemberRecord], unread: tuple[str, ...], own: str | None, expected: Standing
) -> None:
    """The first ready member with our id is elected, if everybody before it is known."""
    assert standing(members, unread, own, "b") is expected


RECORDS = st.builds(
    MemberRecord,
    id=st.sampled_from(["a", "b"]),
    container=st.sampled_from(["c", "d", "e"]),
    ready=st.booleans(),
)
GROUPS = st.dictionaries(st.integers(0, 20).map(lambda n: f"{n:011d}"), RECORDS, max_size=8)


@given(GROUPS)
def test_at_most_one_is_first(members: dict[str, MemberRecord]) -> None:
    """Per broker id one member is first as soon as there is a ready one; all others stand behind it."""
    for broker_id in ("a", "b"):
        ready = [n for n, record in members.items() if record.id == broker_id and record.ready]
        places = {name: standing(members, (), name, broker_id) for name in ready}
        assert list(places.values()).count(Standing.FIRST) == (1 if ready else 0)
        assert Standing.UNKNOWN not in places.values()


@given(GROUPS, st.sets(st.integers(0, 20).map(lambda n: f"{n:011d}")))
def test_reading_more_never_revokes_a_first(members: dict[str, MemberRecord], unread: set[str]) -> None:
    """Who is first with some members unread stays first whatever they hold, unless it was replaced."""
    known = {name: record for name, record in members.items() if name not in unread}
    for name, record in known.items():
        if standing(known, unread & members.keys(), name, record.id) is Standing.FIRST:
            replaced = name not in active_members(members)
            assert replaced or standing(members, (), name, record.id) is Standing.FIRST


def test_documented_table() -> None:
    """The table in the documentation is the one that is run."""
    document = Path(__file__).parents[3] / "docs" / "explanation" / "election.md"
    rows = [line for line in document.read_text("utf-8").splitlines() if line.startswith("| ")]
    table = [
        f"| {role.value} | {kind.value} | {then.value} | {', '.join(output.value for output in outputs)} |"
        for (role, kind), (then, outputs) in TRANSITIONS.items()
    ]
    start = rows.index("| from | input | to | what is done |") + 1
    assert rows[start : start + len(table)] == table
