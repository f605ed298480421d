"""AMQP's types as bytes."""

from __future__ import annotations

import contextlib
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proton import Data

from broker.amqp.limits import NESTING_DEPTH_MAX
from broker.amqp.types import (
    Array,
    Decimal,
    Described,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
    decode,
    decode_all,
    encode,
    encode_list,
    skip,
)
from broker.errors import CodecError
from broker.primitive_map import Byte, Char, Float, Long, Short


def signed(bits: int) -> st.SearchStrategy[int]:
    """Numbers of so many bits."""
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)


def unsigned(bits: int) -> st.SearchStrategy[int]:
    """Numbers of so many bits without a sign."""
    return st.integers(0, (1 << bits) - 1)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
SYMBOLS = st.text(st.characters(max_codepoint=127), max_size=300).map(Symbol)
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    unsigned(8).map(UByte),
    unsigned(16).map(UShort),
    unsigned(32).map(UInt),
    unsigned(64).map(ULong),
    signed(8).map(Byte),
    signed(16).map(Short),
    signed(32),
    signed(64).map(Long),
    st.floats(width=32, allow_nan=False).map(Float),
    st.floats(allow_nan=False),
    st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]).map(Char),
    signed(64).map(Timestamp),
    st.uuids(),
    st.binary(max_size=300),
    TEXTS,
    SYMBOLS,
    st.sampled_from([Decimal(bytes(size)) for size in (4, 8, 16)]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(TEXTS, inner, max_size=5),
        st.builds(Described, st.one_of(SYMBOLS, unsigned(64).map(ULong)), SCALARS),
    ),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(a, b) and same(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, Described):
        return same(one.descriptor, other.descriptor) and same(one.value, other.value)
    return bool(one == other)


@given(VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    """Value and type come back, and the place behind is right."""
    data = encode(value)
    back, end = decode(data + b"rest")
    assert same(back, value)
    assert end == len(data)
    assert skip(data + b"rest", 0) == len(data)


@given(VALUES)
def test_proton_reads_what_is_written(value: Any) -> None:
    """Qpid Proton's own codec takes our bytes, and writes some that we read as the same value."""
    data = Data()
    ours = encode(value)
    assert data.decode(ours) == len(ours)
    assert same(decode(bytes(data.encode()))[0], value)


@given(st.lists(unsigned(32).map(UInt), max_size=300), st.sampled_from([None, Symbol("kind")]))
def test_arrays(numbers: list[UInt], descriptor: Symbol | None) -> None:
    """The elements of an array have one type, and one description."""
    array = Array(numbers if descriptor is None else [Described(descriptor, each) for each in numbers])
    data = encode(array)
    back, end = decode(data)
    assert back == array
    assert end == len(data) == skip(data, 0)
    if numbers:
        assert Data().decode(data) == len(data)


@given(st.lists(SYMBOLS, min_size=1, max_size=20))
def test_arrays_of_symbols_as_proton_reads_them(symbols: list[Symbol]) -> None:
    """As capabilities are."""
    data = Data()
    data.decode(encode(Array(symbols)))
    data.next()
    assert [str(each) for each in data.get_py_array().elements] == [str(each) for each in symbols]


def test_arrays_of_several_types_cannot_be_written() -> None:
    """They are none."""
    with pytest.raises(CodecError):
        encode(Array([UInt(1), "one"]))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("40", None),
        ("41", True),
        ("5601", True),
        ("42", False),
        ("5600", False),
        ("43", UInt(0)),
        ("5205", UInt(5)),
        ("7000000005", UInt(5)),
        ("44", ULong(0)),
        ("53ff", ULong(255)),
        ("54ff", -1),
        ("71ffffffff", -1),
        ("55ff", Long(-1)),
        ("823ff8000000000000", 1.5),
        ("8300000000000003e8", Timestamp(1000)),
        ("9800112233445566778899aabbccddeeff", UUID("00112233-4455-6677-8899-aabbccddeeff")),
        ("a00401020304", b"\1\2\3\4"),
        ("a1026869", "hi"),
        ("b1000000026869", "hi"),
        ("a3026869", Symbol("hi")),
        ("45", []),
        ("c00402520141", [UInt(1), True]),
        ("d00000000700000002520141", [UInt(1), True]),
        ("c10602a101615401", {"a": 1}),
        ("00532445", Described(ULong(0x24), [])),
        ("e0050350010203", Array([UByte(1), UByte(2), UByte(3)])),
    ],
)
def test_the_forms_of_the_specification(data: str, value: Any) -> None:
    """Every constructor of part 1, 1.6, that has a shorter or longer relative."""
    back, _ = decode(bytes.fromhex(data))
    assert same(back, value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x3f",
        b"\x00\x53",
        b"\xa1\x05hell",
        b"\xb1\xff\xff\xff\xffx",
        b"\xa1\x01\xff",
        b"\xa3\x01\xff",
        b"\xc0\x02\x05\x40",
        b"\xc0\x00\x00",
        b"\xd0\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xc1\x02\x01\x40",
        b"\xc1\x04\x02\x45\x40\x40",
        b"\xc0\x03\x01\x40\x40",
        b"\xf0\x00\x00\x00\x05\x7f\xff\xff\xff\x40",
        b"\x73\x00\x11\x00\x00",
    ],
)
def test_damage(data: bytes) -> None:
    """It is refused, whatever it is."""
    with pytest.raises(CodecError):
        decode(data)


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    """Nothing but a CodecError comes of them."""
    for read in (decode_all, lambda data: skip(data, 0)):
        with contextlib.suppress(CodecError):
            read(data)


def test_nesting_ends() -> None:
    """Deep values are refused before the stack is."""
    value: object = []
    for _ in range(NESTING_DEPTH_MAX):
        value = [value]
    assert decode(encode(value))[0] == value
    with pytest.raises(CodecError):
        decode(encode([value]))
    with pytest.raises(CodecError):
        decode(b"\0" * 100_000)
    with pytest.raises(CodecError):
        skip(b"\0" * 100_000, 0)


def test_fields_at_the_end_are_left_out() -> None:
    """None at the end of a described list says nothing."""
    assert encode_list([None, None]) == b"\x45"
    assert decode(encode_list([True, None, "a", None]))[0] == [True, None, "a"]
