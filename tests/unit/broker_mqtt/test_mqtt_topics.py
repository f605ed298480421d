"""Topic names and filters: what is valid, what matches, which destinations they stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.mqtt import limits
from broker.mqtt.errors import PacketInvalid
from broker.mqtt.topics import (
    check_filter,
    check_topic,
    destination_name,
    matches,
    read_text,
    read_topic,
    split_share,
    topic_of,
)

LEVEL = st.text("ab$ .*>,é", max_size=3)
TOPIC = st.lists(LEVEL, min_size=1, max_size=5).map("/".join).filter(bool)
FILTER = st.builds(
    lambda levels, rest: "/".join([*levels, *rest]),
    st.lists(LEVEL | st.just("+"), min_size=1, max_size=5),
    st.sampled_from([[], ["#"]]),
).filter(bool)


def plainly_matches(levels: list[str], names: list[str]) -> bool:
    """The rule, level by level."""
    if levels == ["#"]:
        return True
    if not levels or not names:
        return levels == names
    return levels[0] in ("+", names[0]) and plainly_matches(levels[1:], names[1:])


@pytest.mark.parametrize(
    "text", ["a", "/", "//", "a/b", "/a", "a/", "a b", "$SYS/x", "é€😀", "\ufeffa", "a,b", "."]
)
def test_names_of_topics(text: str) -> None:
    """Any text is a topic name that is not empty and has no wildcard; nothing is stripped or normalized."""
    assert read_topic(text.encode()) == text
    assert check_filter(text) == text


@pytest.mark.parametrize("text", ["", "+", "#", "a/+", "a/#", "a+", "#a", "a/b#/c"])
def test_what_is_no_topic_name(text: str) -> None:
    """An empty text and one with a wildcard are none."""
    with pytest.raises(PacketInvalid):
        check_topic(text)


@pytest.mark.parametrize(
    "text", ["#", "+", "/#", "a/#", "+/+", "/+", "a/+/b", "+/#", "$share/g/a", "$share/g/#", "$share/g//"]
)
def test_topic_filters(text: str) -> None:
    """Wildcards stand for whole levels, the many-level one for the last."""
    assert check_filter(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a#",
        "#/",
        "a/#/b",
        "##",
        "a+",
        "+a",
        "a/b+/c",
        "++",
        "$share/",
        "$share//a",
        "$share/g",
        "$share/g/",
        "$share/+/a",
        "$share/g#/a",
        "$share/g/a#",
    ],
)
def test_what_is_no_topic_filter(text: str) -> None:
    """A wildcard that is part of a level, `#` before the end, a share name that is empty or has wildcards."""
    with pytest.raises(PacketInvalid):
        check_filter(text)


@pytest.mark.parametrize(
    "raw", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"a\0b", b"\xf4\x90\x80\x80"]
)
def test_what_is_no_text(raw: bytes) -> None:
    """Ill-formed UTF-8, surrogates and U+0000 are refused."""
    with pytest.raises(PacketInvalid):
        read_text(raw)


def test_a_byte_order_mark_is_kept() -> None:
    """U+FEFF is a character like any other."""
    assert read_text(b"\xef\xbb\xbfa\xef\xbb\xbf") == "\ufeffa\ufeff"


def test_long_names_are_not_remembered_but_checked() -> None:
    """A name above the limit of the memory obeys the same rules."""
    long = "a" * (limits.CACHED_TOPIC_BYTES_MAX + 1)
    assert read_topic(long.encode()) == long
    with pytest.raises(PacketInvalid):
        read_topic(f"{long}+".encode())


@pytest.mark.parametrize(
    ("topic_filter", "topic", "is_match"),
    [
        ("sport/#", "sport", True),
        ("sport/#", "sport/tennis/player1", True),
        ("sport/#", "sports", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "/", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("$SYS/+", "$SYS/x", True),
        ("a/b", "a/b", True),
        ("a/b", "A/b", False),
        ("a/b", "/a/b", False),
    ],
)
def test_matching(topic_filter: str, topic: str, is_match: bool) -> None:
    """The specification's own examples. Source: MQTT 5.0 §4.7."""
    assert matches(topic_filter, topic) is is_match


@given(FILTER, TOPIC)
def test_matching_is_level_by_level(topic_filter: str, topic: str) -> None:
    """The answer is that of the rule as it is written."""
    hidden = topic.startswith("$") and topic_filter[0] in "+#"
    assert matches(topic_filter, topic) is (
        not hidden and plainly_matches(topic_filter.split("/"), topic.split("/"))
    )


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("a/b/c", "a.b.c"),
        ("a/+/#", "a.*.>"),
        ("a.b", "a/b"),
        ("/a", ".a"),
        ("a*b>", "a+b#"),
        ("$SYS/x", "$SYS.x"),
    ],
)
def test_names_of_destinations(topic: str, name: str) -> None:
    """The alphabets are exchanged as in ActiveMQ."""
    assert destination_name(topic) == name
    assert topic_of(name) == topic


@given(st.text("/+#.*>ab,"))
def test_every_name_comes_back(text: str) -> None:
    """No two topics stand for one destination."""
    assert topic_of(destination_name(text)) == text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a/b", (None, "a/b")),
        ("$share/g/a/#", ("g", "a/#")),
        ("$share/g//a", ("g", "/a")),
        ("$shared/g/a", (None, "$shared/g/a")),
    ],
)
def test_names_of_shared_subscriptions(text: str, parts: tuple[str | None, str]) -> None:
    """A shared subscription has a name and a filter."""
    assert split_share(text) == parts
