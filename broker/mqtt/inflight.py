"""The packet identifiers of one connection that are under way, in both directions.

Messages from the client, by their identifiers::

    QoS 1   ─PUBLISH─▶ PUBLISHED ─send_puback─▶ free
    QoS 2   ─PUBLISH─▶ TAKEN ─send_pubrec─▶ RECORDED ─PUBREL─▶ RELEASED ─send_pubcomp─▶ free

Messages to the client; an identifier that is resumed was under way when an earlier connection ended::

    QoS 1   ─send_publish─▶ PUBLISHED ─PUBACK─▶ free
    QoS 2   ─send_publish─▶ TAKEN ─PUBREC─▶ RECORDED ─send_pubrel─▶ RELEASED ─PUBCOMP─▶ DONE ─forget─▶ free

A SUBSCRIBE or UNSUBSCRIBE is ASKED until it is answered. What is stored of this belongs to the session, whose
owner says when it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from broker.mqtt import limits
from broker.mqtt.errors import PacketInvalid
from broker.mqtt.packets import Publish
from broker.mqtt.reasons import FAILURE, ReasonCode


class Step(IntEnum):
    """How far the exchange of an identifier has come."""

    PUBLISHED = 1
    TAKEN = 2
    RECORDED = 3
    RELEASED = 4
    DONE = 5
    ASKED = 6
    RESUMED = 7


PUBLISHED: Final = int(Step.PUBLISHED)  # plain numbers: an attribute of an enumeration costs more to read
TAKEN: Final = int(Step.TAKEN)


class Verdict(IntEnum):
    """What becomes of a packet."""

    NEW = 1
    """It is an event."""
    KNOWN = 2
    """It came before, and its answer is on its way."""
    AGAIN = 3
    """It came before; the answer is to be repeated."""
    IN_USE = 4
    """Its identifier is another exchange's."""
    UNKNOWN = 5
    """There is no such exchange."""


NEW: Final = Verdict.NEW


class Incoming:
    """What the client has begun and has no final answer to.

    Attributes:
        unanswered: PUBLISH packets of QoS 1 and 2 that count against our receive maximum.
    """

    __slots__ = ("_steps", "unanswered")

    def __init__(self, recorded: Iterable[int] = ()) -> None:
        self._steps: dict[int, int] = dict.fromkeys(recorded, Step.RECORDED)
        self.unanswered = 0

    def publish(self, packet: Publish) -> Verdict:
        """A PUBLISH of QoS 1 or 2 has come."""
        steps = self._steps
        packet_id = packet.packet_id
        step = steps.get(packet_id)
        self.unanswered += 1
        if step is None:
            steps[packet_id] = PUBLISHED if packet.qos == 1 else TAKEN
            return NEW
        if packet.qos == 2 and step in (Step.TAKEN, Step.RECORDED):  # [MQTT-4.3.3-10]
            self._answered()
            return Verdict.AGAIN if step == Step.RECORDED else Verdict.KNOWN
        if packet.qos == 1 and step == Step.PUBLISHED and packet.dup:
            self._answered()
            return Verdict.KNOWN
        self._answered()
        return Verdict.IN_USE

    def ask(self, packet_id: int) -> Verdict:
        """A SUBSCRIBE or UNSUBSCRIBE has come."""
        if packet_id in self._steps:
            return Verdict.IN_USE
        self._steps[packet_id] = Step.ASKED
        return Verdict.NEW

    def release(self, packet_id: int) -> Verdict:
        """A PUBREL has come."""
        step = self._steps.get(packet_id)
        if step == Step.RECORDED:
            self._steps[packet_id] = Step.RELEASED
            return Verdict.NEW
        if step == Step.RELEASED:
            return Verdict.KNOWN
        return Verdict.UNKNOWN

    def acknowledge(self, packet_id: int) -> None:
        """A PUBACK is sent."""
        step = self._steps.pop(packet_id)
        assert step == PUBLISHED
        if self.unanswered:
            self.unanswered -= 1

    def record(self, packet_id: int, code: int) -> None:
        """A PUBREC is sent."""
        assert self._steps[packet_id] == Step.TAKEN
        if code < FAILURE:
            self._steps[packet_id] = Step.RECORDED
        else:
            del self._steps[packet_id]
            self._answered()

    def complete(self, packet_id: int) -> None:
        """A PUBCOMP is sent."""
        step = self._steps.pop(packet_id)
        assert step == Step.RELEASED
        self._answered()

    def answer(self, packet_id: int) -> None:
        """A SUBACK or UNSUBACK is sent."""
        step = self._steps.pop(packet_id)
        assert step == Step.ASKED

    def _answered(self) -> None:
        # What an earlier connection began is answered here without having been counted here.
        if self.unanswered:
            self.unanswered -= 1


class Outgoing:
    """What was sent to the client and has no final answer.

    Attributes:
        quota: messages of QoS 1 and 2 that may still be sent.

    Args:
        receive_maximum: how many the client takes at a time.
        resumed: identifiers of an earlier connection's messages.
    """

    __slots__ = ("_last", "_maximum", "_steps", "quota")

    def __init__(self, receive_maximum: int, resumed: Iterable[int] = ()) -> None:
        self.quota = self._maximum = receive_maximum
        self._steps: dict[int, int] = dict.fromkeys(resumed, Step.RESUMED)
        self._last = 0

    def next_id(self) -> int:
        """An identifier that is not in use."""
        steps = self._steps
        packet_id = self._last
        assert len(steps) < limits.PACKET_IDS_MAX
        while True:
            packet_id = packet_id % limits.PACKET_IDS_MAX + 1
            if packet_id not in steps:
                self._last = packet_id
                return packet_id

    def publish(self, packet_id: int, qos: int) -> None:
        """A message is sent; with an identifier of an earlier connection: again."""
        steps = self._steps
        step = steps.get(packet_id)
        assert self.quota > 0, "the client takes no more"
        assert step is None or step == Step.RESUMED, f"the identifier {packet_id} is in use"
        steps[packet_id] = qos  # PUBLISHED or TAKEN
        self.quota -= 1

    def release(self, packet_id: int) -> None:
        """A PUBREL is sent; with an identifier of an earlier connection: again."""
        assert self._steps[packet_id] in (Step.RECORDED, Step.RESUMED, Step.RELEASED)
        self._steps[packet_id] = Step.RELEASED

    def forget(self, packet_id: int) -> None:
        """An identifier is free again. Unknown ones are ignored."""
        self._steps.pop(packet_id, None)

    def acknowledge(self, packet_id: int) -> Verdict:
        """A PUBACK has come.

        Raises:
            PacketInvalid: it answers a message of QoS 2.
        """
        step = self._steps.get(packet_id)
        if step is None:
            return Verdict.UNKNOWN
        if step not in (PUBLISHED, Step.RESUMED):
            raise _wrong("PUBACK", packet_id)
        del self._steps[packet_id]
        if self.quota < self._maximum:
            self.quota += 1
        return NEW

    def record(self, packet_id: int, code: int) -> Verdict:
        """A PUBREC has come.

        Raises:
            PacketInvalid: it answers a message of QoS 1.
        """
        step = self._steps.get(packet_id)
        if step is None or step == Step.DONE:
            return Verdict.UNKNOWN
        if step == PUBLISHED:
            raise _wrong("PUBREC", packet_id)
        if step == Step.RELEASED:
            return Verdict.AGAIN
        if step == Step.RECORDED:
            return Verdict.KNOWN
        if code < FAILURE:
            self._steps[packet_id] = Step.RECORDED
        else:
            self._steps[packet_id] = Step.DONE
            self._answered()
        return NEW

    def complete(self, packet_id: int) -> Verdict:
        """A PUBCOMP has come.

        Raises:
            PacketInvalid: there was no PUBREL.
        """
        step = self._steps.get(packet_id)
        if step is None or step == Step.DONE:
            return Verdict.UNKNOWN
        if step != Step.RELEASED:
            raise _wrong("PUBCOMP", packet_id)
        self._steps[packet_id] = Step.DONE
        self._answered()
        return NEW

    def _answered(self) -> None:
        # The answer to what was resumed with PUBREL does not count. [MQTT-4.9.0-2]
        if self.quota < self._maximum:
            self.quota += 1


def _wrong(name: str, packet_id: int) -> PacketInvalid:
    return PacketInvalid(
        f"a {name} answers what was not sent with the identifier {packet_id}",
        "5.0 §4.3",
        ReasonCode.PROTOCOL_ERROR,
    )
