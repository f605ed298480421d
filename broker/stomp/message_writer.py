"""What MESSAGE frames say: of messages of other protocols, and in other versions than the kept form's.

Source: ActiveMQ's `FrameTranslator` and `LegacyFrameTranslator`, for what becomes of JMS's headers and types.
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable
from typing import Final

from broker import modified_utf8
from broker.errors import CodecError
from broker.message import BodyKind, Message
from broker.properties import properties_of
from broker.stomp.destinations import name_of
from broker.stomp.headers import Version, lines, parsed_headers, plain_lines
from broker.stomp.limits import INFLATED_BYTES_MAX
from broker.stomp.translation import WIRE_FORMAT, standard_headers

_SIZE_BYTES: Final = 4

_log: Final = logging.getLogger("broker.stomp")


def kept_form(message: Message) -> bytes:
    """A message in :data:`~broker.stomp.translation.WIRE_FORMAT`, whatever protocol it came by."""
    wire = message.wire
    if wire is not None and message.wire_format == WIRE_FORMAT:
        return wire
    headers = {
        "message-id": message.message_id,
        "timestamp": str(message.timestamp),
        **standard_headers(message),
    }
    if message.user_id is not None:
        headers["JMSXUserID"] = message.user_id
    if message.origin is not None:
        headers["original-destination"] = name_of(message.origin)
    for name, value in properties_of(message).items():
        headers.setdefault(name, shown(value))
    headers.pop("content-length", None)
    try:
        body = _body(message)
    except (CodecError, zlib.error, struct.error) as error:
        _log.warning("Message %s is dispatched without its body: %s", message.message_id, error)
        headers["transformation-error"] = str(error)
        body = b""
    if message.body_kind is BodyKind.BYTES or b"\0" in body:
        headers["content-length"] = str(len(body))
    head = lines(headers).encode("utf-8", "replace")
    return b"%b\n%b" % (head, body)


def shown(value: object) -> str:
    """A property as text, as Java shows it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _body(message: Message) -> bytes:
    """The body of a text or bytes message; those of other kinds have none that STOMP could show."""
    body = message.body
    if body is None or message.body_kind not in (BodyKind.TEXT, BodyKind.BYTES):
        return b""
    if message.compressed:
        body = _inflated(body, _SIZE_BYTES if message.body_kind is BodyKind.BYTES else 0)
    if message.body_kind is BodyKind.BYTES:
        return body
    text = body[_SIZE_BYTES:]
    if text.isascii():
        return text
    return modified_utf8.decode(text).encode("utf-8", "replace")


def _inflated(body: bytes, begin: int) -> bytes:
    inflater = zlib.decompressobj()
    data = inflater.decompress(body[begin:], INFLATED_BYTES_MAX)
    if not inflater.eof:
        raise CodecError(f"it is damaged, or longer than {INFLATED_BYTES_MAX} bytes")
    return data


def adapted(wire: bytes, version: Version, own_name: Callable[[str], str]) -> bytes:
    """A kept form in the escapes of a version, and with a connection's names of its own destinations."""
    head, _, body = wire.partition(b"\n\n")
    headers = parsed_headers(b"\n" + head, Version.V1_2)
    for name in ("destination", "reply-to"):
        if name in headers:
            headers[name] = own_name(headers[name])
    text = plain_lines(headers) if version is Version.V1_0 else lines(headers, version)
    return b"%b\n%b" % (text.encode("utf-8", "replace"), body)
