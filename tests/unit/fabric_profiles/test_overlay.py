"""Inheritance, merged configuration, placeholders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import ProfileCycle
from fabric.overlay import DELETED, ParentMissing, lineage, overlay, resolve, substitute
from fabric.profiles import AGENT_PID, Profile


def profiles(*given: Profile) -> dict[str, Profile]:
    """Index profiles by id."""
    return {profile.id: profile for profile in given}


def one(profile_id: str, *parents: str, **values: str) -> Profile:
    """A profile that sets values in the PID `pid`."""
    return Profile(profile_id, parents, configuration={"pid": values} if values else {})


def test_parents_come_before_their_heirs() -> None:
    """Each profile appears once, a later parent after an earlier one."""
    known = profiles(one("root"), one("a", "root"), one("b", "root"), one("leaf", "a", "b"))
    assert lineage(["leaf"], known) == ("root", "a", "b", "leaf")


def test_the_last_that_names_a_key_decides() -> None:
    """Heirs lie over parents, later profiles over earlier ones, key by key."""
    known = profiles(one("base", x="base", y="base"), one("a", "base", y="a"), one("b", y="b", z="b"))
    assert overlay(["a"], known).configuration == {"pid": {"x": "base", "y": "a"}}
    assert overlay(["a", "b"], known).configuration == {"pid": {"x": "base", "y": "b", "z": "b"}}
    assert overlay(["b", "a"], known).configuration == {"pid": {"x": "base", "y": "a", "z": "b"}}


def test_a_shared_ancestor_lies_under_both() -> None:
    """It does not undo what the first of them says."""
    known = profiles(one("base", x="base"), one("a", "base", x="a"), one("b", "base", z="b"))
    assert overlay(["a", "b"], known).configuration == {"pid": {"x": "a", "z": "b"}}


def test_deleted_keys_and_pids() -> None:
    """An heir can take away what it inherits, and a later one give it back."""
    known = profiles(
        one("base", x="1", y="2"),
        one("less", "base", x=DELETED),
        Profile("none", ("base",), configuration={"pid": {DELETED: DELETED}}),
        one("again", "less", x="3"),
    )
    assert overlay(["less"], known).configuration == {"pid": {"y": "2"}}
    assert overlay(["none"], known).configuration == {}
    assert overlay(["again"], known).configuration == {"pid": {"x": "3", "y": "2"}}


def test_attributes_are_not_inherited() -> None:
    """An heir of an abstract profile is not abstract."""
    known = profiles(Profile("base", attributes={"abstract": "true"}), one("a", "base"))
    assert overlay(["a"], known).attributes == {}
    assert overlay(["base"], known).attributes == {"abstract": "true"}


def test_resources_are_inherited() -> None:
    """A resource of the same name is replaced as a whole."""
    known = profiles(
        Profile("base", resources={"a": "1", "b": "1"}), Profile("p", ("base",), resources={"b": "2"})
    )
    assert overlay(["p"], known).resources == {"a": "1", "b": "2"}


def test_a_missing_parent_names_its_heir() -> None:
    """So that the user knows which profile to correct."""
    with pytest.raises(ParentMissing, match=r"nowhere, which profile a inherits from, does not exist"):
        lineage(["a"], profiles(one("a", "nowhere")))
    with pytest.raises(ParentMissing, match="Profile a does not exist"):
        lineage(["a"], {})


def test_a_cycle_is_shown() -> None:
    """The error lists the way back to the first."""
    known = profiles(one("a", "b"), one("b", "c"), one("c", "b"))
    with pytest.raises(ProfileCycle, match="b -> c -> b"):
        overlay(["a"], known)
    with pytest.raises(ProfileCycle, match="x -> x"):
        lineage(["x"], profiles(one("x", "x")))


@given(st.lists(st.sets(st.integers(0, 7), max_size=3), min_size=8, max_size=8))
def test_lineage_is_ordered_or_a_cycle(edges: list[set[int]]) -> None:
    """Whatever the inheritance, every profile stands behind its parents, or a cycle is reported."""
    known = profiles(*(one(f"p{i}", *(f"p{j}" for j in sorted(js))) for i, js in enumerate(edges)))
    try:
        ordered = lineage(known, known)
    except ProfileCycle:
        return
    assert sorted(ordered) == sorted(known)
    for profile in known.values():
        assert all(ordered.index(parent) < ordered.index(profile.id) for parent in profile.parents)


VALUES = {"fabric.data": "/fab/data", "runtime.id": "root"}


def test_placeholders_are_replaced() -> None:
    """Several in one text, and those a replacement leads to."""
    assert substitute("${fabric.data}/${runtime.id}", VALUES) == "/fab/data/root"
    assert substitute("${a}", {"a": "${b}!", "b": "c"}) == "c!"


@pytest.mark.parametrize("text", ["${unknown}", "${port:61616,61626}", "$runtime.id", "${", "${}", "}{$", ""])
def test_what_cannot_be_resolved_stays(text: str) -> None:
    """A port range is left to the service that binds the port."""
    assert substitute(text, VALUES) == text


def test_placeholders_of_the_registry() -> None:
    """`${zk:…}` is asked of the registry, and its answer may hold one again."""
    znodes = {"root/ip": "${zk:root/localip}", "root/localip": "10.0.0.1"}
    assert substitute("tcp://${zk:root/ip}:1", {}, znodes.get) == "tcp://10.0.0.1:1"
    assert substitute("${zk:none/ip}", {}, znodes.get) == "${zk:none/ip}"


def test_a_circle_ends() -> None:
    """Placeholders that lead to each other do not hang or grow without end."""
    assert substitute("${a}", {"a": "${b}", "b": "${a}"}) in ("${a}", "${b}")
    assert len(substitute("${a}", {"a": "${a}${a}"})) < 10_000


def test_system_properties_can_be_used() -> None:
    """`system.x` of the agent's PID is `${x}` elsewhere; what the container says goes before it."""
    configuration = {
        AGENT_PID: {"system.shop": "east", "system.runtime.id": "forged"},
        "pid": {"a": "${shop}", "b": "${runtime.id}"},
    }
    assert resolve(configuration, VALUES)["pid"] == {"a": "east", "b": "root"}
