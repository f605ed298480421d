"""`/api/v1/mq`: groups of brokers as their profiles describe them; and where clients find masters."""

from __future__ import annotations

from typing import Final

import msgspec

from fabric.gateways import read_gateways
from fabric.mq import BrokerKind, BrokerOptions
from fabric.mq_status import BrokerGroup
from fabric.store import ProfileStore
from fabric.takeovers import read_takeovers
from fabric.web import new_broker
from fabric.web.brokers_view import groups_of
from fabric.web.errors import Refused
from fabric.web.new_broker import NewBroker
from fabric.web.roles import Role
from fabric.web.routes import API, Answer, Call, Done, Request, Route
from registry import paths

TEXT: Final = "text/plain; charset=utf-8"


class VersionQuery(Request):
    """Of which version.

    Attributes:
        version: of the profiles; empty: the default version.
    """

    version: str = ""


class TakeoversQuery(Request):
    """Of which brokers.

    Attributes:
        group: empty: of all groups.
        broker: its name; empty: of all brokers.
    """

    group: str = ""
    broker: str = ""


class TakeoverItem(msgspec.Struct, frozen=True):
    """One takeover.

    Attributes:
        container: the new master's.
        previous_container: that of the master before; empty if none was seen.
        at_ms: when the new master was elected, milliseconds since 1970.
        phases_ms: what was reached how many milliseconds after that.
    """

    group: str
    broker: str
    container: str
    previous_container: str
    reason: str
    epoch: int
    at_ms: int
    phases_ms: dict[str, float]


class GatewaysQuery(Request):
    """Which gateways.

    Attributes:
        group: of brokers; empty: all.
    """

    group: str = ""


class LedTo(msgspec.Struct, frozen=True):
    """A way to a master, as a gateway sees it.

    Attributes:
        state: `untried`, `trying`, `up` or `down`.
    """

    broker: str
    container: str
    url: str
    state: str


class GatewayItem(msgspec.Struct, frozen=True):
    """A gateway.

    Attributes:
        group: of the brokers that it leads to.
        gateway: its name.
        container: where it runs.
        brokers: patterns of the names of those brokers.
        services: URLs for clients.
    """

    group: str
    gateway: str
    container: str
    brokers: list[str]
    services: list[str]
    masters: list[LedTo]


class MqStatus(msgspec.Struct, frozen=True):
    """All brokers that a version's profiles describe."""

    version: str
    versions: list[str]
    groups: list[BrokerGroup]


class BrokerPlan(msgspec.Struct, frozen=True):
    """What would be created.

    Attributes:
        profile: its profile.
        client_profile: its clients' profile; empty: none is written, as no group is given.
        required: containers that should run it.
        configuration: what the profile says about it.
    """

    name: str
    group: str
    kind: str
    profile: str
    client_profile: str
    required: int
    configuration: dict[str, str]


async def status(call: Call) -> MqStatus:
    """Groups, profiles, brokers, containers."""
    view = call.console.view
    await view.ready()
    version = call.query.version or view.profiles.default_version()
    return MqStatus(version, view.profiles.versions(), groups_of(view, version))


async def takeovers(call: Call) -> list[TakeoverItem]:
    """Those that are recorded, the newest first."""
    view = call.console.view
    await view.ready()
    return [
        msgspec.convert(row.to_json(), TakeoverItem)
        for row in view.once("takeovers", lambda: read_takeovers(view.reading))
        if call.query.group in ("", row.group) and call.query.broker in ("", row.broker)
    ]


async def gateways(call: Call) -> list[GatewayItem]:
    """Those that run."""
    view = call.console.view
    await view.ready()
    return [
        msgspec.convert(row.to_json(), GatewayItem)
        for row in view.once("gateways", lambda: read_gateways(view.reading))
        if call.query.group in ("", row.group)
    ]


async def check_broker(call: Call) -> BrokerPlan:
    """Say what `create_broker` would do, or why it would refuse."""
    await call.console.view.ready()
    return plan_of(call.console.view.profiles, call.query)


def plan_of(store: ProfileStore, said: NewBroker) -> BrokerPlan:
    """What would be created. Raises `FabricError`."""
    options, values = new_broker.check(store, said)
    return BrokerPlan(
        name=options.name,
        group=options.effective_group,
        kind=options.kind.value,
        profile=options.profile_id,
        client_profile=options.client_profile_id if options.group else "",
        required=options.required_instances,
        configuration=values,
    )


async def create_broker(call: Call) -> Done:
    """Write the profile of a broker, and what it requires."""
    console = call.console

    def encrypt(options: BrokerOptions) -> BrokerOptions:
        from fabric.secret_profiles import encrypted_if_possible  # noqa: PLC0415 - takes memory

        return encrypted_if_possible(console.session, console.home.master_key, options)

    options = await console.blocking(new_broker.create, console.profiles, call.body, encrypt)
    return Done(f"Created broker {options.name} in group {options.effective_group}")


async def discovery(call: Call) -> Answer:
    """The services of a group's masters, one a line. Source: fabric8 `FabricDiscoveryServlet`."""
    view = call.console.view
    await view.ready()
    group = call.path["group"]
    known = view.reading.children(paths.amq_groups()) if view.reading.exists(paths.amq_groups()) else []
    if group not in known:
        raise Refused(404, f"Group {group} not found.")
    rows = [row for row in view.brokers() if row.cluster == paths.amq_group(group)]
    services = [service for row in rows for service in row.services]
    return Answer("".join(f"{service}\n" for service in services).encode(), TEXT)


KINDS: Final = {
    BrokerKind.MASTER_SLAVE: "Several containers run the broker. One of them, the master, serves; the others "
    "wait as slaves and take over within moments when it fails. All of them keep the messages in the same "
    "directory.",
    BrokerKind.STAND_ALONE: "One container runs the broker. While it is down nobody serves; its messages are "
    "there again when it comes back.",
    BrokerKind.REPLICATED: "Several containers keep a copy of the messages each.",
    BrokerKind.N_PLUS_ONE: "Containers of several brokers share one that stands by for all of them.",
}
"""What kinds of brokers are good for."""

ROUTES: Final = (
    Route("GET", f"{API}/mq", status, "All groups of brokers.", query=VersionQuery, answer=MqStatus),
    Route(
        "GET",
        f"{API}/mq/takeovers",
        takeovers,
        "Who took over from whom, the newest first, with the times of each phase.",
        query=TakeoversQuery,
        answer=list[TakeoverItem],
    ),
    Route(
        "GET",
        f"{API}/mq/gateways",
        gateways,
        "The gateways that run, and the masters that they lead clients to.",
        query=GatewaysQuery,
        answer=list[GatewayItem],
    ),
    Route(
        "GET",
        f"{API}/mq/check",
        check_broker,
        "What creating a broker would write, or why it would be refused.",
        Role.ADMIN,
        query=NewBroker,
        answer=BrokerPlan,
    ),
    Route(
        "POST",
        f"{API}/mq/brokers",
        create_broker,
        "Create the profile of a broker.",
        Role.ADMIN,
        body=NewBroker,
        answer=Done,
    ),
    Route(
        "GET",
        "/mq-discovery/<group>",
        discovery,
        "Where the masters of a group of brokers serve, one URL a line.",
    ),
)
