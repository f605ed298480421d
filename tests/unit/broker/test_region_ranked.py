"""Priorities in durable subscriptions."""

import random

from hypothesis import given
from hypothesis import strategies as st
from support.region import TOPIC, Peer, new_region, restarted, settle

from broker.region.entry import Entry, Pending
from broker.region.limits import RegionLimits
from broker.region.ranked import RankedPending
from broker.region.region import Region
from journal.index import Backlog, MessageIndex

PRIORITIES = [4, 9, 0, 4, 7, 9, 4, 0]
ORDER = ["m1", "m5", "m4", "m0", "m3", "m6", "m2", "m7"]


def subscribed(region: Region, name: str = "s", connection: str = "c1") -> Peer:
    """A client with an active durable subscription."""
    peer = Peer(region, connection, connection)
    peer.consume(destination=TOPIC, subscription_name=name)
    return peer


def away(policies: dict[str, str] | None = None) -> Region:
    """Messages of several priorities wait for a subscriber who is away."""
    region = new_region(policies=policies)
    peer = subscribed(region)
    peer.connection.remove_consumer("k")
    for number, priority in enumerate(PRIORITIES):
        peer.send(f"m{number}", TOPIC, priority=priority)
    settle(region)
    peer.connection.close()
    return region


def test_higher_priorities_go_first() -> None:
    """And of one priority the older ones."""
    region = away()
    peer = subscribed(region)
    settle(region)
    assert peer.client.ids() == ORDER


def test_a_new_master_knows_the_priorities() -> None:
    """Without reading the messages; also of those sent after the takeover."""
    region = restarted(away())
    peer = Peer(region, "other")
    peer.send("m8", TOPIC, priority=9)
    settle(region)
    subscriber = subscribed(region)
    settle(region)
    assert subscriber.client.ids() == [*ORDER[:2], "m8", *ORDER[2:]]


def test_priorities_can_be_switched_off() -> None:
    """With `prioritizedMessages=false` they come as they were sent."""
    policies = {"policy.topic.>.prioritizedMessages": "false"}
    sent = [f"m{number}" for number in range(len(PRIORITIES))]
    region = away(policies)
    peer = subscribed(region)
    settle(region)
    assert peer.client.ids() == sent
    peer.connection.close()
    after = restarted(region, policies=policies)
    again = subscribed(after)
    settle(after)
    assert again.client.ids() == sent


def test_each_subscription_has_its_own_order() -> None:
    """What one has consumed is gone from its line only, and nothing is left in the end."""
    region = new_region(limits=RegionLimits(resident_messages_max=1))
    one, two = subscribed(region, connection="c1"), subscribed(region, connection="c2")
    two.connection.remove_consumer("k")
    for number, priority in enumerate(PRIORITIES):
        one.send(f"m{number}", TOPIC, priority=priority)
        settle(region)
    assert one.client.ids() == [f"m{number}" for number in range(len(PRIORITIES))]
    one.acknowledge(*one.client.refs())
    settle(region)
    two.consume(destination=TOPIC, subscription_name="s")
    settle(region)
    assert two.client.ids() == ORDER
    for ref in two.client.refs():
        two.acknowledge(ref)
    settle(region)
    assert not region.store.state.topics[TOPIC.uri]
    assert not region.store.state.ranks
    assert region.usage.memory_bytes == 0


def test_what_was_given_back_keeps_its_priority() -> None:
    """The next consumer gets the same order."""
    region = away()
    peer = subscribed(region)
    settle(region)
    peer.connection.close()
    again = subscribed(region)
    settle(region)
    assert sorted(again.client.ids()) == sorted(ORDER)
    after = restarted(region)
    last = subscribed(after)
    settle(after)
    assert last.client.ids() == ORDER


@given(
    st.lists(
        st.tuples(st.sampled_from(["append", "take", "back", "withdraw"]), st.integers(0, 9)), max_size=60
    )
)
def test_the_line_is_as_a_simple_model_has_it(steps: list[tuple[str, int]]) -> None:
    """The highest priority first, then the lowest number, whatever comes back and is taken out."""
    chance = random.Random(1)
    line = RankedPending(lambda _: None)
    waiting: set[tuple[int, int]] = set()
    taken: list[Entry] = []
    for ref, (what, priority) in enumerate(steps, 1):
        if what == "append":
            entry = Entry(ref, None, 0, True)
            entry.priority = priority
            line.append(entry, 1, 0)
            waiting.add((-priority, ref))
        elif what == "take" and waiting:
            assert (-line.head()[0].priority, line.head()[0].ref) == min(waiting)
            entry = line.head().popleft()
            waiting.remove((-entry.priority, entry.ref))
            taken.append(entry)
        elif what == "back" and taken:
            entry = taken.pop(chance.randrange(len(taken)))
            line.give_back([entry])
            waiting.add((-entry.priority, entry.ref))
        elif what == "withdraw" and waiting:
            key = chance.choice(sorted(waiting))
            found = line.among([key[1]])
            assert [(-entry.priority, entry.ref) for entry in found] == [key]
            line.withdraw(found)
            waiting.remove(key)
        assert len(line) == len(waiting)
        assert [entry.ref for entry in line.page(-1, 10**9, 100)] == sorted(each for _, each in waiting)
        assert [(-entry.priority, entry.ref) for entry in line] == sorted(waiting)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 4, 4, 9]), st.booleans()), max_size=60),
    st.integers(0, 10),
)
def test_what_waits_is_taken_over_by_the_journals_indexes(
    messages: list[tuple[int, int, bool]], taken: int
) -> None:
    """Whichever messages of whichever topics wait, each is lined up by its priority."""
    topics: list[dict[int, MessageIndex]] = [{}, {}, {}]
    waiting = MessageIndex()
    priorities: dict[int, int] = {}
    for ref, (topic, priority, is_wanted) in enumerate(messages, 1):
        topics[topic].setdefault(priority, MessageIndex()).add(ref, 0, 1)
        if is_wanted:
            waiting.add(ref, 0, 1)
            priorities[ref] = priority
    pending = Pending(Backlog(waiting))
    for _ in range(min(taken, len(priorities))):
        del priorities[pending.head().popleft().ref]
    line = RankedPending(lambda _: None)
    line.take_over(pending, [topic if set(topic) - {4} else None for topic in topics if topic])
    assert [entry.ref for entry in line] == sorted(priorities, key=lambda ref: (-priorities[ref], ref))
    assert len(line) == len(priorities)


def test_taking_over_shares_the_indexes_of_the_only_topic() -> None:
    """Where all its messages wait; what is taken from the line is not taken from the journal."""
    topic = {4: MessageIndex(), 7: MessageIndex()}
    waiting = MessageIndex()
    for ref in range(1, 2000):
        topic[7 if ref % 2 else 4].add(ref, 0, 1)
        waiting.add(ref, 0, 1)
    line = RankedPending(lambda _: None)
    line.take_over(Pending(Backlog(waiting)), [topic])
    assert [line.head().popleft().ref for _ in range(3)] == [1, 3, 5]
    assert len(topic[7]) == 1000
    assert len(line) == 1996
