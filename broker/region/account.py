"""What the messages of one destination may take, where its policy says so.

The names are those of ActiveMQ's `policyEntry`. A destination without any of them has no account of its own;
its `usage` is the broker's.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from broker.errors import SendBlocked, SpaceLacking
from broker.region.usage import Level

if TYPE_CHECKING:
    from broker.message import Message
    from broker.policies import Policy
    from broker.region.entry import Entry
    from broker.region.usage import Usage

Value = TypeVar("Value")

_log: Final = logging.getLogger("broker")


class Account:
    """One destination's part of the broker's usage; what it holds counts there, too.

    Attributes:
        limits: the broker's, with what the policy says instead.
        memory_bytes: of the destination's messages in memory.
        volatile_bytes: the part of it that is not persistent.
    """

    def __init__(self, whole: Usage, policy: Policy, uri: str) -> None:
        self._whole = whole
        self._uri = uri
        limits = whole.limits
        self.limits = replace(
            limits,
            store_bytes_max=limits.store_bytes_max * policy.store_usage_high_water_mark // 100,
            memory_bytes_max=policy.memory_limit or limits.memory_bytes_max,
            flow_control=_either(policy.producer_flow_control, limits.flow_control),
            refuse_at_once=_either(policy.send_fail_if_no_space, limits.refuse_at_once),
            refuse_after_ms=_either(policy.send_fail_after_ms, limits.refuse_after_ms),
        )
        self._stays = bool(policy.memory_limit) and policy.pending_queue == "vmQueueCursor"
        """Messages that are not persistent stay in memory: their producers wait."""
        self._cached_max = self.limits.memory_bytes_max
        if policy.memory_limit and not self._stays:
            self._cached_max = policy.memory_limit * policy.cursor_memory_high_water_mark // 100
        self._warning_ms = policy.blocked_producer_warning_ms
        self._lacks_since_ms = 0
        self._warned_ms = 0
        self.memory_bytes = 0
        self.volatile_bytes = 0
        whole.watched_bytes = min(whole.watched_bytes, self.limits.store_bytes_max)

    # ---- memory

    def hold(self, ref: int, message: Message, *, always: bool = False) -> Entry:
        """A non-persistent message begins to wait; see `Usage.hold`.

        Raises:
            SendBlocked, SpaceLacking: there is no space.
        """
        if self.volatile_bytes >= self._cached_max:
            if not self._stops:
                spooled = self._whole.spool_away(ref, message, always=always)
                if spooled is not None:
                    return spooled
            elif not always:
                raise self._refusal(self._memory_lack())
        entry = self._whole.hold(ref, message, always=always)
        if entry.message is not None:
            size = message.size_bytes
            self.memory_bytes += size
            self.volatile_bytes += size
            if self.is_full:
                self._whole.full[self] = None
                self._whole.is_short = True
        return entry

    def keep(self, entry: Entry, message: Message) -> None:
        """A persistent message stays in memory, if there is room."""
        if self.memory_bytes < self._cached_max:
            self._whole.keep(entry, message)
            if entry.message is not None:
                self.memory_bytes += message.size_bytes

    def release(self, entry: Entry) -> None:
        """What the entry holds in memory, or in the spool, is free again."""
        message = entry.message
        if message is not None:
            size = message.size_bytes
            self.memory_bytes -= size
            if not entry.stored:
                self.volatile_bytes -= size
        self._whole.release(entry)

    def drop_body(self, entry: Entry) -> None:
        """The journal has the message: memory need not."""
        if entry.stored and entry.message is not None:
            self.release(entry)
            entry.message = None

    # ---- space

    @property
    def is_full(self) -> bool:
        """Its own memory is used up, and producers have to wait for it."""
        return self._stops and self.volatile_bytes >= self.limits.memory_bytes_max

    @property
    def _stops(self) -> bool:
        return self._stays and self.limits.flow_control

    def lack(self, *, stored: bool) -> str:
        """Why a message cannot be taken; empty if it can."""
        if stored and self._whole.store.live_bytes >= self.limits.store_bytes_max:
            if self.limits.store_bytes_max < self._whole.limits.store_bytes_max:
                return (
                    f"storeUsageHighWaterMark of {self._uri}, {self.limits.store_bytes_max} bytes, is "
                    "reached: consume persistent messages, or raise the limit in the broker's profile."
                )
        elif not stored and self.is_full:
            return self._memory_lack()
        return self._whole.lack(stored=stored)

    def _memory_lack(self) -> str:
        return (
            f"memoryLimit of {self._uri}, {self.limits.memory_bytes_max} bytes, is used up: consume its "
            "messages, or raise the limit in the broker's profile."
        )

    def check(self, *, stored: bool) -> None:
        """Whether a message can be taken.

        Raises:
            SendBlocked: not yet.
            SpaceLacking: no.
        """
        lack = self.lack(stored=stored)
        if lack:
            raise self._refusal(lack)
        if self._lacks_since_ms:
            self._tell_end()
        if stored and self._whole.store.is_behind:
            raise SendBlocked("The disk of the store does not keep up.")

    def check_room(self, size_bytes: int) -> None:
        """Whether the disk has room for something long; see `Usage.check_room`."""
        try:
            self._whole.check_room(size_bytes)
        except (SendBlocked, SpaceLacking) as error:
            raise self._refusal(str(error)) from error

    def _refusal(self, lack: str) -> SendBlocked | SpaceLacking:
        if not self.limits.blocks:
            return SpaceLacking(lack)
        now_ms = self._whole.now_ms
        self._lacks_since_ms = self._lacks_since_ms or now_ms
        if self._warning_ms and not (self._warned_ms and now_ms - self._warned_ms < self._warning_ms):
            self._warned_ms = now_ms
            seconds = (now_ms - self._lacks_since_ms) / 1000
            _log.warning("Sends to %s wait, for %.0f s; consumers go on. %s", self._uri, seconds, lack)
        return SendBlocked(lack)

    def _tell_end(self) -> None:
        if self._warned_ms:
            seconds = (self._whole.now_ms - self._lacks_since_ms) / 1000
            _log.info("There is space for messages to %s again, after %.1f s.", self._uri, seconds)
        self._lacks_since_ms = self._warned_ms = 0

    @property
    def memory_level(self) -> Level:
        """The destination's messages in memory."""
        return Level(self.memory_bytes, self.limits.memory_bytes_max)


def account_of(whole: Usage, policy: Policy, uri: str) -> Usage | Account:
    """What a destination's messages are counted in."""
    return Account(whole, policy, uri) if policy.has_account else whole


def _either(own: Value | None, whole: Value) -> Value:
    return whole if own is None else own
