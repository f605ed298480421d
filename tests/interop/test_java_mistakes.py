"""What no honest client does is answered as Apache's broker answers it, and disturbs nobody."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apache import JavaPrograms
from support.java_programs import apache_broker, our_broker
from support.zookeeper import ZooKeeperForTests

pytestmark = pytest.mark.interop

EXPECTED = [
    "log in: taken",
    "open a session: taken",
    "client id in use: javax.jms.InvalidClientIDException",
    "a consumer of another connection: java.lang.IllegalStateException",
    "a consumer of no session: java.lang.IllegalStateException",
    "a producer of another connection: java.lang.IllegalStateException",
    "a producer of no session: java.lang.IllegalStateException",
    "end a session of another connection: java.lang.IllegalStateException",
    "commit of an unknown transaction: javax.jms.JMSException",
    "rollback of an unknown transaction: javax.jms.JMSException",
    "a producer: taken",
    "a message of an unknown transaction: javax.jms.JMSException",
    "no producer any more: taken",
    "a consumer: taken",
    "acknowledge what never came: taken",
    "acknowledge for no consumer: taken",
    "close the consumer: taken",
    "a producer again: taken",
    "send to a temporary queue that is gone: org.apache.activemq.DestinationDoesNotExistException",
    "delete what does not exist: taken",
    "no producer once more: taken",
    "one more producer: taken",
    "properties that are none: java.io.IOException",
    "good properties: taken",
    "by a selector: good properties (delivery 1)",
    "log out: taken",
]
"""What Apache's broker answers."""

DIFFERENT = {
    "commit of an unknown transaction": "javax.jms.TransactionRolledBackException",
    "rollback of an unknown transaction": "javax.jms.TransactionRolledBackException",
    "a message of an unknown transaction": "javax.jms.TransactionRolledBackException",
    "send to a temporary queue that is gone": "javax.jms.InvalidDestinationException",
    "properties that are none": "taken",
}
"""What ours answers instead, on purpose: JMS's own exceptions for these cases, which programs can handle. A
message's properties are its consumers' business: a selector does not match what cannot be read."""


@pytest.fixture(scope="module")
def our_url(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Our broker."""
    with our_broker(zookeeper, tmp_path_factory.mktemp("interop")) as broker:
        yield broker.url


def test_program_is_right(programs: JavaPrograms, tmp_path: Path) -> None:
    """Apache's broker shows that the program and its expectations are right."""
    with apache_broker(programs, tmp_path) as url:
        assert programs.facts("Mistakes", url) == EXPECTED


def test_our_broker(programs: JavaPrograms, our_url: str) -> None:
    """Ours answers the same, with the differences that are meant; twice, since nothing of it stays."""
    expected = []
    for fact in EXPECTED:
        what, _, answer = fact.partition(": ")
        expected.append(f"{what}: {DIFFERENT.get(what, answer)}")
    assert programs.facts("Mistakes", our_url) == expected
    assert programs.facts("Mistakes", our_url) == expected
