"""API tokens: programs show one instead of a user's password. It may less than its owner, and ends by itself.

A token reads ``fabric_<id>_<secret>``. The registry has the SHA-256 of its whole text: the secret is random
and as long as the hash, so a slow hash would protect nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from fabric.errors import TokenInvalid, TokenNotFound
from fabric.web.roles import Role
from registry import paths
from registry.children import ChildrenView
from registry.errors import InvalidRecord, NoSuchNode, RegistryError

if TYPE_CHECKING:
    from registry.session import Node, Session
    from registry.watches import Watch

PREFIX: Final = "fabric"
ID_BYTES: Final = 8
SECRET_BYTES: Final = 32
DAY_S: Final = 86_400
DAYS: Final = 90
"""How long a token is valid unless something else is said."""
DAYS_MAX: Final = 3_650
NAME_CHARACTERS_MAX: Final = 100
TOKENS_OF_USER_MAX: Final = 50
"""Of one user; who needs more has forgotten to revoke some."""

TEXT: Final = re.compile(r"fabric_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_ID: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token without its secret.

    Attributes:
        id: its name in the registry.
        digest: SHA-256 of its text, in hexadecimal.
        user: whose it is.
        role: what it may at most; never more than its user may.
        name: what its user calls it.
        created, expires: seconds since 1970.
    """

    id: str
    digest: str
    user: str
    role: str
    name: str
    created: int
    expires: int

    def serialize(self) -> bytes:
        """Make the znode's content."""
        fields = asdict(self)
        del fields["id"]
        return json.dumps(fields, ensure_ascii=False).encode()

    @classmethod
    def parse(cls, token_id: str, data: bytes) -> TokenRecord:
        """Read a znode's content; unknown fields are ignored. Raises `InvalidRecord`."""
        try:
            record = json.loads(data)
            texts = [record[key] for key in ("digest", "user", "role", "name")]
            times = [record[key] for key in ("created", "expires")]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise InvalidRecord(f"The record of token {token_id} cannot be read: {error!r}") from error
        if not all(isinstance(text, str) for text in texts) or not all(type(time) is int for time in times):
            raise InvalidRecord(f"The record of token {token_id} has a field of the wrong type.")
        return cls(token_id, *texts, *times)

    @property
    def most(self) -> Role | None:
        """What it may at most; None: nothing."""
        return Role.__members__.get(self.role.upper())


class TokenStore:
    """The tokens in the registry. Methods block, except `watch`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def create(self, user: str, role: Role, name: str, days: int, now_s: float) -> tuple[TokenRecord, str]:
        """Make a token and return it with its text, which is known only now.

        Args:
            user: whose it is.
            role: what it may at most; the caller has made sure that its user may that.
            name: what it is for.
            days: how long it is valid.
            now_s: seconds since 1970.

        Raises:
            TokenInvalid: name, number or time are out of their limits.
        """
        name = name.strip()
        if not 0 < len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
            raise TokenInvalid(f"A token's name has 1 to {NAME_CHARACTERS_MAX} printable characters.")
        if not 1 <= days <= DAYS_MAX:
            raise TokenInvalid(f"A token is valid for 1 to {DAYS_MAX} days, not {days}.")
        if len(self.list(user)) >= TOKENS_OF_USER_MAX:
            raise TokenInvalid(f"User {user} has {TOKENS_OF_USER_MAX} tokens.", "Revoke those nobody uses.")
        token_id = secrets.token_hex(ID_BYTES)
        text = f"{PREFIX}_{token_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
        created = int(now_s)
        record = TokenRecord(token_id, digest(text), user, role.label, name, created, created + days * DAY_S)
        self._session.create(paths.token(token_id), record.serialize())
        return record, text

    def list(self, user: str | None = None) -> list[TokenRecord]:
        """The tokens of a user, or of all, the oldest first. Those that cannot be read are left out."""
        found = []
        for token_id in (
            self._session.children(paths.tokens()) if self._session.exists(paths.tokens()) else []
        ):
            node = self._session.get_or_none(paths.token(token_id))
            try:
                record = None if node is None else TokenRecord.parse(token_id, node.data)
            except InvalidRecord:
                continue
            if record is not None and user in (None, record.user):
                found.append(record)
        return sorted(found, key=lambda record: (record.created, record.id))

    def revoke(self, token_id: str, user: str | None = None) -> TokenRecord:
        """End a token; with `user`, only one of his. Raises `TokenNotFound`."""
        node = self._session.get_or_none(paths.token(token_id)) if _ID.fullmatch(token_id) else None
        if node is None:
            raise TokenNotFound(token_id)
        record = TokenRecord.parse(token_id, node.data)
        if user not in (None, record.user):
            raise TokenNotFound(token_id)
        try:
            self._session.delete(paths.token(token_id))
        except NoSuchNode as error:
            raise TokenNotFound(token_id) from error
        return record

    def revoke_all(self, user: str) -> None:
        """End all tokens of a user."""
        for record in self.list(user):
            self._session.delete(paths.token(record.id), missing_ok=True)

    def read_later(self, token_id: str, done: Callable[[TokenRecord | RegistryError | None], None]) -> None:
        """Read one token; `done` gets it, None if there is none, or why nobody can say."""

        def answered(node: Node | RegistryError) -> None:
            if isinstance(node, RegistryError):
                done(None if isinstance(node, NoSuchNode) else node)
                return
            try:
                done(TokenRecord.parse(token_id, node.data))
            except InvalidRecord:
                done(None)

        self._session.get_later(paths.token(token_id), answered)

    def watch(self, deliver: Callable[[Mapping[str, TokenRecord]], None]) -> Watch:
        """Deliver all readable tokens at once and after each change, in the owner's thread."""
        view = ChildrenView(
            self._session,
            paths.tokens(),
            TokenRecord.parse,
            lambda view: deliver(dict(view.values)),
        )
        view.start()
        return view


def digest(text: str) -> str:
    """What the registry keeps of a token's text."""
    return hashlib.sha256(text.encode()).hexdigest()
