"""The users of a fabric as administrators see and change them: names, passwords, roles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from fabric.errors import LastAdministrator, UserExists, UserInvalid, UserNotFound
from fabric.znodes import update_node
from registry import paths
from registry.errors import InvalidRecord, NodeExists, NoSuchNode
from registry.users import UserRecord, UserStore, check_user_name, hash_password

if TYPE_CHECKING:
    from registry.session import Session

PASSWORD_CHARACTERS_MIN: Final = 8
"""Of a new password. Source: NIST SP 800-63B, which asks for no mixture of kinds of characters."""
PASSWORD_CHARACTERS_MAX: Final = 1_024
"""Brokers look at no longer one."""
ROLES_MAX: Final = 50
ADMIN: Final = "admin"
GROUP_PREFIX: Final = "_g_:"
"""Before the name of a group in a user's roles; a group has the role of its name."""
MADE_BY_FABRIC: Final = "console@"
"""How the names of users begin that consoles make for themselves; nobody else sees or changes them."""

_ROLE: Final = re.compile(r"(?:_g_:)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class User:
    """A user without his password."""

    name: str
    roles: tuple[str, ...]


class Users:
    """Changes users. Methods block."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._store = UserStore(session)

    def all(self) -> list[User]:
        """All users by name, but for those the fabric has made; who cannot be read has no roles."""
        found = []
        for name in self._store.list():
            if not name.startswith(MADE_BY_FABRIC):
                try:
                    record = self._store.get(name)
                except InvalidRecord:
                    record = UserRecord(name, "")
                if record is not None:
                    found.append(User(name, record.roles))
        return found

    def get(self, name: str) -> UserRecord:
        """A user's record. Raises `UserNotFound`."""
        record = None if name.startswith(MADE_BY_FABRIC) else self._store.get(name)
        if record is None:
            raise UserNotFound(name)
        return record

    def effective_roles(self, name: str) -> list[str]:
        """A user's roles, those of his groups among them. Raises `UserNotFound`."""
        return [role.removeprefix(GROUP_PREFIX) for role in self.get(name).roles]

    def add(self, name: str, password: str, roles: Sequence[str]) -> User:
        """Make a user.

        Raises:
            UserInvalid: name, password or roles cannot be taken.
            UserExists: there is one of that name.
        """
        try:
            check_user_name(name)
        except InvalidRecord as error:
            raise UserInvalid(str(error)) from error
        if name.startswith(MADE_BY_FABRIC):
            raise UserInvalid(f"Names that begin with {MADE_BY_FABRIC} are the fabric's own.")
        record = UserRecord(name, hash_password(check_password(name, password)), check_roles(roles))
        try:
            self._session.create(paths.user(name), record.serialize())
        except NodeExists as error:
            raise UserExists(name) from error
        return User(name, record.roles)

    def delete(self, name: str) -> None:
        """Delete a user with his tokens. Raises `UserNotFound`, `LastAdministrator`."""
        from fabric.web.tokens import TokenStore  # noqa: PLC0415 - only this asks for it

        record = self.get(name)
        self._keep_an_administrator(name, record.roles, ())
        TokenStore(self._session).revoke_all(name)
        try:
            self._store.delete(name)
        except NoSuchNode as error:
            raise UserNotFound(name) from error

    def set_password(self, name: str, password: str) -> None:
        """Give a user another password. Raises `UserNotFound`, `UserInvalid`."""
        hashed = hash_password(check_password(name, password))
        self._change(name, lambda record: replace(record, password_hash=hashed))

    def add_roles(self, name: str, roles: Iterable[str]) -> User:
        """Give a user more roles. Raises `UserNotFound`, `UserInvalid`."""
        more = check_roles(tuple(roles))
        return self._change(name, lambda record: replace(record, roles=check_roles((*record.roles, *more))))

    def remove_roles(self, name: str, roles: Iterable[str]) -> User:
        """Take roles from a user. Raises `UserNotFound`, `LastAdministrator`."""
        less = set(roles)
        kept = tuple(role for role in self.get(name).roles if role not in less)
        return self.set_roles(name, kept)

    def set_roles(self, name: str, roles: Sequence[str]) -> User:
        """Give a user these roles and no others.

        Raises:
            UserNotFound, UserInvalid, LastAdministrator: as they say.
        """
        wanted = check_roles(roles)
        self._keep_an_administrator(name, self.get(name).roles, wanted)
        return self._change(name, lambda record: replace(record, roles=wanted))

    def _change(self, name: str, change: Callable[[UserRecord], UserRecord]) -> User:
        self.get(name)
        changed: list[UserRecord] = []

        def change_data(data: bytes) -> bytes:
            if not data:
                raise UserNotFound(name)
            changed[:] = [change(UserRecord.parse(name, data))]
            return changed[0].serialize()

        update_node(self._session, paths.user(name), change_data, f"User {name}")
        return User(name, changed[0].roles)

    def _keep_an_administrator(self, name: str, before: Sequence[str], after: Sequence[str]) -> None:
        if not is_administrator(before) or is_administrator(after):
            return
        if not any(user.name != name and is_administrator(user.roles) for user in self.all()):
            raise LastAdministrator(name)


def is_administrator(roles: Iterable[str]) -> bool:
    """Whether one of the roles is the administrators'."""
    return any(role.removeprefix(GROUP_PREFIX) == ADMIN for role in roles)


def check_password(name: str, password: str) -> str:
    """Return a new password. Raises `UserInvalid`, without saying the password."""
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise UserInvalid(
            f"A password has {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters, "
            f"not {len(password)}."
        )
    if password == name:
        raise UserInvalid("A password is not the user's name.")
    return password


def check_roles(roles: Sequence[str]) -> tuple[str, ...]:
    """Return the roles, each once. Raises `UserInvalid`."""
    wanted = tuple(dict.fromkeys(roles))
    if len(wanted) > ROLES_MAX:
        raise UserInvalid(f"A user has at most {ROLES_MAX} roles.")
    for role in wanted:
        if not _ROLE.fullmatch(role):
            raise UserInvalid(f"{role[:80]!r} is not a role: up to 64 letters, digits, and `_`, `.`, `-`.")
    return wanted
