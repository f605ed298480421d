"""What somebody says about a broker that is to be created: by the form, or by the API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from fabric.errors import BrokerOptionsInvalid, FabricError
from fabric.mq import AVAILABLE_KINDS, BrokerKind, BrokerOptions, create_broker, plan_broker
from fabric.mq_status import all_brokers, broker_groups
from fabric.requirements import Requirements
from fabric.web.errors import Refused
from fabric.web.routes import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from fabric.store import ProfileStore

CONNECTORS: Final = ("openwire", "stomp", "mqtt", "amqp", "ws", "auto")
"""Those the form offers; others can be added to the profile."""
TEXT_MAX: Final = 4096
PROPERTIES_MAX: Final = 64 * 1024
CONNECTORS_MAX: Final = 50
"""As `broker.connectors.CONNECTORS_MAX`."""

Text = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]

_OPTION: Final = re.compile(r"(?<!\S)--[a-zA-Z]")


class NewBroker(Request):
    """A broker that is to be.

    Attributes:
        connectors: what it listens with; none: as the parent profile says.
        tls: each connector has a second one with TLS.
        port_openwire: its port; empty: a free one. The others likewise.
        minimum_instances: required containers; null: 2, or 1 for a StandAlone broker.
        networks: groups to connect to, separated by commas.
        properties: further ones, `key = value`, one a line.
        version: of the profiles; empty: the default version.
    """

    name: Text = ""
    group: Text = ""
    kind: Text = BrokerKind.MASTER_SLAVE.value
    data: Text = ""
    connectors: Annotated[list[Text], msgspec.Meta(max_length=CONNECTORS_MAX)] = msgspec.field(
        default_factory=list
    )
    tls: bool = False
    port_openwire: Text = ""
    port_stomp: Text = ""
    port_mqtt: Text = ""
    port_amqp: Text = ""
    port_ws: Text = ""
    port_auto: Text = ""
    minimum_instances: int | None = None
    profile: Text = ""
    client_profile: Text = ""
    parent_profile: Text = ""
    client_parent_profile: Text = ""
    networks: Text = ""
    properties: Annotated[str, msgspec.Meta(max_length=PROPERTIES_MAX)] = ""
    version: Text = ""


def options_of(said: NewBroker) -> BrokerOptions:
    """What it amounts to. Raises `BrokerOptionsInvalid`."""
    kinds = {kind.value: kind for kind in BrokerKind}
    if said.kind not in kinds:
        raise BrokerOptionsInvalid(
            f"There is no kind {said.kind!r}.",
            f"There is {', '.join(kind.value for kind in AVAILABLE_KINDS)}.",
        )
    ports = {name: str(getattr(said, f"port_{name}")).strip() for name in CONNECTORS}
    return BrokerOptions(
        name=said.name.strip(),
        group=said.group.strip() or None,
        kind=kinds[said.kind],
        profile=said.profile.strip() or None,
        parent_profile=said.parent_profile.strip() or None,
        client_profile=said.client_profile.strip() or None,
        client_parent_profile=said.client_parent_profile.strip() or None,
        data=said.data.strip() or None,
        connectors=tuple(said.connectors),
        ssl=said.tls or None,
        ports={name: port for name, port in ports.items() if port},
        properties=_properties(said.properties),
        networks=tuple(one.strip() for one in said.networks.split(",") if one.strip()),
        minimum_instances=said.minimum_instances,
    )


def _properties(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not key.strip():
            raise BrokerOptionsInvalid(f"The property {line.strip()[:80]!r} is not of the form key = value.")
        found[key.strip()] = value.strip()
    return found


class BrokerExists(Refused):
    """The group has a broker of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(409, f"Please choose a different broker name as {name} already exists")


def check(store: ProfileStore, said: NewBroker) -> tuple[BrokerOptions, dict[str, str]]:
    """What it amounts to, and what would be written about it.

    Raises:
        FabricError: it cannot be created; without the command line's options in its words.
    """
    try:
        options = options_of(said)
        values = plan_broker(store, options, said.version or store.default_version())
        check_new(store, options, said.version or store.default_version())
    except FabricError as error:
        raise in_words(error) from error
    return options, values


def create(
    store: ProfileStore,
    said: NewBroker,
    encrypt: Callable[[BrokerOptions], BrokerOptions] = lambda options: options,
) -> BrokerOptions:
    """Create it, with its passwords encrypted; blocks. Raises as `check` does; nothing was written then."""
    version = said.version or store.default_version()
    options, _ = check(store, said)
    create_broker(store, encrypt(options), version)
    return options


def check_new(store: ProfileStore, options: BrokerOptions, version: str) -> None:
    """Raise `BrokerExists` if there is one of that name in its group, or described in the same place."""
    profiles = store.all(version)
    there = profiles.get(options.profile_id)
    if there is not None and options.pid in there.configuration:
        raise BrokerExists(options.name)
    for broker in all_brokers(broker_groups(version, profiles, (), Requirements(), ())):
        if not broker.implicit and (broker.group, broker.name) == (options.effective_group, options.name):
            raise BrokerExists(options.name)


def in_words(error: FabricError) -> FabricError:
    """The same error in the form's words: without the command line's options."""
    error.what = error.what.replace("--minimumInstances", "The number of required instances")
    if _OPTION.search(error.do_next):
        error.do_next = ""
    error.args = (error.what, error.do_next)
    return error
