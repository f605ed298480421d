"""Topics and their subscribers: Apache's Java client sees the same of both brokers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apache import JavaPrograms
from support.java_programs import apache_broker, our_broker
from support.zookeeper import ZooKeeperForTests

pytestmark = pytest.mark.interop

TOPIC = "policy.topic.interop.topics"
POLICIES = {
    f"{TOPIC}.count.subscriptionRecoveryPolicy": "fixedCountSubscriptionRecoveryPolicy",
    f"{TOPIC}.count.subscriptionRecoveryPolicy.maximumSize": "2",
    f"{TOPIC}.last.subscriptionRecoveryPolicy": "lastImageSubscriptionRecoveryPolicy",
    f"{TOPIC}.timed.subscriptionRecoveryPolicy": "timedSubscriptionRecoveryPolicy",
    f"{TOPIC}.sized.subscriptionRecoveryPolicy": "fixedSizedSubscriptionRecoveryPolicy",
    f"{TOPIC}.oldest.pendingMessageLimitStrategy.limit": "2",
    f"{TOPIC}.priority.pendingMessageLimitStrategy.limit": "2",
    f"{TOPIC}.priority.messageEvictionStrategy": "oldestMessageWithLowestPriorityEvictionStrategy",
    f"{TOPIC}.unique.pendingMessageLimitStrategy.limit": "3",
    f"{TOPIC}.unique.messageEvictionStrategy": "uniquePropertyMessageEvictionStrategy",
    f"{TOPIC}.unique.messageEvictionStrategy.propertyName": "share",
    f"{TOPIC}.rate.pendingMessageLimitStrategy": "prefetchRatePendingMessageLimitStrategy",
    f"{TOPIC}.rate.pendingMessageLimitStrategy.multiplier": "1.5",
    f"{TOPIC}.full.slowConsumerStrategy": "abortSlowConsumerStrategy",
    f"{TOPIC}.full.slowConsumerStrategy.checkPeriod": "200",
    f"{TOPIC}.full.slowConsumerStrategy.maxSlowDuration": "400",
    f"{TOPIC}.silent.slowConsumerStrategy": "abortSlowAckConsumerStrategy",
    f"{TOPIC}.silent.slowConsumerStrategy.checkPeriod": "200",
    f"{TOPIC}.silent.slowConsumerStrategy.maxSlowDuration": "200",
    f"{TOPIC}.silent.slowConsumerStrategy.maxTimeSinceLastAck": "400",
}
"""What `TopicApacheBroker` does, in our words."""

EXPECTED = [
    "invalid: InvalidSelectorException",
    "selected: [1, 3]",
    "selected while away: [4]",
    "another selector: [8]",
    "unsubscribed twice: InvalidDestinationException",
    "not local: [other] [other]",
    "durable pattern: [a, b, d]",
    "late, count: [3, 4, 5] [3] [5]",
    "late, last: [4, 5] [] [5]",
    "late, timed: [1, 2, 3, 4, 5] [1, 3] [5]",
    "late, sized: [1, 2, 3, 4, 5] [1, 3] [5]",
    "late, nothing: [5] [] [5]",
    "retained: kept true",
    "retained, no more: []",
    "retained, still: [kept]",
    "slow, oldest: [1, 7, 8] [1, 8]",
    "slow, priority: [1, 3, 6] [1, 6]",
    "slow, unique: [1, 6, 7, 8] [1, 8]",
    "slow, rate: [1, 2, 6, 7, 8] [1, 2, 8]",
    "full for too long: closed",
    "silent for too long: closed",
]


@pytest.fixture
def apache_url(programs: JavaPrograms, tmp_path: Path) -> Iterator[str]:
    """Apache's broker with these policies."""
    with apache_broker(programs, tmp_path, name="TopicApacheBroker") as url:
        yield url


@pytest.fixture
def our_url(zookeeper: ZooKeeperForTests, tmp_path: Path) -> Iterator[str]:
    """Our broker with the same."""
    with our_broker(zookeeper, tmp_path, POLICIES) as broker:
        yield broker.url


def test_the_program_is_right(programs: JavaPrograms, apache_url: str) -> None:
    """Apache's broker shows that the program and its expectations are right."""
    assert programs.facts("Topics", apache_url) == EXPECTED


def test_our_broker(programs: JavaPrograms, our_url: str) -> None:
    """Our broker does for Apache's client what Apache's broker does."""
    assert programs.facts("Topics", our_url) == EXPECTED
