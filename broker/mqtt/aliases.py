"""Topic aliases of one connection: numbers that stand for topic names. Source: MQTT 5.0 §3.3.2.3.4."""

from __future__ import annotations

from broker.mqtt import codec
from broker.mqtt.errors import PacketInvalid
from broker.mqtt.packets import Publish
from broker.mqtt.reasons import ReasonCode


class AliasesIn:
    """What the client's aliases stand for.

    Args:
        alias_max: highest that it was allowed.
    """

    __slots__ = ("_alias_max", "_topics")

    def __init__(self, alias_max: int) -> None:
        self._alias_max = alias_max
        self._topics: dict[int, str] = {}

    def resolve(self, packet: Publish) -> None:
        """Replace the alias of a message by its name, or learn what it stands for.

        Raises:
            PacketInvalid: it is not allowed, or stands for nothing.
        """
        alias = packet.properties.topic_alias
        assert alias is not None
        if not 0 < alias <= self._alias_max:  # [MQTT-3.3.2-8], [MQTT-3.3.2-9]
            raise PacketInvalid(
                f"the topic alias {alias} is not between 1 and {self._alias_max}",
                "5.0 §3.3.2.3.4",
                ReasonCode.TOPIC_ALIAS_INVALID,
            )
        if packet.topic:
            self._topics[alias] = packet.topic
            return
        topic = self._topics.get(alias)
        if topic is None:
            raise PacketInvalid(
                f"the topic alias {alias} stands for no name", "5.0 §3.3.2.3.4", ReasonCode.PROTOCOL_ERROR
            )
        packet.topic = topic


class AliasesOut:
    """What our aliases stand for: the first names that are used get one and keep it.

    Args:
        alias_max: highest that the client allows.
        bytes_max: of a packet; a larger one makes no alias known.
    """

    __slots__ = ("_alias_max", "_aliases", "_bytes_max")

    def __init__(self, alias_max: int, bytes_max: int) -> None:
        self._alias_max = alias_max
        self._bytes_max = bytes_max
        self._aliases: dict[bytes, int] = {}

    def write(self, first: int, topic: bytes, packet_id: int, payload: bytes, properties: bytes) -> bytes:
        """A PUBLISH of 5.0, see `broker.mqtt.codec.write_publish`; with an alias if there is one to use.

        Args:
            first: likewise.
            topic: likewise.
            packet_id: likewise.
            payload: likewise.
            properties: likewise.
        """
        alias = self._aliases.get(topic)
        if alias is not None:
            return codec.write_publish(first, b"", packet_id, payload, _written(alias) + properties)
        alias = len(self._aliases) + 1
        if alias <= self._alias_max:
            frame = codec.write_publish(first, topic, packet_id, payload, _written(alias) + properties)
            if len(frame) <= self._bytes_max:
                self._aliases[topic] = alias
                return frame
        return codec.write_publish(first, topic, packet_id, payload, properties)


def _written(alias: int) -> bytes:
    return b"\x23%b" % alias.to_bytes(2)
