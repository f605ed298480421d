"""What selectors see of a message: JMS headers, the properties JMS defines, and the message's own.

The own properties are decoded when somebody first asks for one, and kept with the message.

Source: JMS 1.1 and 2.0, §3.5 and §3.8.1.1; Apache ActiveMQ for what headers look like to a selector (the
destination as `queue://NAME`, the delivery mode as text).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from broker.errors import CodecError
from broker.primitive_map import Value, decode_map, encode_map
from broker.selector import Selector, Values

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.entry import Entry

_log: Final = logging.getLogger("broker.properties")

Matches = Callable[["Message", "Entry | None"], bool]
"""Whether a message is selected; the entry is None if it has not been delivered to anybody yet."""

COMPILED_MAX: Final = 1_024
"""Selectors kept compiled; most are used by many consumers, one after the other."""

_NONE: Final[Mapping[str, object]] = {}


def properties_of(message: Message) -> Mapping[str, object]:
    """The message's own properties; none if their bytes are damaged, which is logged once per message."""
    decoded = message.decoded
    if decoded is None:
        decoded = _NONE
        if message.properties:
            try:
                decoded = decode_map(message.properties) or _NONE
            except CodecError as error:
                _log.warning("Message %s has no readable properties: %s", message.message_id, error)
        message.decoded = decoded
    return decoded


def with_properties(
    message: Message, added: Mapping[str, Value], missing: Mapping[str, Value] | None = None
) -> bytes | None:
    """The bytes of a message's properties and further ones.

    Args:
        message: if its properties are damaged, or cannot be written, they stay as they are.
        added: whatever it has of these names goes.
        missing: added if it has none of these names.
    """
    try:
        own = (decode_map(message.properties) if message.properties else None) or {}
        return encode_map({**(missing or {}), **own, **added})
    except CodecError as error:
        _log.warning("Message %s keeps the properties it had: %s", message.message_id, error)
        return message.properties


def values_of(message: Message, entry: Entry | None = None) -> Values:
    """Gives the message's headers and properties by their names, None for what it lacks.

    Args:
        message: the message.
        entry: its stay in a place, which knows how often it was delivered; None: never.
    """

    def value(name: str) -> object:
        header = _HEADERS.get(name)
        return properties_of(message).get(name) if header is None else header(message, entry)

    return value


@lru_cache(maxsize=COMPILED_MAX)
def compiled(text: str) -> Matches:
    """What decides for the text of a selector: the same object for the same text, if it was used of late.

    Raises:
        InvalidSelector: it is none; says where.
    """
    return matches_of(Selector(text))


def matches_of(selector: Selector) -> Matches:
    """What decides for a selector; quicker than `values_of` where it looks at properties alone."""
    matches = selector.matches
    if _HEADERS.keys().isdisjoint(selector.names):
        return lambda message, entry: matches((message.decoded or properties_of(message)).get)
    return lambda message, entry: matches(values_of(message, entry))


def _delivery_count(message: Message, entry: Entry | None) -> object:
    del message
    return 1 if entry is None else entry.redelivery_counter + 1


_HEADERS: Final[Mapping[str, Callable[[Message, Entry | None], object]]] = {
    "JMSDestination": lambda message, _: message.destination.uri,
    "JMSReplyTo": lambda message, _: None if message.reply_to is None else message.reply_to.uri,
    "JMSType": lambda message, _: message.type,
    "JMSDeliveryMode": lambda message, _: "PERSISTENT" if message.persistent else "NON_PERSISTENT",
    "JMSPriority": lambda message, _: message.priority,
    "JMSMessageID": lambda message, _: message.message_id,
    "JMSTimestamp": lambda message, _: message.timestamp,
    "JMSCorrelationID": lambda message, _: message.correlation_id,
    "JMSExpiration": lambda message, _: message.expiration,
    "JMSRedelivered": lambda _, entry: entry is not None and entry.redelivery_counter > 0,
    "JMSXDeliveryCount": _delivery_count,
    "JMSXGroupID": lambda message, _: message.group_id,
    "JMSXGroupSeq": lambda message, _: None if message.group_id is None else message.group_sequence,
    "JMSXUserID": lambda message, _: message.user_id,
}
"""Names of headers win over properties of the same name: a client cannot forge them."""
