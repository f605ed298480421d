"""The index: what is live."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.carry import carried, is_small
from journal.codec import RecordDecoder, RecordEncoder
from journal.errors import MessageUnknown
from journal.index import MessageIndex
from journal.producers import LastSequences
from journal.record import (
    SCHEDULED,
    AcknowledgeSubscription,
    AddDestination,
    AddMessage,
    AddScheduled,
    AddSubscription,
    EpochBegin,
    EpochEnd,
    Record,
    RemoveDestination,
    RemoveMessage,
    RemoveSubscription,
    Reschedule,
    Stored,
)
from journal.state import State
from journal.topics import subscription_matches

QUEUE = "queue://a"
TOPIC = "topic://t"


def state_of(*records: Record) -> State:
    """A state with the records applied, each at its position in the list."""
    state = State()
    for location, record in enumerate(records):
        state.apply(record, location, 1)
    return state


def subscribe(client_id: str = "c", name: str = "n", destination: str = TOPIC, selector: str = "") -> Record:
    """A durable subscription."""
    return AddSubscription(client_id, name, destination, selector, False)


def pending(state: State, client_id: str = "c", name: str = "n") -> Sequence[int]:
    """What waits for a durable subscription."""
    return list(state.subscriptions[client_id, name].pending)


def test_a_queue_keeps_its_order() -> None:
    """P4: live messages of a queue are in the order in which they were added."""
    state = state_of(
        *(AddMessage(ref, QUEUE, "p", ref, b"%d" % ref) for ref in (5, 6, 7)), RemoveMessage(6, QUEUE)
    )
    assert list(state.queues[QUEUE]) == [5, 7]
    assert state.queues[QUEUE].place(7) == (2, 1)
    assert state.next_ref == 8
    assert state.place(5, QUEUE) == (0, 1)
    with pytest.raises(MessageUnknown, match="6"):
        state.place(6, QUEUE)


def test_the_last_sequence_of_a_producer_outlives_its_messages() -> None:
    """P3: a repeated send is known although the message was consumed meanwhile."""
    state = state_of(AddMessage(1, QUEUE, "p", 41, b""), RemoveMessage(1, QUEUE))
    assert state.last_producer_sequence("p") == 41
    assert state.last_producer_sequence("q") == -1


def test_a_sequence_never_goes_back() -> None:
    """P3: a late message with a lower sequence does not open the door for repeats."""
    state = state_of(AddMessage(1, QUEUE, "p", 41, b""), AddMessage(2, QUEUE, "p", 40, b""))
    assert state.last_producer_sequence("p") == 41


def test_the_producers_seen_last_are_remembered() -> None:
    """The memory for producers has a limit, and forgets those seen longest ago."""
    sequences = LastSequences(10)
    for i in range(100):
        sequences.record("busy", i)
        sequences.record(f"p{i}", i)
    assert sequences.get("busy") == 99
    assert sequences.get("p99") == 99
    assert sequences.get("p95") == 95
    assert sequences.get("p0") == -1
    assert 5 <= len(sequences) <= 10


def test_a_destination_exists_without_messages() -> None:
    """An empty destination survives a takeover until it is removed."""
    state = state_of(AddDestination(QUEUE), AddDestination(TOPIC), AddMessage(1, QUEUE, "", 0, b""))
    assert set(state.queues) == {QUEUE}
    assert set(state.topics) == {TOPIC}
    state.apply(RemoveDestination(QUEUE), 0, 1)
    state.apply(RemoveDestination(TOPIC), 0, 1)
    state.apply(RemoveDestination("queue://unknown"), 0, 1)
    assert not state.queues
    assert not state.topics


def test_a_topic_message_lives_until_all_durable_subscriptions_acknowledged_it() -> None:
    """A durable subscriber that is away gets its message later, and nobody keeps it longer."""
    state = state_of(subscribe(name="a"), subscribe(name="b"), AddMessage(1, TOPIC, "", 0, b"x"))
    state.apply(AcknowledgeSubscription("c", "a", 1), 0, 1)
    assert pending(state, name="a") == []
    assert pending(state, name="b") == [1]
    assert state.place(1, TOPIC) and state.waiting(1) == 1
    state.apply(AcknowledgeSubscription("c", "a", 1), 0, 1)  # twice is once
    assert state.topics[TOPIC]
    state.apply(AcknowledgeSubscription("c", "b", 1), 0, 1)
    assert not state.topics[TOPIC]


def test_a_topic_message_without_durable_subscription_is_not_kept() -> None:
    """Nobody could ever acknowledge it; its producer's sequence counts all the same."""
    state = state_of(AddMessage(1, TOPIC, "p", 3, b""), subscribe())
    assert not state.topics.get(TOPIC)
    assert pending(state) == []
    assert state.last_producer_sequence("p") == 3
    assert state.next_ref == 2


def test_a_removed_subscription_lets_its_messages_go() -> None:
    """What was pending for one subscription alone is gone with it."""
    state = state_of(subscribe(name="a"), subscribe(name="b"), AddMessage(1, TOPIC, "", 0, b""))
    state.apply(AcknowledgeSubscription("c", "b", 1), 0, 1)
    state.apply(RemoveSubscription("c", "a"), 0, 1)
    assert not state.topics[TOPIC]
    state.apply(RemoveSubscription("c", "a"), 0, 1)
    state.apply(AddMessage(2, TOPIC, "", 0, b""), 0, 1)
    assert pending(state, name="b") == [2]


def test_subscribing_again_keeps_what_is_pending_unless_it_is_another_subscription() -> None:
    """JMS: another topic or selector under the same name is a new subscription."""
    state = state_of(subscribe(), AddMessage(1, TOPIC, "", 0, b""), subscribe())
    assert pending(state) == [1]
    state.apply(subscribe(selector="x = 1"), 0, 1)
    assert pending(state) == []
    assert not state.topics[TOPIC]


def test_purging_a_topic_message_takes_it_from_all_subscriptions() -> None:
    """An expired message is pending nowhere."""
    state = state_of(subscribe(name="a"), subscribe(name="b"), AddMessage(1, TOPIC, "", 0, b""))
    state.apply(RemoveMessage(1, TOPIC), 0, 1)
    assert pending(state, name="a") == pending(state, name="b") == []
    state.apply(AddMessage(2, TOPIC, "", 0, b""), 0, 1)
    state.apply(RemoveDestination(TOPIC), 0, 1)
    assert pending(state, name="a") == []


def test_the_same_topic_message_counts_once() -> None:
    """Applying a record a second time does not leave a message that nobody can acknowledge away."""
    add = AddMessage(1, TOPIC, "", 0, b"")
    state = state_of(subscribe(), add, add, AcknowledgeSubscription("c", "n", 1))
    assert not state.topics[TOPIC]


@pytest.mark.parametrize(
    ("pattern", "topic", "matches"),
    [
        ("topic://a.b", "topic://a.b", True),
        ("topic://a.*", "topic://a.b", True),
        ("topic://a.*", "topic://a.b.c", False),
        ("topic://a.*", "topic://a", False),
        ("topic://a.>", "topic://a.b.c", True),
        ("topic://>", "topic://a", True),
        ("topic://*.b", "topic://a.b", True),
        ("topic://*.b", "topic://a.c", False),
        ("queue://>", "topic://a", False),
    ],
)
def test_a_durable_subscription_may_be_a_wildcard(pattern: str, topic: str, matches: bool) -> None:
    """A durable subscription to a wildcard receives what is sent to each topic it covers."""
    assert subscription_matches(pattern, topic) is matches
    state = state_of(subscribe(destination=pattern), AddMessage(1, topic, "", 0, b""))
    assert (pending(state) == [1]) is matches


SCHEDULING = st.one_of(
    st.builds(
        AddScheduled,
        st.integers(1, 8),
        st.sampled_from(["", "p", "q"]),
        st.integers(0, 9),
        st.binary(max_size=3),
        st.integers(1, 99),
        st.sampled_from([-1, 0, 9]),
    ),
    st.builds(Reschedule, st.integers(1, 8), st.integers(1, 99), st.sampled_from([-1, 0, 9])),
    st.builds(RemoveMessage, st.integers(1, 8), st.just(SCHEDULED)),
)
records = st.one_of(
    SCHEDULING,
    st.builds(
        AddMessage,
        st.integers(1, 8),
        st.sampled_from([QUEUE, TOPIC, "topic://u"]),
        st.sampled_from(["", "p", "q"]),
        st.integers(0, 9),
        st.binary(max_size=3),
    ),
    st.builds(RemoveMessage, st.integers(1, 8), st.sampled_from([QUEUE, TOPIC, "topic://u"])),
    st.builds(AddDestination, st.sampled_from([QUEUE, TOPIC])),
    st.builds(RemoveDestination, st.sampled_from([QUEUE, TOPIC])),
    st.builds(
        AddSubscription,
        st.just("c"),
        st.sampled_from("ab"),
        st.sampled_from([TOPIC, "topic://>"]),
        st.sampled_from(["", "s"]),
        st.booleans(),
    ),
    st.builds(RemoveSubscription, st.just("c"), st.sampled_from("ab")),
    st.builds(AcknowledgeSubscription, st.just("c"), st.sampled_from("ab"), st.integers(1, 8)),
)


@given(st.lists(records, max_size=30))
def test_messages_of_topics_and_what_is_pending_always_agree(items: list[Record]) -> None:
    """Whatever the order of records, a topic's message lives exactly as long as somebody waits for it."""
    state = state_of(*items)
    waiting: dict[int, int] = {}
    for subscription in state.subscriptions.values():
        for ref in subscription.pending:
            waiting[ref] = waiting.get(ref, 0) + 1
    live = [ref for messages in state.topics.values() for ref in messages]
    assert {ref: state.waiting(ref) for ref in live} == waiting
    places = [place for each in state.places().values() for _, place in each.entries_after(-1)]
    assert state.live_bytes == sum(place.length for place in places)


@given(st.lists(records, max_size=30))
def test_recovery_builds_what_the_master_had(items: list[Record]) -> None:
    """What is written and replayed gives the same index as what was applied when it was appended."""
    pieces: list[bytes] = []
    encoder = RecordEncoder(1)
    master = State()
    location = 0
    for record in items:
        length = encoder.encode(record, pieces)
        master.apply(record, location, length)
        location += length
    recovered = State()
    RecordDecoder().replay(b"".join(pieces), 0, location, 0, recovered)
    assert recovered.queues == master.queues
    assert recovered.topics == master.topics
    assert recovered.subscriptions == master.subscriptions
    assert (recovered.scheduled, recovered.due_times) == (master.scheduled, master.due_times)
    assert recovered.next_ref == master.next_ref
    assert all(recovered.last_producer_sequence(p) == master.last_producer_sequence(p) for p in "pq")


def test_control_records_change_nothing() -> None:
    """The marks of an epoch are no business of the index."""
    state = State()
    state.apply(EpochBegin("x", ()), 0, 1)
    state.apply(EpochEnd(), 0, 1)
    assert (state.queues, state.topics, state.next_ref) == ({}, {}, 1)


@given(st.lists(records, max_size=30))
def test_a_carried_index_is_the_same_index(items: list[Record]) -> None:
    """A new epoch's first batch says all that the lower epochs said, orders and numbers included."""
    state = state_of(*items)
    bodies = [item.body if isinstance(item, Stored) else b"" for item in items]
    records = carried(state, (), lambda place: bodies[place.location])
    copy = state_of(*records)
    copied = [item.body if isinstance(item, Stored) else b"" for item in records]

    def refs(places: dict[str, MessageIndex], body: list[bytes]) -> dict[str, list[tuple[int, bytes]]]:
        return {
            name: [(ref, body[place.location]) for ref, place in messages.entries_after(-1)]
            for name, messages in places.items()
        }

    assert refs(copy.queues, copied) == refs(state.queues, bodies)
    assert refs(copy.topics, copied) == refs(state.topics, bodies)
    assert refs({"": copy.scheduled}, copied) == refs({"": state.scheduled}, bodies)
    assert copy.due_times == state.due_times
    for key, subscription in state.subscriptions.items():
        other = copy.subscriptions[key]
        assert (other.destination, other.selector, other.no_local, other.shared, other.away_since_ms) == (
            subscription.destination,
            subscription.selector,
            subscription.no_local,
            subscription.shared,
            subscription.away_since_ms,
        )
        assert list(other.pending) == sorted(subscription.pending)
    assert copy.subscriptions.keys() == state.subscriptions.keys()
    assert copy.next_ref == state.next_ref
    assert copy.producers.known() == state.producers.known()


def scheduled(ref: int = 1, due_ms: int = 5_000, repeats: int = 3, body: bytes = b"x") -> AddScheduled:
    """A message that is due later."""
    return AddScheduled(ref, "p", 7, body, due_ms, repeats)


def test_a_scheduled_message_is_live_and_no_destinations() -> None:
    """It counts as live, remembers its producer's sequence, and is in no queue or topic."""
    state = state_of(scheduled())
    assert state.due(1) == (5_000, 3)
    assert state.place(1, SCHEDULED) == (0, 1)
    assert (state.queues, state.topics) == ({}, {})
    assert list(state.places()) == [SCHEDULED]
    assert (state.live_bytes, state.next_ref, state.last_producer_sequence("p")) == (1, 2, 7)


def test_a_scheduled_message_is_due_again_until_it_is_removed() -> None:
    """Its next time replaces the former; after its removal nothing is left, and it cannot come back."""
    state = state_of(scheduled(), Reschedule(1, 9_000, 2))
    assert state.due(1) == (9_000, 2)
    for record in (RemoveMessage(1, SCHEDULED), Reschedule(1, 12_000, 1)):
        state.apply(record, 0, 1)
    assert state.due(1) is None
    assert (len(state.scheduled), len(state.due_times), state.live_bytes, state.usage) == (0, 0, 0, {})


def test_a_moved_scheduled_message_is_due_when_it_was_due_last() -> None:
    """Compaction writes the times of now; a copy that comes late changes only the place."""
    state = state_of(scheduled(), Reschedule(1, 9_000, 2))
    moved = state.moved(scheduled(), SCHEDULED)
    assert moved == scheduled(due_ms=9_000, repeats=2)
    state.apply(Reschedule(1, 12_000, 1), 0, 1)
    state.apply(moved, 77, 1)
    assert state.due(1) == (12_000, 1)
    assert state.place(1, SCHEDULED) == (77, 1)
    assert state_of(moved).due(1) == (9_000, 2)


def test_a_lost_data_file_takes_its_scheduled_messages_along() -> None:
    """What stood in it is not live any more, nor due."""
    state = state_of(scheduled())
    state.forget_data_file(0)
    assert state.due(1) is None
    assert not state.live_bytes


def test_only_a_small_index_is_carried() -> None:
    """Neither many messages nor large ones delay a takeover."""
    state = state_of(AddMessage(1, QUEUE, "", 0, b"12345"), AddMessage(2, QUEUE, "", 0, b"12345"))
    adopted = [AddMessage(3, QUEUE, "", 0, b"12345")]
    assert is_small(state, adopted, messages_max=3, bytes_max=7)
    assert not is_small(state, adopted, messages_max=2, bytes_max=7)
    assert not is_small(state, adopted, messages_max=3, bytes_max=6)
