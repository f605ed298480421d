"""Frames that Apache's own marshallers wrote, read and written by ours.

``apache-5.17.2.tsv`` holds the frames: versions, encoding, cache, stack traces, type, and the frame with its
size; with the cache also the second frame of the same structure. Apache ActiveMQ 5.17.2 wrote them (Debian's
libactivemq-java 5.17.2+dfsg-2+deb12u1, OpenJDK 17) from command objects whose fields were all set by the rule
of :func:`filled`, one format object per line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.openwire import commands, schema
from broker.openwire.codec import Codec
from broker.openwire.errors import CodecError
from broker.openwire.throwable import StackTraceElement, Throwable

GOLDEN = Path(__file__).with_name("apache-5.17.2.tsv")

#: Where a field may hold several types, the one that was set.
CHOSEN = {
    "ActiveMQDestination": "ActiveMQTopic",
    "TransactionId": "LocalTransactionId",
    "Message": "ActiveMQTextMessage",
    "DataStructure": "ConnectionId",
    "Identity": "ConnectionId",
}


def plain_name(field: schema.Field) -> str:
    """A field's name as the rule uses it: lower case, in one word. Apache keeps the old TTL in a new one."""
    return field.name.replace("_", "").replace("networkttl", "messagettl")


def filled(name: str, version: int, *, stack: bool, depth: int = 0) -> Any:
    """A structure with all fields set: texts and numbers made from the field's name."""
    each = schema.BY_NAME[name]
    values = {
        field.name: _value(field, version, stack=stack, depth=depth)
        for field in schema.wire_fields(each, version)
        if field.name != "text_view"
    }
    return getattr(commands, name)(**values)


def _value(field: schema.Field, version: int, *, stack: bool, depth: int) -> Any:
    name = plain_name(field)
    number = sum(name.encode())
    match field.kind:
        case schema.Kind.BOOL:
            return number % 2 == 1
        case schema.Kind.BYTE:
            return number % 10
        case schema.Kind.INT:
            return number
        case schema.Kind.LONG:
            return number * 1_000_000_007
        case schema.Kind.STRING:
            return name if name == "physicalname" else f"{name}é€"
        case schema.Kind.BYTES:
            return name.encode()
        case schema.Kind.MAGIC:
            return b"ActiveMQ"
        case schema.Kind.THROWABLE:
            return _throwable(name, stack=stack)
    assert field.holds is not None
    holds = CHOSEN.get(field.holds, field.holds)
    if field.name == "additional_predicate":
        holds = "NetworkBridgeFilter"
    nested = filled(holds, version, stack=stack, depth=depth + 1) if depth <= 2 else None
    return (nested, None) if field.kind is schema.Kind.ARRAY else nested


def _throwable(name: str, *, stack: bool) -> Throwable:
    if not stack:
        return Throwable("javax.jms.JMSException", name)
    lines = (StackTraceElement("a.B", "c", "B.java", 12), StackTraceElement("d.E", "f", None, -2))
    return Throwable("javax.jms.JMSException", name, lines, Throwable("java.lang.RuntimeException", "cause"))


def golden() -> Iterator[tuple[int, bool, bool, bool, str, list[bytes]]]:
    """The frames: version, tight, cache, stack traces, type, frames."""
    for line in GOLDEN.read_text(encoding="ascii").splitlines():
        versions, encoding, cache, stack, name, *frames = line.split("\t")
        low, _, high = versions.partition("-")
        for version in range(int(low), int(high or low) + 1):
            yield (
                version,
                encoding == "tight",
                cache == "cached",
                stack == "stack",
                name,
                [bytes.fromhex(frame) for frame in frames],
            )


ENCODINGS = [(tight, cache) for tight in (False, True) for cache in (False, True)]


@pytest.mark.parametrize("version", range(1, 13))
@pytest.mark.parametrize(("tight", "cache"), ENCODINGS)
def test_frames_of_apache_are_read(version: int, tight: bool, cache: bool) -> None:
    """Every type's frame gives the structure it was written from; cached ones do so twice."""
    count = 0
    for of_version, of_tight, of_cache, stack, name, frames in golden():
        if (of_version, of_tight, of_cache) == (version, tight, cache):
            codec = Codec(version, tight, cache, stack_trace=stack)
            for frame in frames:
                assert codec.decode(frame[4:]) == filled(name, version, stack=stack), name
                count += 1
    assert count >= (8 if cache else 50)


@pytest.mark.parametrize("version", range(1, 13))
@pytest.mark.parametrize("tight", [False, True])
def test_frames_are_written_as_apache_writes_them(version: int, tight: bool) -> None:
    """Without the cache, whose numbers are the sender's own, every frame is the same to the byte."""
    for of_version, of_tight, of_cache, stack, name, (frame, *_) in golden():
        if (of_version, of_tight, of_cache) == (version, tight, False):
            codec = Codec(version, tight, stack_trace=stack)
            assert codec.encode(filled(name, version, stack=stack)) == frame, name


@pytest.mark.parametrize(("tight", "cache"), ENCODINGS)
def test_every_split_point_is_a_cut(tight: bool, cache: bool) -> None:
    """A frame of Apache's cut short at any byte is refused."""
    for of_version, of_tight, of_cache, stack, _, (frame, *_) in golden():
        if (of_version, of_tight, of_cache) == (12, tight, cache):
            for at in range(4, len(frame)):
                with pytest.raises(CodecError):
                    Codec(12, tight, cache, stack_trace=stack).decode(frame[4:at])


def test_every_type_of_every_version_is_there() -> None:
    """The file leaves no type out."""
    seen = {(version, name) for version, *_, name, _ in golden()}
    for each in schema.TYPES:
        if each.code is not None:
            assert {version for version, name in seen if name == each.name} >= set(range(each.since, 13))
