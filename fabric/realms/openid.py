"""Users of an OpenID provider: whoever shows a token that it has signed, over any protocol.

A token is a JWT (RFC 7519), verified with the provider's own keys (RFC 7517): nobody is asked while it is
checked. The keys are fetched where the provider's description says, again when they are old, and when a token
names one that is not known; but not as often as somebody shows made-up names of keys.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from fabric.realms import (
    BrowserLogin,
    Found,
    LoginRefused,
    RealmInvalid,
    RealmUnavailable,
    duration_s,
    mapped_roles,
    needed,
)
from fabric.realms.code_flow import CodeFlow
from fabric.realms.fetching import Fetch, check_address, describe, over_http

if TYPE_CHECKING:
    from jwt import PyJWK

TIMEOUT_MS: Final = 5_000
LEEWAY_S: Final = 30
"""By which clocks may differ."""
LEEWAY_S_MAX: Final = 300
KEYS_AGE_S: Final = 3_600.0
"""Keys older than that are fetched again; those there are stay in use while that fails."""
KEYS_PERIOD_S: Final = 10.0
"""Keys are not fetched more often, whatever keys the tokens name."""
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a pair of keys. Never `none`, and never HS…: a public key is no secret to sign with."""
ALGORITHMS_DEFAULT: Final = "RS256 PS256 ES256 EdDSA"
ROLES_MAX: Final = 1_000

_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def is_token(text: str) -> bool:
    """Whether a password looks like a token."""
    return _TOKEN.fullmatch(text) is not None


class OpenIdRealm:
    """See `fabric.realms.Realm`."""

    takes_tokens = True

    def __init__(self, name: str, properties: Mapping[str, str], fetch: Fetch | None = None) -> None:
        self.name = name
        self.notice = ""
        self._properties = properties
        self._issuer = needed(name, properties, "issuer")
        self._audience = needed(name, properties, "audience").replace(",", " ").split()
        self._user_claims = (properties.get("userClaim") or "preferred_username sub").split()
        self._role_claim = properties.get("roleClaim") or "roles"
        self._algorithms = (properties.get("algorithms") or ALGORITHMS_DEFAULT).replace(",", " ").split()
        if wrong := set(self._algorithms).difference(ALGORITHMS):
            raise RealmInvalid(f"{name}.algorithms names {min(wrong)!r}; possible: {', '.join(ALGORITHMS)}.")
        leeway = properties.get("leewaySeconds") or str(LEEWAY_S)
        if not leeway.isascii() or not leeway.isdigit() or int(leeway) > LEEWAY_S_MAX:
            raise RealmInvalid(f"{name}.leewaySeconds {leeway!r} is not a number from 0 to {LEEWAY_S_MAX}.")
        self._leeway_s = int(leeway)
        check_address(f"{name}.issuer", self._issuer)
        timeout_s = duration_s(name, properties, "timeout", TIMEOUT_MS)
        fetch = fetch or over_http(timeout_s, properties.get("trustStore", "").strip() or None)
        self._keys = _Keys(self._issuer, fetch)
        self.browser_login: BrowserLogin | None = CodeFlow.read(name, properties, self._issuer, fetch, self)

    def accepts(self, user: str, password: str) -> bool:
        """Tokens, whoever shows them: they name their user themselves."""
        del user
        return is_token(password)

    def check(self, user: str, password: str) -> Found | None:
        """See `fabric.realms.Realm`."""
        del user
        try:
            return self.found(self.claims_of(password, self._audience))
        except LoginRefused:
            return None

    def found(self, claims: Mapping[str, Any]) -> Found:
        """Whom the claims of a token are about, and what he may."""
        name = next((str(claims[key]) for key in self._user_claims if claims.get(key)), "")
        values = _claim(claims, self._role_claim)
        roles = values.split() if isinstance(values, str) else values if isinstance(values, list) else []
        groups = [str(role) for role in roles[:ROLES_MAX]]
        return Found(name, mapped_roles(self._properties, groups), self.name, float(claims["exp"]))

    def says_all(self, claims: Mapping[str, Any]) -> bool:
        """Whether claims name a user as is wished, and his groups."""
        return bool(claims.get(self._user_claims[0])) and _claim(claims, self._role_claim) is not None

    def close(self) -> None:
        """Nothing is open."""

    def claims_of(self, token: str, audience: list[str]) -> dict[str, Any]:
        """What a token says that is for one of an audience.

        Raises:
            LoginRefused: it is not to be believed.
            RealmUnavailable: its signature cannot be checked.
        """
        import jwt  # noqa: PLC0415 - only where tokens are used

        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in self._algorithms:
                raise LoginRefused(f"it is signed by {str(header.get('alg'))[:20]!r}")
            key = self._keys.find(header.get("kid"))
            if key is None:
                raise LoginRefused("nobody knows the key that has signed it")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                audience=audience,
                issuer=self._issuer,
                leeway=self._leeway_s,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise LoginRefused(str(error)) from error
        return claims


class _Keys:
    """The provider's public keys."""

    def __init__(self, issuer: str, fetch: Fetch, seconds: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._seconds = seconds
        self._lock = threading.Lock()
        self._keys: list[PyJWK] = []
        self._fetched_s: float | None = None
        self._tried_s: float | None = None

    def find(self, key_id: object) -> PyJWK | None:
        """The key of a name; without a name the only one there is. Raises `RealmUnavailable`."""
        with self._lock:  # those who need a key that is being fetched wait for it
            now_s = self._seconds()
            found = self._look(key_id)
            is_old = self._fetched_s is None or now_s - self._fetched_s > KEYS_AGE_S
            may_try = self._tried_s is None or now_s - self._tried_s >= KEYS_PERIOD_S
            if (found is None or is_old) and may_try:
                self._tried_s = now_s
                try:
                    self._read()
                except RealmUnavailable:
                    if not self._keys:
                        raise
                else:
                    self._fetched_s = now_s
                found = self._look(key_id)
            if found is None and not self._keys:
                raise RealmUnavailable("its keys are not known")
            return found

    def _look(self, key_id: object) -> PyJWK | None:
        if key_id is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.key_id == key_id), None)

    def _read(self) -> None:
        import jwt  # noqa: PLC0415 - only where tokens are used

        described = describe(self._issuer, self._fetch)
        try:
            address = str(described["jwks_uri"])
            check_address("jwks_uri", address)
            keys = jwt.PyJWKSet.from_dict(self._fetch(address)).keys
        except (KeyError, TypeError, AttributeError, RealmInvalid, jwt.PyJWTError) as error:
            raise RealmUnavailable(f"its description or its keys cannot be understood: {error!r}") from error
        self._keys = [key for key in keys if key.public_key_use in (None, "sig")]


def _claim(claims: Mapping[str, Any], path: str) -> object:
    """A claim, or one within others: `realm_access.roles`. One whose name has dots in it comes first."""
    if path in claims:
        return claims[path]
    found: object = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def make(name: str, properties: Mapping[str, str]) -> OpenIdRealm:
    """Make a realm. Raises `RealmInvalid`."""
    return OpenIdRealm(name, properties)
