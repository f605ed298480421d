"""What producers were told and what one receiver saw of it: the judge of a soak. No socket, no clock.

A message is a `Key`: the name of its producer and its number there. Producers report to an `Account` what
became of each send, the receiver what arrived and what it did with it. The account knows at every moment
what may come next; anything else is written down as a violation, in words.

============================  ======================================================================
said of a message             what may follow
============================  ======================================================================
acknowledged                  it arrives: once, after what its producer sent before, until it is settled
refused                       it never arrives
in doubt: its commit failed   it arrives or not, with all others of its transaction
arrived                       it does not arrive again, unless it is given back
given back                    it arrives again, in order
settled                       it never arrives again
settled in doubt              it arrives again or not, with all others of that transaction
============================  ======================================================================
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields

Key = tuple[str, int]

VIOLATIONS_MAX = 50
"""Of one account; the first ones tell the story."""


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums of one account.

    Attributes:
        acknowledged: sends that count.
        received: messages that arrived and were settled.
        again: arrivals of what had been given back, or was settled in doubt: JMS allows those.
        refused: sends that the broker refused.
        in_doubt: transactions whose commit was not answered.
        lost: acknowledged, and never arrived.
        violations: everything that must not be, the lost ones too.
    """

    acknowledged: int = 0
    received: int = 0
    again: int = 0
    refused: int = 0
    in_doubt: int = 0
    lost: int = 0
    violations: int = 0


@dataclass(slots=True)
class _Producer:
    """One producer as the receiver sees it: the highest number settled, and the highest that it has seen."""

    settled: int = -1
    seen: int = -1


@dataclass(slots=True)
class _Doubt:
    """A consumer's transaction whose commit failed, and which of its messages came again."""

    group: frozenset[Key]
    back: set[Key] = field(default_factory=set)


@dataclass(slots=True)
class Account:
    """One receiver's books; producers and the receiver write to it from their threads."""

    name: str
    violations: list[str] = field(default_factory=list)
    _due: set[Key] = field(default_factory=set)
    _refused: set[Key] = field(default_factory=set)
    _in_hand: dict[Key, None] = field(default_factory=dict)
    _returned: set[Key] = field(default_factory=set)
    _settled: set[Key] = field(default_factory=set)  # since the last `fold`
    _sends_in_doubt: list[frozenset[Key]] = field(default_factory=list)
    _doubts: list[_Doubt] = field(default_factory=list)
    _maybe: set[Key] = field(default_factory=set)
    _producers: dict[str, _Producer] = field(default_factory=dict)
    _acknowledged: int = 0
    _received: int = 0
    _again: int = 0
    _refusals: int = 0
    _in_doubt: int = 0
    _lost: int = 0
    _complaints: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # What the producers were told

    def acknowledged(self, keys: Iterable[Key]) -> None:
        """Sends that count: each must arrive."""
        with self._lock:
            keys = set(keys)
            self._acknowledged += len(keys)
            self._due |= keys - self._settled - self._maybe

    def refused(self, key: Key) -> None:
        """The broker has refused a send: it must not arrive."""
        with self._lock:
            self._refusals += 1
            self._refused.add(key)
            if key in self._settled or key in self._in_hand:
                self._complain(f"{_text(key)} was refused, and delivered")

    def sent_in_doubt(self, keys: Iterable[Key]) -> None:
        """The sends of a transaction of which nobody knows whether it was committed."""
        with self._lock:
            self._in_doubt += 1
            self._sends_in_doubt.append(frozenset(keys))

    # What the receiver saw and did

    def arrived(self, key: Key) -> None:
        """A message was received; it is in the receiver's hands until it is settled or given back."""
        with self._lock:
            producer = self._producers.setdefault(key[0], _Producer())
            if key in self._refused:
                self._complain(f"{_text(key)} was refused, and delivered")
            if key in self._in_hand:
                self._complain(f"{_text(key)} came twice")
            elif key[1] <= producer.settled and key not in self._maybe:
                self._complain(f"{_text(key)} came after {producer.settled} had been acknowledged")
            elif key[1] <= producer.seen:
                self._complain(f"{_text(key)} came after {producer.seen}")
            if key in self._maybe or key in self._returned:
                self._again += 1
                self._returned.discard(key)
                for doubt in self._doubts:
                    if key in doubt.group:
                        doubt.back.add(key)
            producer.seen = max(producer.seen, key[1])
            self._in_hand[key] = None

    def settle(self) -> None:
        """What is in the receiver's hands was acknowledged, or committed."""
        with self._lock:
            for key in self._in_hand:
                producer = self._producers[key[0]]
                producer.settled = max(producer.settled, key[1])
            self._received += len(self._in_hand)
            self._settled.update(self._in_hand)
            self._due.difference_update(self._in_hand)
            self._maybe.difference_update(self._in_hand)
            self._in_hand.clear()

    def give_back(self) -> None:
        """What is in the receiver's hands goes back: it was rolled back, or the receiver has left."""
        with self._lock:
            self._returned.update(self._in_hand)
            self._release()

    def settle_in_doubt(self) -> None:
        """Nobody knows whether the commit of what is in the receiver's hands counts."""
        with self._lock:
            group = frozenset(self._in_hand)
            if not group:
                return
            self._in_doubt += 1
            self._doubts.append(_Doubt(group))
            self._maybe |= group
            self._due -= group
            self._release()

    def _release(self) -> None:
        self._in_hand.clear()
        for producer in self._producers.values():
            producer.seen = producer.settled

    # What it comes to

    def missing(self) -> int:
        """How many sends were acknowledged and are neither settled nor in doubt."""
        return len(self._due)

    @property
    def settled_count(self) -> int:
        """How many messages were received and settled."""
        return self._received

    @property
    def acknowledged_count(self) -> int:
        """How many sends count."""
        return self._acknowledged

    def fold(self) -> None:
        """Nothing is under way just now: what is missing is lost, and transactions must be whole.

        Afterwards only sums are kept, so that a long soak fits in memory.
        """
        with self._lock:
            self._lost += len(self._due)
            for key in sorted(self._due):
                self._complain(f"{_text(key)} was acknowledged and never arrived")
            here = self._settled | self._maybe
            for group in self._sends_in_doubt:
                self._check_whole(group, group & here, "sends of a transaction arrived")
            for doubt in self._doubts:
                self._check_whole(doubt.group, doubt.back, "messages of a consumer's transaction came again")
                self._received += len(doubt.group & self._maybe)
            for each in (self._due, self._settled, self._maybe, self._returned):
                each.clear()
            self._sends_in_doubt.clear()
            self._doubts.clear()

    def totals(self) -> Totals:
        """The sums so far."""
        return Totals(
            acknowledged=self._acknowledged,
            received=self._received,
            again=self._again,
            refused=self._refusals,
            in_doubt=self._in_doubt,
            lost=self._lost,
            violations=self._complaints,
        )

    def _check_whole(self, group: frozenset[Key], found: Iterable[Key], what: str) -> None:
        part = set(found)
        if part and part != group:
            self._complain(f"only {len(part)} of {len(group)} {what}; the first was {_text(min(group))}")

    def _complain(self, text: str) -> None:
        self._complaints += 1
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(f"{self.name}: {text}")


def total(parts: Sequence[Totals]) -> Totals:
    """The sums over several accounts."""
    return Totals(**{each.name: sum(getattr(part, each.name) for part in parts) for each in fields(Totals)})


def _text(key: Key) -> str:
    return f"message {key[1]} of {key[0]}"
