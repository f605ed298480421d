"""Policies per destination, and message groups: Apache's Java client sees the same of both brokers."""

from collections.abc import Iterator

import pytest
from support.apache import JavaPrograms
from support.java_programs import apache_broker, our_broker
from support.zookeeper import ZooKeeperForTests

pytestmark = pytest.mark.interop

POLICIES = {
    "policy.queue.interop.policies.exclusive.allConsumersExclusiveByDefault": "true",
    "policy.queue.interop.policies.strict.strictOrderDispatch": "true",
    "policy.queue.interop.policies.starting.consumersBeforeDispatchStarts": "2",
    "policy.queue.interop.policies.starting.timeBeforeDispatchStarts": "30000",
    "policy.queue.interop.policies.pull.queuePrefetch": "0",
    "policy.queue.interop.policies.refusing.memoryLimit": "204800",
    "policy.queue.interop.policies.refusing.pendingQueuePolicy": "vmQueueCursor",
    "policy.queue.interop.policies.refusing.sendFailIfNoSpace": "true",
    "policy.queue.interop.policies.blocking.memoryLimit": "204800",
    "policy.queue.interop.policies.blocking.pendingQueuePolicy": "vmQueueCursor",
    "policy.queue.interop.policies.windows.memoryLimit": "204800",
    "policy.queue.interop.policies.windows.pendingQueuePolicy": "vmQueueCursor",
    "policy.topic.interop.priorities.memory.prioritizedMessages": "true",
    "policy.topic.interop.priorities.memory.pendingSubscriberPolicy": "vmCursor",
    "policy.topic.interop.priorities.files.prioritizedMessages": "true",
    "policy.topic.interop.priorities.files.pendingSubscriberPolicy": "fileCursor",
    "policy.topic.interop.priorities.unwanted.prioritizedMessages": "false",
    "policy.topic.interop.priorities.unwanted.pendingSubscriberPolicy": "vmCursor",
    "policy.topic.interop.priorities.plain.prioritizedMessages": "true",
    **{
        f"policy.{kind}.interop.alarms.{name}": value
        for kind in ("queue", "topic")
        for name, value in (
            ("full.>.memoryLimit", "204800"),
            ("full.>.producerFlowControl", "true"),
            ("full.>.advisoryWhenFull", "true"),
            ("full.>.advisoryForFastProducers", "true"),
            ("slow.>.advisoryForSlowConsumers", "true"),
        )
    },
    "policy.queue.interop.alarms.full.>.pendingQueuePolicy": "vmQueueCursor",
    "offlineDurableSubscriberTimeout": "1000",
    "offlineDurableSubscriberTaskSchedule": "200",
    "policy.queue.interop.away.full.slowConsumerStrategy": "abortSlowConsumerStrategy",
    "policy.queue.interop.away.full.slowConsumerStrategy.checkPeriod": "200",
    "policy.queue.interop.away.full.slowConsumerStrategy.maxSlowDuration": "400",
    "policy.queue.interop.away.silent.slowConsumerStrategy": "abortSlowAckConsumerStrategy",
    "policy.queue.interop.away.silent.slowConsumerStrategy.checkPeriod": "200",
    "policy.queue.interop.away.silent.slowConsumerStrategy.maxSlowDuration": "200",
    "policy.queue.interop.away.silent.slowConsumerStrategy.maxTimeSinceLastAck": "400",
}
"""For both brokers; memory for about 20 of the program's messages."""

OURS = {
    "policy.queue.interop.alarms.told.>.advisoryForDispatched": "true",
    "policy.topic.interop.alarms.told.>.advisoryForDispatched": "true",
    "policy.topic.interop.alarms.full.>.pendingMessageLimitStrategy.limit": "-1",
    "policy.topic.interop.alarms.full.>.pendingQueuePolicy": "vmQueueCursor",
}
"""For our broker: as Apache's is by default, and what that has not."""


def full_facts(kind: str) -> list[str]:
    """What is told of a queue or topic that is full."""
    name = f"{kind.title()}.interop.alarms.full.{kind}"
    return [
        f"full, {kind}: FULL.{name} nothing [usageCount, usageName]",
        "names the memory of it: true",
        "used: true",
        f"too fast, {kind}: FastProducer.{name} ProducerInfo [producerId]",
        "who: true",
        "still sending: true",
        "received in the end: 60",
        "sent in the end: true",
    ]


EXPECTED: dict[str, list[str]] = {
    "Alarms": [
        *full_facts("queue"),
        *full_facts("topic"),
        "slow, topic: SlowConsumer.Topic.interop.alarms.slow.topic ConsumerInfo [consumerId]",
        "who: true",
        "told once: true",
        "slow, durable: SlowConsumer.Topic.interop.alarms.slow.durable ConsumerInfo [consumerId]",
        "who: true",
        "told once: true",
        "silent: true",
    ],
    "Away": [
        "who is there: before (delivery 1)",
        "away for too long: InvalidDestinationException",
        "nothing waits for it: nothing",
        "who came again: after (delivery 1)",
        "who is still there: after (delivery 1)",
        "silent for too long: closed",
        "another gets them: 1 2 3 4",
    ],
    "Groups": [
        "one consumer: x1 first x 1, x2 x 2, y1 first y 1",
        "a new group, for whom has fewer: z1 first z 1",
        "an old group stays: x3 x 3",
        "closed: x4 x -1",
        "opened again, for whom has as few: x5 first x 0",
        "not told again: z2 z 2",
        "the owner is gone: z3 first z 3",
    ],
    "Policies": [
        "exclusive by default, first: 1 2 3",
        "exclusive by default, second: nothing",
        "exclusive by default, afterwards: 4",
        "strict order, second: 3 4",
        "strict order, first: 1 2",
        "one consumer of two: nothing",
        "both of two: true",
        "pulled: 1 2 3",
        "nothing to pull: nothing",
        "blocked where it is full: true",
        "not blocked elsewhere: 1",
        "received in the end: 60",
        "sent in the end: true",
    ],
    "Priorities": [
        *["memory: [4.0, 9.2, 9.5, 4.1, 4.4, 1.3]"] * 2,
        *["files: [4.0, 9.2, 9.5, 4.1, 4.4, 1.3]"] * 2,
        *["unwanted: [4.0, 4.1, 9.2, 1.3, 4.4, 9.5]"] * 2,
        *["plain: [4.0, 4.1, 9.2, 1.3, 4.4, 9.5]"] * 2,
    ],
    "Windows": [
        "waits for its window: true",
        "on the same connection: elsewhere (delivery 1)",
        "received in the end: 60",
        "sent in the end: true",
    ],
}


@pytest.fixture(scope="module")
def apache_url(programs: JavaPrograms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Apache's broker with these policies."""
    folder = tmp_path_factory.mktemp("apache")
    lines = [f"{key}={value}" for key, value in POLICIES.items()]
    with apache_broker(programs, folder, *lines, name="PolicyApacheBroker") as url:
        yield url


@pytest.fixture(scope="module")
def our_url(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Our broker with these policies."""
    with our_broker(zookeeper, tmp_path_factory.mktemp("interop"), {**POLICIES, **OURS}) as broker:
        yield broker.url


@pytest.mark.parametrize("program", EXPECTED)
def test_program_is_right(programs: JavaPrograms, apache_url: str, program: str) -> None:
    """Apache's broker shows that the program and its expectations are right."""
    assert programs.facts(program, apache_url) == EXPECTED[program]


@pytest.mark.parametrize("program", EXPECTED)
def test_our_broker(programs: JavaPrograms, our_url: str, program: str) -> None:
    """Our broker does for Apache's client what Apache's broker does."""
    assert programs.facts(program, our_url) == EXPECTED[program]


def test_a_slow_consumer_of_a_queue_is_noticed(programs: JavaPrograms, our_url: str) -> None:
    """It is closed where the policy says so; Apache's queue gives no more than fits, and seldom sees one."""
    assert programs.facts("Away", our_url, "more")[-2:] == [
        "full for too long: closed",
        "another gets them: 1 2 3 4",
    ]


def test_more_is_told_of_than_by_apaches_broker(programs: JavaPrograms, our_url: str) -> None:
    """Slow consumers of queues, and `advisoryForDispatched`, for which the Apache broker here is too old."""
    told = "[consumerId, orignalDestination, orignalMessageId]"
    assert programs.facts("Alarms", our_url, "more") == [
        "slow, queue: SlowConsumer.Queue.interop.alarms.slow.queue ConsumerInfo [consumerId]",
        "who: true",
        "told once: true",
        "received: m (delivery 1)",
        f"dispatched, queue: MessageDispatched.Queue.interop.alarms.told.queue ActiveMQTextMessage {told}",
        "received: m (delivery 1)",
        f"dispatched, topic: MessageDispatched.Topic.interop.alarms.told.topic ActiveMQTextMessage {told}",
    ]


def test_a_queue_that_refuses(programs: JavaPrograms, our_url: str) -> None:
    """`sendFailIfNoSpace` of one queue; Apache's broker forgets it for queues with a `vmQueueCursor`."""
    facts = programs.facts("Policies", our_url, "refusing")
    assert [fact for fact in facts if "refused" in fact] == [
        "refused where it is full: javax.jms.ResourceAllocationException",
        "not refused elsewhere: true",
    ]
