"""What Apache's Java client sees when the broker is short of space: it waits, or gets JMS's own exception."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.apache import JavaPrograms
from support.java_programs import our_broker
from support.our_broker import OurBroker
from support.zookeeper import ZooKeeperForTests

pytestmark = pytest.mark.interop

BrokerWith = Callable[..., OurBroker]


@pytest.fixture
def broker_with(zookeeper: ZooKeeperForTests, tmp_path: Path) -> Iterator[BrokerWith]:
    """Starts a broker whose store takes about 20 of the programs' messages."""
    with ExitStack() as stack:

        def start(**properties: str) -> OurBroker:
            wanted = {"storeUsage": "200 kb", **properties}
            return stack.enter_context(our_broker(zookeeper, tmp_path, wanted))

        yield start


def test_a_refusal_is_a_resource_allocation_exception(
    programs: JavaPrograms, broker_with: BrokerWith
) -> None:
    """With sendFailIfNoSpace: JMS's own exception, the transaction rolled back, and no message lost."""
    broker = broker_with(sendFailIfNoSpace="true")
    assert programs.facts("SendRefused", broker.url) == [
        "refused: javax.jms.ResourceAllocationException",
        "names the limit: true",
        "some were sent: true",
        "commit refused: TransactionRolledBackException",
        "received all that were sent: true",
        "sent again: again (delivery 1)",
    ]


def test_a_wait_that_ends_in_a_refusal(programs: JavaPrograms, broker_with: BrokerWith) -> None:
    """sendFailIfNoSpaceAfterTimeout: the same, later."""
    broker = broker_with(sendFailIfNoSpaceAfterTimeout="300")
    facts = programs.facts("SendRefused", broker.url)
    assert facts[:3] == [
        "refused: javax.jms.ResourceAllocationException",
        "names the limit: true",
        "some were sent: true",
    ]
    assert facts[-1] == "sent again: again (delivery 1)"


@pytest.mark.parametrize("connections", ["1", "2"])
def test_a_blocked_producer_goes_on_by_itself(
    programs: JavaPrograms, broker_with: BrokerWith, connections: str
) -> None:
    """P10: its send waits without an answer; a consumer, even on the same connection, frees it."""
    broker = broker_with()
    assert programs.facts("SendBlocked", broker.url, f"interop.blocked.{connections}", connections) == [
        "blocked before the end: true",
        "sent in the end: 60",
        "received, in order: 60",
    ]
    log = broker.log.read_text("utf-8")
    assert log.count("Sends of persistent messages wait") == 1
    assert "storeUsage, 204800 bytes, is used up" in log
