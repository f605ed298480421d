"""AMQP 1.0 frames as the specification writes them, without Proton: what honest clients say."""

from __future__ import annotations

import struct

from broker.amqp import sections
from broker.amqp.types import (
    Array,
    Described,
    Symbol,
    UByte,
    UInt,
    ULong,
    UShort,
    described,
    encode,
    encode_list,
)

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SOURCE, TARGET, COORDINATOR = 0x28, 0x29, 0x30
SENDER, RECEIVER = False, True

SASL_HEADER = b"AMQP\3\1\0\0"
AMQP_HEADER = b"AMQP\0\1\0\0"


def frame(code: int, *fields: object, channel: int = 0, kind: int = 0, payload: bytes = b"") -> bytes:
    """One frame with a performative."""
    body = described(code, encode_list(fields)) + payload
    return struct.pack(">IBBH", 8 + len(body), 2, kind, channel) + body


def plain_login(user: str = "admin", password: str = "admin") -> bytes:
    """SASL's header, and PLAIN."""
    return SASL_HEADER + frame(0x41, Symbol("PLAIN"), f"\0{user}\0{password}".encode(), "host", kind=1)


def opened(container: str = "c1") -> bytes:
    """The connection and a session."""
    return (
        AMQP_HEADER
        + frame(OPEN, container, "host", UInt(65_536), UShort(10), UInt(60_000))
        + frame(BEGIN, None, UInt(0), UInt(2_048), UInt(2_048))
    )


def attach(
    handle: int, role: bool, source: Described, target: Described, *, name: str = "", settled: bool = False
) -> bytes:
    """A link."""
    return frame(
        ATTACH,
        name or f"link-{handle}",
        UInt(handle),
        role,
        UByte(1 if settled else 2),
        UByte(0),
        source,
        target,
        None,
        None,
        None if role else UInt(0),
    )


def source(address: str | None, **fields: object) -> Described:
    """The end that messages come from."""
    return _terminus(
        SOURCE,
        ("address", "durable", "expiry", "timeout", "dynamic", "properties", "mode", "filter", "default"),
        {"address": address, **fields},
    )


def target(address: str | None, **fields: object) -> Described:
    """The end that messages go to."""
    names = ("address", "durable", "expiry", "timeout", "dynamic", "properties", "capabilities")
    return _terminus(TARGET, names, {"address": address, **fields})


def coordinator() -> Described:
    """The end that transactions are begun at."""
    return Described(ULong(COORDINATOR), [Array([Symbol("amqp:local-transactions")])])


def _terminus(code: int, names: tuple[str, ...], fields: dict[str, object]) -> Described:
    assert fields.keys() <= set(names)
    return Described(ULong(code), [fields.get(name) for name in names])


def selector(text: str) -> dict[object, object]:
    """A filter."""
    return {Symbol("jms-selector"): Described(ULong(0x0000468C00000004), text)}


def flow(handle: int, credit: int, *, drain: bool = False) -> bytes:
    """Credit for a link."""
    return frame(
        FLOW,
        UInt(0),
        UInt(2_048),
        UInt(0),
        UInt(2_048),
        UInt(handle),
        UInt(0),
        UInt(credit),
        None,
        drain,
    )


def transfer(
    handle: int,
    number: int,
    content: bytes,
    *,
    settled: bool = False,
    more: bool = False,
    state: object = None,
) -> bytes:
    """A message, or a part of one."""
    tag = number.to_bytes(4, "big")
    return frame(
        TRANSFER, UInt(handle), UInt(number), tag, UInt(0), settled, more, None, state, payload=content
    )


def accepted(first: int, last: int) -> bytes:
    """These messages have been taken."""
    return frame(DISPOSITION, RECEIVER, UInt(first), UInt(last), True, Described(ULong(0x24), []))


def detach(handle: int, *, closed: bool = True) -> bytes:
    """A link less."""
    return frame(DETACH, UInt(handle), closed)


def message(body: object, *, durable: bool = True, **application: object) -> bytes:
    """An encoded message."""
    parts = [described(sections.HEADER, encode_list([durable]))]
    parts.append(described(sections.MESSAGE_ANNOTATIONS, encode({Symbol("x-opt-own"): 1})))
    parts.append(described(sections.PROPERTIES, encode_list(["m1", None, None, "kind"])))
    if application:
        parts.append(described(sections.APPLICATION_PROPERTIES, encode(application)))
    parts.append(described(sections.VALUE, encode(body)))
    return b"".join(parts)


def command(code: int, *fields: object) -> bytes:
    """A message to a coordinator."""
    return described(sections.VALUE, described(code, encode_list(fields)))
