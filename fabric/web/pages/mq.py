"""Groups of brokers, and the form that describes a new one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fabric.errors import FabricError
from fabric.health import broker_link, create_link
from fabric.mq import AVAILABLE_KINDS, DEFAULT_CLIENT_PARENT, DEFAULT_GROUP, DEFAULT_PARENT, BrokerKind
from fabric.mq_status import BrokerGroup, BrokerProfile
from fabric.web.api.mq import KINDS, VersionQuery, plan_of
from fabric.web.brokers_view import connected_root, groups_of, versions_in_use
from fabric.web.html import page
from fabric.web.new_broker import CONNECTORS, NewBroker
from fabric.web.roles import Role
from fabric.web.routes import Answer, Call, Route

if TYPE_CHECKING:
    from fabric.web.view import FabricView

TAB: Final = "mq"


class GroupsQuery(VersionQuery):
    """Which brokers.

    Attributes:
        filter: part of the name of a group, a profile, a broker or a container; `master` finds masters.
    """

    filter: str = ""


async def groups(call: Call) -> Answer:
    """The page, or the boxes in it."""
    view = call.console.view
    await view.ready()
    version = call.query.version or view.profiles.default_version()
    found = groups_of(view, version)
    taken = [record.id for record in view.all_containers()]
    parent = connected_root(view)
    return page(
        call,
        "mq_groups.html" if call.is_fragment else "mq.html",
        tab=TAB,
        groups=filtered(found, call.query.filter),
        is_empty=not found,
        filter=call.query.filter,
        version=version,
        versions=_offered_versions(view, version),
        create_link=lambda profile: create_link(profile, parent, taken),
        broker_link=lambda broker: broker_link((broker.group, broker.name)),
    )


def _offered_versions(view: FabricView, version: str) -> list[str]:
    return sorted({*view.profiles.versions(), *versions_in_use(view), version})


def filtered(groups: list[BrokerGroup], text: str) -> list[BrokerGroup]:
    """Those parts that fit: all of what bears a name that does, and otherwise the containers that do."""
    wanted = text.strip().lower()
    if not wanted:
        return groups
    kept = []
    for group in groups:
        if wanted in group.name.lower():
            kept.append(group)
            continue
        profiles = [one for profile in group.profiles if (one := _filtered(profile, wanted)) is not None]
        if profiles:
            kept.append(replace(group, profiles=profiles))
    return kept


def _filtered(profile: BrokerProfile, wanted: str) -> BrokerProfile | None:
    if wanted in profile.id.lower():
        return profile
    brokers = []
    for broker in profile.brokers:
        containers = [each for each in broker.containers if wanted in each.id.lower() or wanted in each.role]
        if wanted in broker.name.lower():
            brokers.append(broker)
        elif containers:
            brokers.append(replace(broker, containers=containers))
    return replace(profile, brokers=brokers) if brokers else None


# ---- creating


async def new(call: Call) -> Answer:
    """The form; or, if the form asks, what it would create and whether it can."""
    view = call.console.view
    await view.ready()
    said: NewBroker = call.query
    if call.is_fragment:
        return _checked(call, said)
    return page(
        call,
        "mq_new.html",
        tab=TAB,
        said=said,
        group=said.group or DEFAULT_GROUP,
        connectors=CONNECTORS,
        kinds=[(kind.value, text, kind in AVAILABLE_KINDS) for kind, text in KINDS.items()],
        required={kind.value: 1 if kind is BrokerKind.STAND_ALONE else 2 for kind in AVAILABLE_KINDS},
        default_parent=DEFAULT_PARENT,
        default_client_parent=DEFAULT_CLIENT_PARENT,
        profiles=view.profiles.profile_ids(said.version or view.profiles.default_version()),
        plan=None,
        problem="",
    )


def _checked(call: Call, said: NewBroker) -> Answer:
    plan, problem = None, ""
    if said.name.strip():
        try:
            plan = plan_of(call.console.view.profiles, said)
        except FabricError as error:
            problem = f"{error.what} {error.do_next}".strip()
    return page(call, "mq_new_check.html", tab=TAB, plan=plan, problem=problem)


ROUTES: Final = (
    Route("GET", "/mq", groups, "Groups of brokers.", query=GroupsQuery),
    Route("GET", "/mq/new", new, "The form for a new broker.", Role.ADMIN, query=NewBroker),
)
