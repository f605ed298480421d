"""What a container's profiles amount to, now and after each change in the registry.

Watched are exactly the znodes that count: the container's version, its profiles in that version, and the
documents of those profiles and all their ancestors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fabric.errors import FabricError
from fabric.overlay import Effective, overlay
from fabric.profiles import Profile, parse_profile, unique
from registry import paths

if TYPE_CHECKING:
    from registry.session import Session
    from registry.watches import Watch


class ProfileWatch:
    """Follows the profiles of one container; lives in the session's owner's thread."""

    def __init__(
        self, session: Session, container: str, on_change: Callable[[Effective | FabricError], None]
    ) -> None:
        """Make it; nothing happens before `start`.

        Args:
            session: Where to watch.
            container: Whose profiles.
            on_change: Called with what the profiles amount to, or with why they cannot be used. It may be
                called again with an equal value.
        """
        self._session = session
        self._container = container
        self._on_change = on_change
        self._version = ""
        self._ids: tuple[str, ...] | None = None
        self._version_watch: Watch | None = None
        self._ids_watch: Watch | None = None
        self._documents: dict[str, Watch] = {}
        self._profiles: dict[str, Profile | FabricError | None] = {}  # None: there is no such profile

    def start(self) -> None:
        """Begin."""
        self._version_watch = self._session.watch_data(
            paths.config_container(self._container), self._version_changed
        )

    def cancel(self) -> None:
        """Call `on_change` no more."""
        self._forget_version()
        if self._version_watch is not None:
            self._version_watch.cancel()

    @property
    def version(self) -> str:
        """The version the container uses."""
        return self._version

    def _version_changed(self, data: bytes | None) -> None:
        self._forget_version()
        self._version = data.decode(errors="replace").strip() if data else ""
        if self._version:
            path = paths.version_container(self._version, self._container)
            self._ids_watch = self._session.watch_data(path, self._ids_changed)

    def _forget_version(self) -> None:
        """Documents of another version count no more."""
        if self._ids_watch is not None:
            self._ids_watch.cancel()
        for watch in self._documents.values():
            watch.cancel()
        self._ids = None
        self._documents.clear()
        self._profiles.clear()

    def _ids_changed(self, data: bytes | None) -> None:
        if data is None and self._ids is not None:
            return  # it moves to another version, as is heard next, or is deleted: no reason to stop services
        self._ids = unique((data or b"").decode(errors="replace").split())
        self._evaluate()

    def _watch_document(self, profile_id: str) -> None:
        def deliver(document: bytes | None) -> None:
            try:
                profile = None if document is None else parse_profile(profile_id, document)
            except FabricError as error:
                self._profiles[profile_id] = error
            else:
                self._profiles[profile_id] = profile
            self._evaluate()

        path = paths.profile(self._version, profile_id)
        self._documents[profile_id] = self._session.watch_data(path, deliver)

    def _evaluate(self) -> None:
        """Watch what is missing; when nothing is, tell what the profiles amount to."""
        if self._ids is None:
            return
        needed = self._needed(self._ids)
        for profile_id in self._documents.keys() - needed:
            self._documents.pop(profile_id).cancel()
            self._profiles.pop(profile_id, None)
        for profile_id in needed - self._documents.keys():
            self._watch_document(profile_id)
        if self._profiles.keys() >= needed:
            self._on_change(self._effective(self._ids))

    def _needed(self, ids: tuple[str, ...]) -> set[str]:
        """Return the profiles and their ancestors, as far as they are known."""
        needed: set[str] = set()
        pending = list(ids)
        while pending:
            profile_id = pending.pop()
            if profile_id not in needed:
                needed.add(profile_id)
                profile = self._profiles.get(profile_id)
                if isinstance(profile, Profile):
                    pending.extend(profile.parents)
        return needed

    def _effective(self, ids: tuple[str, ...]) -> Effective | FabricError:
        known: dict[str, Profile] = {}
        for profile_id, profile in self._profiles.items():
            if isinstance(profile, FabricError):
                return profile
            if profile is not None:
                known[profile_id] = profile
        try:
            return overlay(ids, known)
        except FabricError as error:
            return error
