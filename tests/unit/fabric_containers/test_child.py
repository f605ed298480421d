"""The supervision of one child container."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.child import (
    FROZEN_GRACE_S,
    RESTART_DELAY_MAX_S,
    RESTART_DELAY_MIN_S,
    STABLE_AFTER_S,
    STOP_GRACE_S,
    ChildAction,
    ChildInput,
    ChildMachine,
    ChildState,
)

CRASH = (ChildAction.CLOSE_SESSION, ChildAction.REPORT_CRASH)


def running(now_s: float = 0.0) -> ChildMachine:
    """Return the machine of a child that was just started."""
    machine = ChildMachine()
    assert machine.handle(ChildInput.WANTED, now_s) == (ChildAction.SPAWN,)
    return machine


def test_a_stop_terminates_then_kills_and_reports_the_end() -> None:
    """A child that ignores SIGTERM is killed after the grace, and its end is reported once."""
    machine = running()
    assert machine.handle(ChildInput.UNWANTED, 1.0) == (ChildAction.TERMINATE,)
    assert machine.deadline_s == 1.0 + STOP_GRACE_S
    assert machine.handle(ChildInput.DEADLINE, 11.0) == (ChildAction.KILL,)
    assert machine.handle(ChildInput.EXITED, 11.1) == (ChildAction.CLOSE_SESSION, ChildAction.REPORT_STOPPED)
    assert machine.state is ChildState.STOPPED
    assert machine.deadline_s is None


def test_a_crash_closes_the_session_first_and_backs_off() -> None:
    """After a crash the dead session is closed before anything else, and the wait doubles up to its limit."""
    machine, now_s, delays = running(), 0.0, []
    for _ in range(9):
        now_s += 1.0
        assert machine.handle(ChildInput.EXITED, now_s) == CRASH
        assert machine.deadline_s is not None
        delays.append(machine.deadline_s - now_s)
        now_s = machine.deadline_s
        assert machine.handle(ChildInput.DEADLINE, now_s) == (ChildAction.SPAWN,)
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert max(delays) == RESTART_DELAY_MAX_S


def test_a_long_life_resets_the_back_off() -> None:
    """A process that lived a minute is restarted after the shortest wait again."""
    machine = running()
    machine.handle(ChildInput.EXITED, 1.0)
    machine.handle(ChildInput.DEADLINE, 2.0)
    machine.handle(ChildInput.EXITED, 3.0)
    machine.handle(ChildInput.DEADLINE, 4.0)
    machine.handle(ChildInput.EXITED, 4.0 + STABLE_AFTER_S)
    assert machine.restart_delay_s == RESTART_DELAY_MIN_S


def test_a_start_while_stopping_spawns_at_the_end_of_the_old_process() -> None:
    """Stop followed by start gives a new process as soon as the old one has ended, without a wait."""
    machine = running()
    machine.handle(ChildInput.UNWANTED, 1.0)
    assert machine.handle(ChildInput.WANTED, 2.0) == ()
    assert machine.deadline_s == 1.0 + STOP_GRACE_S
    assert machine.handle(ChildInput.EXITED, 3.0) == (ChildAction.CLOSE_SESSION, ChildAction.SPAWN)
    assert machine.state is ChildState.RUNNING


def test_a_frozen_child_is_killed_after_the_grace_and_restarted() -> None:
    """A process without a session for the whole grace is killed and replaced."""
    machine = running()
    machine.handle(ChildInput.REGISTERED, 1.0)
    assert machine.handle(ChildInput.UNREGISTERED, 5.0) == ()
    assert machine.deadline_s == 5.0 + FROZEN_GRACE_S
    assert machine.handle(ChildInput.DEADLINE, 15.0) == (ChildAction.KILL, ChildAction.REPORT_FROZEN)
    assert machine.handle(ChildInput.EXITED, 15.1) == (ChildAction.CLOSE_SESSION,)
    assert machine.handle(ChildInput.DEADLINE, 16.0) == (ChildAction.SPAWN,)


def test_a_child_that_wakes_within_the_grace_lives_on() -> None:
    """A frozen process that registers again in time is left alone."""
    machine = running()
    machine.handle(ChildInput.REGISTERED, 1.0)
    machine.handle(ChildInput.UNREGISTERED, 5.0)
    assert machine.handle(ChildInput.REGISTERED, 9.0) == ()
    assert machine.state is ChildState.RUNNING
    assert machine.deadline_s is None


def test_nobody_is_killed_while_the_registry_is_out_of_sight() -> None:
    """A parent that has lost the registry itself does not take its children for frozen."""
    machine = running()
    machine.handle(ChildInput.REGISTERED, 1.0)
    machine.handle(ChildInput.UNREGISTERED, 5.0)
    machine.handle(ChildInput.REGISTRY_LOST, 6.0)
    assert machine.deadline_s is None


def test_a_starting_child_is_not_frozen() -> None:
    """A process that has not registered yet, because ZooKeeper is slow or away, is given time."""
    machine = running()
    machine.handle(ChildInput.UNREGISTERED, 1.0)
    assert machine.state is ChildState.RUNNING


def test_an_adopted_child_can_be_found_frozen() -> None:
    """A process found after our own restart is expected to be registered."""
    machine = ChildMachine()
    assert machine.handle(ChildInput.ADOPTED, 0.0) == ()
    machine.handle(ChildInput.UNREGISTERED, 1.0)
    assert machine.state is ChildState.MISSING


@pytest.mark.parametrize("state", list(ChildState))
def test_wanted_twice_never_gives_two_processes(state: ChildState) -> None:
    """Whatever the state, repeating the wish for a started child spawns at most once."""
    machine = ChildMachine()
    machine.state = state
    machine.handle(ChildInput.WANTED, 0.0)
    assert machine.handle(ChildInput.WANTED, 0.0) == ()


@given(st.lists(st.sampled_from(list(ChildInput)), max_size=40))
def test_there_is_never_more_than_one_process(inputs: list[ChildInput]) -> None:
    """Over any sequence of inputs a process is started only when the one before has ended."""
    machine, has_process = ChildMachine(), False
    for now_s, event in enumerate(inputs):
        if event is ChildInput.EXITED and not has_process:
            continue
        if event is ChildInput.ADOPTED and (has_process or machine.state is not ChildState.STOPPED):
            continue
        if event is ChildInput.DEADLINE and machine.deadline_s is None:
            continue
        has_process = {ChildInput.EXITED: False, ChildInput.ADOPTED: True}.get(event, has_process)
        for action in machine.handle(event, float(now_s)):
            if action is ChildAction.SPAWN:
                assert not has_process
                has_process = True
        with_process = machine.state not in {ChildState.STOPPED, ChildState.BACKING_OFF}
        assert with_process == has_process
