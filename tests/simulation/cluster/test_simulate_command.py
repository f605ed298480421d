"""`./dev simulate`: what it runs, prints and returns."""

import io

import pytest
from simulation.cluster.bugs import planted
from simulation.cluster.minimise import minimised
from simulation.cluster.plan import Fault, Plan, plan_of
from simulation.cluster.simulate import main
from simulation.cluster.world import live


def run(*arguments: str) -> tuple[int, str]:
    """Run the command; returns status and output."""
    out = io.StringIO()
    status = main(list(arguments), out, io.StringIO())
    return status, out.getvalue()


def test_good_seeds_are_counted() -> None:
    """Without a failure the summary says how many histories there were and what happened in them."""
    status, text = run("--seeds", "1..4")
    assert status == 0
    assert text.startswith("4 histories of the seeds 1..4 in ")
    assert " takeover" in text
    assert text.endswith("0 of 4 histories broke a promise\n")


def test_a_failure_is_told_as_a_timeline() -> None:
    """A failing history is made smaller and told: its plan as Python, its faults, what everybody did."""
    status, text = run("--seeds", "0..39", "--tries", "30", "--bug", "acknowledge before sync")
    assert status == 0, "the planted bug was found"
    assert "made smaller\nPlan(seed=" in text
    assert "FAULT" in text
    assert "takes over" in text
    assert "\nBROKEN: P" in text


def test_a_bug_that_is_not_found_is_a_failure() -> None:
    """A planted bug that no seed shows makes the command fail."""
    quiet = next(seed for seed in range(100) if not plan_of(seed).faults)
    assert run("--seeds", str(quiet), "--bug", "no resend detection")[0] == 2


@pytest.mark.parametrize("text", ["x", "5..1", "1..b"])
def test_seeds_that_are_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake in the arguments is named."""
    with pytest.raises(SystemExit):
        run("--seeds", text)
    assert "--seeds" in capsys.readouterr().err


def test_what_is_not_needed_is_taken_out() -> None:
    """Making a history smaller keeps the faults that it needs, and only those."""
    needed = Fault("kill", "b0", at_s=0.5, for_s=0.5)
    idle = Fault("slow", "b1", at_s=0.1, for_s=0.05, other="c0")
    plan = Plan(1, 3, faults=(idle, needed, idle))
    smaller = minimised(plan, fails=lambda each: any(fault.kind == "kill" for fault in each.faults))
    assert [fault.kind for fault in smaller.faults] == ["kill"]
    assert (smaller.brokers, smaller.producers[0].messages) == (2, 1)


def test_a_smaller_history_breaks_the_same_promise() -> None:
    """What is left still fails in the same way."""
    with planted("no resend detection"):
        plan = next(plan for plan in map(plan_of, range(200)) if live(plan).violation.startswith("P3"))
        smaller = minimised(plan, tries=40)
        assert live(smaller).violation.startswith("P3")
    sends = [sum(producer.messages for producer in each.producers) for each in (plan, smaller)]
    assert sends[1] < sends[0]
