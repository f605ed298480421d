"""What MESSAGE frames say: of messages of other protocols, and in other versions than the kept form's.

Source: ActiveMQ's `FrameTranslator` and `LegacyFrameTranslator`, for what becomes of JMS's headers and types.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from broker.conversion import as_text, payload_of
from broker.message import BodyKind, Message
from broker.properties import properties_of
from broker.stomp.destinations import name_of
from broker.stomp.headers import Version, lines, parsed_headers, plain_lines
from broker.stomp.translation import WIRE_FORMAT, standard_headers

_TEXTS: Final = frozenset({BodyKind.TEXT, BodyKind.MAP, BodyKind.STREAM, BodyKind.NONE})
"""Bodies that are shown as text; maps and streams are JSON."""


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
    if message.group_first:
        headers["JMSXGroupFirstForConsumer"] = "true"
    for name, value in properties_of(message).items():
        headers.setdefault(name, shown(value))
    headers.pop("content-length", None)
    body = payload_of(message)
    if message.body_kind not in _TEXTS or b"\0" in body:
        headers["content-length"] = str(len(body))
    head = lines(headers).encode("utf-8", "replace")
    return b"%b\n%b" % (head, body)


def shown(value: object) -> str:
    """A property as text; nothing as Java shows it."""
    return "null" if value is None else as_text(value)


def adapted(wire: bytes, version: Version, own_name: Callable[[str], str]) -> bytes:
    """A kept form in the escapes of a version, and with a connection's names of its own destinations."""
    head, _, body = wire.partition(b"\n\n")
    headers = parsed_headers(b"\n" + head, Version.V1_2)
    for name in ("destination", "reply-to"):
        if name in headers:
            headers[name] = own_name(headers[name])
    text = plain_lines(headers) if version is Version.V1_0 else lines(headers, version)
    return b"%b\n%b" % (text.encode("utf-8", "replace"), body)
