"""Names of containers, profiles and brokers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import InvalidName
from fabric.names import (
    NAME_LENGTH_MAX,
    enumerated,
    numbered_names,
    validate_broker_name,
    validate_container_name,
    validate_profile_name,
)


@pytest.mark.parametrize(
    "name", ["root", "broker2", "a", "0", "mq-broker-default.x", "A_b-c.d", "x" * NAME_LENGTH_MAX]
)
def test_names_by_the_rule_are_accepted(name: str) -> None:
    """Letters and numbers, then also dots, hyphens and underscores."""
    assert validate_profile_name(name) == name
    assert validate_container_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "-a",
        ".a",
        "_a",
        "..",
        "a b",
        "a/b",
        "a\n",
        "a\0",
        "ä",
        "a:b",
        "${x}",
        "x" * (NAME_LENGTH_MAX + 1),
    ],
)
def test_other_names_are_refused(name: str) -> None:
    """What could change a path, a PID or a table is no name."""
    for validate in (validate_profile_name, validate_container_name, validate_broker_name):
        with pytest.raises(InvalidName):
            validate(name)


def test_the_error_says_the_rule() -> None:
    """The texts are the original's."""
    with pytest.raises(InvalidName) as raised:
        validate_container_name("a b")
    assert raised.value.what == (
        "Container name 'a b' is invalid. Container name must be: letters, numbers, and _ or - characters"
    )
    with pytest.raises(InvalidName) as raised:
        validate_profile_name("/")
    assert raised.value.what == (
        "Profile name '/' is invalid. Profile name must be: letters, numbers, and . _ or - characters"
    )


def test_several_children_are_numbered_from_2() -> None:
    """The lab's containers are called brokercontainer and brokercontainer2."""
    assert numbered_names("brokercontainer", 1) == ["brokercontainer"]
    assert numbered_names("brokercontainer", 2) == ["brokercontainer", "brokercontainer2"]
    assert numbered_names("node1", 3) == ["node1", "node2", "node3"]


def test_numbers_that_are_taken_are_left_out() -> None:
    """No name of an existing container is proposed."""
    assert numbered_names("a", 3, {"a2", "a4"}) == ["a", "a3", "a5"]
    assert numbered_names("a", 2, {"a"}) == ["a2", "a3"]


def test_a_name_of_digits_keeps_its_own() -> None:
    """There is no stem to count on, so a hyphen stands between."""
    assert numbered_names("7", 2) == ["7", "7-2"]


@pytest.mark.parametrize("number", [-1, 0, 100])
def test_the_number_has_limits(number: int) -> None:
    """1 to 99 containers at once, as the original says."""
    with pytest.raises(InvalidName, match="The number of containers must be between 1 and 99"):
        numbered_names("a", number)


@given(
    st.from_regex(r"[a-z0-9][a-z0-9.-]{0,9}", fullmatch=True),
    st.integers(1, 99),
    st.sets(st.text(max_size=4)),
)
def test_numbered_names_are_valid_and_different(name: str, number: int, taken: set[str]) -> None:
    """There are as many names as asked for, all different, valid, and with several none of them taken."""
    names = numbered_names(name, number, taken)
    assert len(set(names)) == number
    assert all(validate_container_name(one) for one in names)
    assert number == 1 or not taken & set(names)


def test_a_message_names_not_endlessly_many() -> None:
    """They are sorted; of many the first are named, and the rest is counted."""
    assert enumerated([]) == ""
    assert enumerated({"west", "east"}) == "east, west"
    assert enumerated(f"c{number:02}" for number in range(13)).endswith("c08, c09 and 3 more")
