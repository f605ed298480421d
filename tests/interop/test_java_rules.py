"""Rules of the JMS specification, as Apache's Java client sees them kept by both brokers.

`docs/reference/jms.md` says which rule is shown by what.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apache import JavaPrograms
from support.java_programs import apache_broker, our_broker
from support.zookeeper import ZooKeeperForTests

pytestmark = pytest.mark.interop

EXPECTED = [
    "before start: nothing",
    "after start: 1 (delivery 1)",
    "after stop: nothing",
    "started again: 2 (delivery 1)",
    "and the next: 3 (delivery 1)",
    "client id after use: IllegalStateException",
    "major version: 1",
    "a closed session: IllegalStateException",
    "a closed consumer: IllegalStateException",
    "send sets mode, priority, destination: 2 6 queue://interop.rules.headers",
    "send sets id and times: true",
    "the sender sees them: true",
    "the program's own: c-1 a type topic://interop.rules.answers false",
    "no timestamp: 0",
    "ids differ: 50",
    "defaults: 2 4 0",
    "a bad priority: taken",
    "no property: MessageFormatException",
    "no name: IllegalArgumentException",
    "converted: 7 7 MessageFormatException 8",
    "null and missing: true null false null",
    "read only: MessageNotWriteableException",
    "cleared: 8 false",
    "delivery count: 1",
    "JMSX: true",
    "a message may be sent again: first second",
    "read only body: MessageNotWriteableException",
    "forwarded: changed",
    "a map: 1 2 true null",
    "a stream: 5 six MessageEOFException",
    "order within a mode: true",
    "what has expired is not delivered: long (delivery 1)",
    "receive with a listener 0: IllegalStateException",
    "receive with a listener 1: IllegalStateException",
    "heard by the listeners: true",
    "a listener that fails gets it again: [false, true]",
    "transacted: true 0",
    "commit without a transaction: IllegalStateException",
    "rollback without a transaction: IllegalStateException",
    "recover in a transaction: IllegalStateException",
    "closing rolls back: nothing",
    "one acknowledgement for all before: 3 redelivered (delivery 2); nothing",
    "a receive ends with its connection: [null, taken]",
    "a closed connection: ConnectionClosedException",
    "temporary: to the queue (delivery 1); to the topic (delivery 1)",
    "deleted in use: JMSException",
    "deleted: taken taken",
    "sent after that: true",
    "a second one of the name: JMSException",
    "unsubscribed in use: JMSException",
    "selected while away: 2 (delivery 1); 3 (delivery 1); nothing",
    "another selector is another subscription: nothing",
    "unsubscribed again: InvalidDestinationException",
    "own messages: own (delivery 1); nothing",
    "requestor: an answer",
    "a producer of no destination: named with the send (delivery 1)",
    "and none with the send: UnsupportedOperationException",
    "another than its own: UnsupportedOperationException",
    "an invalid selector: InvalidSelectorException",
    "no destination: InvalidDestinationException",
]


@pytest.fixture(scope="module")
def our_url(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Our broker."""
    with our_broker(zookeeper, tmp_path_factory.mktemp("interop")) as broker:
        yield broker.url


def test_program_is_right(programs: JavaPrograms, tmp_path: Path) -> None:
    """Apache's broker shows that the program and its expectations are right."""
    with apache_broker(programs, tmp_path) as url:
        assert programs.facts("Rules", url) == EXPECTED


def test_our_broker(programs: JavaPrograms, our_url: str) -> None:
    """With our broker every rule is kept as with Apache's."""
    assert programs.facts("Rules", our_url) == EXPECTED
