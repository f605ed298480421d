"""The profile of a message broker: what `mq-create` and the console's form write.

A broker is described by one PID, `io.fabric8.mq.fabric.server-<name>`, in a profile that containers are
given. Several brokers may share a profile.

Source: fabric8 `MQManager`, `MQBrokerConfigDTO`. Other than there, the default data directory is shared by
the containers of a host, so that a slave finds what its master stored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from fabric.errors import BrokerOptionsInvalid
from fabric.names import validate_broker_name, validate_group_name, validate_profile_name
from fabric.overlay import overlay
from fabric.profiles import Profile
from fabric.requirements import INSTANCES_MAX
from fabric.store import ProfileStore

SERVER_PID_PREFIX = "io.fabric8.mq.fabric.server-"
TEMPLATE_PID = "io.fabric8.mq.fabric.template"
CLIENT_PID = "io.fabric8.mq.fabric.cf"

DEFAULT_GROUP = "default"
DEFAULT_PARENT = "mq-base"
DEFAULT_CLIENT_PARENT = "mq-client-base"

DEFAULT_CONNECTORS = "openwire"
"""Of a broker whose template names none."""

_PORT_RANGE = re.compile(r"\$\{port:\d+,\d+\}")


class BrokerKind(Enum):
    """How brokers of one name work together."""

    STAND_ALONE = "StandAlone"
    MASTER_SLAVE = "MasterSlave"
    REPLICATED = "Replicated"
    N_PLUS_ONE = "NPlusOne"


AVAILABLE_KINDS = (BrokerKind.STAND_ALONE, BrokerKind.MASTER_SLAVE)


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """What somebody says about a broker; None and nothing leave it to the defaults."""

    name: str
    group: str | None = None
    kind: BrokerKind = BrokerKind.MASTER_SLAVE
    profile: str | None = None
    parent_profile: str | None = None
    client_profile: str | None = None
    client_parent_profile: str | None = None
    data: str | None = None
    connectors: tuple[str, ...] = ()
    ssl: bool | None = None
    ports: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    networks_username: str | None = None
    networks_password: str | None = None
    minimum_instances: int | None = None
    replicas: int | None = None

    @property
    def effective_group(self) -> str:
        """The group the broker joins."""
        return self.group or DEFAULT_GROUP

    @property
    def profile_id(self) -> str:
        """The profile that describes it."""
        return self.profile or f"mq-broker-{self.effective_group}.{self.name}"

    @property
    def client_profile_id(self) -> str:
        """The profile of its group's clients."""
        return self.client_profile or f"mq-client-{self.effective_group}"

    @property
    def pid(self) -> str:
        """The PID that describes it."""
        return f"{SERVER_PID_PREFIX}{self.name}"

    @property
    def required_instances(self) -> int:
        """How many containers it needs."""
        given = self.replicas if self.replicas is not None else self.minimum_instances
        if given is not None:
            return given
        return {BrokerKind.STAND_ALONE: 1, BrokerKind.REPLICATED: 3}.get(self.kind, 2)

    @property
    def default_data(self) -> str:
        """A directory of its own, shared by the containers of the host."""
        own = self.name if self.effective_group == DEFAULT_GROUP else f"{self.effective_group}.{self.name}"
        return f"${{fabric.data}}/{own}"


def validate(options: BrokerOptions) -> BrokerOptions:
    """Return the options, or raise `InvalidName` or `BrokerOptionsInvalid`."""
    validate_broker_name(options.name)
    validate_group_name(options.effective_group)
    for profile in (
        options.profile_id,
        options.client_profile_id,
        options.parent_profile or DEFAULT_PARENT,
        options.client_parent_profile or DEFAULT_CLIENT_PARENT,
    ):
        validate_profile_name(profile)
    for group in options.networks:
        validate_group_name(group)
    if options.kind not in AVAILABLE_KINDS:
        raise BrokerOptionsInvalid(
            f"Brokers of the kind {options.kind.value} are not available in this version.",
            f"Choose one of {', '.join(kind.value for kind in AVAILABLE_KINDS)} with --kind.",
        )
    for connector in options.connectors:
        _validate_connector(connector, options.properties)
    for connector, port in options.ports.items():
        _validate_port(connector, port)
    for option, number in (
        ("--minimumInstances", options.minimum_instances),
        ("--replicas", options.replicas),
    ):
        if number is not None and not 1 <= number <= INSTANCES_MAX:
            raise BrokerOptionsInvalid(f"{option} must be between 1 and {INSTANCES_MAX}, not {number}.")
    if options.data is not None and not options.data.strip():
        raise BrokerOptionsInvalid("The data directory is empty.", "Leave --data out to get a shared one.")
    return options


def _validate_connector(connector: str, properties: Mapping[str, str]) -> None:
    from broker.connectors import connector_names, kind_of  # noqa: PLC0415 - only this command needs it

    given = properties.get(f"{connector}-protocol")
    if kind_of(given or connector) is None:
        raise BrokerOptionsInvalid(
            f"There is no connector {given or connector!r}.",
            f"There is {', '.join(connector_names())}. A second one of a protocol has another name, and says "
            f"its protocol: --property NAME-protocol=openwire.",
        )


def _validate_port(connector: str, port: str) -> None:
    if _PORT_RANGE.fullmatch(port):
        return
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise BrokerOptionsInvalid(
            f"{port!r} is not a port for the connector {connector}.",
            "Give a number up to 65535, 0 for any free one, or a range as ${port:61616,61626}.",
        )


def broker_values(
    options: BrokerOptions, template: Mapping[str, str], now: Mapping[str, str]
) -> dict[str, str]:
    """Return the values of the broker's PID.

    Args:
        options: Valid ones.
        template: What the parent profile gives to every broker.
        now: What the PID says already; values that `options` leaves open stay as they are.
    """
    values = {**template, **now}
    values["broker-name"] = options.name
    values["data"] = options.data or now.get("data") or options.default_data
    values["kind"] = options.kind.value
    if options.ssl is not None or "ssl" not in values:
        values["ssl"] = "true" if options.ssl else "false"
    connectors = _connectors(options, values.get("connectors") or DEFAULT_CONNECTORS)
    if connectors != values.get("connectors"):
        values["connectors"] = connectors
    optional = {
        "group": options.group,
        "network": ",".join(options.networks) or None,
        "network.userName": options.networks_username,
        "network.password": options.networks_password,
        "minimumInstances": _text(options.minimum_instances),
        "replicas": _text(options.replicas),
        **{f"{connector}-port": port for connector, port in options.ports.items()},
        **options.properties,
    }
    values.update({key: value for key, value in optional.items() if value is not None})
    for connector in options.ports:
        if connector not in values["connectors"].split():
            raise BrokerOptionsInvalid(
                f"The broker has no connector {connector!r}.",
                f"It has {values['connectors']}; --connectors says which it is to have.",
            )
    return values


def _connectors(options: BrokerOptions, now: str) -> str:
    """The connectors by name; with `ssl` each has a second one with TLS, as in the original."""
    names = list(options.connectors or now.split())
    if options.ssl:
        names += [f"{name}+ssl" for name in names if not name.endswith(("ssl", "wss"))]
    return " ".join(dict.fromkeys("wss" if name == "ws+ssl" else name for name in names))


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def create_broker(store: ProfileStore, options: BrokerOptions, version: str) -> str:
    """Write the broker's profile and its clients', and raise the required instances.

    A profile that exists is changed; what was said about other brokers in it stays.

    Returns:
        The id of the broker's profile.

    Raises:
        InvalidName, BrokerOptionsInvalid, VersionNotFound, ParentMissing: as they say; nothing was written.
    """
    profiles, parent, template = _given(store, options, version)
    new = Profile(options.profile_id, parents=(parent,))

    def describe(profile: Profile) -> Profile:
        values = broker_values(options, template, profile.configuration.get(options.pid, {}))
        check_data_unshared(values, options, profiles)
        parents = (options.parent_profile,) if options.parent_profile else profile.parents
        return replace(profile, parents=parents, configuration={**profile.configuration, options.pid: values})

    if options.profile_id in profiles:
        store.update(options.profile_id, version, describe)
    else:
        store.create(describe(new), version)
    if options.group is not None:
        _write_client_profile(store, options, version, profiles)
    required = options.required_instances
    store.update_requirements(lambda now: now.with_minimum(options.profile_id, required))
    return options.profile_id


def plan_broker(store: ProfileStore, options: BrokerOptions, version: str) -> dict[str, str]:
    """What `create_broker` would write into the broker's PID; raises what it would, and writes nothing."""
    profiles, _, template = _given(store, options, version)
    existing = profiles.get(options.profile_id, Profile(options.profile_id))
    values = broker_values(options, template, existing.configuration.get(options.pid, {}))
    check_data_unshared(values, options, profiles)
    return values


def _given(
    store: ProfileStore, options: BrokerOptions, version: str
) -> tuple[dict[str, Profile], str, Mapping[str, str]]:
    """All profiles, the parent of a broker's, and what that gives to every broker."""
    validate(options)
    store.known_version(version)
    profiles = store.all(version)
    parent = options.parent_profile or DEFAULT_PARENT
    return profiles, parent, overlay([parent], profiles).configuration.get(TEMPLATE_PID, {})


def check_data_unshared(
    values: Mapping[str, str], options: BrokerOptions, profiles: Mapping[str, Profile]
) -> None:
    """Raise `BrokerOptionsInvalid` if a broker of another name or group keeps its messages in the same place.

    The two would take the store from each other for ever, as each is elected on its own.
    """
    own = (options.name, values.get("group") or DEFAULT_GROUP)
    for profile in profiles.values():
        for pid, other in profile.configuration.items():
            if not pid.startswith(SERVER_PID_PREFIX) or "${runtime." in values["data"]:
                continue
            name = other.get("broker-name") or pid.removeprefix(SERVER_PID_PREFIX)
            same_broker = (name, other.get("group") or DEFAULT_GROUP) == own
            replaced = profile.id == options.profile_id and pid == options.pid
            if other.get("data") == values["data"] and not same_broker and not replaced:
                raise BrokerOptionsInvalid(
                    f"Broker {name} in profile {profile.id} keeps its messages in {values['data']} too.",
                    "Choose another directory with --data.",
                )


def _write_client_profile(
    store: ProfileStore, options: BrokerOptions, version: str, profiles: Mapping[str, Profile]
) -> None:
    settings = {"group": options.effective_group}
    existing = profiles.get(options.client_profile_id)
    if existing is None:
        parent = options.client_parent_profile or DEFAULT_CLIENT_PARENT
        store.create(
            Profile(options.client_profile_id, parents=(parent,), configuration={CLIENT_PID: settings}),
            version,
        )
        return

    def describe(profile: Profile) -> Profile:
        values = {**profile.configuration.get(CLIENT_PID, {}), **settings}
        parents = (options.client_parent_profile,) if options.client_parent_profile else profile.parents
        return replace(profile, parents=parents, configuration={**profile.configuration, CLIENT_PID: values})

    store.update(options.client_profile_id, version, describe)
