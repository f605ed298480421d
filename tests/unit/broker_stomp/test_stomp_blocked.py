"""STOMP clients whose sends wait for space: no receipt until there is, and everything else goes on."""

from __future__ import annotations

from support.region import new_region
from support.stomp_client import Broker, Client

from broker.region.usage import UsageLimits


def full(**usage: int | bool) -> Client:
    """A client that has used a store up that takes two messages."""
    client = Client(Broker(new_region(usage=UsageLimits(store_bytes_max=2, **usage))))
    for text in ("1", "2"):
        client.send(text, persistent="true", receipt=text)
    client.broker.settle()
    assert client.receipts() == ["1", "2"]
    return client


def consume(client: Client) -> list[bytes]:
    """Take what waits."""
    client.subscribe()
    for _ in range(4):
        client.broker.settle()
    return client.bodies()


def test_a_send_waits() -> None:
    """Its receipt leaves when there is space and it is durable; others of the same client go on."""
    client = full()
    client.send("3", persistent="true", receipt="3")
    client.send("4", "/topic/prices", receipt="4")
    client.broker.settle()
    assert client.receipts() == []
    assert consume(client) == [b"1", b"2", b"3"]
    assert sorted(client.receipts()) == ["3", "4"]


def test_a_commit_waits() -> None:
    """So does the commit of a transaction with such a send."""
    client = full()
    client.say("BEGIN", transaction="t")
    client.send("3", persistent="true", transaction="t")
    client.say("COMMIT", transaction="t", receipt="c")
    client.broker.settle()
    assert client.receipts() == []
    assert consume(client) == [b"1", b"2", b"3"]
    assert client.receipts() == ["c"]


def test_a_send_is_refused() -> None:
    """Where sends are refused instead the client is told, and the connection ends."""
    client = full(refuse_at_once=True)
    client.send("3", persistent="true", receipt="3")
    assert "store" in client.error().lower()


def test_a_send_is_refused_after_a_while() -> None:
    """Or after they have waited for as long as was said."""
    client = full(refuse_after_ms=100)
    client.send("3", persistent="true", receipt="3")
    region = client.broker.region
    region.advance(region.now_ms + 101)
    client.broker.settle()
    assert client.error()


def test_disconnect_waits_too() -> None:
    """Its receipt says that everything before it is durable, so it waits for the sends that wait."""
    client = full()
    client.send("3", persistent="true")
    client.say("DISCONNECT", receipt="bye")
    client.broker.settle()
    assert client.receipts() == []
    assert not client.server.closing
    other = Client(client.broker)
    assert consume(other) == [b"1", b"2", b"3"]
    assert client.receipts() == ["bye"]
    assert client.server.closing


def test_the_client_goes() -> None:
    """Sends that wait are gone with their client."""
    client = full()
    client.send("3", persistent="true", receipt="3")
    client.server.connection_lost("")
    assert consume(Client(client.broker)) == [b"1", b"2"]
