"""What the registry says about profiles, versions, requirements and containers, as typed records.

Everything here blocks on ZooKeeper: in a reactor process it is called from a thread. What is read, changed
and written back is written only if nobody else changed it in between, otherwise it is read again.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fabric.errors import (
    ChangedMeanwhile,
    ContainerExists,
    ContainerHasChildren,
    ContainerNotFound,
    ContainerNotRoot,
    ProfileExists,
    ProfileInUse,
    ProfileIsAbstract,
    ProfileNotFound,
    StoredRecordInvalid,
    VersionNotFound,
)
from fabric.history import Action, ProfileHistory
from fabric.names import (
    validate_container_name,
    validate_profile_name,
    validate_version_name,
    version_key,
)
from fabric.overlay import Effective, lineage, overlay
from fabric.profiles import Profile, parse_profile, serialize_profile, unique
from fabric.records import Alive, ContainerRecord, DesiredState, Provision
from fabric.requirements import Requirements, parse_requirements, serialize_requirements
from fabric.znodes import UPDATE_ATTEMPTS_MAX, ensure_node, read_children, read_text, update_node
from registry import paths
from registry.errors import NodeExists, NoSuchNode, VersionConflict

if TYPE_CHECKING:
    from registry.session import Session


class ProfileStore:
    """Versions, their profiles, and the requirements."""

    def __init__(self, session: "Session", author: str = "") -> None:
        """Make it; `author` is who the history of profiles says changed them."""
        self._session = session
        self._author = author
        self.history = ProfileHistory(session, author)

    def default_version(self) -> str:
        """The version new containers get. Raises `VersionNotFound` if the registry holds no fabric."""
        node = self._session.get_or_none(paths.default_version())
        version = node.data.decode().strip() if node else ""
        if not version:
            raise VersionNotFound("default", self.versions())
        return version

    def versions(self) -> list[str]:
        """All versions, sorted as people count them."""
        return sorted(read_children(self._session, paths.versions()), key=version_key)

    def known_version(self, version: str) -> str:
        """Return the version if it exists, else raise `VersionNotFound`."""
        versions = self.versions()
        if version not in versions:
            raise VersionNotFound(version, versions)
        return version

    def create_version(self, version: str) -> None:
        """Create an empty version, if it does not exist."""
        validate_version_name(version)
        for path in (paths.version(version), paths.profiles(version), paths.version_containers(version)):
            ensure_node(self._session, path)

    def set_default_version(self, version: str) -> None:
        """Make a version the one new containers get."""
        self._session.put(paths.default_version(), self.known_version(version).encode())

    def profile_ids(self, version: str) -> list[str]:
        """The ids of a version's profiles, sorted."""
        return sorted(read_children(self._session, paths.profiles(version)))

    def exists(self, profile_id: str, version: str) -> bool:
        """Whether the version has the profile."""
        return bool(self._session.exists(paths.profile(version, profile_id)))

    def get(self, profile_id: str, version: str) -> Profile:
        """Read a profile.

        Raises:
            ProfileNotFound: there is none.
            ProfileInvalid: its document cannot be understood.
        """
        return self.get_with_revision(profile_id, version)[0]

    def get_with_revision(self, profile_id: str, version: str) -> tuple[Profile, int]:
        """Read a profile and the revision `save` expects if nobody must have changed it since."""
        validate_profile_name(profile_id)
        node = self._session.get_or_none(paths.profile(version, profile_id))
        if node is None:
            raise ProfileNotFound(profile_id, version)
        return parse_profile(profile_id, node.data), node.version

    def document(self, profile_id: str, version: str) -> tuple[bytes, int]:
        """Read a profile's document as it is, even if it cannot be understood, and its revision."""
        node = self._session.get_or_none(paths.profile(version, validate_profile_name(profile_id)))
        if node is None:
            raise ProfileNotFound(profile_id, version)
        return node.data, node.version

    def all(self, version: str) -> dict[str, Profile]:
        """Read all profiles of a version. Raises `ProfileInvalid`."""
        found: dict[str, Profile] = {}
        for profile_id in self.profile_ids(version):
            node = self._session.get_or_none(paths.profile(version, profile_id))
            if node is not None:  # deleted since the list was read
                found[profile_id] = parse_profile(profile_id, node.data)
        return found

    def lineage(self, profile_ids: Iterable[str], version: str) -> dict[str, Profile]:
        """Read some profiles and all their ancestors, by id."""
        found: dict[str, Profile] = {}
        wanted = list(profile_ids)
        while wanted:
            profile_id = wanted.pop()
            if profile_id in found:
                continue
            node = self._session.get_or_none(paths.profile(version, profile_id))
            if node is not None:
                found[profile_id] = parse_profile(profile_id, node.data)
                wanted.extend(found[profile_id].parents)
        return found

    def overlay(self, profile_ids: Iterable[str], version: str) -> Effective:
        """What some profiles amount to. Raises `ParentMissing`, `ProfileCycle`, `ProfileInvalid`."""
        ids = unique(profile_ids)
        return overlay(ids, self.lineage(ids, version))

    def create(self, profile: Profile, version: str) -> None:
        """Write a new profile. Raises `ProfileExists`, and what `check_parents` raises."""
        validate_profile_name(profile.id)
        self.known_version(version)
        self.check_parents(profile, version)
        document = serialize_profile(profile)
        try:
            self._session.create(paths.profile(version, profile.id), document)
        except NodeExists:
            raise ProfileExists(profile.id, version) from None
        if self._author:  # what comes with the product has no history yet
            self.history.record(version, profile.id, document, Action.CREATED)

    def save(self, profile: Profile, version: str, revision: int | None = None) -> None:
        """Write a profile that exists.

        Args:
            profile: What it is now.
            version: Where it is.
            revision: What `get_with_revision` gave, to be refused if it was changed since.

        Raises:
            ProfileNotFound, ChangedMeanwhile, ParentMissing, ProfileCycle: as they say.
        """
        self.save_document(profile, serialize_profile(profile), version, revision)

    def save_document(
        self,
        profile: Profile,
        document: bytes,
        version: str,
        revision: int | None,
        action: Action = Action.CHANGED,
    ) -> None:
        """Write the document of a profile as its author formatted it; otherwise as `save`."""
        self.check_parents(profile, version)
        found = self.document(profile.id, version)[0]
        try:
            self._session.set(
                paths.profile(version, profile.id), document, version=-1 if revision is None else revision
            )
        except NoSuchNode:
            raise ProfileNotFound(profile.id, version) from None
        except VersionConflict:
            raise ChangedMeanwhile(f"Profile {profile.id}") from None
        self.history.record(version, profile.id, document, action, found)

    def update(self, profile_id: str, version: str, change: Callable[[Profile], Profile]) -> Profile:
        """Read a profile, change it, and write it back, again if somebody else did at the same time.

        Raises:
            ProfileNotFound, ChangedMeanwhile: as they say.
        """
        for _ in range(UPDATE_ATTEMPTS_MAX):
            profile, revision = self.get_with_revision(profile_id, version)
            changed = change(profile)
            if changed == profile:
                return profile
            try:
                self.save(changed, version, revision)
            except ChangedMeanwhile:
                continue
            return changed
        raise ChangedMeanwhile(f"Profile {profile_id}")

    def restore(self, profile_id: str, version: str, number: int) -> None:
        """Make a profile what it was, also one that was deleted.

        Raises:
            DocumentNotFound: the history does not hold it any more.
            ProfileInvalid, ParentMissing, ProfileCycle: it cannot be used as it was.
        """
        self.known_version(version)
        document = self.history.get(version, validate_profile_name(profile_id), number).document
        profile = parse_profile(profile_id, document)
        if self.exists(profile_id, version):
            self.save_document(profile, document, version, None, Action.RESTORED)
            return
        self.check_parents(profile, version)
        try:
            self._session.create(paths.profile(version, profile_id), document)
        except NodeExists:
            raise ChangedMeanwhile(f"Profile {profile_id}") from None
        self.history.record(version, profile_id, document, Action.RESTORED)

    def put(self, profile: Profile, version: str) -> None:
        """Write a profile whether it exists or not."""
        try:
            self.create(profile, version)
        except ProfileExists:
            self.save(profile, version)

    def check_parents(self, profile: Profile, version: str) -> None:
        """Raise `ParentMissing` or `ProfileCycle` if the profile could not be laid over its parents."""
        if profile.parents:
            lineage([profile.id], {**self.lineage(profile.parents, version), profile.id: profile})

    def check_assignable(self, profile_ids: Iterable[str], version: str) -> None:
        """Raise `ProfileNotFound` or `ProfileIsAbstract` for what a container cannot be given."""
        for profile_id in profile_ids:
            if self.get(profile_id, version).abstract:
                raise ProfileIsAbstract(profile_id, version)

    def children_of(self, profile_id: str, version: str) -> list[str]:
        """The profiles that inherit directly from this one, sorted."""
        return [one.id for one in self.all(version).values() if profile_id in one.parents]

    def delete(self, profile_id: str, version: str, *, unassign: bool = False) -> None:
        """Delete a profile.

        Args:
            profile_id: The profile.
            version: Where it is.
            unassign: Take it from the containers that have it first.

        Raises:
            ProfileNotFound: there is none.
            ProfileInUse: profiles inherit from it, or containers have it and `unassign` is false.
        """
        document = self.document(profile_id, version)[0]
        heirs = self.children_of(profile_id, version)
        if heirs:
            raise ProfileInUse(
                f"Profile {profile_id} cannot be deleted: {', '.join(heirs)} inherit from it.",
                "Give them other parents first: `fabric profile-change-parents`.",
            )
        containers = ContainerStore(self._session)
        users = containers.with_profile(profile_id, version)
        if users and not unassign:
            raise ProfileInUse(
                f"Profile {profile_id} cannot be deleted: containers have it: {', '.join(users)}.",
                f"Take it from them too: `fabric profile-delete --force {profile_id}`.",
            )
        for container in users:
            containers.remove_profiles(container, [profile_id])
        self._session.delete(paths.profile(version, profile_id), recursive=True, missing_ok=True)
        self.history.record(version, profile_id, document, Action.DELETED)

    def requirements(self) -> Requirements:
        """Read the requirements. Raises `RequirementsInvalid`."""
        node = self._session.get_or_none(paths.requirements())
        return parse_requirements(node.data if node else b"")

    def update_requirements(self, change: Callable[[Requirements], Requirements]) -> Requirements:
        """Change the requirements. Raises `RequirementsInvalid`, `ChangedMeanwhile`."""
        written = update_node(
            self._session,
            paths.requirements(),
            lambda data: serialize_requirements(change(parse_requirements(data))),
            "The requirements",
        )
        return parse_requirements(written)


class ContainerStore:
    """Containers: what they are asked to be, and what they say they are."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._profiles = ProfileStore(session)

    def names(self) -> list[str]:
        """All containers, sorted."""
        return sorted(read_children(self._session, paths.containers_config()))

    def exists(self, name: str) -> bool:
        """Whether there is such a container."""
        return bool(self._session.exists(paths.container_config(validate_container_name(name))))

    def check_exists(self, name: str) -> str:
        """Return the name, or raise `ContainerNotFound`."""
        if not self.exists(name):
            raise ContainerNotFound(name)
        return name

    def get(self, name: str) -> ContainerRecord:
        """Read one container. Raises `ContainerNotFound`."""
        self.check_exists(name)
        version = self.version(name)
        return ContainerRecord(
            id=name,
            version=version,
            profiles=self.profiles(name, version),
            fields=self.fields(name),
            alive=self.alive(name),
            provision=self.provision(name),
        )

    def all(self) -> list[ContainerRecord]:
        """Read all containers, sorted by name."""
        found = []
        for name in self.names():
            try:
                found.append(self.get(name))
            except ContainerNotFound:  # deleted since the list was read
                continue
        return found

    def children(self, name: str) -> list[str]:
        """The containers whose parent this one is, sorted."""
        return [other for other in self.names() if self.field(other, "parent") == name]

    def ensemble_members(self) -> list[str]:
        """The containers that run a server of the ensemble."""
        ensemble = read_text(self._session, paths.ensemble()) or ""
        members = (read_text(self._session, paths.ensemble_members(ensemble)) or "") if ensemble else ""
        return [name for name in members.split(",") if name]

    # what it is asked to be

    def create(
        self,
        name: str,
        *,
        profiles: Iterable[str],
        version: str,
        parent: str | None = None,
        fields: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        desired: DesiredState = DesiredState.STARTED,
    ) -> ContainerRecord:
        """Register a container; its parent's agent starts it as soon as `desired`, written last, is there.

        Raises:
            InvalidName, ContainerExists, ContainerNotFound, ContainerNotRoot (the parent), VersionNotFound,
            ProfileNotFound, ProfileIsAbstract: as they say; then nothing was written.
        """
        validate_container_name(name)
        ids = unique(profiles)
        self._profiles.known_version(version)
        self._profiles.check_assignable(ids, version)
        if parent is not None:
            self.check_parent(parent)
        try:
            self._session.create(paths.container_config(name), b"")
        except NodeExists:
            raise ContainerExists(name) from None
        self._session.put(paths.config_container(name), version.encode())
        self._session.put(paths.version_container(version, name), " ".join(ids).encode())
        written = dict(fields or {})
        if parent is not None:
            written["parent"] = parent
        if options is not None:
            written["options"] = json.dumps(dict(options))
        for field_name, value in written.items():
            self.set_field(name, field_name, value)
        self.set_desired(name, desired)
        return self.get(name)

    def check_parent(self, parent: str) -> None:
        """Raise `ContainerNotFound` or `ContainerNotRoot` unless the container can have children."""
        if not self.exists(parent):
            raise ContainerNotFound(parent)
        root = self.field(parent, "parent")
        if root:
            raise ContainerNotRoot(parent, root)

    def fields(self, name: str) -> dict[str, str]:
        """The fields of a container's configuration, as text, placeholders unresolved."""
        found = {}
        for field_name in read_children(self._session, paths.container_config(name)):
            value = self.field(name, field_name)
            if value is not None:
                found[field_name] = value
        return found

    def field(self, name: str, field_name: str) -> str | None:
        """One field of a container's configuration."""
        return read_text(self._session, paths.container_config_field(name, field_name))

    def set_field(self, name: str, field_name: str, value: str) -> None:
        """Write one field of a container's configuration."""
        self._session.put(paths.container_config_field(name, field_name), value.encode())

    def desired(self, name: str) -> DesiredState | None:
        """What a container is asked to be; None while it is being created or when it is gone."""
        text = self.field(name, "desired")
        if not text:
            return None
        try:
            return DesiredState(text)
        except ValueError:
            raise StoredRecordInvalid(
                paths.container_config_field(name, "desired"), f"{text!r} is neither started nor stopped"
            ) from None

    def set_desired(self, name: str, desired: DesiredState) -> None:
        """Ask a container to be started or stopped. Raises `ContainerNotFound`."""
        self.check_exists(name)
        self.set_field(name, "desired", desired.value)

    def version(self, name: str) -> str:
        """The version a container uses; empty if none is written."""
        return read_text(self._session, paths.config_container(name)) or ""

    def profiles(self, name: str, version: str | None = None) -> tuple[str, ...]:
        """The profiles a container has been given, in their order."""
        version = self.version(name) if version is None else version
        if not version:
            return ()
        return unique((read_text(self._session, paths.version_container(version, name)) or "").split())

    def add_profiles(self, name: str, profile_ids: Iterable[str]) -> tuple[str, ...]:
        """Give a container further profiles, behind those it has; they must exist."""
        added = tuple(profile_ids)
        self._check_assignable(name, added)
        return self._update_profiles(name, lambda now: (*now, *added))

    def remove_profiles(self, name: str, profile_ids: Iterable[str]) -> tuple[str, ...]:
        """Take profiles from a container; those it does not have are no error."""
        removed = {validate_profile_name(profile_id) for profile_id in profile_ids}
        return self._update_profiles(name, lambda now: [one for one in now if one not in removed])

    def change_profiles(self, name: str, profile_ids: Iterable[str]) -> tuple[str, ...]:
        """Replace the profiles of a container; they must exist."""
        replaced = tuple(profile_ids)
        self._check_assignable(name, replaced)
        return self._update_profiles(name, lambda now: replaced)

    def _check_assignable(self, name: str, profile_ids: tuple[str, ...]) -> None:
        self._profiles.check_assignable(profile_ids, self._version_of(name))

    def _version_of(self, name: str) -> str:
        self.check_exists(name)
        return self.version(name) or self._profiles.default_version()

    def _update_profiles(
        self, name: str, change: Callable[[tuple[str, ...]], Iterable[str]]
    ) -> tuple[str, ...]:
        version = self._version_of(name)
        written = update_node(
            self._session,
            paths.version_container(version, name),
            lambda data: " ".join(unique(change(tuple(data.decode().split())))).encode(),
            f"The profiles of container {name}",
        )
        return tuple(written.decode().split())

    def with_profile(self, profile_id: str, version: str) -> list[str]:
        """The containers of a version that have been given the profile, sorted."""
        return [
            name
            for name in sorted(read_children(self._session, paths.version_containers(version)))
            if profile_id in self.profiles(name, version)
        ]

    # what it says it is

    def alive(self, name: str) -> Alive | None:
        """The process behind a container, None if it is not connected."""
        node = self._session.get_or_none(paths.container_alive(name))
        if node is None:
            return None
        try:
            content = json.loads(node.data or b"{}")
            return Alive(
                int(content.get("pid", 0)),
                str(content.get("host", "")),
                float(content.get("started_at", 0.0)),
                str(content.get("software", "")),
            )
        except (ValueError, TypeError, AttributeError):  # whoever wrote it is connected all the same
            return Alive(0, "", 0.0)

    def provision(self, name: str) -> Provision:
        """How far a container has got."""
        services = read_text(self._session, paths.container_provision(name, "list")) or ""
        return Provision(
            result=read_text(self._session, paths.container_provision(name, "result")) or "",
            exception=read_text(self._session, paths.container_provision(name, "exception")) or "",
            services=tuple(services.splitlines()),
        )

    def set_provision(self, name: str, provision: Provision) -> None:
        """Write how far a container has got; the result last, so that the rest is there by then."""
        for field_name, text in (
            ("list", "\n".join(provision.services)),
            ("exception", provision.exception),
            ("result", provision.result),
        ):
            self._session.put(paths.container_provision(name, field_name), text.encode())

    def set_provision_result(self, name: str, result: str) -> None:
        """Write the result alone, such as `stopping`."""
        self._session.put(paths.container_provision(name, "result"), result.encode())

    # its end

    def delete(self, name: str) -> None:
        """Remove everything the registry knows about a container; its process must have ended before.

        Its name goes last: what was interrupted can be repeated.

        Raises:
            ContainerNotFound, ContainerHasChildren: as they say.
        """
        self.check_exists(name)
        children = self.children(name)
        if children:
            raise ContainerHasChildren(name, children)
        self.forget(name)

    def forget(self, name: str) -> None:
        """As `delete`, also if it has children or its record is not complete: its place is to be taken."""
        for version in self._profiles.versions():
            self._session.delete(paths.version_container(version, name), missing_ok=True)
        for path in (
            paths.config_container(name),
            paths.container_alive(name),
            paths.container_domains(name),
            paths.container_provisions(name),
            paths.container_status(name),
            paths.container_commands(name),
            paths.container_ports(name),
            paths.container_authentication(name),
            paths.ensemble_password_taken(name),
            paths.container_config(name),
        ):
            self._session.delete(path, recursive=True, missing_ok=True)
