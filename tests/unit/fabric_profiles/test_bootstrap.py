"""The first content of a fabric."""

from support.memory_session import MemorySession

from fabric.bootstrap import ensemble_profiles, shipped_profiles, write_first_content
from fabric.overlay import overlay
from fabric.profiles import set_value
from fabric.store import ProfileStore
from registry import paths

SHIPPED = {
    "console",
    "default",
    "fabric",
    "gateway",
    "gateway-mq",
    "metrics",
    "mq-amq",
    "mq-base",
    "mq-client",
    "mq-client-base",
    "mq-client-default",
    "mq-client-local",
    "mq-default",
}


def test_what_is_shipped() -> None:
    """Every shipped document is valid, its parents are shipped too and come first."""
    profiles = {profile.id: profile for profile in shipped_profiles()}
    assert set(profiles) == SHIPPED
    assert {one.id for one in profiles.values() if one.abstract} == {"mq-base", "mq-client-base"}
    assert overlay(profiles, profiles).profiles == tuple(profiles)


def test_the_own_broker_of_a_container() -> None:
    """`mq-amq` names no broker, so it is called like the container; its store and port are its own."""
    profiles = {profile.id: profile for profile in shipped_profiles()}
    values = overlay(["mq-amq"], profiles).configuration["io.fabric8.mq.fabric.server-broker"]
    assert values == {
        "bindPort": "${port:61616,61626}",
        "connectors": "openwire",
        "data": "${runtime.data}/${runtime.id}",
        "group": "default",
        "kind": "StandAlone",
        "standby.pool": "default",
    }


def test_a_new_fabric_has_everything(session: MemorySession) -> None:
    """The version is the default one, and the groups of brokers can be listed."""
    store = ProfileStore(session)
    assert store.profile_ids("1.0") == sorted(SHIPPED | {"fabric-ensemble-0000", "fabric-ensemble-0000-1"})
    assert session.children(paths.clusters()) == ["amq"]
    ensemble = store.overlay(["fabric-ensemble-0000-1"], "1.0").configuration
    assert ensemble["io.fabric8.zookeeper.server-0000"]["clientPort"] == "2181"
    assert ensemble["io.fabric8.zookeeper.server-0000"]["tickTime"] == "100"


def test_an_interrupted_start_can_be_repeated(session: MemorySession) -> None:
    """What is there stays, also what the user has changed since."""
    store = ProfileStore(session)
    store.update("mq-amq", "1.0", lambda now: set_value(now, "pid", "a", "1"))
    write_first_content(session, version="1.1", profiles=ensemble_profiles(2181))
    write_first_content(session)
    assert store.default_version() == "1.0"
    assert store.get("mq-amq", "1.0").configuration["pid"] == {"a": "1"}
    assert "pid" not in store.get("mq-amq", "1.1").configuration
