"""Profiles, requirements and containers in the registry."""

import json

import pytest
from support.memory_session import MemorySession

from fabric.errors import (
    ChangedMeanwhile,
    ContainerExists,
    ContainerHasChildren,
    ContainerNotFound,
    ContainerNotRoot,
    InvalidName,
    ProfileExists,
    ProfileInUse,
    ProfileInvalid,
    ProfileIsAbstract,
    ProfileNotFound,
    StoredRecordInvalid,
    VersionNotFound,
)
from fabric.overlay import ParentMissing
from fabric.profiles import Profile, set_value
from fabric.records import Alive, DesiredState, Provision
from fabric.requirements import ProfileRequirements
from fabric.store import ContainerStore, ProfileStore
from fabric.znodes import UPDATE_ATTEMPTS_MAX, read_reference, update_node
from registry import paths

# Versions


def test_the_first_version_is_the_default(profiles: ProfileStore) -> None:
    """A new fabric has version 1.0 and nothing else."""
    assert profiles.default_version() == "1.0"
    assert profiles.versions() == ["1.0"]
    with pytest.raises(VersionNotFound, match=r"Version 2\.0 does not exist\. Versions there are: 1\.0\."):
        profiles.known_version("2.0")


def test_a_registry_without_a_fabric_has_no_default_version() -> None:
    """The error is ours, not a missing znode."""
    with pytest.raises(VersionNotFound):
        ProfileStore(MemorySession()).default_version()


# Profiles


def test_a_profile_is_created_once(profiles: ProfileStore) -> None:
    """What was written is read, and a second profile of the name is refused."""
    shop = Profile("shop", parents=("default",), configuration={"pid": {"a": "1"}})
    profiles.create(shop, "1.0")
    assert profiles.get("shop", "1.0") == shop
    with pytest.raises(ProfileExists):
        profiles.create(Profile("shop"), "1.0")


def test_a_profile_needs_a_name_a_version_and_its_parents(profiles: ProfileStore) -> None:
    """Nothing is written that could not be used."""
    with pytest.raises(InvalidName):
        profiles.create(Profile("../x"), "1.0")
    with pytest.raises(VersionNotFound):
        profiles.create(Profile("x"), "9")
    with pytest.raises(ParentMissing):
        profiles.create(Profile("x", parents=("nowhere",)), "1.0")
    assert not profiles.exists("x", "1.0")


def test_a_missing_profile_is_named(profiles: ProfileStore) -> None:
    """The error says which, where, and how to see those there are."""
    with pytest.raises(ProfileNotFound) as raised:
        profiles.get("nowhere", "1.0")
    assert raised.value.what == "Profile nowhere with version 1.0 does not exist."
    assert "fabric profile-list" in raised.value.do_next


def test_two_changes_at_the_same_time_both_count(session: MemorySession, profiles: ProfileStore) -> None:
    """A change is applied to what is there when it is written."""
    profiles.create(Profile("shop"), "1.0")
    others = [lambda: profiles.update("shop", "1.0", lambda now: set_value(now, "pid", "theirs", "1"))]
    session.before_write = lambda path: others.pop()() if others else None
    profiles.update("shop", "1.0", lambda now: set_value(now, "pid", "ours", "1"))
    assert profiles.get("shop", "1.0").configuration == {"pid": {"theirs": "1", "ours": "1"}}


def test_a_change_of_what_was_read_long_ago_is_refused(profiles: ProfileStore) -> None:
    """An editor that was open meanwhile does not undo what somebody else did."""
    profiles.create(Profile("shop"), "1.0")
    profile, revision = profiles.get_with_revision("shop", "1.0")
    profiles.save(set_value(profile, "pid", "a", "1"), "1.0")
    with pytest.raises(ChangedMeanwhile, match="Profile shop was changed by somebody else"):
        profiles.save(set_value(profile, "pid", "a", "2"), "1.0", revision)
    with pytest.raises(ProfileNotFound):
        profiles.save(Profile("nowhere"), "1.0")


def test_a_change_that_changes_nothing_writes_nothing(session: MemorySession, profiles: ProfileStore) -> None:
    """Agents are not woken for it."""
    before = session.get(paths.profile("1.0", "mq-amq")).version
    profiles.update("mq-amq", "1.0", lambda now: now)
    assert session.get(paths.profile("1.0", "mq-amq")).version == before


def test_a_profile_in_use_is_not_deleted(profiles: ProfileStore, containers: ContainerStore) -> None:
    """Heirs always hold it, containers unless it is taken from them too."""
    with pytest.raises(ProfileInUse, match=r"mq-amq, mq-default inherit from it"):
        profiles.delete("mq-base", "1.0")
    with pytest.raises(ProfileInUse, match="containers have it: root"):
        profiles.delete("mq-amq", "1.0")
    profiles.delete("mq-amq", "1.0", unassign=True)
    assert containers.profiles("root") == ("fabric", "fabric-ensemble-0000-1")
    assert not profiles.exists("mq-amq", "1.0")
    with pytest.raises(ProfileNotFound):
        profiles.delete("mq-amq", "1.0")


def test_the_overlay_reads_all_ancestors(profiles: ProfileStore) -> None:
    """A container's configuration is what its profiles and their ancestors say."""
    effective = profiles.overlay(["fabric", "mq-amq"], "1.0")
    assert effective.profiles == ("default", "console", "fabric", "mq-base", "mq-amq")
    assert effective.configuration["io.fabric8.mq.fabric.server-broker"]["bindPort"] == "${port:61616,61626}"
    with pytest.raises(ParentMissing):
        profiles.overlay(["nowhere"], "1.0")


def test_a_damaged_document_is_reported(session: MemorySession, profiles: ProfileStore) -> None:
    """It can still be read as it is, to be corrected."""
    session.put(paths.profile("1.0", "shop"), b"a: [")
    with pytest.raises(ProfileInvalid, match="profile shop"):
        profiles.get("shop", "1.0")
    assert profiles.document("shop", "1.0") == (b"a: [", 0)
    with pytest.raises(ProfileNotFound):
        profiles.document("nowhere", "1.0")


def test_requirements_are_changed_in_place(session: MemorySession, profiles: ProfileStore) -> None:
    """They begin empty and are kept as one document."""
    assert profiles.requirements().profiles == ()
    profiles.update_requirements(lambda now: now.with_profile(ProfileRequirements("p", 2)))
    assert profiles.requirements().of("p").minimum_instances == 2
    stored = json.loads(session.get(paths.requirements()).data)
    assert stored == {"profileRequirements": [{"profile": "p", "minimumInstances": 2}]}


# Containers


def test_a_container_is_what_was_registered(containers: ContainerStore) -> None:
    """Version, profiles, fields and options are read as they were written."""
    containers.create(
        "child", parent="root", profiles=["mq-amq", "mq-amq"], version="1.0", options={"x": [1]}
    )
    record = containers.get("child")
    assert (record.version, record.profiles, record.parent) == ("1.0", ("mq-amq",), "root")
    assert record.desired is DesiredState.STARTED
    assert record.options == {"x": [1]}
    assert not record.connected
    assert record.provision.status == "not provisioned"
    assert containers.names() == ["child", "root"]
    assert containers.children("root") == ["child"]


def test_what_a_container_is_asked_to_be_is_written_last(session: MemorySession) -> None:
    """Its parent's agent starts it when it sees that, and then everything else is there."""
    written: list[str] = []
    session.before_write = written.append
    ContainerStore(session).create("child", parent="root", profiles=["mq-amq"], version="1.0")
    assert written[0] == paths.container_config("child")
    assert written[-1] == paths.container_config_field("child", "desired")
    assert paths.version_container("1.0", "child") in written


def test_a_container_that_cannot_be_is_not_registered(containers: ContainerStore) -> None:
    """Names, parents, versions and profiles are checked before anything is written."""
    containers.create("child", parent="root", profiles=[], version="1.0")
    with pytest.raises(InvalidName):
        containers.create("a/b", profiles=[], version="1.0")
    with pytest.raises(ContainerExists, match="A container with name root already exists"):
        containers.create("root", profiles=[], version="1.0")
    with pytest.raises(ContainerNotFound, match="Container nobody does not exists!"):
        containers.create("x", parent="nobody", profiles=[], version="1.0")
    with pytest.raises(ContainerNotRoot, match="Parent container child must be a root container!"):
        containers.create("x", parent="child", profiles=[], version="1.0")
    with pytest.raises(VersionNotFound):
        containers.create("x", profiles=[], version="7")
    with pytest.raises(ProfileNotFound):
        containers.create("x", profiles=["nowhere"], version="1.0")
    with pytest.raises(ProfileIsAbstract, match="is abstract and can not be associated to containers"):
        containers.create("x", profiles=["mq-base"], version="1.0")
    assert containers.names() == ["child", "root"]


def test_profiles_are_added_removed_and_replaced(containers: ContainerStore) -> None:
    """Their order is kept; what is not there cannot be added, but removed."""
    containers.remove_profiles("root", ["mq-amq", "never-was"])
    assert containers.profiles("root") == ("fabric", "fabric-ensemble-0000-1")
    containers.add_profiles("root", ["mq-amq", "fabric"])
    assert containers.profiles("root") == ("fabric", "fabric-ensemble-0000-1", "mq-amq")
    containers.change_profiles("root", ["mq-amq", "fabric"])
    assert containers.profiles("root") == ("mq-amq", "fabric")
    for change in (containers.add_profiles, containers.change_profiles):
        with pytest.raises(ProfileNotFound):
            change("root", ["nowhere"])
        with pytest.raises(ProfileIsAbstract):
            change("root", ["mq-base"])
        with pytest.raises(ContainerNotFound):
            change("nobody", ["mq-amq"])
    with pytest.raises(ContainerNotFound):
        containers.remove_profiles("nobody", ["mq-amq"])


def test_two_commands_at_the_same_time_both_count(session: MemorySession, containers: ContainerStore) -> None:
    """Neither undoes the other's profiles."""
    others = [lambda: containers.remove_profiles("root", ["mq-amq"])]
    session.before_write = lambda path: others.pop()() if others else None
    containers.add_profiles("root", ["mq-client-default"])
    assert containers.profiles("root") == ("fabric", "fabric-ensemble-0000-1", "mq-client-default")


def test_a_fight_over_a_znode_ends(session: MemorySession) -> None:
    """After many attempts the error says what was fought over."""
    session.create("/x", b"0")
    fights = 0

    def fight(path: str) -> None:
        nonlocal fights
        fights += 1
        session.before_write = lambda path: None
        session.set("/x", str(fights).encode())
        session.before_write = fight

    session.before_write = fight
    with pytest.raises(ChangedMeanwhile, match="The thing"):
        update_node(session, "/x", lambda data: data + b"!", "The thing")
    assert fights == UPDATE_ATTEMPTS_MAX


def test_the_desired_state_is_one_of_two(session: MemorySession, containers: ContainerStore) -> None:
    """Anything else in its place is reported with where it stands."""
    containers.set_desired("root", DesiredState.STOPPED)
    assert containers.desired("root") is DesiredState.STOPPED
    assert containers.get("root").desired is DesiredState.STOPPED
    assert containers.desired("nobody") is None
    with pytest.raises(ContainerNotFound):
        containers.set_desired("nobody", DesiredState.STARTED)
    session.put(paths.container_config_field("root", "desired"), b"sleeping")
    with pytest.raises(StoredRecordInvalid, match="'sleeping' is neither started nor stopped"):
        containers.desired("root")


def test_a_container_is_connected_while_its_znode_exists(
    session: MemorySession, containers: ContainerStore
) -> None:
    """Whatever it holds: the process behind it is told if it can be read."""
    session.put(paths.container_alive("root"), b'{"pid": 7, "host": "h", "started_at": 1.5}')
    assert containers.alive("root") == Alive(7, "h", 1.5)
    for damaged in (b"", b"{", b"[]", b'{"pid": "x"}'):
        session.put(paths.container_alive("root"), damaged)
        assert containers.get("root").connected


def test_the_provision_status_is_read_as_written(containers: ContainerStore) -> None:
    """An error is shown with the first line of its reason."""
    provision = Provision("error", "port 61616 is taken\nTraceback…", ("pid.a", "pid.b"))
    containers.set_provision("root", provision)
    assert containers.provision("root") == provision
    assert containers.get("root").provision.status == "error - port 61616 is taken"
    containers.set_provision_result("root", "analyzing")
    assert containers.get("root").provision.status == "analyzing"
    assert Provision("error").status == "error"


def test_a_deleted_container_leaves_nothing(session: MemorySession, containers: ContainerStore) -> None:
    """All its znodes go, its name last, and only when its children are gone."""
    containers.create("brokercontainer", parent="root", profiles=["mq-amq"], version="1.0", options={})
    containers.set_provision("brokercontainer", Provision("success"))
    session.put(paths.container_alive("brokercontainer"), b"{}")
    session.put(paths.container_pid("brokercontainer"), b"1")
    with pytest.raises(ContainerHasChildren, match="brokercontainer"):
        containers.delete("root")
    deleted: list[str] = []
    session.before_write = deleted.append
    containers.delete("brokercontainer")
    assert deleted[-1] == paths.container_config("brokercontainer")
    assert "brokercontainer" not in str(session._root)
    with pytest.raises(ContainerNotFound):
        containers.delete("brokercontainer")
    with pytest.raises(ContainerNotFound):
        containers.get("brokercontainer")


def test_records_for_scripts(containers: ContainerStore) -> None:
    """JSON has what the list shows."""
    assert containers.get("root").to_json() == {
        "id": "root",
        "version": "1.0",
        "parent": None,
        "connected": False,
        "desired": "started",
        "profiles": ["fabric", "fabric-ensemble-0000-1", "mq-amq"],
        "host": None,
        "provision_status": "not provisioned",
        "pid": None,
        "software": None,
    }


def test_options_that_cannot_be_read_are_empty(containers: ContainerStore) -> None:
    """A damaged field costs nobody a list of containers."""
    for damaged in ("{", "[]"):
        containers.set_field("root", "options", damaged)
        assert containers.get("root").options == {}


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("root/localip", "127.0.0.1"),
        ("/fabric/configs/default-version", "1.0"),
        ("root/none", None),
        ("/fabric/a//b", None),
        ("root/../x", None),
        ("root/", None),
        ("root/json#a.b", "c"),
        ("root/json#a", '{"b": "c"}'),
        ("root/json#a.x", None),
        ("root/localip#a", None),
    ],
)
def test_references_into_the_registry(session: MemorySession, reference: str, text: str | None) -> None:
    """`${zk:…}` names a field of a container, any znode, or a field in JSON; anything else is nothing."""
    session.put(paths.container_config_field("root", "json"), b'{"a": {"b": "c"}}')
    assert read_reference(session, reference) == text
