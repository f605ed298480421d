"""Topic names and topic filters of MQTT, and the names of destinations that they stand for.

The levels of a topic name are divided by ``/``; in a filter ``+`` stands for one level and ``#`` for all that
follow. Destinations write these ``.``, ``*`` and ``>``. The two alphabets are exchanged for each other
character by character, so that every name comes back as it went. Source: ActiveMQ's `MQTTProtocolSupport`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from broker.mqtt import limits
from broker.mqtt.errors import PacketInvalid

SHARE: Final = "$share/"
"""What the filter of a shared subscription begins with; its name and the filter proper follow."""

_NAMES: Final = str.maketrans("/+#.*>", ".*>/+#")


def destination_name(topic: str) -> str:
    """The name of the destination that a topic name or filter stands for."""
    return topic.translate(_NAMES)


def topic_of(name: str) -> str:
    """The topic name that stands for a destination's name."""
    return name.translate(_NAMES)


def read_text(raw: bytes) -> str:
    """Read a text.

    Raises:
        PacketInvalid: it is not UTF-8, or holds U+0000.
    """
    try:
        text = raw.decode()  # [MQTT-1.5.4-1] surrogates are none, [MQTT-1.5.4-3] U+FEFF stays
    except UnicodeDecodeError as error:
        raise PacketInvalid(f"a text is not UTF-8: {error.reason}", "5.0 §1.5.4") from None
    if "\0" in text:  # [MQTT-1.5.4-2]
        raise PacketInvalid("a text contains U+0000", "5.0 §1.5.4")
    return text


def check_topic(topic: str) -> str:
    """Return a text if it is a topic name.

    Raises:
        PacketInvalid: it is empty or holds a wildcard.
    """
    if not topic:  # [MQTT-4.7.3-1]
        raise PacketInvalid("a topic name is empty", "5.0 §4.7.3")
    if "+" in topic or "#" in topic:  # [MQTT-3.3.2-2]
        raise PacketInvalid("a topic name contains a wildcard", "5.0 §3.3.2.1")
    return topic


def read_topic(raw: bytes) -> str:
    """Read a topic name; what has been checked once is known.

    Raises:
        PacketInvalid: see `read_text` and `check_topic`.
    """
    if len(raw) > limits.CACHED_TOPIC_BYTES_MAX:
        return check_topic(read_text(raw))
    return _read_short_topic(raw)


@lru_cache(limits.CACHED_TOPICS_MAX)
def _read_short_topic(raw: bytes) -> str:
    return check_topic(read_text(raw))


def check_filter(text: str) -> str:
    """Return a text if it is a topic filter.

    Raises:
        PacketInvalid: it is empty, or a wildcard stands where none may.
    """
    share, rest = split_share(text)
    if share is not None and (not share or "+" in share or "#" in share):  # [MQTT-4.8.2-1]
        raise PacketInvalid("a share name is empty or contains a wildcard", "5.0 §4.8.2")
    if not rest:  # [MQTT-4.7.3-1], [MQTT-4.8.2-2]
        raise PacketInvalid("a topic filter is empty", "5.0 §4.7.3")
    if "#" in rest:
        place = rest.index("#")
        if place != len(rest) - 1 or (place and rest[place - 1] != "/"):  # [MQTT-4.7.1-1]
            raise PacketInvalid("# is not the last level of its topic filter", "5.0 §4.7.1.2")
    if "+" in rest and any("+" in level and level != "+" for level in rest.split("/")):  # [MQTT-4.7.1-2]
        raise PacketInvalid("+ is not a whole level of its topic filter", "5.0 §4.7.1.3")
    return text


def split_share(text: str) -> tuple[str | None, str]:
    """Name of the shared subscription, None if it is none, and the filter proper.

    Of a valid filter neither is empty.
    """
    if not text.startswith(SHARE):
        return None, text
    share, _, rest = text[len(SHARE) :].partition("/")
    return share, rest


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a valid filter, without its share name, selects a topic name."""
    if topic.startswith("$") and topic_filter[0] in "+#":  # [MQTT-4.7.2-1]
        return False
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if wanted[-1] == "#":
        del wanted[-1]
        if len(levels) < len(wanted):
            return False
    elif len(levels) != len(wanted):
        return False
    return all(level in ("+", name) for level, name in zip(wanted, levels, strict=False))
