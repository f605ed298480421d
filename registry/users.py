"""Users of brokers, console and API: their password hashes and roles.

A stored password reads ``scrypt$N$r$p$salt$hash``, salt and hash in base64, so that the cost can be raised
later without breaking what is stored.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry import paths
from registry.children import ChildrenView
from registry.errors import InvalidRecord
from registry.session import Session
from registry.watches import Watch

SCRYPT_N = 2**12
SCRYPT_R = 8
SCRYPT_P = 1
"""4 MiB and about 15 ms.

OWASP's table asks for some twenty times as much. But every client that follows a failover waits for this
once, and the hashes themselves lie behind the ensemble's password.
"""

SCRYPT_MEMORY_MAX = 64 * 2**20
"""A stored hash that asks for more is refused, or a planted one could eat the memory of every broker."""

SALT_BYTES = 16
HASH_BYTES = 32

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")


def hash_password(password: str) -> str:
    """Hash a password with a salt of its own. Takes some milliseconds."""
    salt = os.urandom(SALT_BYTES)
    digest = _scrypt(password, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    encoded = "$".join(base64.b64encode(part).decode() for part in (salt, digest))
    return f"scrypt${SCRYPT_N}${SCRYPT_R}${SCRYPT_P}${encoded}"


def verify_password(password: str, stored: str) -> bool:
    """Whether `password` is the hashed one. Takes some milliseconds; a malformed hash verifies nothing."""
    try:
        scheme, n, r, p, salt, digest = stored.split("$")
        if scheme != "scrypt":
            return False
        expected = base64.b64decode(digest, validate=True)
        actual = _scrypt(password, base64.b64decode(salt, validate=True), int(n), int(r), int(p))
    except (ValueError, TypeError, binascii.Error):  # TypeError: scrypt's word for a negative number
        return False
    return hmac.compare_digest(actual, expected)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=SCRYPT_MEMORY_MAX, dklen=HASH_BYTES)


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A user."""

    name: str
    password_hash: str
    roles: tuple[str, ...] = ()
    unknown: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Fields of a newer version; they are kept when the record is written again."""

    def serialize(self) -> bytes:
        """Make the znode's content."""
        record = {**self.unknown, "password": self.password_hash, "roles": list(self.roles)}
        return json.dumps(record, ensure_ascii=False).encode()

    @classmethod
    def parse(cls, name: str, data: bytes) -> "UserRecord":
        """Read a znode's content.

        Raises:
            InvalidRecord: it is not a user's.
        """
        try:
            record = json.loads(data)
            password_hash = record.pop("password")
            roles = record.pop("roles", [])
        except (ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
            raise InvalidRecord(f"The record of user {name} cannot be read: {error!r}") from error
        if not isinstance(password_hash, str) or not _is_list_of_text(roles):
            raise InvalidRecord(f"The record of user {name} has a password or roles of the wrong type.")
        return cls(name, password_hash, tuple(roles), record)


def _is_list_of_text(value: Any) -> bool:  # noqa: ANN401 - JSON
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def check_user_name(name: str) -> str:
    """Return `name` if a user may be called so.

    Raises:
        InvalidRecord: with the rule.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRecord(
            f"{name!r} is not a user name: up to 64 letters, digits, and `_`, `.`, `@`, `-` after the first."
        )
    return name


class UserStore:
    """The users in the registry. Methods block, except `watch`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, user: UserRecord) -> None:
        """Add or replace a user.

        Raises:
            InvalidRecord: the name is not one.
        """
        self._session.put(paths.user(check_user_name(user.name)), user.serialize())

    def get(self, name: str) -> UserRecord | None:
        """Read a user, None if there is none of that name.

        Raises:
            InvalidRecord: the stored record cannot be read.
        """
        if not _NAME.fullmatch(name) or (node := self._session.get_or_none(paths.user(name))) is None:
            return None
        return UserRecord.parse(name, node.data)

    def list(self) -> list[str]:
        """Read the users' names, sorted."""
        return self._session.children(paths.users()) if self._session.exists(paths.users()) else []

    def delete(self, name: str) -> None:
        """Remove a user.

        Raises:
            NoSuchNode: there is none.
        """
        self._session.delete(paths.user(check_user_name(name)))

    def watch(self, deliver: Callable[[Mapping[str, UserRecord]], None]) -> Watch:
        """Deliver all readable users at once and after each change, in the owner's thread."""
        view = ChildrenView(
            self._session,
            paths.users(),
            UserRecord.parse,
            lambda view: deliver(dict(view.values)) if view.complete else None,
        )
        view.start()
        return view
