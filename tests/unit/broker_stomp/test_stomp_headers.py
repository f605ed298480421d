"""Headers, escaped and not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.stomp.errors import FrameInvalid
from broker.stomp.headers import Version, check_size, lines, plain_lines, read_headers
from broker.stomp.limits import HEADER_BYTES_MAX, HEADERS_MAX

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)


@given(st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=5))
def test_what_is_written_is_read_again(headers: dict[str, str]) -> None:
    """Whatever stands in names and values of 1.2 comes out as it went in."""
    head = ("\n" + lines(headers)).encode()[:-1] if headers else b""
    assert read_headers(head, Version.V1_2) == headers


@given(st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=5))
def test_the_same_in_1_1(headers: dict[str, str]) -> None:
    """1.1 has another way with carriage returns, and the same result."""
    head = ("\n" + lines(headers, Version.V1_1)).encode()[:-1] if headers else b""
    assert read_headers(head, Version.V1_1) == headers


@given(st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=5))
def test_nothing_makes_a_line_of_its_own_in_1_0(headers: dict[str, str]) -> None:
    """A line feed in a value cannot smuggle a header in."""
    assert plain_lines(headers).count("\n") == len(headers)


@pytest.mark.parametrize(
    ("head", "version", "headers"),
    [
        (b"", Version.V1_2, {}),
        (b"\na:1\na:2", Version.V1_2, {"a": "1"}),
        (b"\na: b c ", Version.V1_0, {"a": "b c"}),
        (b"\na: b ", Version.V1_1, {"a": " b "}),
        (b"\na:b:c", Version.V1_0, {"a": "b:c"}),
        (b"\na:b:c", Version.V1_2, {"a": "b:c"}),
        (b"\na:b\r\nc:d\r", Version.V1_2, {"a": "b", "c": "d"}),
        (b"\na:b\r\nc:d\r", Version.V1_0, {"a": "b", "c": "d"}),
        (b"\na:b\r", Version.V1_1, {"a": "b\r"}),
        (b"\na:\\n\\c\\\\", Version.V1_0, {"a": "\\n\\c\\\\"}),
        (b"\na:\\n\\c\\\\n", Version.V1_1, {"a": "\n:\\n"}),
        (b"\na:\\t\\r\\", Version.V1_1, {"a": "\\t\\r\\"}),
        (b"\na:\\r", Version.V1_2, {"a": "\r"}),
        (b"\na:", Version.V1_2, {"a": ""}),
        ("\nä:ß".encode(), Version.V1_2, {"ä": "ß"}),
    ],
)
def test_reading(head: bytes, version: Version, headers: dict[str, str]) -> None:
    """What each version makes of a line."""
    assert read_headers(head, version) == headers


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"\na", "Unable to parse header line [a]."),
        (b"\n:b", "Unable to parse header line [:b]."),
        (b"\na:\\t", "which does not exist"),
        (b"\na:\\", "which does not exist"),
        (b"\na:\xff", "not valid UTF-8"),
        (b"\na:b\0", "zero byte"),
        (b"\na:b" * (HEADERS_MAX + 1), "The maximum number of headers"),
        (b"\na:" + b"b" * HEADER_BYTES_MAX, "The maximum header length"),
    ],
)
def test_what_is_no_header(head: bytes, reason: str) -> None:
    """It is refused with a reason."""
    with pytest.raises(FrameInvalid) as refused:
        read_headers(head, Version.V1_2)
    assert reason in str(refused.value)


def test_connect_is_not_escaped() -> None:
    """A password with a backslash is that password."""
    assert read_headers(b"\na:\\n", Version.V1_2, escapes=False) == {"a": "\\n"}


def test_as_many_and_as_long_as_allowed() -> None:
    """The limits themselves are allowed."""
    check_size(b"\na:b" * HEADERS_MAX)
    check_size(b"\n" + b"a" * HEADER_BYTES_MAX)
