"""The profile of a broker."""

from dataclasses import replace
from typing import Any

import pytest

from fabric.errors import BrokerOptionsInvalid, InvalidName, VersionNotFound
from fabric.mq import BrokerKind, BrokerOptions, create_broker, validate
from fabric.overlay import ParentMissing
from fabric.profiles import Profile, set_value
from fabric.requirements import ProfileRequirements
from fabric.store import ProfileStore

LAB = BrokerOptions("tolerantbroker", group="default")
PID = "io.fabric8.mq.fabric.server-tolerantbroker"


def test_the_labs_broker(profiles: ProfileStore) -> None:
    """Profile, properties, clients' profile and requirement are as the lab describes them."""
    assert create_broker(profiles, LAB, "1.0") == "mq-broker-default.tolerantbroker"
    profile = profiles.get("mq-broker-default.tolerantbroker", "1.0")
    assert profile.parents == ("mq-base",)
    assert profile.configuration == {
        PID: {
            "connectors": "openwire mqtt amqp stomp",
            "group": "default",
            "standby.pool": "default",
            "broker-name": "tolerantbroker",
            "data": "${fabric.data}/tolerantbroker",
            "kind": "MasterSlave",
            "ssl": "false",
        }
    }
    assert profiles.requirements().of("mq-broker-default.tolerantbroker").minimum_instances == 2


def test_clients_get_a_profile_when_a_group_is_given(profiles: ProfileStore) -> None:
    """Without a group only the broker's profile is written."""
    create_broker(profiles, BrokerOptions("b"), "1.0")
    assert not profiles.exists("mq-client-east", "1.0")
    create_broker(profiles, BrokerOptions("c", group="east"), "1.0")
    client = profiles.get("mq-client-east", "1.0")
    assert client.parents == ("mq-client-base",)
    assert client.configuration == {"io.fabric8.mq.fabric.cf": {"group": "east"}}
    create_broker(profiles, BrokerOptions("c", group="east", client_parent_profile="mq-client"), "1.0")
    assert profiles.get("mq-client-east", "1.0").parents == ("mq-client",)


def test_every_option_has_its_property(profiles: ProfileStore) -> None:
    """What is said about a broker stands in its PID."""
    options = BrokerOptions(
        "b",
        group="east",
        kind=BrokerKind.STAND_ALONE,
        profile="shop",
        parent_profile="mq-default",
        client_profile="shop-clients",
        data="/mnt/b",
        ports={"openwire": "61620"},
        properties={"startRetryDelay": "1", "ssl": "maybe"},
        networks=("west", "north"),
        networks_username="u",
        networks_password="p",
        minimum_instances=3,
        replicas=4,
    )
    assert create_broker(profiles, options, "1.0") == "shop"
    values = profiles.get("shop", "1.0").configuration["io.fabric8.mq.fabric.server-b"]
    assert values == {
        "connectors": "openwire mqtt amqp stomp",
        "group": "east",
        "standby.pool": "default",
        "broker-name": "b",
        "data": "/mnt/b",
        "kind": "StandAlone",
        "ssl": "maybe",
        "network": "west,north",
        "network.userName": "u",
        "network.password": "p",
        "minimumInstances": "3",
        "replicas": "4",
        "openwire-port": "61620",
        "startRetryDelay": "1",
    }
    assert profiles.exists("shop-clients", "1.0")
    assert profiles.requirements().of("shop").minimum_instances == 4


@pytest.mark.parametrize(
    ("changes", "required"),
    [
        ({}, 2),
        ({"kind": BrokerKind.STAND_ALONE}, 1),
        ({"kind": BrokerKind.REPLICATED}, 3),
        ({"minimum_instances": 5}, 5),
        ({"minimum_instances": 5, "replicas": 1}, 1),
    ],
)
def test_required_instances(changes: dict[str, Any], required: int) -> None:
    """Replicas go before a minimum, a minimum before what the kind needs."""
    assert replace(LAB, **changes).required_instances == required


def test_creating_it_again_changes_only_what_is_said(profiles: ProfileStore) -> None:
    """Other brokers of the profile, other values and a higher requirement stay."""
    create_broker(profiles, replace(LAB, data="/mnt/x", ports={"openwire": "1"}), "1.0")
    profiles.update(LAB.profile_id, "1.0", lambda now: set_value(now, "other", "a", "1"))
    profiles.update_requirements(lambda now: now.with_profile(ProfileRequirements(LAB.profile_id, 4)))
    create_broker(profiles, replace(LAB, kind=BrokerKind.STAND_ALONE), "1.0")
    profile = profiles.get(LAB.profile_id, "1.0")
    assert profile.configuration["other"] == {"a": "1"}
    assert profile.configuration[PID]["data"] == "/mnt/x"
    assert profile.configuration[PID]["openwire-port"] == "1"
    assert profile.configuration[PID]["kind"] == "StandAlone"
    assert profiles.requirements().of(LAB.profile_id).minimum_instances == 4


def test_brokers_of_the_same_name_in_two_groups_have_two_stores(profiles: ProfileStore) -> None:
    """Each is elected on its own; one store would go to and fro between them."""
    create_broker(profiles, LAB, "1.0")
    create_broker(profiles, replace(LAB, group="east"), "1.0")
    east = profiles.get("mq-broker-east.tolerantbroker", "1.0").configuration[PID]
    assert east["data"] == "${fabric.data}/east.tolerantbroker"


def test_a_store_is_not_given_to_two_brokers(profiles: ProfileStore) -> None:
    """The error names the broker that has it; nothing is written."""
    create_broker(profiles, replace(LAB, data="/mnt/x"), "1.0")
    with pytest.raises(BrokerOptionsInvalid, match="Broker tolerantbroker in profile mq-broker-default"):
        create_broker(profiles, BrokerOptions("other", group="default", data="/mnt/x"), "1.0")
    assert not profiles.exists("mq-broker-default.other", "1.0")
    create_broker(profiles, replace(LAB, data="/mnt/x", profile="second-profile"), "1.0")
    create_broker(profiles, BrokerOptions("a", data="${runtime.data}/x"), "1.0")
    create_broker(profiles, BrokerOptions("b", data="${runtime.data}/x"), "1.0")


@pytest.mark.parametrize("kind", [BrokerKind.REPLICATED, BrokerKind.N_PLUS_ONE])
def test_kinds_that_are_not_there(kind: BrokerKind) -> None:
    """The error names those that are."""
    with pytest.raises(BrokerOptionsInvalid) as raised:
        validate(replace(LAB, kind=kind))
    assert kind.value in raised.value.what
    assert "StandAlone, MasterSlave" in raised.value.do_next


@pytest.mark.parametrize(
    "changes",
    [
        {"connectors": ("gopher",)},
        {"connectors": ("inside",), "properties": {"inside-protocol": "gopher"}},
        {"ports": {"openwire": "x"}},
        {"ports": {"openwire": "-1"}},
        {"ports": {"openwire": "65536"}},
        {"ports": {"openwire": "²"}},
        {"ports": {"openwire": "${port:1}"}},
        {"minimum_instances": 0},
        {"replicas": -1},
        {"minimum_instances": 10**9},
        {"data": "  "},
    ],
)
def test_options_that_make_no_broker(changes: dict[str, Any]) -> None:
    """Ports, numbers and directories are checked before anything is written."""
    with pytest.raises(BrokerOptionsInvalid):
        validate(replace(LAB, **changes))


def test_a_port_is_for_a_connector_that_there_is(profiles: ProfileStore) -> None:
    """Nothing is written for a connector that the broker does not have."""
    with pytest.raises(BrokerOptionsInvalid, match="It has openwire mqtt amqp stomp"):
        create_broker(profiles, replace(LAB, ports={"ws": "61614"}), "1.0")
    assert not profiles.exists(LAB.profile_id, "1.0")
    create_broker(profiles, replace(LAB, connectors=("openwire", "ws"), ports={"ws": "61614"}), "1.0")
    values = profiles.get(LAB.profile_id, "1.0").configuration[PID]
    assert (values["connectors"], values["ws-port"]) == ("openwire ws", "61614")
    create_broker(profiles, LAB, "1.0")
    assert profiles.get(LAB.profile_id, "1.0").configuration[PID]["connectors"] == "openwire ws"


@pytest.mark.parametrize("port", ["0", "61620", "65535", "${port:61616,61626}"])
def test_ports(port: str) -> None:
    """A number, 0 for any, or a range."""
    assert validate(replace(LAB, ports={"openwire": port}))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a/b"},
        {"name": ""},
        {"group": "a b"},
        {"profile": "../x"},
        {"parent_profile": "/"},
        {"networks": ("a/b",)},
    ],
)
def test_names_are_checked(changes: dict[str, Any]) -> None:
    """A name becomes part of paths and PIDs."""
    with pytest.raises(InvalidName):
        validate(replace(LAB, **changes))


def test_versions_and_parents_must_exist(profiles: ProfileStore) -> None:
    """Nothing is written before they are known."""
    with pytest.raises(VersionNotFound):
        create_broker(profiles, LAB, "2.0")
    with pytest.raises(ParentMissing):
        create_broker(profiles, replace(LAB, parent_profile="nowhere"), "1.0")
    assert not profiles.exists(LAB.profile_id, "1.0")


def test_a_broker_is_named_after_its_pid(profiles: ProfileStore) -> None:
    """A PID without `broker-name` belongs to the broker it is named after."""
    profiles.create(Profile("p", configuration={"io.fabric8.mq.fabric.server-x": {"data": "/mnt/x"}}), "1.0")
    with pytest.raises(BrokerOptionsInvalid, match="Broker x in profile p"):
        create_broker(profiles, BrokerOptions("y", data="/mnt/x"), "1.0")
