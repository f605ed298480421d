"""The ensemble's password, as the registry tells of a change of it.

A change takes two steps. After the first one every znode opens to the new password and to the one before,
and the registry says the new one to whoever comes with the one before; after the second one every znode
opens to the new one alone. Where the password was never changed, the registry says nothing.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field

from registry.errors import InvalidRecord

STEP_BYTES = 8

PASSWORD_CHARACTERS_MAX = 256
"""Of a new password: it is sent with every connection, and typed by people."""


@dataclass(frozen=True, slots=True)
class ToldPassword:
    """What the registry says of the ensemble's password.

    Attributes:
        step: names this step of this change; who has taken it over answers with it.
        password: what is used from now on.
        before: what opens everything besides; empty after the second step.
    """

    step: str
    password: str = field(repr=False)
    before: str = field(default="", repr=False)

    @property
    def passwords(self) -> tuple[str, ...]:
        """All that open what is made from now on."""
        return (self.password, self.before) if self.before else (self.password,)

    def to_bytes(self) -> bytes:
        """Return what the znode holds."""
        return json.dumps({"step": self.step, "password": self.password, "before": self.before}).encode()


def parse_told(data: bytes) -> ToldPassword:
    """Read what the registry says. Raises InvalidRecord."""
    try:
        fields = json.loads(data)
        told = ToldPassword(*(fields[key] for key in ("step", "password", "before")))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidRecord("What the registry says of the ensemble's password cannot be read.") from error
    if not all(isinstance(one, str) for one in (told.step, told.password, told.before)) or not told.password:
        raise InvalidRecord("What the registry says of the ensemble's password is of the wrong type.")
    return told


def new_step() -> str:
    """Make a name for a step."""
    return secrets.token_hex(STEP_BYTES)


def problem_with(password: str) -> str:
    """Why this cannot be a password of the ensemble; empty if it can.

    ZooKeeper reads it in the character set of its server's host, so only ASCII is the same everywhere.
    """
    if not password:
        return "it is empty"
    if len(password) > PASSWORD_CHARACTERS_MAX:
        return f"it has {len(password)} characters, and {PASSWORD_CHARACTERS_MAX} are the limit"
    if not all("!" <= character <= "~" for character in password):
        return "it may hold letters, digits and signs of ASCII, and no spaces"
    return ""
