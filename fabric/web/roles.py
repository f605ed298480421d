"""What a user may do in the console and the API."""

from collections.abc import Iterable
from enum import IntEnum


class Role(IntEnum):
    """Each role may do what the ones before it may."""

    VIEWER = 1
    """See everything but secrets."""
    OPERATOR = 2
    """Also start and stop containers, and work with queues and connections."""
    ADMIN = 3
    """Also change profiles, containers, the registry and users."""

    @property
    def label(self) -> str:
        """The role as users have it in the registry."""
        return self.name.lower()


def role_of(roles: Iterable[str]) -> Role | None:
    """The highest role among a user's, None if he has none that counts here."""
    known = {role.label: role for role in Role}
    return max((known[role] for role in roles if role in known), default=None)
