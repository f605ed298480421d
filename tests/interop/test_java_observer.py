"""Advisories and statistics, as Apache's own classes read them, from Apache's broker and from ours."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apache import JavaPrograms
from support.java_programs import apache_broker, our_broker
from support.zookeeper import ZooKeeperForTests

pytestmark = pytest.mark.interop

PROPERTIES = {
    **{
        f"policy.{kind}.interop.loud.>.{name}": "true"
        for kind in ("queue", "topic")
        for name in (
            "sendAdvisoryIfNoConsumers",
            "advisoryForSlowConsumers",
            "advisoryForDiscardingMessages",
            "advisoryForDelivery",
            "advisoryForConsumed",
        )
    },
    "policy.topic.interop.loud.>.pendingMessageLimitStrategy": "constantPendingMessageLimitStrategy",
    "policy.topic.interop.loud.>.pendingMessageLimitStrategy.limit": "1",
}
EXPECTED = {
    "Observer": [
        "queue there was: true",
        "queue made: true",
        "topic made: true",
        "temporary queue made: true",
        "temporary queue deleted: true",
        "queue deleted: true",
        "no advisory of advisories: true",
        "consumer there was: started, 1",
        "consumer opened: started, 2",
        "consumer closed: stopped, 1",
        "last consumer closed: stopped, 0",
        "producer there was: started, 1",
        "producer opened: started, 2",
        "producer closed: stopped, 1",
        "last producer closed: stopped, 0",
        "connections there are: true",
        "connection opened: Connection ConnectionInfo []",
        "connection's user: admin, password ''",
        "connection's headers: Advisory 1 0 topic://ActiveMQ.Advisory.Connection",
        "connection closed: Connection RemoveInfo []",
        "wildcard, there was: Consumer.Queue.interop.wild.a ConsumerInfo [consumerCount]",
        "wildcard, opened: Consumer.Queue.interop.wild.b ConsumerInfo [consumerCount]",
        "everything: Consumer.Queue.interop.wild.b ConsumerInfo [consumerCount]; MasterBroker nothing []; "
        "Queue DestinationInfo []",
        "delivered: MessageDelivered.Queue.interop.loud.queue ActiveMQTextMessage "
        "[orignalDestination, orignalMessageId]",
        "no consumer: topic://ActiveMQ.Advisory.NoConsumer.Queue.interop.loud.queue for nobody",
        "received: for nobody (delivery 1)",
        "consumed: MessageConsumed.Queue.interop.loud.queue ActiveMQTextMessage "
        "[orignalDestination, orignalMessageId]",
        "no consumer of it: true",
        "expired: Expired.Queue.interop.loud.queue ActiveMQTextMessage [orignalMessageId]",
        "given up: MessageDLQd.Queue.interop.loud.queue ActiveMQTextMessage []",
        "discarded: MessageDiscarded.Topic.interop.loud.topic ActiveMQTextMessage "
        "[consumerId, discardedCount, orignalDestination, orignalMessageId]",
        "discarded in all: 7",
        "slow: false",
    ],
    "Statistics": [
        "keys of a destination: averageEnqueueTime:Double averageMessageSize:Long brokerId:String "
        "brokerName:String consumerCount:Long dequeueCount:Long destinationName:String dispatchCount:Long "
        "enqueueCount:Long expiredCount:Long inflightCount:Long maxEnqueueTime:Double memoryLimit:Long "
        "memoryPercentUsage:Integer memoryUsage:Long messagesCached:Long minEnqueueTime:Double "
        "producerCount:Long size:Long",
        "destinationName: queue://interop.stat.a",
        "size: 3",
        "enqueueCount: 4",
        "dequeueCount: 1",
        "dispatchCount: 4",
        "inflightCount: 3",
        "expiredCount: 0",
        "consumerCount: 1",
        "producerCount: 1",
        "correlation and type: asked Advisory 1",
        "age of the first message: true",
        "wildcard: [queue://interop.stat.a, queue://interop.stat.b]",
        "wildcard for topics: []",
        "end in the name: [queue://interop.stat.b]",
        "unknown: null",
        "keys of the broker: averageEnqueueTime:Double averageMessageSize:Long brokerId:String "
        "brokerName:String consumerCount:Long dataDirectory:String dequeueCount:Long dispatchCount:Long "
        "enqueueCount:Long expiredCount:Long inflightCount:Long maxEnqueueTime:Double memoryLimit:Long "
        "memoryPercentUsage:Integer memoryUsage:Long messagesCached:Long minEnqueueTime:Double "
        "openwire:String producerCount:Long size:Long ssl:String stomp+ssl:String stomp:String "
        "storeLimit:Long storePercentUsage:Integer storeUsage:Long tempLimit:Long tempPercentUsage:Integer "
        "tempUsage:Long vm:String",
        "figures of the broker: true",
        "address: true",
        "keys of a subscription: brokerId:String brokerName:String clientId:String connectionId:String "
        "dequeueCounter:Long destinationName:String dispatchedCounter:Long dispatchedQueueSize:Long "
        "enqueueCounter:Long exclusive:Boolean maximumPendingMessageLimit:Integer prefetchSize:Integer "
        "retroactive:Boolean selector:null sessionId:Long slowConsumer:Boolean",
        "dequeueCounter: 1",
        "dispatchedCounter: 4",
        "dispatchedQueueSize: 3",
        "prefetchSize: 1000",
        "exclusive: false",
        "retroactive: false",
        "slowConsumer: false",
        "prefetch of a topic: 32767",
        "after a reset: 4 3",
    ],
}


@pytest.fixture
def our_url(zookeeper: ZooKeeperForTests, tmp_path: Path) -> Iterator[str]:
    """Our broker."""
    with our_broker(zookeeper, tmp_path, PROPERTIES) as broker:
        yield broker.url


@pytest.mark.parametrize("program", EXPECTED)
def test_program_is_right(programs: JavaPrograms, tmp_path: Path, program: str) -> None:
    """Apache's broker shows that the programs and their expectations are right."""
    with apache_broker(programs, tmp_path, name="ObservedApacheBroker") as url:
        assert programs.facts(program, url) == EXPECTED[program]


@pytest.mark.parametrize("program", EXPECTED)
def test_our_broker(programs: JavaPrograms, our_url: str, program: str) -> None:
    """Our broker tells what Apache's broker tells."""
    assert programs.facts(program, our_url) == EXPECTED[program]


@pytest.mark.parametrize("options", ["wireFormat.version=6", "wireFormat.tightEncodingEnabled=false"])
def test_negotiated_encodings(programs: JavaPrograms, our_url: str, options: str) -> None:
    """In whatever encoding a client listens."""
    assert programs.facts("Observer", f"{our_url}?{options}") == EXPECTED["Observer"]
