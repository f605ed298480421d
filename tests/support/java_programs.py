"""What tests with Apache's Java client do again and again: both brokers, for as long as a test wants them."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from support.apache import JavaPrograms, start_apache_broker
from support.our_broker import OurBroker, add_user, running
from support.zookeeper import ZooKeeperForTests, free_port


@contextlib.contextmanager
def apache_broker(
    programs: JavaPrograms, folder: Path, *arguments: str, name: str = "ApacheBroker", port: int = 0
) -> Iterator[str]:
    """Apache's broker on a folder; yields its URL, and ends it as a crash does.

    Args are those of `start_apache_broker`.
    """
    broker, url = start_apache_broker(programs, folder, port, *arguments, name=name)
    with broker:
        yield url


@contextlib.contextmanager
def our_broker(
    zookeeper: ZooKeeperForTests,
    folder: Path,
    properties: Mapping[str, str] | None = None,
    *,
    port: int | None = None,
) -> Iterator[OurBroker]:
    """Our broker, the master, which lets the user of the programs in.

    Args:
        zookeeper: its registry.
        folder: for its store and its log.
        properties: its configuration.
        port: where it listens; None: anywhere.
    """
    add_user(zookeeper)
    broker = OurBroker(zookeeper, folder, port=port or free_port(), properties=properties)
    with running(broker):
        broker.wait_listening()
        yield broker


@contextlib.contextmanager
def our_pair(
    zookeeper: ZooKeeperForTests, folder: Path, properties: Mapping[str, str] | None = None
) -> Iterator[tuple[OurBroker, OurBroker]]:
    """Our broker twice on one store: the master, which listens, and its slave."""
    with our_broker(zookeeper, folder, properties) as master:
        slave = OurBroker(zookeeper, folder, port=free_port(), container="second", properties=properties)
        with running(slave):
            yield master, slave


def failover_url(*brokers: OurBroker) -> str:
    """Where a client that follows the master connects; it tries often, since a test waits for it."""
    urls = ",".join(broker.url for broker in brokers)
    return f"failover:({urls})?initialReconnectDelay=10&maxReconnectDelay=100"
