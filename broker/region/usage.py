"""What messages take of the store, of memory and of temporary storage, and which sends have to wait for more.

The limits are ActiveMQ's `systemUsage`. Persistent messages are bounded by the store: its disk, and
`storeUsage`. Of their bodies memory keeps what `memoryUsage` leaves room for; the others are read back.
Messages that are not persistent are bounded by `memoryUsage`, and beyond it by `tempUsage`.

Only sends are ever stopped. Consumers, acknowledgements, dead letters and the end of transactions go on: they
are what makes space.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from broker.errors import BrokerError, SendBlocked, SpaceLacking
from broker.message import decode_message, encode_message
from broker.region.entry import Entry
from broker.region.limits import MEBIBYTE
from broker.region.spool import Spool, SpooledEntry, SpoolFailed, SpoolFull

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.account import Account
    from broker.region.blocked import BlockedSends
    from broker.region.store import Store

GIBIBYTE: Final = 1024 * MEBIBYTE
RECOVERED_SHARE: Final = 0.9
SETTLED_MS: Final = 30_000
"""The end of a shortage is logged when usage is below this share of the limit, or when it has not come to the
limit for this long: a producer that fills every gap at once makes one line, not thousands."""
RETRY_MS: Final = 1_000
"""How often a send is tried again although nothing here has made space: the disk is others', too."""

_log: Final = logging.getLogger("broker")


@dataclass(frozen=True, slots=True)
class UsageLimits:
    """What a broker may take, and what becomes of sends for which there is no space.

    Attributes:
        store_bytes_max: of live persistent messages in the journal.
        memory_bytes_max: of messages in memory.
        temp_bytes_max: of temporary files.
        flow_control: a send waits for space; otherwise it is refused.
        refuse_at_once: likewise refused (`sendFailIfNoSpace`).
        refuse_after_ms: a waiting send is refused after this time; 0: it waits for ever.
    """

    store_bytes_max: int = 100 * GIBIBYTE
    memory_bytes_max: int = 64 * MEBIBYTE
    temp_bytes_max: int = 50 * GIBIBYTE
    flow_control: bool = True
    refuse_at_once: bool = False
    refuse_after_ms: int = 0

    @property
    def blocks(self) -> bool:
        """Whether a send waits at all."""
        return self.flow_control and not self.refuse_at_once


@dataclass(slots=True)
class Shortage:
    """One kind of space, while it lacks.

    Attributes:
        messages: which are concerned, for the log.
        since_ms: when it began; 0: there is enough.
        last_ms: when it was seen last.
        text: what lacks.
    """

    messages: str
    since_ms: int = 0
    last_ms: int = 0
    text: str = ""


@dataclass(slots=True)
class Level:
    """How much of a limit is used."""

    used_bytes: int
    bytes_max: int

    @property
    def percent(self) -> int:
        """Whole percent, rounded down."""
        return self.used_bytes * 100 // self.bytes_max if self.bytes_max else 100

    def report(self) -> dict[str, int]:
        """For people and programs."""
        return {"used": self.used_bytes, "limit": self.bytes_max, "percent": self.percent}


@dataclass(slots=True, eq=False)
class Usage:
    """The accounts of one region.

    Attributes:
        is_short: a send must look closer: space lacks, or sends wait. All that the common send asks.
        memory_bytes: of all messages in memory, about; those that consumers hold are counted too.
        volatile_bytes: the part of it that is not persistent and so cannot be dropped.
        waiting: connections whose sends wait, the one that had its turn last at the end.
        full: destinations whose own memory is used up.
        watched_bytes: of the store, from which on some destination takes no more; see `Account`.
    """

    store: Store
    limits: UsageLimits
    spool: Spool
    now_ms: int = 0
    is_short: bool = False
    memory_bytes: int = 0
    volatile_bytes: int = 0
    waiting: dict[BlockedSends, None] = field(default_factory=dict)
    full: dict[Account, None] = field(default_factory=dict)
    watched_bytes: int = 0
    _store_shortage: Shortage = field(default_factory=lambda: Shortage("persistent"))
    _temp_shortage: Shortage = field(default_factory=lambda: Shortage("non-persistent"))

    def __post_init__(self) -> None:
        self.watched_bytes = self.limits.store_bytes_max

    # ---- memory

    def hold(self, ref: int, message: Message, *, always: bool = False) -> Entry:
        """A non-persistent message begins to wait: in memory or, if that is used up, in the spool.

        Args:
            ref: its number.
            message: it.
            always: it was taken before, as a part of a transaction: it finds its place in any case.

        Raises:
            SendBlocked, SpaceLacking: there is none.
        """
        if self.volatile_bytes >= self.limits.memory_bytes_max:
            spooled = self.spool_away(ref, message, always=always)
            if spooled is not None:
                return spooled
        size = message.size_bytes
        self.memory_bytes += size
        self.volatile_bytes += size
        return Entry(ref, message, 0, False)

    def spool_away(self, ref: int, message: Message, *, always: bool) -> Entry | None:
        """A non-persistent message begins to wait in the spool; None: it cannot, and has to be taken.

        Raises:
            SendBlocked, SpaceLacking: there is no space.
        """
        try:
            spooled = self.spool.put(ref, encode_message(message))
            spooled.expiration = message.expiration
            return spooled
        except SpoolFull as full:
            if not always:
                raise self._refusal(self._short_of_memory(full)) from full
        except SpoolFailed as failed:
            if not always:
                raise SpaceLacking(self._short_of_memory(failed)) from failed
        return None

    def _short_of_memory(self, reason: BrokerError) -> str:
        lack = self._volatile_text(str(reason))
        self._follow(self._temp_shortage, lack, self.memory_level)
        return lack

    def keep(self, entry: Entry, message: Message) -> None:
        """A persistent message stays in memory, if there is room."""
        if self.memory_bytes < self.limits.memory_bytes_max:
            entry.message = message
            self.memory_bytes += message.size_bytes

    def release(self, entry: Entry) -> None:
        """What the entry holds in memory, or in the spool, is free again."""
        message = entry.message
        if message is not None:
            size = message.size_bytes
            self.memory_bytes -= size
            if not entry.stored:
                self.volatile_bytes -= size
        elif not entry.stored and isinstance(entry, SpooledEntry):
            self.spool.free(entry)

    def drop_body(self, entry: Entry) -> None:
        """The journal has the message: memory need not."""
        if entry.stored and entry.message is not None:
            self.release(entry)
            entry.message = None

    def unspool(self, entry: Entry) -> Message | None:
        """Read a message back from the spool; None, and a log line, if that fails."""
        assert isinstance(entry, SpooledEntry)
        try:
            return decode_message(self.spool.get(entry))
        except BrokerError as error:
            _log.error("A non-persistent message is lost: %s", error)
            return None

    # ---- space

    def store_lack(self) -> str:
        """Why no persistent message can be taken; empty if one can."""
        store, limit = self.store, self.limits.store_bytes_max
        if store.full:
            return "The disk of the store is full: consume messages, or free space on it."
        if store.live_bytes >= limit:
            return (
                f"storeUsage, {limit} bytes, is used up: consume persistent messages, or raise the limit in "
                "the broker's profile."
            )
        return ""

    def volatile_lack(self) -> str:
        """Why no message that is not persistent can be taken; empty if one can."""
        if self.volatile_bytes < self.limits.memory_bytes_max or not self.spool.is_full:
            return ""
        return self._volatile_text(self.spool.holding)

    def _volatile_text(self, reason: str) -> str:
        limits = self.limits
        return (
            f"memoryUsage, {limits.memory_bytes_max} bytes, is used up, and so is the temporary storage, "
            f"tempUsage {limits.temp_bytes_max} bytes: {reason}. Consume non-persistent messages, or raise "
            "these limits in the broker's profile."
        )

    def lack(self, *, stored: bool) -> str:
        """Why a message cannot be taken; empty if it can."""
        return self.store_lack() if stored else self.volatile_lack()

    def check(self, *, stored: bool) -> None:
        """Whether a message can be taken.

        Raises:
            SendBlocked: not yet.
            SpaceLacking: no.
        """
        lack = self.lack(stored=stored)
        if lack:
            raise self._refusal(lack)
        if stored and self.store.is_behind:  # no lack of space: nobody is refused for it, nor is it logged
            raise SendBlocked("The disk of the store does not keep up.")

    def check_room(self, size_bytes: int) -> None:
        """Whether the disk has room for something long.

        Raises:
            SendBlocked: not yet.
            SpaceLacking: no.
        """
        if not self.store.has_room(size_bytes):
            raise self._refusal(
                f"The disk of the store has no room for {size_bytes} bytes: "
                "consume messages, or free space on it."
            )

    def _refusal(self, lack: str) -> SendBlocked | SpaceLacking:
        return SendBlocked(lack) if self.limits.blocks else SpaceLacking(lack)

    # ---- time

    def review(self, now_ms: int) -> None:
        """Once a turn: is space short? Sends that have waited too long are refused."""
        self.now_ms = now_ms
        store = self.store
        if (
            store.full
            or store.is_behind
            or store.live_bytes >= self.watched_bytes
            or self.volatile_bytes >= self.limits.memory_bytes_max
            or self.is_short
            or self._store_shortage.since_ms
            or self._temp_shortage.since_ms
        ):
            self._review()

    def _review(self) -> None:
        store_lack, volatile_lack = self.store_lack(), self.volatile_lack()
        self._follow(self._store_shortage, store_lack, self.store_level)
        self._follow(self._temp_shortage, volatile_lack, self.memory_level)
        for blocked in [each for each in self.waiting if each.deadline_ms]:
            if blocked.expire(self.now_ms) and not blocked:
                self.waiting.pop(blocked, None)
        for account in [each for each in self.full if not each.is_full]:
            del self.full[account]
        self.is_short = bool(
            store_lack
            or volatile_lack
            or self.waiting
            or self.full
            or self.store.is_behind
            or self.store.live_bytes >= self.watched_bytes
        )

    def release_sends(self) -> bool:
        """Go on with sends that wait, one of each connection in turn, while there is space.

        Returns:
            Whether any went on.
        """
        went_on = False
        going_on = True
        while going_on:
            going_on = False
            for blocked in list(self.waiting):
                storing = not (self.store.is_behind or self.store_lack())
                if blocked and blocked.release(storing=storing):
                    going_on = went_on = True
                    self.waiting.pop(blocked, None)
                    if blocked:
                        self.waiting[blocked] = None
        return went_on

    @property
    def is_watching(self) -> bool:
        """Whether there may be a deadline."""
        return bool(self.waiting or self._store_shortage.since_ms or self._temp_shortage.since_ms)

    @property
    def deadline_ms(self) -> int:
        """When `review` must be called at the latest; 0: no need."""
        times = [each.deadline_ms for each in self.waiting if each.deadline_ms]
        if self.waiting:
            times.append(self.now_ms + RETRY_MS)
        for shortage in (self._store_shortage, self._temp_shortage):
            if shortage.since_ms and shortage.last_ms < self.now_ms:
                times.append(shortage.last_ms + SETTLED_MS)
        return min(times, default=0)

    # ---- what operators see

    def _follow(self, shortage: Shortage, lack: str, level: Level) -> None:
        """Log the beginning and the end of a shortage."""
        now_ms = self.now_ms
        if lack:
            if not shortage.since_ms:
                shortage.since_ms = now_ms
                does = "wait" if self.limits.blocks else "are refused"
                _log.warning("Sends of %s messages %s; consumers go on. %s", shortage.messages, does, lack)
            shortage.last_ms, shortage.text = now_ms, lack
        elif shortage.since_ms and (
            level.used_bytes <= RECOVERED_SHARE * level.bytes_max or now_ms - shortage.last_ms >= SETTLED_MS
        ):
            seconds = (shortage.last_ms - shortage.since_ms) / 1000
            shortage.since_ms, shortage.text = 0, ""
            _log.info(
                "There is space for %s messages again, after %.1f s: %d of %d bytes are used (%d %%).",
                shortage.messages,
                seconds,
                level.used_bytes,
                level.bytes_max,
                level.percent,
            )

    @property
    def store_level(self) -> Level:
        """Live persistent messages."""
        return Level(self.store.live_bytes, self.limits.store_bytes_max)

    @property
    def memory_level(self) -> Level:
        """Messages in memory."""
        return Level(self.memory_bytes, self.limits.memory_bytes_max)

    @property
    def problem(self) -> str:
        """What lacks, in words that stay the same as long as it does; empty if nothing does."""
        texts = [each.text for each in (self._store_shortage, self._temp_shortage) if each.since_ms]
        return " ".join(texts)

    def report(self) -> dict[str, object]:
        """The figures, as JSON has them."""
        return {
            "store": self.store_level.report(),
            "memory": self.memory_level.report(),
            "temp": Level(self.spool.bytes_used, self.spool.bytes_max).report(),
            "diskFull": self.store.full,
            "blockedSends": sum(len(each) for each in self.waiting),
            "blockedConnections": len(self.waiting),
        }
