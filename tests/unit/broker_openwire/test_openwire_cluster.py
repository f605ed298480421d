"""What clients are told of the other brokers of the group."""

from __future__ import annotations

import pytest
from support.openwire_client import Broker, Client

from broker.openwire.commands import ConnectionControl

ONE, TWO = "tcp://one:61616", "tcp://two:61616"


def logged_in(broker: Broker, name: str = "c1", *, failover_reconnect: bool = False) -> Client:
    """A client that has logged in and kept what it was told."""
    client = Client(broker, name, login=False)
    client.request(client.info(manageable=True, failover_reconnect=failover_reconnect))
    return client


def hints(client: Client) -> list[tuple[str | None, bool]]:
    """Takes what it was told of other brokers."""
    client.read()
    return [(each.connected_brokers, each.rebalance_connection) for each in client.take(ConnectionControl)]


def test_nothing_is_told_by_default() -> None:
    """A client is not sent to brokers of whose queues nobody has said that they are the same."""
    broker = Broker()
    broker.cluster.update([ONE, TWO])
    client = logged_in(broker)
    broker.cluster.update([ONE])
    assert hints(client) == [("", False)]


def test_clients_hear_of_all_brokers_and_of_changes() -> None:
    """A client is told at once, and when a broker comes or goes; another scheme is not its own."""
    broker = Broker(update_cluster_clients=True)
    broker.cluster.update([ONE, "stomp://one:61613"])
    client = logged_in(broker)
    assert hints(client) == [(ONE, False)]
    woken = broker.woken
    broker.cluster.update([ONE, TWO])
    assert broker.woken == woken + 1
    assert hints(client) == [(f"{ONE},{TWO}", False)]
    broker.cluster.update([ONE, TWO])
    assert hints(client) == []


@pytest.mark.parametrize("again", [False, True])
def test_clients_are_spread(again: bool) -> None:
    """Each client is told to go to another broker first, but one that has just come back may stay."""
    broker = Broker(update_cluster_clients=True, rebalance_cluster_clients=True)
    broker.cluster.update([ONE, TWO])
    told = [hints(logged_in(broker, name, failover_reconnect=again))[0] for name in ("c1", "c2", "c3")]
    if again:
        assert told == [(f"{ONE},{TWO}", False)] * 3
    else:
        assert told == [(f"{ONE},{TWO}", True), (f"{TWO},{ONE}", True), (f"{ONE},{TWO}", True)]


def test_whoever_has_gone_is_told_nothing() -> None:
    """A connection that has ended, or that cannot be steered, does not listen."""
    broker = Broker(update_cluster_clients=True)
    client = logged_in(broker)
    assert len(broker.cluster.listeners) == 1
    client.server.connection_lost("gone")
    assert not broker.cluster.listeners
    Client(broker, "c2")
    assert not broker.cluster.listeners
