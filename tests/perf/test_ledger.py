"""The failover benchmark counts right: each kind of damage, planted, is found."""

import math

from perf.ledger import Ledger


def ledger_of(count: int, interval_s: float = 0.005) -> Ledger:
    """A round in which everything went well."""
    ledger = Ledger()
    for number in range(count):
        ledger.acknowledge(number, number * interval_s)
        ledger.receive(number)
    return ledger


def test_a_good_round() -> None:
    """Nothing is found where nothing went wrong."""
    findings = ledger_of(100).findings(since=0.1)
    assert (findings.lost, findings.duplicated, findings.redelivered) == (0, 0, 0)
    assert math.isclose(findings.gap_ms, 5)


def test_the_gap_is_the_longest_after_the_fault() -> None:
    """A gap before the fault is not the fault's."""
    ledger = ledger_of(10)
    for number, seconds in [(10, 1.0), (11, 1.2), (12, 1.205)]:
        ledger.acknowledge(number, seconds)
    assert math.isclose(ledger.findings(since=1.0).gap_ms, 200)


def test_no_send_after_the_fault_is_an_endless_gap() -> None:
    """A producer that never got on is not reported as fast."""
    assert math.isinf(ledger_of(10).findings(since=5).gap_ms)


def test_lost_message_is_found() -> None:
    """An acknowledged message that did not arrive is lost; one that was not acknowledged may be missing."""
    ledger = ledger_of(10)
    ledger.acknowledge(10, 0.05)
    ledger.receive(12)
    assert ledger.findings(since=0).lost == 1
    assert (ledger.missing(parity=0), ledger.missing(parity=1)) == (1, 0)


def test_message_stored_twice_is_found() -> None:
    """A message that comes twice out of the quiet queue was stored twice; on the other it was redelivered."""
    ledger = ledger_of(10)
    ledger.receive(3)
    ledger.receive(4)
    ledger.receive(4)
    findings = ledger.findings(since=0)
    assert (findings.duplicated, findings.redelivered) == (1, 2)
