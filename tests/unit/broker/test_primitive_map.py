"""Modified UTF-8, primitive maps and streams."""

from __future__ import annotations

import contextlib
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import modified_utf8
from broker.errors import CodecError
from broker.primitive_map import (
    PRIMITIVE_DEPTH_MAX,
    Byte,
    Char,
    Float,
    Long,
    Short,
    decode_map,
    decode_stream,
    encode_map,
    encode_stream,
)

NUMBERS = (
    st.integers(-128, 127).map(Byte)
    | st.integers(-(2**15), 2**15 - 1).map(Short)
    | st.integers(-(2**63), 2**63 - 1).map(Long)
    | st.integers(-(2**31), 2**31 - 1)
    | st.floats(allow_nan=False)
    | st.floats(allow_nan=False, width=32).map(Float)
)
SCALARS = (
    st.none()
    | st.booleans()
    | NUMBERS
    | st.text(max_size=9)
    | st.binary(max_size=9)
    | st.sampled_from([Char("a"), Char("\0"), Char("\ud800"), "x" * 8191, "€" * 30_000])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def has_pair(text: str) -> bool:
    """Whether a text spells a character as two separate surrogates, which come back as one character."""
    return re.search("[\ud800-\udbff][\udc00-\udfff]", text) is not None


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_java_string_comes_back(text: str) -> None:
    """Every string, NUL and lone surrogates included, survives modified UTF-8."""
    if not has_pair(text):
        assert modified_utf8.decode(modified_utf8.encode(text)) == text


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", ""),
        ("a\0b", "61 c0 80 62"),
        ("é", "c3 a9"),
        ("€", "e2 82 ac"),
        ("😀", "ed a0 bd ed b8 80"),
        ("\ud83d", "ed a0 bd"),
    ],
)
def test_known_encodings(text: str, data: str) -> None:
    """The bytes are those of Java's DataOutput.writeUTF."""
    assert modified_utf8.encode(text) == bytes.fromhex(data)
    assert modified_utf8.decode(bytes.fromhex(data)) == text


@pytest.mark.parametrize("data", ["f0 9f 98 80", "c3", "80", "e2 82", "c1 81", "ff"])
def test_what_is_no_modified_utf8_is_refused(data: str) -> None:
    """Four-byte forms, cut and overlong ones are errors, as in Java."""
    with pytest.raises(CodecError, match="modified UTF-8"):
        modified_utf8.decode(bytes.fromhex(data))


def test_a_plain_zero_byte_is_nul() -> None:
    """Writers of plain UTF-8 are understood."""
    assert modified_utf8.decode(b"a\0\xc3\xa9") == "a\0é"


@given(st.dictionaries(st.text(max_size=9), VALUES, max_size=5))
def test_maps_come_back_with_their_types(values: dict[str, Any]) -> None:
    """A map is equal to itself after a trip, and its bytes are the same again."""
    data = encode_map(values)
    back = decode_map(data)
    assert back == values
    assert encode_map(back) == data


@given(st.lists(VALUES, max_size=6))
def test_streams_come_back(values: list[Any]) -> None:
    """A stream is equal to itself after a trip."""
    assert decode_stream(encode_stream(values)) == values


def test_types_are_kept() -> None:
    """A byte read is a byte written; so are short, long, float and char."""
    values = {"b": Byte(1), "s": Short(1), "l": Long(1), "f": Float(1.5), "c": Char("x"), "i": 1, "d": 1.5}
    back = decode_map(encode_map(values))
    assert back is not None
    assert [type(each) for each in back.values()] == [type(each) for each in values.values()]


def test_null_map() -> None:
    """No map is a count of -1."""
    assert encode_map(None) == b"\xff\xff\xff\xff"
    assert decode_map(b"\xff\xff\xff\xff") is None


def test_large_ints_are_longs() -> None:
    """An int that does not fit 32 bits is written with 64; beyond that it is refused."""
    assert decode_stream(encode_stream([2**31])) == [2**31]
    with pytest.raises(CodecError, match="cannot be written"):
        encode_stream([2**63])


def test_nan_is_a_number_too() -> None:
    """Not-a-number survives."""
    (value,) = decode_stream(encode_stream([math.nan]))
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize("value", [Byte(128), Short(2**15), Char("ab"), {1}, Float(1e300)])
def test_values_that_cannot_be_written_are_refused(value: Any) -> None:
    """A value that its tag cannot hold, or that has no tag, is an error."""
    with pytest.raises(CodecError):
        encode_map({"a": value})


def test_keys_have_a_limit() -> None:
    """A key's length has 16 bits."""
    with pytest.raises(CodecError, match="key"):
        encode_map({"k" * 65_536: 1})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0\1",
        b"\0\0\0\1\0\1a\x0e",
        b"\0\0\0\1\0\1a\xff",
        b"\0\0\0\0\0",
        b"\0\0\0\1\0\5a\0",
        b"\0\0\0\1\0\1a\x0a\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
    ],
)
def test_damaged_maps_are_refused(data: bytes) -> None:
    """Cut, long, or senseless bytes are no map."""
    with pytest.raises(CodecError):
        decode_map(data)


@given(st.binary(max_size=60))
def test_garbage_raises_codec_error_only(data: bytes) -> None:
    """Whatever the bytes are, there is a value or a CodecError."""
    with contextlib.suppress(CodecError):
        decode_map(data)
    with contextlib.suppress(CodecError):
        decode_stream(data)


def test_nesting_has_a_limit() -> None:
    """Lists in lists are followed to a limit."""
    value: Any = []
    for _ in range(PRIMITIVE_DEPTH_MAX - 1):
        value = [value]
    assert decode_stream(encode_stream([value])) == [value]
    with pytest.raises(CodecError, match="nested more than"):
        decode_stream(encode_stream([[value]]))
