"""Apache's own Java client works against our broker as it does against Apache's.

Every program prints what it saw. What it must see is written here once, for both brokers: the runs against
Apache's broker prove that the programs are right, the runs against ours that we are.
"""

from collections.abc import Iterator

import pytest
from support.apache import JavaPrograms
from support.java_programs import apache_broker, our_broker
from support.zookeeper import ZooKeeperForTests

pytestmark = pytest.mark.interop

EXPECTED: dict[str, list[str]] = {
    "Bodies": [
        "text: true",
        "text without body: null",
        "text of a mebibyte: true",
        "bytes: 42 bytes 15",
        "map: [boolean, byte, bytes, char, double, long, string]"
        " true -7 233 2.5 -9223372036854775808 value 3",
        "stream: 1 two 3.5",
        "object: [a, b]",
        "message without body: null",
        "same message id: true",
        "same expiration: true",
        "headers: correlation-1 kind topic://interop.answers queue://interop.bodies 7 1 false",
        "properties: true 1 2 3 4 5.5 6.5 true",
    ],
    "Acknowledgements": [
        "automatic: 1 (delivery 1), 2 (delivery 1), 3 (delivery 1)",
        "automatic, afterwards: nothing",
        "duplicates allowed: 1 (delivery 1), 2 (delivery 1), 3 (delivery 1)",
        "duplicates allowed, afterwards: nothing",
        "client, not acknowledged: 3 (delivery 1)",
        "client, afterwards: 3 redelivered (delivery 2); 4 (delivery 1); nothing",
        "individual, afterwards: 1 redelivered (delivery 2); 3 redelivered (delivery 2); nothing",
        "before recover: 1 (delivery 1)",
        "after recover: 1 redelivered (delivery 2)",
        "last: 2",
        "recover, afterwards: nothing",
    ],
    "Transactions": [
        "before commit: nothing",
        "after commit: 1 (delivery 1), 2 (delivery 1)",
        "after rollback: nothing",
        "received: 3 (delivery 1), 4 (delivery 1)",
        "received again: 3 redelivered (delivery 2), 4 redelivered (delivery 2)",
        "left: nothing",
        "moved: nothing, moved (delivery 1)",
    ],
    "Browser": [
        "empty: end",
        "browsed: 1 2 3 end",
        "browsed again: 1 2 3 end",
        "taken: 1 (delivery 1), 2 (delivery 1), 3 (delivery 1)",
    ],
    "Subscribers": [
        "ordinary: to both (delivery 1), to both (delivery 1)",
        "durable, while away: while away (delivery 1)",
        "durable, while there: while there (delivery 1)",
        "same client id twice: InvalidClientIDException",
        "durable, after unsubscribe: nothing",
    ],
    "RequestReply": [
        "asked: question",
        "answered: answer",
        "correlated: true",
        "read by another: refused",
        "sent after its end: refused",
    ],
    "AsyncSends": [
        "sent without waiting, in order: 500",
        "called back: 500",
        "sent with call-back, in order: 500",
    ],
    "Destinations": [
        "queues below, and the root: deep at queue://interop.w.a.b.c; early at queue://interop.w.early; "
        "late at queue://interop.w.late; root at queue://interop.w",
        "queues below, no more: nothing",
        "one element: interop.a.x at queue://interop.a.x; interop.b.x at queue://interop.b.x",
        "one element, no more: nothing",
        "topics: topic at topic://interop.t.a",
        "topics, no more: nothing",
        "heard on the topic: to three at topic://interop.c3 from interop.c1,interop.c2,topic://interop.c3",
        "taken from both queues: to three at queue://interop.c1 "
        "from interop.c1,interop.c2,topic://interop.c3; to three at queue://interop.c2 "
        "from interop.c1,interop.c2,topic://interop.c3",
        "both queues, no more: nothing",
        "before commit: nothing",
        "after commit: committed at queue://interop.d1 from interop.d1,interop.d2; "
        "committed at queue://interop.d2 from interop.d1,interop.d2",
        "consumer A: virtual at queue://Consumer.A.VirtualTopic.interop.x "
        "from topic://VirtualTopic.interop.x",
        "consumer B: virtual at queue://Consumer.B.VirtualTopic.interop.x "
        "from topic://VirtualTopic.interop.x",
        "subscriber: virtual at topic://VirtualTopic.interop.x",
        "consumer A, afterwards: while A is away at queue://Consumer.A.VirtualTopic.interop.x "
        "from topic://VirtualTopic.interop.x",
        "consumer A, no more: nothing",
        "consumer C: to a wildcard",
    ],
    "Choosing": [
        "invalid: InvalidSelectorException",
        "browsed: m3 m5 end",
        "large and red: m4 m6",
        "large and red, no more: nothing",
        "unknown: nothing",
        "large and red, later: m7",
        "the rest: m1 m2 m3 m5",
        "by headers: with headers",
        "by priority: 9.1 9.4 4.0 4.3 1.2 1.5",
        "first: e1 e2",
        "second: nothing",
        "second, afterwards: e3",
        "high: c1 c2 c3",
        "low: nothing",
        "groups: [g0 g2 g4 g6, g1 g3 g5 g7]",
        "a new owner: g8",
    ],
    "Scheduling": [
        "first: now (delivery 1)",
        "then: later [colour, scheduledJobId]",
        "mode, priority: 1 7",
        "same id: true",
        "lives on: true",
        "last: by text (delivery 1)",
        "repeated, ids and jobs: 3 1",
        "repeated, no more: nothing",
        "transacted: committed (delivery 1)",
        "transacted, no more: nothing",
        "subscribed before it is due: to the topic (delivery 1)",
        "browsed: [m1, m2, m3]",
        "browsed, of the first: [AMQ_SCHEDULED_DELAY, scheduledJobId] 1",
        "browsed, the second hour: [m2]",
        "after one was cancelled: [m1, m3]",
        "after all were cancelled: []",
    ],
    "Refusals": [
        "wrong password: refused",
        "unknown user: refused",
        "anonymous: refused",
        "right password: allowed",
    ],
}


@pytest.fixture(scope="module")
def apache_url(programs: JavaPrograms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Apache's broker."""
    with apache_broker(programs, tmp_path_factory.mktemp("apache")) as url:
        yield url


@pytest.fixture(scope="module")
def our_url(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Our broker."""
    with our_broker(zookeeper, tmp_path_factory.mktemp("interop")) as broker:
        yield broker.url


@pytest.mark.parametrize("program", EXPECTED)
def test_program_is_right(programs: JavaPrograms, apache_url: str, program: str) -> None:
    """Apache's broker shows that the program and its expectations are right."""
    assert programs.facts(program, apache_url) == EXPECTED[program]


@pytest.mark.parametrize("program", EXPECTED)
def test_our_broker(programs: JavaPrograms, our_url: str, program: str) -> None:
    """Our broker does for Apache's client what Apache's broker does."""
    assert programs.facts(program, our_url) == EXPECTED[program]


@pytest.mark.parametrize("program", ["Bodies", "Transactions", "RequestReply"])
@pytest.mark.parametrize(
    "options",
    [
        "wireFormat.tightEncodingEnabled=false",
        "wireFormat.cacheEnabled=false",
        "wireFormat.version=9",
        "wireFormat.version=6",
        "wireFormat.version=1",
    ],
)
def test_negotiated_encodings(programs: JavaPrograms, our_url: str, program: str, options: str) -> None:
    """Whatever encoding and version the client insists on, it sees the same."""
    assert programs.facts(program, f"{our_url}?{options}") == EXPECTED[program]
