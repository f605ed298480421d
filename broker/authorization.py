"""Who may do what with which destinations: the original's `authorizationEntry`, by the roles of users.

::

    authorization.queue.>.read = users, operators
    authorization.queue.>.write = users
    authorization.queue.>.admin = operators
    authorization.topic.prices.*.read = *               everybody who has logged in
    authorization.tempDestination.admin = users

`read` is to consume and browse, `write` to send, `admin` to make and delete destinations. The roles of all
lines that match a destination count together. The role `admin` may do everything. Nothing configured:
everybody who has logged in may do everything. Temporary destinations without a line of their own are
everybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from broker.destination import TEMPORARY_ADVISORIES, Destination, DestinationKind
from broker.errors import AccessDenied, ConfigurationInvalid
from broker.policies import ONE, REST, matches

PREFIX: Final = "authorization."
ADMIN_ROLE: Final = "admin"
"""May do everything."""
EVERYBODY: Final = "*"
"""The role that everybody has who has logged in."""
REMEMBERED_MAX: Final = 10_000
"""Decisions remembered, as many as there can be destinations; then they are made anew."""
REMEMBERED_CHARACTERS_MAX: Final = 256
"""Of a destination's name; about longer ones the decision is made each time. What is asked for need not
exist, so that this bounds what refused clients can make grow: about 15 MB."""
ADVISORIES: Final = ("ActiveMQ", "Advisory")
_TEMPORARY: Final = "tempDestination"
_KINDS: Final = {"queue": DestinationKind.QUEUE, "topic": DestinationKind.TOPIC}


class Permission(Enum):
    """What can be allowed; the value is the property's name."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


_VERBS: Final = {
    Permission.READ: "read from",
    Permission.WRITE: "write to",
    Permission.ADMIN: "create or remove",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """One line.

    Attributes:
        kind: None: temporary destinations of both kinds.
        pattern: elements of the destinations' names.
        permission: what is allowed.
        roles: to whom.
    """

    kind: DestinationKind | None
    pattern: tuple[str, ...]
    permission: Permission
    roles: frozenset[str]

    def is_about(self, destination: Destination, elements: Sequence[str]) -> bool:
        """Whether it concerns a destination."""
        if self.kind is None:
            return destination.is_temporary
        return self.kind is destination.kind and matches(self.pattern, elements)


@dataclass(frozen=True, slots=True)
class Authorization:
    """All lines of a broker; without any, everything is allowed."""

    grants: tuple[Grant, ...] = ()

    @classmethod
    def parse(cls, properties: Mapping[str, str]) -> Authorization:
        """Read the properties `authorization.…` of a broker's PID.

        Raises:
            ConfigurationInvalid: a key or value is wrong; the text names it.
        """
        return cls(
            tuple(_grant(key, value) for key, value in sorted(properties.items()) if key.startswith(PREFIX))
        )

    def allows(self, roles: Collection[str], permission: Permission, destination: Destination) -> bool:
        """Whether somebody with these roles may do it with a destination that is no wildcard or composite."""
        if not self.grants or ADMIN_ROLE in roles:
            return True
        elements = destination.name.split(".")
        about = [grant for grant in self.grants if grant.is_about(destination, elements)]
        if self._is_free(permission, destination, about):
            return True
        return any(_meets(grant.roles, roles) for grant in about if grant.permission is permission)

    def _is_free(self, permission: Permission, destination: Destination, about: Sequence[Grant]) -> bool:
        """What nobody has restricted, and clients cannot live without."""
        if destination.is_temporary:
            return not about
        return (
            permission is Permission.READ
            and destination.kind is DestinationKind.TOPIC
            and destination.name in TEMPORARY_ADVISORIES
            and not any(grant.pattern[:2] == ADVISORIES for grant in about)
        )

    def may_match(self, roles: Collection[str], pattern: Destination) -> bool:
        """Whether somebody with these roles may read anything that a wildcard could match."""
        if not self.grants or ADMIN_ROLE in roles:
            return True
        elements = pattern.name.split(".")
        return any(
            grant.permission is Permission.READ
            and grant.kind is pattern.kind
            and _meets(grant.roles, roles)
            and _overlap(grant.pattern, elements)
            for grant in self.grants
        )


OPEN: Final = Authorization()


def _meets(wanted: frozenset[str], roles: Collection[str]) -> bool:
    return EVERYBODY in wanted or not wanted.isdisjoint(roles)


def _overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether there is a name that matches both patterns."""
    for position in range(max(len(one), len(other))):
        rest = one[position:], other[position:]
        if (REST,) in (tuple(rest[0]), tuple(rest[1])):
            return True
        if not rest[0] or not rest[1]:
            return False
        first, second = one[position], other[position]
        if first != second and ONE not in (first, second):
            return False
    return True


def _grant(key: str, value: str) -> Grant:
    kind_name, *parts = key.removeprefix(PREFIX).split(".")
    if kind_name not in (*_KINDS, _TEMPORARY):
        raise ConfigurationInvalid(
            f"{key} is no authorization: after `{PREFIX}` comes {', '.join(_KINDS)} or {_TEMPORARY}."
        )
    *pattern, name = parts or [""]
    try:
        permission = Permission(name)
    except ValueError:
        raise ConfigurationInvalid(f"{key} ends with neither read nor write nor admin.") from None
    kind = _KINDS.get(kind_name)
    if kind is None:
        if pattern:
            raise ConfigurationInvalid(f"{key}: there are no patterns for temporary destinations.")
    elif not pattern or not all(pattern) or REST in pattern[:-1]:
        raise ConfigurationInvalid(
            f"{key} is no authorization: between the kind and the permission stands a destination's name or "
            f"a pattern of it, such as `orders.{REST}`; `{REST}` stands only at its end."
        )
    roles = frozenset(role.strip() for role in value.split(",") if role.strip())
    return Grant(kind, tuple(pattern), permission, roles)


class Rights:
    """What users may do now: what is configured, and the roles they have.

    Called in the owner's thread only.
    """

    def __init__(
        self,
        authorization: Authorization = OPEN,
        roles_of: Callable[[str], Collection[str]] = lambda user: (),
    ) -> None:
        """Make them.

        Args:
            authorization: as configured.
            roles_of: the roles of a user now; `change` must be called when they change.
        """
        self.authorization = authorization
        self._roles_of = roles_of
        self._decided: dict[tuple[str, Permission, Destination], bool] = {}

    @property
    def restricted(self) -> bool:
        """Whether anything is configured."""
        return bool(self.authorization.grants)

    def change(self, authorization: Authorization | None = None) -> None:
        """Something else is configured, or users have other roles."""
        if authorization is not None:
            self.authorization = authorization
        self._decided.clear()

    def allows(self, user: str, permission: Permission, destination: Destination) -> bool:
        """Whether a user may do it with a destination that is no wildcard or composite."""
        if not self.authorization.grants:
            return True
        key = (user, permission, destination)
        decision = self._decided.get(key)
        if decision is None:
            if len(self._decided) >= REMEMBERED_MAX:
                self._decided.clear()
            decision = self.authorization.allows(self._roles_of(user), permission, destination)
            if len(destination.name) <= REMEMBERED_CHARACTERS_MAX:
                self._decided[key] = decision
        return decision

    def check(self, user: str, permission: Permission, destination: Destination) -> None:
        """Let it pass if it is allowed, for each member of a composite destination.

        Raises:
            AccessDenied: it is not.
            InvalidDestination: it lists something that is no destination.
        """
        if not self.authorization.grants:
            return
        for member in destination.members():
            if member.is_pattern and permission is Permission.READ:
                allowed = self.authorization.may_match(self._roles_of(user), member)
            else:
                allowed = self.allows(user, permission, member)
            if not allowed:
                raise AccessDenied(f"User {user} is not authorized to {_VERBS[permission]}: {member}")

    def is_admin(self, user: str) -> bool:
        """Whether a user has the role that may do everything."""
        return ADMIN_ROLE in self._roles_of(user)
