"""Any order of sends, cancellations, turns and crashes: each time a message is due is one delivery."""

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.region import Peer, new_region, restarted, settle
from support.scheduling import advance, schedule, store_of

from broker.message import decode_message
from journal.record import AddMessage, AddScheduled


class Life:
    """One broker after the other, with a client that schedules, and what it may expect."""

    def __init__(self) -> None:
        self.region = new_region()
        self.peer = Peer(self.region)
        self.sent: dict[str, int] = {}
        self.cancelled: set[str] = set()
        self.number = 0

    def send(self, delay: int, period: int, repeat: int, committed: bool) -> None:
        """Schedule one, alone or in a transaction."""
        self.number += 1
        name = f"m{self.number}"
        properties = schedule(delay, period, repeat)
        if committed:
            self.peer.connection.begin("t")
            self.peer.send(name, transaction="t", sequence=self.number, **properties)
            self.peer.connection.commit("t")
        else:
            self.peer.send(name, sequence=self.number, **properties)
        self.sent[name] = repeat + 1

    def cancel(self, place: int) -> None:
        """Cancel one of those that are scheduled."""
        refs = self.region.schedule.find()
        if refs:
            found = self.region.schedule.describe(refs[place % len(refs)])
            assert found is not None
            self.region.schedule.remove(found.job_id)
            self.cancelled.add((found.message.body or b"").decode())

    def crash(self) -> None:
        """What was not durable is gone: the client sends it again, for it got no receipt."""
        known = store_of(self.region).durable_batch
        alive = store_of(self.region).records(known)
        bodies = {decode_message(r.body).body for r in alive if isinstance(r, AddScheduled)}
        now_ms = self.region.now_ms
        self.region = restarted(self.region)
        self.region.now_ms = now_ms
        self.peer = Peer(self.region)
        for name in list(self.sent):
            if name.encode() not in bodies:
                del self.sent[name]
        self.cancelled = set()  # whether that was durable is seen by what comes

    def delivered(self) -> Counter[str]:
        """How often each was delivered, by what is durable."""
        records = store_of(self.region).records()
        found = [decode_message(r.body).body for r in records if isinstance(r, AddMessage)]
        return Counter((each or b"").decode() for each in found)


steps = st.one_of(
    st.tuples(
        st.just("send"), st.integers(0, 50), st.sampled_from([0, 7, 30]), st.integers(0, 3), st.booleans()
    ),
    st.tuples(st.just("advance"), st.integers(0, 60)),
    st.tuples(st.just("turn"), st.integers(0, 60)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("settle")),
    st.tuples(st.just("crash")),
)


@given(st.lists(steps, max_size=30))
@settings(deadline=None)
def test_whatever_happens_each_time_it_is_due_is_one_delivery(taken: list[tuple[Any, ...]]) -> None:
    """Crashes between any two records, cancelling, transactions: never one too many, and none is lost."""
    life = Life()
    cancelled: set[str] = set()
    for what, *arguments in taken:
        if what == "advance":
            advance(life.region, life.region.now_ms + arguments[0])
        elif what == "turn":
            life.region.advance(life.region.now_ms + arguments[0])
            life.region.dispatch()
        elif what == "settle":
            settle(life.region)
        else:
            getattr(life, what)(*arguments)
        cancelled |= life.cancelled
    for _ in range(5):
        advance(life.region, life.region.now_ms + 1_000)
    delivered = life.delivered()
    assert len(life.region.schedule) == 0
    for name, times in life.sent.items():
        assert delivered[name] <= times
        assert name in cancelled or delivered[name] == times
    assert delivered.keys() <= life.sent.keys()
