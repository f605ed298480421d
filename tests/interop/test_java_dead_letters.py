"""Dead letters, expiry and redelivery: Apache's Java client sees the same of both brokers."""

from collections.abc import Iterator

import pytest
from support.apache import JavaPrograms
from support.java_programs import apache_broker, our_broker
from support.zookeeper import ZooKeeperForTests

pytestmark = pytest.mark.interop

POLICIES = {
    "policy.default.expireMessagesPeriod": "500",
    "policy.queue.interop.dlq.individual.>.deadLetterStrategy": "individualDeadLetterStrategy",
    "policy.queue.interop.dlq.individual.>.deadLetterStrategy.processNonPersistent": "true",
    "policy.queue.interop.dlq.unexpired.deadLetterStrategy": "individualDeadLetterStrategy",
    "policy.queue.interop.dlq.unexpired.deadLetterStrategy.processExpired": "false",
    "policy.queue.interop.dlq.discarding.deadLetterStrategy": "discarding",
    "policy.topic.interop.dlq.topic.deadLetterStrategy": "individualDeadLetterStrategy",
    "policy.topic.interop.dlq.topic.deadLetterStrategy.topicPrefix": "interop.dead.",
    "policy.topic.interop.dlq.topic.deadLetterStrategy.destinationPerDurableSubscriber": "true",
    "policy.queue.interop.redelivery.redeliveryPolicy.maximumRedeliveries": "2",
}
"""What `DeadLetterApacheBroker` does, in our words."""

EXPECTED: dict[str, list[str]] = {
    "DeadLetters": [
        "rolled back: [bad (delivery 1), bad redelivered (delivery 2)]",
        "dead: bad at queue://ActiveMQ.DLQ from queue://interop.dlq.shared red job 7",
        "the same id: true",
        "cause: true",
        "original expiration: 0",
        "delivery count: 1 false",
        "not persistent: nothing",
        "individual: bad at queue://ActiveMQ.DLQ.Queue.interop.dlq.individual.a",
        "original delivery mode: NON_PERSISTENT true",
        "discarded: nothing",
        "left: nothing",
        "subscriber: [bad (delivery 1), bad redelivered (delivery 2)]",
        "of a durable subscriber: bad at queue://interop.dead.interop.dlq.topic.dead-letters:a "
        "from topic://interop.dlq.topic",
        "for the other: bad (delivery 1)",
        "expired: late at queue://ActiveMQ.DLQ.Queue.interop.dlq.individual.expiring expires 0",
        "expired, cause: true",
        "expired, before: true",
        "expired and dropped: nothing",
        "expired and gone: nothing",
    ],
    "Redeliveries": [
        "first: bad (delivery 1)",
        "not held up: good (delivery 1)",
        "again: bad redelivered (delivery 2)",
        "later: true",
        "again: bad redelivered (delivery 3)",
        "later: true",
        "not again: nothing",
        "dead: bad",
        "closed after: 1 (delivery 1)",
        "closed after: 1 redelivered (delivery 2)",
        "rolled back: 1 redelivered (delivery 3)",
        "rolled back: 1 redelivered (delivery 4)",
        "in the end: 1 redelivered (delivery 4), 2 (delivery 1)",
    ],
}


@pytest.fixture(scope="module")
def apache_url(programs: JavaPrograms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Apache's broker with these policies."""
    with apache_broker(programs, tmp_path_factory.mktemp("apache"), name="DeadLetterApacheBroker") as url:
        yield url


@pytest.fixture(scope="module")
def our_url(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Our broker with these policies."""
    with our_broker(zookeeper, tmp_path_factory.mktemp("interop"), POLICIES) as broker:
        yield broker.url


@pytest.mark.parametrize("program", EXPECTED)
def test_program_is_right(programs: JavaPrograms, apache_url: str, program: str) -> None:
    """Apache's broker shows that the program and its expectations are right."""
    assert programs.facts(program, apache_url) == EXPECTED[program]


@pytest.mark.parametrize("program", EXPECTED)
def test_our_broker(programs: JavaPrograms, our_url: str, program: str) -> None:
    """Our broker does for Apache's client what Apache's broker does."""
    assert programs.facts(program, our_url) == EXPECTED[program]
