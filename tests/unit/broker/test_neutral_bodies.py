"""Bodies and properties between the protocols."""

from __future__ import annotations

import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import conversion, modified_utf8
from broker.conversion import (
    as_text,
    body_of,
    decode_text,
    deflated,
    inflated,
    marshalled,
    payload_of,
    storable,
    text_body,
    text_body_of_utf8,
    text_of,
    utf8_of_text_body,
    utf8_text,
    value_of,
)
from broker.destination import Destination
from broker.errors import CodecError
from broker.message import BodyKind, Message
from broker.primitive_map import (
    PRIMITIVE_DEPTH_MAX,
    Byte,
    Char,
    Float,
    Long,
    Short,
    Value,
    decode_map,
    decode_stream,
    encode_map,
    encode_stream,
)

TEXTS = st.text(st.characters(codec="utf-8"))
JAVA_TEXTS = st.text(st.one_of(st.characters(), st.characters(categories=["Cs"])))
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.booleans())
SCALARS = st.one_of(st.none(), NUMBERS, TEXTS, st.binary(max_size=20))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner),
        st.dictionaries(st.one_of(TEXTS, st.integers()), inner, max_size=4),
    ),
    max_leaves=12,
)


def message(kind: BodyKind, body: bytes | None, *, compressed: bool = False) -> Message:
    """A message with that body."""
    return Message("m", Destination.queue("q"), body_kind=kind, body=body, compressed=compressed)


def made(value: object) -> Message:
    """A message with that value as its body."""
    return message(*body_of(value))


# ---- texts


@given(JAVA_TEXTS)
def test_a_text_comes_back(text: str) -> None:
    """Java's texts, half characters and NUL included, are themselves after both ways."""
    content = text_body(text)
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    assert decode_text(content) == joined
    assert utf8_of_text_body(content) == joined.encode("utf-8", "replace")


@given(TEXTS)
def test_utf8_becomes_the_same_body(text: str) -> None:
    """The quick way for UTF-8 gives what the way over Python's text gives, and back."""
    content = text_body_of_utf8(text.encode())
    assert content == text_body(text)
    assert utf8_of_text_body(content) == text.encode()


@given(st.binary(max_size=30))
def test_any_bytes_are_a_text_or_refused(data: bytes) -> None:
    """What is not UTF-8, or not modified UTF-8, is refused in both quick ways as in the slow ones."""
    try:
        expected = text_body(data.decode("utf-8"))
    except UnicodeDecodeError:
        with pytest.raises(CodecError, match="not UTF-8"):
            text_body_of_utf8(data)
    else:
        assert text_body_of_utf8(data) == expected
    content = struct.pack(">i", len(data)) + data
    try:
        there = modified_utf8.decode(data).encode("utf-8", "replace")
    except CodecError:
        with pytest.raises(CodecError):
            utf8_of_text_body(content)
    else:
        assert utf8_of_text_body(content) == there


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b"\0\0\0\2a", b"\0\0\0\1ab"])
def test_a_cut_text_is_refused(content: bytes) -> None:
    """A text must have the length that it says."""
    with pytest.raises(CodecError):
        decode_text(content)


def test_a_null_text_is_empty() -> None:
    """Java's null is None where the protocol knows that, and empty elsewhere."""
    null = message(BodyKind.TEXT, b"\xff\xff\xff\xff")
    assert (value_of(null), payload_of(null), text_of(null)) == (None, b"", "")


# ---- bodies


@pytest.mark.parametrize(
    ("value", "payload"),
    [
        (None, b""),
        ("", b""),
        ("grüße 🐇", "grüße 🐇".encode()),
        (b"\0\xff", b"\0\xff"),
        ({"a": 1, "b": [True, None, b"\x0f"]}, b'{"a":1,"b":[true,null,"0f"]}'),
        (["x", 2.5, "ü"], '["x",2.5,"ü"]'.encode()),
        ([], b"[]"),
        ({}, b"{}"),
    ],
)
def test_bodies_as_bytes_and_values(value: Value, payload: bytes) -> None:
    """Each kind of body is read as bytes, as text and as the value it was."""
    given_ = made(value)
    assert payload_of(given_) == payload
    assert value_of(given_) == value
    assert text_of(given_) == payload.decode("utf-8", "replace")


@pytest.mark.parametrize(("value", "text"), [(7, "7"), (True, "true"), (0.5, "0.5")])
def test_a_single_value_is_a_text(value: object, text: str) -> None:
    """A body that is a number or a truth value is readable by everybody as a text."""
    assert body_of(value) == (BodyKind.TEXT, text_body(text))


@pytest.mark.parametrize("kind", [BodyKind.OBJECT, BodyKind.BLOB])
def test_objects_are_bytes(kind: BodyKind) -> None:
    """What is not opened is passed on as it is."""
    given_ = message(kind, b"\xac\xed")
    assert (payload_of(given_), value_of(given_)) == (b"\xac\xed", b"\xac\xed")


@pytest.mark.parametrize("kind", [kind for kind in BodyKind if kind not in (BodyKind.NONE, BodyKind.BLOB)])
def test_compressed_bodies_are_read(kind: BodyKind) -> None:
    """Every kind of body may come compressed, and is read as if it had not."""
    body = {
        BodyKind.TEXT: text_body("text"),
        BodyKind.MAP: encode_map({"a": 1}),
        BodyKind.STREAM: encode_stream([1, "a"]),
    }.get(kind, b"bytes")
    compressed = message(kind, deflated(kind, body), compressed=True)
    assert payload_of(compressed) == payload_of(message(kind, body))
    assert value_of(compressed) == value_of(message(kind, body))


@pytest.mark.parametrize("kind", [BodyKind.TEXT, BodyKind.MAP, BodyKind.STREAM])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_body_is_given_as_it_is(
    kind: BodyKind, compressed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading does not fail: the consumer gets the bytes, and the log says why."""
    damaged = message(kind, b"\x0edamaged", compressed=compressed)
    assert (payload_of(damaged), value_of(damaged)) == (b"\x0edamaged", b"\x0edamaged")
    assert caplog.text.count("Message m has a damaged body") == 2


@given(st.sampled_from(BodyKind), st.none() | st.binary(max_size=60), st.booleans())
def test_reading_never_fails(kind: BodyKind, body: bytes | None, compressed: bool) -> None:
    """Whatever the bytes of a body are, each way of reading them gives something."""
    given_ = message(kind, body, compressed=compressed)
    assert isinstance(payload_of(given_), bytes)
    assert isinstance(text_of(given_), str)
    value_of(given_)


def test_the_length_of_compressed_bytes_counts() -> None:
    """Apache's client deflates the rest of its buffer, too: what goes beyond the length is not the body."""
    longer = struct.pack(">i", 2) + deflated(BodyKind.OBJECT, b"ab" + bytes(1022))
    assert inflated(BodyKind.BYTES, longer) == b"ab"
    assert inflated(BodyKind.BYTES, struct.pack(">i", 0) + longer[4:]) == b""
    for body in (b"", b"\0", struct.pack(">i", -1) + longer[4:], struct.pack(">i", 1025) + longer[4:]):
        with pytest.raises(CodecError):
            inflated(BodyKind.BYTES, body)


def test_a_compressed_body_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small message that inflates to a huge one is not inflated."""
    monkeypatch.setattr(conversion, "INFLATED_BYTES_MAX", 9_999)
    body = deflated(BodyKind.BYTES, bytes(10_000))
    with pytest.raises(CodecError, match="larger than 9999"):
        inflated(BodyKind.BYTES, body)
    assert payload_of(message(BodyKind.BYTES, body, compressed=True)) == body


@given(VALUES)
def test_any_value_becomes_a_body(value: object) -> None:
    """Whatever a protocol's value is, it becomes a body that is read back, and shown as JSON or text."""
    given_ = made(value)
    payload = payload_of(given_)
    value_of(given_)
    if given_.body_kind in (BodyKind.MAP, BodyKind.STREAM):
        json.loads(payload)


def test_a_stream_is_flat() -> None:
    """Java's streams hold no maps and lists: they become JSON."""
    kind, body = body_of([1, {"a": [2]}, (3, 4)])
    assert kind is BodyKind.STREAM
    assert body is not None
    assert decode_stream(body) == [1, '{"a":[2]}', "[3,4]"]


# ---- properties


def test_properties_keep_their_types() -> None:
    """The narrow types that Java distinguishes stay what they are; what has none is a text."""
    values: dict[str, object] = {
        "byte": Byte(1),
        "short": Short(2),
        "int": 3,
        "long": Long(4),
        "wide": 2**40,
        "wider": 2**64,
        "float": Float(0.5),
        "double": 0.25,
        "flag": True,
        "text": "ü",
        "bytes": b"\1",
        "none": None,
        "list": (1, "a"),
        "": "without a name",
    }
    data = marshalled(values)
    assert data is not None
    properties = decode_map(data)
    assert properties is not None
    assert properties == {
        **{name: value for name, value in values.items() if name},
        "wider": str(2**64),
        "bytes": "01",
        "list": [1, "a"],
    }
    assert [type(properties[name]) for name in ("byte", "short", "int", "long", "float", "double")] == [
        Byte,
        Short,
        int,
        Long,
        Float,
        float,
    ]


def test_no_properties_are_none() -> None:
    """A message without properties has no bytes for them."""
    assert marshalled({}) is None
    assert marshalled({"": 1}) is None


def test_a_name_has_a_limit() -> None:
    """A name that Java could not read is refused."""
    with pytest.raises(CodecError, match="longer than 65535"):
        marshalled({"x" * 65_536: 1})


@given(st.dictionaries(JAVA_TEXTS, VALUES, max_size=5))
def test_any_properties_can_be_written(values: dict[str, object]) -> None:
    """Whatever a protocol's properties are, they can be kept, and each is a text for protocols of texts."""
    data = marshalled(values)
    for value in ((decode_map(data) if data else None) or {}).values():
        as_text(value)


def test_nesting_has_a_limit() -> None:
    """What is nested deeper than the journal's encoding allows is refused, not recursed into."""
    value: object = 1
    for _ in range(PRIMITIVE_DEPTH_MAX + 1):
        value = [value]
    with pytest.raises(CodecError, match="nested more than"):
        storable(value)
    with pytest.raises(CodecError, match="nested more than"):
        body_of(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (None, ""),
        (False, "false"),
        (Byte(-3), "-3"),
        (2**63 - 1, "9223372036854775807"),
        (Float(struct.unpack(">f", struct.pack(">f", 0.1))[0]), "0.1"),
        (Float(struct.unpack(">f", struct.pack(">f", 16777217.0))[0]), "16777216.0"),
        (0.1, "0.1"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (b"\0\xff", "00ff"),
        ({"a": [1]}, '{"a":[1]}'),
        (Char("c"), "c"),
    ],
)
def test_values_as_texts(value: object, text: str) -> None:
    """Each value has one text."""
    assert as_text(value) == text


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_text_of_a_float_is_the_float(value: float) -> None:
    """The short text of a 32-bit number is read as the same number."""
    assert struct.pack(">f", float(as_text(Float(value)))) == struct.pack(">f", value)


@pytest.mark.parametrize(
    ("text", "data"),
    [("ü", "ü".encode()), ("\ud83d", b"?"), ("a\0b", None), ("x" * 10, b"x" * 10), ("x" * 11, None)],
)
def test_texts_for_strict_protocols(text: str, data: bytes | None) -> None:
    """A text with NUL or one that is too long cannot be carried; half a character becomes a question mark."""
    assert utf8_text(text, 10) == data
