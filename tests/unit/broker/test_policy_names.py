"""Every property of ActiveMQ's `policyEntry` is honoured, or accepted because it has no meaning here."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from support.region import Peer, new_region

from broker.destination import Destination
from broker.errors import ResourceExhausted
from broker.policies import DEFAULT_POLICY, PolicyMap
from broker.policy_names import WITHOUT_MEANING

NAMES = """
    advisoryForConsumed advisoryForDelivery advisoryForDiscardingMessages advisoryForFastProducers
    advisoryForSlowConsumers advisoryWhenFull allConsumersExclusiveByDefault alwaysRetroactive
    blockedProducerWarningInterval consumersBeforeDispatchStarts cursorMemoryHighWaterMark deadLetterStrategy
    dispatchPolicy doOptimzeMessageStorage durableTopicPrefetch enableAudit expireMessagesPeriod
    gcInactiveDestinations gcWithNetworkConsumers inactiveTimeoutBeforeGC inactiveTimoutBeforeGC
    includeBodyForAdvisory lazyDispatch maxAuditDepth maxBrowsePageSize maxDestinations maxExpirePageSize
    maxPageSize maxProducersToAudit maxQueueAuditDepth memoryLimit messageEvictionStrategy
    messageGroupMapFactory messageGroupMapFactoryType minimumMessageSize networkBridgeFilterFactory
    optimizeMessageStoreInFlightLimit optimizedDispatch pendingDurableSubscriberPolicy
    pendingMessageLimitStrategy pendingQueuePolicy pendingSubscriberPolicy persistJMSRedelivered
    prioritizedMessages producerFlowControl queueBrowserPrefetch queuePrefetch reduceMemoryFootprint
    sendAdvisoryIfNoConsumers sendDuplicateFromStoreToDLQ sendFailIfNoSpace sendFailIfNoSpaceAfterTimeout
    slowConsumerStrategy storeUsageHighWaterMark strictOrderDispatch subscriptionRecoveryPolicy
    timeBeforeDispatchStarts
    topicPrefetch useCache useConsumerPriority usePrefetchExtension useTopicSubscriptionInflightStats
"""
"""Those of 5.17's class `PolicyEntry` that can be set."""
ATTRIBUTES = NAMES.split()

PAGES = sorted((Path(__file__).parents[3] / "docs/reference").glob("*.md"))
REFERENCE = "\n".join(page.read_text("utf-8") for page in PAGES)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_is_known_and_documented(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A configuration that is taken over is understood in all its parts; the reference says what they do."""
    if name in WITHOUT_MEANING:
        with caplog.at_level(logging.WARNING):
            policies = PolicyMap.parse({f"policy.queue.orders.>.{name}": "whatever"})
        assert not caplog.records
        assert policies.of(Destination.queue("orders")) is DEFAULT_POLICY
        assert f"| `{name}` | {WITHOUT_MEANING[name]} |" in REFERENCE
        return
    with caplog.at_level(logging.WARNING):
        try:
            PolicyMap.parse({f"policy.queue.orders.>.{name}": "7 of them"})
        except Exception as error:  # noqa: BLE001 - which one is the property's business
            assert name in str(error) or "7 of them" in str(error)
    assert "there is no such property" not in caplog.text
    assert f"`{name}" in REFERENCE


def test_a_policy_bounds_the_number_of_its_destinations() -> None:
    """`maxDestinations`: a further one is refused; others, and those there are, are not concerned."""
    region = new_region(policies={"policy.queue.orders.>.maxDestinations": "2"})
    peer = Peer(region)
    for name in ("orders.a", "orders.b", "orders.a", "other"):
        peer.send("m", Destination.queue(name))
    peer.send("m", Destination.topic("orders.c"))
    with pytest.raises(ResourceExhausted, match="maxDestinations=2"):
        peer.send("m", Destination.queue("orders.c"))
