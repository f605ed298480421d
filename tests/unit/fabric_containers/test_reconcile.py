"""The difference between wanted and running services."""

from hypothesis import given
from hypothesis import strategies as st

from fabric.reconcile import factory_prefix, reconcile, service_pids

PIDS = st.dictionaries(
    st.sampled_from("abcdef"), st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"), max_size=2)
)


def test_a_new_pid_starts_and_a_gone_one_stops() -> None:
    """Only what came starts and only what went stops."""
    steps = reconcile({"a": {}, "b": {}}, {"b": {}, "c": {}})
    assert (steps.stop, steps.start) == (("a",), ("c",))


def test_changed_properties_restart_the_one_service() -> None:
    """A changed property stops and starts its service and no other."""
    steps = reconcile({"a": {"x": "1"}, "b": {"x": "1"}}, {"a": {"x": "2"}, "b": {"x": "1"}})
    assert (steps.stop, steps.start) == (("a",), ("a",))


def test_nothing_changed_is_nothing_to_do() -> None:
    """Equal configurations give no steps."""
    assert not reconcile({"a": {"x": "1"}}, {"a": {"x": "1"}})


@given(PIDS, PIDS)
def test_the_steps_lead_to_what_is_wanted(
    running: dict[str, dict[str, str]], wanted: dict[str, dict[str, str]]
) -> None:
    """Carrying out the steps always ends at the wanted services and touches no unchanged one."""
    steps = reconcile(running, wanted)
    after = {pid: properties for pid, properties in running.items() if pid not in steps.stop}
    after |= {pid: wanted[pid] for pid in steps.start}
    assert after == wanted
    assert all(running.get(pid) != wanted.get(pid) for pid in {*steps.stop, *steps.start})


def test_a_pid_without_a_factory_is_plain_configuration() -> None:
    """Only PIDs with a factory's prefix become services; the prefix alone is a template, not a service."""
    effective = {"io.b.server-x": {"k": "v"}, "io.b.server-": {}, "io.other": {}}
    assert service_pids(effective, {"io.b.server-"}) == {"io.b.server-x": {"k": "v"}}


def test_the_longest_prefix_wins() -> None:
    """A more special factory goes before a general one."""
    assert factory_prefix("a.b.c-1", {"a.", "a.b.c-"}) == "a.b.c-"
    assert factory_prefix("z", {"a."}) is None
