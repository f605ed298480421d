"""Properties of the original's `policyEntry` that ask for nothing this broker would have to do.

They are accepted, so that configurations can be taken over; a table of
`docs/reference/broker-configuration.md` tells people what is said here.
"""

from __future__ import annotations

from typing import Final

WITHOUT_MEANING: Final[dict[str, str]] = {
    "dispatchPolicy": "every subscriber of a topic gets every message, in one order for all",
    "doOptimzeMessageStorage": "a message's encoded form is what is kept in any case",
    "enableAudit": "repeats are found by producer and sequence in the journal, and nothing else is dropped",
    "gcWithNetworkConsumers": "there are no network consumers",
    "lazyDispatch": "never more is read back from the journal than consumers have room for",
    "maxAuditDepth": "the audit is the journal's: one number for each producer",
    "maxBrowsePageSize": "a browser sees all messages, up to a limit that is not a page's",
    "maxPageSize": "what waits is an index; nothing is paged in",
    "maxProducersToAudit": "the audit is the journal's: one number for each producer",
    "maxQueueAuditDepth": "the audit is the journal's: one number for each producer",
    "messageGroupMapFactory": "one map of groups serves for simple, bucket and cached",
    "messageGroupMapFactoryType": "one map of groups serves for simple, bucket and cached",
    "minimumMessageSize": "a message counts as what it takes",
    "networkBridgeFilterFactory": "there are no network bridges",
    "optimizeMessageStoreInFlightLimit": "messages in flight are in the journal like any others",
    "optimizedDispatch": "one thread does all dispatch",
    "pendingDurableSubscriberPolicy": "a durable subscriber's messages wait in the journal",
    "persistJMSRedelivered": "deliveries are counted in the journal in any case",
    "reduceMemoryFootprint": "a message's encoded form is all that is kept in any case",
    "sendDuplicateFromStoreToDLQ": "the journal holds no duplicates",
    "useCache": "memory keeps what there is room for",
    "usePrefetchExtension": "messages acknowledged in a transaction never fill the prefetch",
    "useTopicSubscriptionInflightStats": "statistics cost nothing that could be saved",
}
"""The property and why."""
