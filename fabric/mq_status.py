"""Brokers as their profiles describe them, and who runs them: groups, profiles, brokers, containers.

A broker counts as run by the containers that have its profile, or one that inherits from it.

Source: fabric8 `MQManager.loadBrokerStatus`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from fabric.clusters import ClusterRow
from fabric.errors import ProfileError
from fabric.mq import DEFAULT_GROUP, SERVER_PID_PREFIX, BrokerKind
from fabric.names import CHILD_COUNT_MAX, NAME_LENGTH_MAX
from fabric.overlay import lineage, overlay
from fabric.profiles import Profile
from fabric.records import ContainerRecord
from fabric.requirements import Requirements
from registry import paths

SATISFIED, TOO_FEW, TOO_MANY, NOBODY, NOT_REQUIRED = "satisfied", "too few", "too many", "nobody", "unused"
"""How many containers run a profile, compared with how many should."""

_SUFFIX_CHARACTERS: Final = 6
"""Room for what makes a name free."""


@dataclass(frozen=True, slots=True)
class BrokerContainer:
    """A container that has a broker's profile.

    Attributes:
        role: `master`, `slave`, or empty: it is neither, at least not yet.
        services: where the master serves.
    """

    id: str
    role: str
    connected: bool
    desired: str
    provision_status: str
    provision_result: str
    services: list[str]


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """One broker.

    Attributes:
        name: as it has been given, or that of the container it runs in.
        data: its directory, with placeholders.
        master: the container that serves; empty: none does.
        alone: it needs no slave.
        implicit: it has no name of its own: each container runs one that is called like itself.
    """

    name: str
    group: str
    kind: str
    version: str
    profile: str
    data: str
    networks: list[str]
    master: str
    alone: bool
    implicit: bool
    containers: list[BrokerContainer]

    @property
    def slaves(self) -> list[str]:
        """The containers that wait to become the master."""
        return [each.id for each in self.containers if each.role == "slave"]


@dataclass(frozen=True, slots=True)
class BrokerProfile:
    """A profile with the brokers it describes.

    Attributes:
        running: connected containers that have it.
        minimum: required ones; null: nothing is said.
        maximum: likewise.
        state: `satisfied`, `too few`, `too many`, `nobody`, or `unused`: nobody, and none is required.
        missing: how many are required and lack; 1 at least where none runs.
    """

    id: str
    version: str
    running: int
    minimum: int | None
    maximum: int | None
    state: str
    missing: int
    brokers: list[BrokerStatus]

    @property
    def sentence(self) -> str:
        """What the numbers mean. Source: fabric8's tooltip."""
        wanted = self.minimum or 0
        return (
            f"this profile requires {_containers(wanted)} to be running "
            f"but is currently running {_containers(self.running)}"
        )


@dataclass(frozen=True, slots=True)
class BrokerGroup:
    """A group of brokers, with the profiles that describe brokers in it."""

    name: str
    profiles: list[BrokerProfile]


def broker_groups(
    version: str,
    profiles: Mapping[str, Profile],
    containers: Sequence[ContainerRecord],
    requirements: Requirements,
    rows: Iterable[ClusterRow],
) -> list[BrokerGroup]:
    """All brokers that a version's profiles describe, by group and profile.

    Args:
        version: the profiles' version; containers of others are left out.
        profiles: all of the version.
        containers: all there are.
        requirements: how many containers profiles need.
        rows: who is master and who slave.
    """
    members = {(row.cluster, row.id): row for row in rows}
    having = _containers_by_profile(version, profiles, containers)
    found: dict[tuple[str, str], list[BrokerStatus]] = {}
    for profile in profiles.values():
        if profile.abstract:
            continue
        for pid, values in _broker_values(profile, profiles):
            place = _Place(profile.id, version, having.get(profile.id, []), members)
            for status in _brokers(pid, values, place):
                found.setdefault((status.group, profile.id), []).append(status)
    groups: dict[str, list[BrokerProfile]] = {}
    for (group, profile_id), brokers in sorted(found.items()):
        described = _profile(profile_id, version, having.get(profile_id, []), requirements, brokers)
        groups.setdefault(group, []).append(described)
    return [BrokerGroup(name, found_profiles) for name, found_profiles in groups.items()]


def all_brokers(groups: Iterable[BrokerGroup]) -> list[BrokerStatus]:
    """The brokers of all groups."""
    return [broker for group in groups for profile in group.profiles for broker in profile.brokers]


def _broker_values(profile: Profile, profiles: Mapping[str, Profile]) -> list[tuple[str, Mapping[str, str]]]:
    """The brokers a profile itself speaks of, with what they inherit."""
    own = [pid for pid in profile.configuration if pid.startswith(SERVER_PID_PREFIX)]
    if not own:
        return []
    try:
        effective = overlay([profile.id], profiles).configuration
    except ProfileError:  # a parent is missing: what it says itself is known all the same
        effective = profile.configuration
    return [(pid, effective[pid]) for pid in sorted(own) if pid in effective]


def _containers_by_profile(
    version: str, profiles: Mapping[str, Profile], containers: Sequence[ContainerRecord]
) -> dict[str, list[ContainerRecord]]:
    having: dict[str, list[ContainerRecord]] = {}
    for record in containers:
        if record.version != version:
            continue
        given = [profile for profile in record.profiles if profile in profiles]
        try:
            all_of_them: Sequence[str] = lineage(given, profiles)
        except ProfileError:
            all_of_them = given
        for profile in all_of_them:
            having.setdefault(profile, []).append(record)
    return having


@dataclass(frozen=True, slots=True)
class _Place:
    """A profile, and the containers that have it."""

    profile: str
    version: str
    records: list[ContainerRecord]
    members: Mapping[tuple[str, str], ClusterRow]


def _brokers(pid: str, values: Mapping[str, str], place: _Place) -> list[BrokerStatus]:
    """The broker of one PID; one for each container where it is named after that."""
    given = values.get("broker-name")
    if given or not place.records:
        shares = [(given or pid.removeprefix(SERVER_PID_PREFIX), place.records)]
    else:
        shares = [(record.id, [record]) for record in place.records]
    group = values.get("group") or DEFAULT_GROUP
    kind = values.get("kind") or BrokerKind.MASTER_SLAVE.value
    found = []
    for name, mine in shares:
        row = place.members.get((_cluster(group), name))
        containers = [_container(record, row) for record in mine]
        found.append(
            BrokerStatus(
                name=name,
                group=group,
                kind=kind,
                version=place.version,
                profile=place.profile,
                data=values.get("data", ""),
                networks=[one for one in values.get("network", "").split(",") if one],
                master=next((each.id for each in containers if each.role == "master"), ""),
                alone=not given or kind != BrokerKind.MASTER_SLAVE.value,
                implicit=not given,
                containers=containers,
            )
        )
    return found


def _cluster(group: str) -> str:
    return f"{paths.amq_groups()}/{group}"


def _container(record: ContainerRecord, row: ClusterRow | None) -> BrokerContainer:
    member = next((one for one in row.members if one.container == record.id), None) if row else None
    role = "" if member is None else "master" if member.serving else "slave"
    return BrokerContainer(
        id=record.id,
        role=role,
        connected=record.connected,
        desired=record.desired.value,
        provision_status=record.provision.status,
        provision_result=record.provision.result,
        services=list(member.services) if member else [],
    )


def _profile(
    profile_id: str,
    version: str,
    records: list[ContainerRecord],
    requirements: Requirements,
    brokers: list[BrokerStatus],
) -> BrokerProfile:
    needs = requirements.of(profile_id)
    running = sum(record.connected for record in records)
    minimum, maximum = needs.minimum_instances, needs.maximum_instances
    missing = max((minimum or 0) - running, 0 if running else 1)
    state = instances_state(running, minimum, maximum)
    return BrokerProfile(profile_id, version, running, minimum, maximum, state, missing, brokers)


def instances_state(running: int, minimum: int | None, maximum: int | None) -> str:
    """How many containers run a profile, compared with how many should."""
    if running == 0:
        return NOBODY if minimum else NOT_REQUIRED
    if running < (minimum or 0):
        return TOO_FEW
    if maximum is not None and running > maximum:
        return TOO_MANY
    return SATISFIED


def free_container_name(broker: str, taken: Iterable[str]) -> str:
    """A name for a container that runs the broker: `orders-1`, the first that is not taken."""
    known = set(taken)
    stem = broker[: NAME_LENGTH_MAX - _SUFFIX_CHARACTERS]
    return next(name for number in count(1) if (name := f"{stem}-{number}") not in known)


def containers_to_create(profile: BrokerProfile) -> int:
    """How many containers to offer to create for a profile, as many as one command makes at most."""
    return max(1, min(profile.missing, CHILD_COUNT_MAX))


def _containers(number: int) -> str:
    return f"{number} container{'' if number == 1 else 's'}"
