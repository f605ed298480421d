"""Sends a message for an operator."""

from __future__ import annotations

import base64
import binascii
import itertools
import struct
from typing import TYPE_CHECKING, Final

from broker import modified_utf8
from broker.destination import Destination
from broker.errors import CodecError, InvalidDestination
from broker.management.errors import RequestMalformed, TooMany
from broker.management.jobs import Immediate, Job
from broker.management.requests import SendRequest
from broker.message import BodyKind, Message
from broker.primitive_map import encode_map
from broker.region.routing import Arrivals

if TYPE_CHECKING:
    from broker.region.region import Region

PRIORITY_MAX: Final = 9
_LENGTH: Final = struct.Struct(">i")
_sequence: Final = itertools.count(1)


def send(region: Region, request: SendRequest) -> Job:
    """A job that sends a message as the broker's own.

    Raises:
        RequestMalformed: it cannot be a message.
    """
    message = _message(region, request)

    def do(job: Immediate) -> int:
        lack = region.usage.store_lack() if message.persistent else region.usage.volatile_lack()
        if lack:
            raise TooMany(lack)
        arrivals = Arrivals.of(region, [message], None)
        batch = region.append(arrivals.records) if arrivals.records else 0
        arrivals.accept(batch)
        job.result = message.message_id
        return batch

    return Immediate(region, "send", message.destination.uri, do)


def _message(region: Region, request: SendRequest) -> Message:
    try:
        destination = Destination.parse(request.destination)
        reply_to = Destination.parse(request.reply_to) if request.reply_to else None
    except InvalidDestination as error:
        raise RequestMalformed(str(error)) from error
    if not 0 <= request.priority <= PRIORITY_MAX:
        raise RequestMalformed(
            f"The argument 'priority' must be between 0 and {PRIORITY_MAX}, not {request.priority}."
        )
    if request.time_to_live_ms < 0:
        raise RequestMalformed(f"The argument 'time_to_live_ms' cannot be {request.time_to_live_ms}.")
    kind, body = _body(request)
    return Message(
        message_id=f"ID:management-{region.now_ms}-{region.next_ref}:1:1:{next(_sequence)}",
        destination=destination,
        persistent=request.persistent,
        priority=request.priority,
        timestamp=region.now_ms,
        expiration=region.now_ms + request.time_to_live_ms if request.time_to_live_ms else 0,
        correlation_id=request.correlation_id or None,
        reply_to=reply_to,
        type=request.type or None,
        group_id=request.group_id or None,
        properties=_properties(request),
        body_kind=kind,
        body=body,
    )


def _body(request: SendRequest) -> tuple[BodyKind, bytes | None]:
    if request.text is not None and request.base64 is not None:
        raise RequestMalformed("A message has either 'text' or 'base64' as its body, not both.")
    if request.text is not None:
        data = modified_utf8.encode(request.text)
        return BodyKind.TEXT, _LENGTH.pack(len(data)) + data
    if request.base64 is not None:
        try:
            return BodyKind.BYTES, base64.b64decode(request.base64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RequestMalformed(f"The argument 'base64' cannot be decoded: {error}.") from error
    return BodyKind.NONE, None


def _properties(request: SendRequest) -> bytes | None:
    if not request.properties:
        return None
    for name, value in request.properties.items():
        if not name or not (value is None or isinstance(value, bool | int | float | str)):
            raise RequestMalformed(f"A message cannot have the property {name!r} with this value.")
    try:
        return encode_map(request.properties)
    except CodecError as error:
        raise RequestMalformed(f"The properties cannot be sent: {error}.") from error
