"""The named limits of a region."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RegionLimits:
    """Everything a client can make grow ends at one of these; past it the client gets `ResourceExhausted`.

    Attributes:
        destinations_max: queues and topics together, temporary ones included.
        consumers_per_connection_max: consumers and browsers of one connection.
        producers_per_connection_max: producers of one connection.
        transactions_per_connection_max: open transactions of one connection; JMS needs one per session.
        transaction_operations_max: sends and acknowledged messages of one open transaction.
        transaction_bytes_max: memory the sends of one open transaction hold.
        prepared_max: prepared branches of distributed transactions, which no connection's end takes away.
        message_bytes_max: one message's journal body, bytes (the original's `maxFrameSize`).
        topic_pending_bytes_max: what the messages that wait for a slow topic consumer that is not durable may
            take of memory, one subscriber's; the oldest go first.
        advisories_pending_max: advisories kept for a listener that is too slow; the oldest go first. What
            several listeners have not taken yet they share, about 2 KiB each.
        blocked_bytes_max: sends of one connection that wait for space before it is not read any more.
        long_bytes: of a message, or of a transaction, for which the disk is asked whether it has room.
        resident_messages_max: persistent messages per queue whose decoded form stays in memory while waiting;
            the rest is read back from the journal at dispatch.
        browse_messages_max: messages one browser sees.
        browse_page_messages: looked up for a browser at a time.
        durable_subscriptions_max: durable topic subscriptions, active or not.
        dispatch_bytes_max: bytes dispatched to one connection before its transport has taken them.
        scheduled_max: messages that are due later; each takes 100 bytes of memory.
        offline_timeout_ms: how long a durable subscription may be without consumers before it is removed; -1:
            for ever.
        offline_period_ms: how often that is looked at; -1: never.
        purge_period_ms: how often idle destinations are looked for; 0: never.
        purged_max: deleted at a time; 0: all that are idle.
    """

    destinations_max: int = 10_000
    consumers_per_connection_max: int = 5_000
    producers_per_connection_max: int = 20_000
    transactions_per_connection_max: int = 2_000
    transaction_operations_max: int = 1_000_000
    transaction_bytes_max: int = 256 * MEBIBYTE
    prepared_max: int = 1_000
    message_bytes_max: int = 100 * MEBIBYTE
    topic_pending_bytes_max: int = 16 * MEBIBYTE
    advisories_pending_max: int = 10_000
    blocked_bytes_max: int = MEBIBYTE
    long_bytes: int = 2 * MEBIBYTE
    resident_messages_max: int = 2_000
    browse_messages_max: int = 100_000
    browse_page_messages: int = 500
    durable_subscriptions_max: int = 10_000
    dispatch_bytes_max: int = MEBIBYTE
    scheduled_max: int = 1_000_000
    offline_timeout_ms: int = -1
    offline_period_ms: int = 300_000
    purge_period_ms: int = 0
    purged_max: int = 0
