"""Configuration: profiles and brokers that cannot be read, containers that are not what they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fabric.doctor.model import Check, Verdict, Verdicts, ok, problem, warning
from fabric.errors import FabricError
from fabric.health import PROBLEM, WARNING, Snapshot, findings
from fabric.overlay import overlay, resolve
from fabric.profiles import AGENT_PID
from fabric.store import ProfileStore
from fabric.stores import substitutions
from fabric.znodes import read_reference
from registry.address import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fabric.doctor.scene import Scene
    from fabric.profiles import Profile

ANY_CONTAINER: Final = "container"
"""Stands for whoever is given a profile, where its name is asked for."""


def profiles(scene: Scene) -> Verdicts:
    """Every profile of every version can be laid over its parents, and every broker in it be read."""
    store = ProfileStore(scene.session)
    count = 0
    for version in store.versions():
        try:
            documents = store.all(version)
        except FabricError as error:
            yield problem(f"Version {version}: {error.what}", error.do_next)
            continue
        for profile_id in sorted(documents):
            count += 1
            yield from _profile(scene, version, profile_id, documents)
    yield ok(f"{count} profiles were looked at.")


def _profile(
    scene: Scene, version: str, profile_id: str, documents: Mapping[str, Profile]
) -> Iterator[Verdict]:
    from broker.config import BrokerConfig  # noqa: PLC0415 - takes long to import
    from broker.errors import ConfigurationInvalid  # noqa: PLC0415 - likewise
    from fabric.mq import SERVER_PID_PREFIX  # noqa: PLC0415 - likewise

    known = substitutions(scene.home, ANY_CONTAINER, LOOPBACK, scene.session.url)
    edit = f"fabric profile-edit {profile_id} {version}"
    try:
        configuration = overlay([profile_id], documents).configuration
    except FabricError as error:
        yield problem(f"Profile {profile_id} of version {version}: {error.what}", error.do_next)
        return
    if documents[profile_id].abstract:
        return  # what is missing in it comes with its heirs
    for pid, values in configuration.items():
        if pid.startswith(SERVER_PID_PREFIX):
            wanted = {pid: values, AGENT_PID: configuration.get(AGENT_PID, {})}
            read = resolve(wanted, known, lambda reference: read_reference(scene.session, reference))[pid]
            try:
                BrokerConfig.from_properties(read, container=ANY_CONTAINER)
            except ConfigurationInvalid as error:
                yield problem(
                    f"Profile {profile_id} of version {version}, {pid}: {error}", f"Correct it: {edit}"
                )


def assigned(scene: Scene) -> Verdicts:
    """Each container's profiles exist in its version."""
    store = ProfileStore(scene.session)
    known = {version: set(store.profile_ids(version)) for version in store.versions()}
    wrong = 0
    for record in scene.containers:
        if record.version not in known:
            wrong += 1
            yield problem(
                f"Container {record.id} has version {record.version or 'none'}, which does not exist.",
                f"Move it to one that does: fabric container-upgrade VERSION {record.id}",
            )
            continue
        for profile in record.profiles:
            if profile not in known[record.version]:
                wrong += 1
                yield problem(
                    f"Container {record.id} has profile {profile}, which does not exist in version "
                    f"{record.version}.",
                    f"Create it, or: fabric container-remove-profile {record.id} {profile}",
                )
    if not wrong:
        yield ok(f"The profiles of {len(scene.containers)} containers exist.")


def as_asked(scene: Scene) -> Verdicts:
    """What the console's page of health says of containers and requirements."""
    snapshot = Snapshot(
        containers=tuple(scene.containers), requirements=ProfileStore(scene.session).requirements()
    )
    found = [finding for finding in findings(snapshot) if finding.severity in (PROBLEM, WARNING)]
    for finding in found:
        make = problem if finding.severity == PROBLEM else warning
        yield make(finding.what, finding.remedy)
    if not found:
        yield ok("All containers are what they should be.")


CHECKS: Final = (
    Check("configuration.profiles", "profiles and brokers that can be read", profiles, needs_registry=True),
    Check("configuration.assigned", "profiles of containers that exist", assigned, needs_registry=True),
    Check(
        "configuration.containers", "containers that are what they should be", as_asked, needs_registry=True
    ),
)
