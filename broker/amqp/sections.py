"""The sections of an encoded message: where they are, and the fields of those that the broker reads.

::

    header   delivery-annotations   message-annotations   properties   application-properties   body   footer
    ───── ours on every hop ─────   ──────────────── the annotated message, passed on as it is ─────────────

Source: AMQP 1.0, part 3, 3.2.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from broker.amqp.types import Described, UByte, UInt, decode, described, encode_list, skip
from broker.errors import CodecError

HEADER: Final = 0x70
DELIVERY_ANNOTATIONS: Final = 0x71
MESSAGE_ANNOTATIONS: Final = 0x72
PROPERTIES: Final = 0x73
APPLICATION_PROPERTIES: Final = 0x74
DATA: Final = 0x75
SEQUENCE: Final = 0x76
VALUE: Final = 0x77
FOOTER: Final = 0x78

_SYMBOLS: Final = {
    "amqp:header:list": HEADER,
    "amqp:delivery-annotations:map": DELIVERY_ANNOTATIONS,
    "amqp:message-annotations:map": MESSAGE_ANNOTATIONS,
    "amqp:properties:list": PROPERTIES,
    "amqp:application-properties:map": APPLICATION_PROPERTIES,
    "amqp:data:binary": DATA,
    "amqp:amqp-sequence:list": SEQUENCE,
    "amqp:amqp-value:*": VALUE,
    "amqp:footer:map": FOOTER,
}
_BODIES: Final = frozenset({DATA, SEQUENCE, VALUE})

PROPERTY_FIELDS: Final = (
    "message_id",
    "user_id",
    "to",
    "subject",
    "reply_to",
    "correlation_id",
    "content_type",
    "content_encoding",
    "absolute_expiry_time",
    "creation_time",
    "group_id",
    "group_sequence",
    "reply_to_group_id",
)
"""The fields of the section `properties`, in order."""
(
    MESSAGE_ID,
    USER_ID,
    TO,
    SUBJECT,
    REPLY_TO,
    CORRELATION_ID,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    ABSOLUTE_EXPIRY_TIME,
    CREATION_TIME,
    GROUP_ID,
    GROUP_SEQUENCE,
    REPLY_TO_GROUP_ID,
) = range(len(PROPERTY_FIELDS))


HEADERS_MAX: Final = 256
"""Headers kept decoded."""


class Section(NamedTuple):
    """Where one section is.

    Attributes:
        code: which.
        begin: its first byte.
        value_at: where what is described begins.
        end: the byte behind it.
    """

    code: int
    begin: int
    value_at: int
    end: int


def split(data: bytes, at: int = 0) -> list[Section]:
    """The sections of an encoded message.

    Raises:
        CodecError: it is none.
    """
    found: list[Section] = []
    last = HEADER - 1
    size = len(data)
    while at < size:
        begin = at
        if data[at : at + 2] == b"\0\x53" and at + 2 < size:
            code = data[at + 2]
            at += 3
        else:
            code, at = _descriptor(data, at)
        if not HEADER <= code <= FOOTER:
            raise CodecError(f"there is no section {code:#x}")
        repeats = code == last and code in (DATA, SEQUENCE)
        if code <= last and not repeats:
            raise CodecError(f"section {code:#x} comes behind section {last:#x}")
        if code in _BODIES and last in _BODIES and not repeats:
            raise CodecError("a message has bodies of several kinds")
        end = skip(data, at)
        found.append(Section(code, begin, at, end))
        last, at = code, end
    return found


def _descriptor(data: bytes, at: int) -> tuple[int, int]:
    if data[at]:
        raise CodecError(f"byte {at} of a message begins no section")
    descriptor, at = decode(data, at + 1)
    code = _SYMBOLS.get(descriptor, 0) if isinstance(descriptor, str) else descriptor
    return (code if isinstance(code, int) else 0), at


def fields(data: bytes, section: Section) -> list[Any]:
    """The fields of a section that is a list.

    Raises:
        CodecError: it is none.
    """
    values, _ = decode(data, section.value_at)
    if not isinstance(values, list):
        raise CodecError(f"section {section.code:#x} is no list")
    return values


def entries(data: bytes, section: Section) -> dict[Any, Any]:
    """The entries of a section that is a map.

    Raises:
        CodecError: it is none.
    """
    values, _ = decode(data, section.value_at)
    if not isinstance(values, dict):
        raise CodecError(f"section {section.code:#x} is no map")
    return values


class Header(NamedTuple):
    """The section that tells how a message is to be treated, with the specification's defaults."""

    durable: bool = False
    priority: int = 4
    ttl: int | None = None
    first_acquirer: bool | None = None
    delivery_count: int = 0


NO_HEADER: Final = Header()


def read_header(data: bytes, section: Section) -> Header:
    """The header.

    Raises:
        CodecError: it is none.
    """
    return _header(data[section.value_at : section.end])


@lru_cache(maxsize=HEADERS_MAX)
def _header(content: bytes) -> Header:
    """Most messages of a broker have one of a few headers. Measured: 1 µs less for each message."""
    values, _ = decode(content)
    if not isinstance(values, list):
        raise CodecError("the header is no list")
    durable, priority, ttl, first_acquirer, delivery_count = (*values[:5], None, None, None, None, None)[:5]
    if not all(each is None or isinstance(each, int) for each in (durable, priority, ttl, delivery_count)):
        raise CodecError("a field of the header has the wrong type")
    return Header(
        bool(durable),
        4 if priority is None else priority,
        ttl,
        None if first_acquirer is None else bool(first_acquirer),
        delivery_count or 0,
    )


def write_header(header: Header) -> bytes:
    """The bytes of the section; none if it would say nothing."""
    values = [
        True if header.durable else None,
        None if header.priority == 4 else UByte(header.priority),
        None if header.ttl is None else UInt(header.ttl),
        header.first_acquirer,
        UInt(header.delivery_count) if header.delivery_count else None,
    ]
    return described(HEADER, encode_list(values)) if any(each is not None for each in values) else b""


def plain(value: object) -> object:
    """A value without what describes it."""
    while isinstance(value, Described):
        value = value.value
    return value
