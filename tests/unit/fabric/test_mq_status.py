"""Brokers as their profiles describe them, and who runs them."""

from fabric.clusters import ClusterRow, Member
from fabric.mq import SERVER_PID_PREFIX
from fabric.mq_status import (
    all_brokers,
    broker_groups,
    containers_to_create,
    free_container_name,
    instances_state,
)
from fabric.profiles import Profile
from fabric.records import Alive, ContainerRecord, Provision
from fabric.requirements import ProfileRequirements, Requirements
from registry import paths

NO_REQUIREMENTS = Requirements()


def describing(profile: str, *brokers: str, group: str = "default", parents: tuple[str, ...] = ()) -> Profile:
    """A profile that describes brokers."""
    return Profile(
        profile,
        parents=parents,
        configuration={
            f"{SERVER_PID_PREFIX}{name}": {"broker-name": name, "group": group} for name in brokers
        },
    )


def container(name: str, *profiles: str, version: str = "1.0", alive: bool = True) -> ContainerRecord:
    """A container."""
    return ContainerRecord(
        name, version, profiles, {}, Alive(1, "", 0.0) if alive else None, Provision("success")
    )


def row(broker: str, *, master: str = "", slaves: tuple[str, ...] = (), group: str = "default") -> ClusterRow:
    """Who runs a broker."""
    cluster = paths.amq_group(group)
    members = [Member(f"{cluster}/1", broker, master, ("tcp://h:1",), True, True)] if master else []
    members += [Member(f"{cluster}/2{name}", broker, name, (), False, True) for name in slaves]
    return ClusterRow(cluster, broker, tuple(members))


def test_brokers_stand_below_their_group_and_profile() -> None:
    """Groups and profiles are sorted; a profile may describe several brokers."""
    profiles = {one.id: one for one in (describing("p", "b", "a"), describing("q", "c", group="x"))}
    groups = broker_groups("1.0", profiles, (), NO_REQUIREMENTS, ())
    assert [(group.name, [one.id for one in group.profiles]) for group in groups] == [
        ("default", ["p"]),
        ("x", ["q"]),
    ]
    assert [broker.name for broker in all_brokers(groups)] == ["a", "b", "c"]


def test_master_and_slaves_are_those_of_the_registry() -> None:
    """A container that has the profile and is neither is shown all the same."""
    profiles = {"p": describing("p", "orders")}
    records = [container("a", "p"), container("b", "p"), container("c", "p", alive=False), container("d")]
    rows = [row("orders", master="b", slaves=("a",)), row("orders", master="x", group="other")]
    (broker,) = all_brokers(broker_groups("1.0", profiles, records, NO_REQUIREMENTS, rows))
    assert (broker.master, broker.slaves) == ("b", ["a"])
    assert [(one.id, one.role) for one in broker.containers] == [("a", "slave"), ("b", "master"), ("c", "")]


def test_containers_run_what_their_profiles_inherit() -> None:
    """A profile that inherits from a broker's brings the broker along; other versions do not count."""
    profiles = {one.id: one for one in (describing("p", "orders"), Profile("mine", parents=("p",)))}
    records = [container("a", "mine"), container("b", "p", version="2.0")]
    (broker,) = all_brokers(broker_groups("1.0", profiles, records, NO_REQUIREMENTS, ()))
    assert [one.id for one in broker.containers] == ["a"]


def test_a_broker_without_a_name_is_called_like_its_container() -> None:
    """Each container then has one of its own, and none needs a slave."""
    profiles = {"p": Profile("p", configuration={f"{SERVER_PID_PREFIX}broker": {"kind": "MasterSlave"}})}
    records = [container("a", "p"), container("b", "p")]
    rows = [row("a", master="a"), row("b", master="b")]
    brokers = all_brokers(broker_groups("1.0", profiles, records, NO_REQUIREMENTS, rows))
    assert [(one.name, one.master, one.alone) for one in brokers] == [("a", "a", True), ("b", "b", True)]
    (nobody,) = all_brokers(broker_groups("1.0", profiles, (), NO_REQUIREMENTS, ()))
    assert (nobody.name, nobody.implicit) == ("broker", True)


def test_abstract_profiles_and_broken_ones_hide_nothing() -> None:
    """A template describes no broker; a profile whose parent is missing describes its own."""
    template = Profile("t", attributes={"abstract": "true"}, configuration=describing("t", "x").configuration)
    orphan = describing("o", "y", parents=("gone",))
    groups = broker_groups("1.0", {"t": template, "o": orphan}, [container("a", "o")], NO_REQUIREMENTS, ())
    assert [(one.name, len(one.containers)) for one in all_brokers(groups)] == [("y", 1)]


def test_the_badge_compares_what_runs_with_what_should() -> None:
    """The sentence is the original's."""
    needs = Requirements((ProfileRequirements("p", 2),))
    groups = broker_groups("1.0", {"p": describing("p", "x")}, [container("a", "p")], needs, ())
    (profile,) = groups[0].profiles
    assert (profile.running, profile.state, profile.missing) == (1, "too few", 1)
    assert profile.sentence == (
        "this profile requires 2 containers to be running but is currently running 1 container"
    )
    states = [instances_state(n, 1, 2) for n in (0, 1, 2, 3)]
    assert states == ["nobody", "satisfied", "satisfied", "too many"]
    assert instances_state(0, None, None) == "unused"


def test_containers_are_offered_with_a_free_name_and_a_number_that_may_be_created() -> None:
    """At least one, as many as one command makes at most, a name within its limit."""
    assert free_container_name("orders", ["orders-1", "orders-3"]) == "orders-2"
    assert len(free_container_name("x" * 128, [])) <= 128
    needs = Requirements((ProfileRequirements("p", 500),))
    groups = broker_groups("1.0", {"p": describing("p", "x")}, (), needs, ())
    assert containers_to_create(groups[0].profiles[0]) == 99
