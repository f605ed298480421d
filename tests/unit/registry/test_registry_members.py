"""Members' records, and which of them count."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidRecord
from registry.members import MemberRecord, active_members, masters

NAMES = st.text(min_size=1, max_size=8)


@given(
    st.builds(
        MemberRecord,
        NAMES,
        NAMES,
        st.text(max_size=8),
        st.booleans(),
        st.lists(st.text(), max_size=3).map(tuple),
    )
)
def test_round_trip(record: MemberRecord) -> None:
    """A record that is written is read back."""
    assert MemberRecord.parse("0", record.serialize()) == record


def test_unknown_fields_are_kept() -> None:
    """What another version has added survives a rewrite, behind the known fields."""
    text = '{"id": "b", "container": "c", "uuid": "u", "ready": true, "services": [], "weight": 3}'
    record = MemberRecord.parse("0", text.encode())
    assert record.serialize().decode() == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{"id":"tolerantbroker","container":"brokercontainer","services":[]}',
            MemberRecord("tolerantbroker", "brokercontainer"),
        ),
        ('{"agent":"c"}', MemberRecord("c", "c")),
        ('{"container":"c","id":null,"services":null,"uuid":null}', MemberRecord("c", "c")),
        (
            '{"id":"b","container":"c","uuid":"u","ready":false,"services":["tcp://h:1"]}',
            MemberRecord("b", "c", "u", False, ("tcp://h:1",)),
        ),
    ],
)
def test_what_older_versions_wrote(text: str, expected: MemberRecord) -> None:
    """Members of fabric8 6.0 to 6.3 are understood; one that does not know `ready` is ready."""
    assert MemberRecord.parse("0", text.encode()) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "{",
        "[" * 100_000,
        "7",
        "[]",
        "null",
        "{}",
        {"container": 7},
        {"container": "c", "services": "tcp://h:1"},
        {"container": "c", "services": [1]},
        {"container": "c", "ready": "yes"},
        {"container": "c", "id": ["b"]},
    ],
    ids=range(12),
)
def test_invalid_records_name_the_member(value: object) -> None:
    """What is no member's record is an InvalidRecord that names the znode."""
    data = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(InvalidRecord, match="00000000007"):
        MemberRecord.parse("00000000007", data.encode())


@given(st.binary(max_size=60))
def test_any_bytes_parse_or_are_invalid(data: bytes) -> None:
    """No content of a znode raises anything else."""
    with contextlib.suppress(InvalidRecord):
        MemberRecord.parse("0", data)


def test_active_members_are_ready_and_one_per_container() -> None:
    """Of one container's members with one id the last counts; those not ready do not count at all."""
    members = {
        "05": MemberRecord("b", "restarted"),
        "01": MemberRecord("b", "restarted"),
        "02": MemberRecord("other", "restarted"),
        "03": MemberRecord("b", "x"),
        "04": MemberRecord("b", "y", ready=False),
        "06": MemberRecord("b", "x", ready=False),
    }
    assert list(active_members(members)) == ["02", "03", "05"]
    assert {key: record.container for key, record in masters(members).items()} == {
        "other": "restarted",
        "b": "x",
    }
