"""Topic aliases of one connection, as its server uses them and understands them."""

import pytest
from support import mqtt_peer as peer

from broker.mqtt.aliases import AliasesIn, AliasesOut
from broker.mqtt.errors import PacketInvalid
from broker.mqtt.packets import Properties, Publish
from broker.mqtt.reasons import ReasonCode


def resolved(aliases: AliasesIn, topic: str, alias: int) -> str:
    """The topic of a message."""
    packet = Publish(topic, b"", properties=Properties(topic_alias=alias))
    aliases.resolve(packet)
    return packet.topic


def written(aliases: AliasesOut, topic: str) -> tuple[str, int | None]:
    """Topic and alias of a message of 10 bytes."""
    frame = aliases.write(0x30, topic.encode(), 0, bytes(10), b"")
    ((reply,), rest) = peer.read_replies(frame, 5)
    assert not rest
    return reply.topic, reply.value(0x23)


def test_an_alias_stands_for_its_last_name() -> None:
    """It is learnt with a name, used without, and can be given another name."""
    aliases = AliasesIn(2)
    assert resolved(aliases, "a", 1) == "a"
    assert resolved(aliases, "b", 2) == "b"
    assert resolved(aliases, "", 1) == "a"
    assert resolved(aliases, "c", 1) == "c"
    assert [resolved(aliases, "", 1), resolved(aliases, "", 2)] == ["c", "b"]


@pytest.mark.parametrize("alias", [0, 3, 65_535])
def test_aliases_that_are_not_allowed(alias: int) -> None:
    """They are from 1 to what was said."""
    with pytest.raises(PacketInvalid) as caught:
        resolved(AliasesIn(2), "a", alias)
    assert caught.value.code == ReasonCode.TOPIC_ALIAS_INVALID


def test_an_alias_without_name_is_refused() -> None:
    """It was never learnt on this connection."""
    with pytest.raises(PacketInvalid) as caught:
        resolved(AliasesIn(2), "", 1)
    assert caught.value.code == ReasonCode.PROTOCOL_ERROR


def test_the_first_names_get_aliases() -> None:
    """As many as the client allows; all others go by their name."""
    aliases = AliasesOut(2, 1000)
    assert [written(aliases, name) for name in ("a", "b", "c", "a", "b", "c")] == [
        ("a", 1),
        ("b", 2),
        ("c", None),
        ("", 1),
        ("", 2),
        ("c", None),
    ]


def test_a_message_that_is_not_sent_makes_no_alias_known() -> None:
    """It would be too large with its alias, so that it goes without."""
    aliases = AliasesOut(1, 20)
    assert written(aliases, "abc") == ("abc", None)
    assert written(aliases, "ab") == ("ab", 1)
    assert written(aliases, "abc") == ("abc", None)
