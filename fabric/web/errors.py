"""Why a request is refused, and what its answer looks like then."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fabric import errors
from fabric.history import DocumentNotFound
from fabric.lifecycle import CannotDelete, EnsembleMember, ParentDown
from registry.errors import (
    InvalidRecord,
    NodeExists,
    NodeNotEmpty,
    NoPermission,
    NoSuchNode,
    RegistryError,
    RegistryUnavailable,
    VersionConflict,
)

if TYPE_CHECKING:
    from fabric.web.routes import Identity


class Refused(errors.FabricError):
    """The request cannot be answered.

    Attributes:
        status: of HTTP.
        headers: to send with it.
    """

    def __init__(
        self, status: int, what: str, do_next: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(what, do_next)
        self.status = status
        self.headers = headers or {}


class NotLoggedIn(Refused):
    """Nobody has said who asks."""

    def __init__(self, what: str = "Log in first.") -> None:
        super().__init__(401, what)


class NotAllowed(Refused):
    """Who asks may not do this."""

    identity: Identity | None = None
    """Who it was, for the audit log."""

    def __init__(self, user: str, role: str) -> None:
        super().__init__(403, f"User {user} needs the role {role} for this.", "Ask an administrator for it.")


class RequestInvalid(Refused):
    """The request says something that cannot be meant."""

    def __init__(self, what: str) -> None:
        super().__init__(400, what)


_STATUS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (errors.ContainerNotFound, 404),
    (errors.ProfileNotFound, 404),
    (errors.VersionNotFound, 404),
    (errors.BrokerNotFound, 404),
    (errors.UserNotFound, 404),
    (errors.TokenNotFound, 404),
    (NoSuchNode, 404),
    (errors.ChangedMeanwhile, 409),
    (errors.ContainerExists, 409),
    (errors.ProfileExists, 409),
    (errors.ProfileInUse, 409),
    (errors.ContainerHasChildren, 409),
    (errors.UserExists, 409),
    (errors.LastAdministrator, 409),
    (NodeExists, 409),
    (NodeNotEmpty, 409),
    (VersionConflict, 409),
    (errors.LogElsewhere, 404),
    (DocumentNotFound, 404),
    (errors.VersionExists, 409),
    (errors.VersionInUse, 409),
    (EnsembleMember, 409),
    (ParentDown, 409),
    (CannotDelete, 409),
    (errors.NoMaster, 503),
    (errors.BrokerUnreachable, 503),
    (errors.RegistryDown, 503),
    (RegistryUnavailable, 503),
    (NoPermission, 403),
    (InvalidRecord, 400),
    (errors.FabricError, 400),
    (RegistryError, 502),
)
"""The first that fits counts."""

_BROKER_STATUS: Final = {"not_found": 404, "forbidden": 403, "too_many": 429}
"""Of what a broker's management answers, by its code."""


def status_of(error: Exception) -> int:
    """The HTTP status that says what an error says."""
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, errors.BrokerRefused):
        return _BROKER_STATUS.get(error.code, 400)
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def code_of(error: Exception) -> str:
    """An error's name for programs, `container_not_found`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


def error_body(error: Exception) -> dict[str, dict[str, str]]:
    """An error as the API says it."""
    what = error.what if isinstance(error, errors.FabricError) else str(error)
    do_next = error.do_next if isinstance(error, errors.FabricError) else ""
    return {"error": {"code": code_of(error), "message": what, "do_next": do_next}}
