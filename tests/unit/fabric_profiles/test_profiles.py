"""Profile documents and the changes to them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import InvalidName, ProfileInvalid
from fabric.profiles import (
    AGENT_PID,
    DOCUMENT_BYTES_MAX,
    Profile,
    append_value,
    delete_key,
    delete_pid,
    import_pid,
    parse_profile,
    remove_value,
    serialize_profile,
    set_value,
)

DOCUMENT = b"""\
parents: [default, mq-base]
attributes:
  abstract: true
  hidden: false
configuration:
  io.fabric8.mq.fabric.server-broker:
    connectors: openwire
    bindPort: ${port:61616,61626}
    startRetryDelay: 010
    ssl: no
  empty:
resources:
  notes.txt: |
    two
    lines
comment-of-a-later-version: [1, {a: b}]
"""


def test_a_document_is_read_as_text() -> None:
    """Values are what was typed: no numbers, no truth values."""
    profile = parse_profile("p", DOCUMENT)
    assert profile.parents == ("default", "mq-base")
    assert profile.abstract
    assert not profile.hidden
    assert profile.configuration["io.fabric8.mq.fabric.server-broker"] == {
        "connectors": "openwire",
        "bindPort": "${port:61616,61626}",
        "startRetryDelay": "010",
        "ssl": "no",
    }
    assert profile.configuration["empty"] == {}
    assert profile.resources == {"notes.txt": "two\nlines\n"}


def test_what_is_read_is_written_again() -> None:
    """Unknown fields survive, and a document that is written is read as the same profile."""
    profile = parse_profile("p", DOCUMENT)
    assert profile.unknown == {"comment-of-a-later-version": ["1", {"a": "b"}]}
    assert parse_profile("p", serialize_profile(profile)) == profile


@pytest.mark.parametrize("document", [b"", b"\n", b"# only a comment\n", b"{}", b"---\n"])
def test_an_empty_document_is_an_empty_profile(document: bytes) -> None:
    """A profile need not say anything."""
    assert parse_profile("p", document) == Profile("p")


def test_parents_may_be_one_text() -> None:
    """Blanks separate them, and each counts once."""
    assert parse_profile("p", b"parents: a b a").parents == ("a", "b")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"[1, 2]", "no fields"),
        (b"text", "no fields"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a: [", "not YAML"),
        (b"a: b: c", "not YAML"),
        (b"parents: {a: b}", "not a list of profiles"),
        (b"parents: [[a]]", "not a list of profiles"),
        (b"attributes: [a]", "no keys and values"),
        (b"attributes: {a: [b]}", "not a text"),
        (b"configuration: [a]", "no PIDs"),
        (b"configuration: {pid: text}", "no keys and values"),
        (b"configuration: {pid: {a: {b: c}}}", "not a text"),
        (b"configuration: {? [a, b] : {}}", "not YAML"),
        (b"resources: {a: {}}", "not a text"),
        (b"[" * 100_000, "not YAML"),
        (b"#" * (DOCUMENT_BYTES_MAX + 1), "are allowed"),
    ],
)
def test_other_documents_are_refused(document: bytes, reason: str) -> None:
    """The error names the profile, what is wrong, and how to correct it."""
    with pytest.raises(ProfileInvalid) as raised:
        parse_profile("shop", document)
    assert reason in raised.value.what
    assert "shop" in raised.value.what
    assert "profile-edit shop" in raised.value.do_next


def test_yaml_cannot_make_objects() -> None:
    """A tag names no Python class: what it marks is text."""
    assert parse_profile("p", b"x: !!python/name:os.system y").unknown == {"x": "y"}


def test_parents_are_valid_names() -> None:
    """A parent could otherwise lead out of the profiles."""
    with pytest.raises(InvalidName):
        parse_profile("p", b"parents: [../x]")


def test_too_large_a_profile_is_not_written() -> None:
    """A znode could not hold it."""
    with pytest.raises(ProfileInvalid, match="are allowed"):
        serialize_profile(Profile("p", resources={"x": "y" * DOCUMENT_BYTES_MAX}))


names = st.from_regex(r"[a-zA-Z0-9][.a-zA-Z0-9_-]{0,10}", fullmatch=True)
texts: Any = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
keys: Any = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@given(
    st.lists(names, unique=True, max_size=3),
    st.dictionaries(keys, texts, max_size=3),
    st.dictionaries(keys, st.dictionaries(keys, texts, max_size=3), max_size=3),
)
def test_any_profile_survives_its_document(
    parents: list[str], attributes: dict[str, str], configuration: dict[str, dict[str, str]]
) -> None:
    """No value that can be typed is changed by being stored."""
    profile = Profile("p", tuple(parents), attributes, configuration)
    assert parse_profile("p", serialize_profile(profile)) == profile


def test_values_are_set_and_deleted() -> None:
    """Only the key that is named changes; its PID stays until it is deleted itself."""
    profile = set_value(set_value(Profile("p"), "pid", "a", "1"), "pid", "b", "2")
    assert profile.configuration == {"pid": {"a": "1", "b": "2"}}
    assert delete_key(profile, "pid", "a").configuration == {"pid": {"b": "2"}}
    assert delete_key(profile, "pid", "none") == profile
    assert delete_key(profile, "other", "a") == profile
    assert delete_key(delete_key(profile, "pid", "a"), "pid", "b").configuration == {"pid": {}}
    assert delete_pid(profile, "pid").configuration == {}
    assert delete_pid(profile, "other") == profile


def test_lists_of_values_grow_and_shrink() -> None:
    """A value is in a list once; a key goes with its last value."""
    profile = append_value(Profile("p"), "pid", "k", "a", ",")
    profile = append_value(append_value(profile, "pid", "k", "b", ","), "pid", "k", "a", ",")
    assert profile.configuration["pid"]["k"] == "a,b"
    assert remove_value(profile, "pid", "k", "a", ",").configuration["pid"]["k"] == "b"
    assert remove_value(profile, "pid", "k", "x", ",") == profile
    assert remove_value(set_value(profile, "pid", "k", "a"), "pid", "k", "a", ",").configuration["pid"] == {}


def test_attributes_can_be_written_as_the_original_does() -> None:
    """`attribute.x` in the agent's PID is the attribute x."""
    profile = set_value(Profile("p"), AGENT_PID, "attribute.abstract", "true")
    assert profile.abstract
    assert profile.configuration == {}
    assert delete_key(profile, AGENT_PID, "attribute.abstract") == Profile("p")


def test_imported_values_lie_under_the_own() -> None:
    """What the profile says itself is kept."""
    profile = import_pid(set_value(Profile("p"), "pid", "a", "own"), "pid", {"a": "1", "b": "2"})
    assert profile.configuration["pid"] == {"a": "own", "b": "2"}
