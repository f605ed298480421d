"""Login in a browser by the pages of an OpenID provider: the authorization code flow with PKCE.

::

    browser ──▶ begin: address of the provider, with state, nonce and challenge
       └─────▶ provider's pages ──code, state──▶ browser ──▶ finish: code and verifier for an ID token

The ID token is verified as the realm's other tokens are, but is for the client and holds the nonce. What it
leaves out of user and groups is asked for where the provider tells it of users.

Source: OpenID Connect Core 1.0, 3.1 and 5.3; RFC 7636; RFC 9207 for the issuer beside the code; OpenID
Connect RP-Initiated Logout 1.0.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

from fabric.realms import Attempt, Found, LoginRefused, RealmInvalid, RealmUnavailable
from fabric.realms.fetching import Fetch, Refusal, check_address, describe

SCOPES: Final = "openid profile"
DESCRIPTION_AGE_S: Final = 3_600.0
"""A description older than that is fetched again; the one there is stays in use while that fails."""
REST_S: Final = 5.0
"""A provider that could not describe itself is not asked again for so long."""
TITLE_CHARACTERS_MAX: Final = 40
CONSOLE, PROVIDER = "console", "provider"
"""Where a logout ends a login."""
START: Final = "/login/openid/{realm}"
CALLBACK: Final = START + "/callback"
"""Where browsers come back to, below the console's address."""

_OWN: Final = ("clientSecret", "scopes", "title", "redirectUrl", "logout")
"""Properties that say nothing without `clientId`."""


class Tokens(Protocol):
    """What a realm makes of tokens; see `fabric.realms.openid.OpenIdRealm`."""

    def claims_of(self, token: str, audience: list[str]) -> dict[str, Any]:
        """What a token says. Raises `LoginRefused`, `RealmUnavailable`."""
        ...

    def says_all(self, claims: Mapping[str, Any]) -> bool:
        """Whether claims say who somebody is and which groups he has."""
        ...

    def found(self, claims: Mapping[str, Any]) -> Found:
        """Whom claims are about."""
        ...


class CodeFlow:
    """See `fabric.realms.BrowserLogin`.

    Args:
        realm: its name.
        properties: its own.
        issuer: the provider.
        fetch: asks it.
        tokens: verifies what it signs.
        seconds: monotonic.
    """

    def __init__(
        self,
        realm: str,
        properties: Mapping[str, str],
        issuer: str,
        fetch: Fetch,
        *,
        tokens: Tokens,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.realm = realm
        self.title = properties.get("title", "").strip() or realm
        if len(self.title) > TITLE_CHARACTERS_MAX or not self.title.isprintable():
            raise RealmInvalid(f"{realm}.title is longer than {TITLE_CHARACTERS_MAX} printable characters.")
        self.redirect_url = properties.get("redirectUrl", "").strip()
        if self.redirect_url:
            check_address(f"{realm}.redirectUrl", self.redirect_url)
            if not self.redirect_url.endswith(CALLBACK.format(realm=realm)):
                raise RealmInvalid(
                    f"{realm}.redirectUrl {self.redirect_url[:200]!r} does not end with "
                    f"{CALLBACK.format(realm=realm)}, where the console waits for its users."
                )
        logout = properties.get("logout", "").strip() or CONSOLE
        if logout not in (CONSOLE, PROVIDER):
            raise RealmInvalid(f"{realm}.logout is {logout[:40]!r}; possible: {CONSOLE}, {PROVIDER}.")
        self._ends_both = logout == PROVIDER
        self._client_id = properties["clientId"].strip()
        self._secret = properties.get("clientSecret", "")
        scopes = (properties.get("scopes") or SCOPES).replace(",", " ").split()
        self._scopes = " ".join(dict.fromkeys(["openid", *scopes]))
        self._issuer = issuer
        self._fetch = fetch
        self._tokens = tokens
        self._seconds = seconds
        self._lock = threading.Lock()
        self._described: dict[str, Any] = {}
        self._described_s = 0.0
        self._failed: tuple[float, RealmUnavailable] | None = None

    @classmethod
    def read(
        cls, realm: str, properties: Mapping[str, str], issuer: str, fetch: Fetch, tokens: Tokens
    ) -> CodeFlow | None:
        """What properties say of logins in a browser; None: there are none. Raises `RealmInvalid`."""
        if properties.get("clientId", "").strip():
            return cls(realm, properties, issuer, fetch, tokens=tokens)
        for key in _OWN:
            if properties.get(key, "").strip():
                raise RealmInvalid(f"{realm}.{key} says nothing without {realm}.clientId.")
        return None

    # ---- what the console asks for

    def begin(self, attempt: Attempt) -> str:
        """See `fabric.realms.BrowserLogin.begin`."""
        address = _address(self._description(), "authorization_endpoint")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest())
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": attempt.redirect_url,
            "scope": self._scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge.rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return _with_query(address, asked)

    def finish(self, attempt: Attempt, code: str, issuer: str) -> Found:
        """See `fabric.realms.BrowserLogin.finish`."""
        described = self._description()
        says_issuer = described.get("authorization_response_iss_parameter_supported") is True
        if issuer != self._issuer and (issuer or says_issuer):
            raise LoginRefused("The answer comes from another provider than the one that was asked.")
        answer = self._exchange(described, attempt, code)
        try:
            claims = self._tokens.claims_of(str(answer["id_token"]), [self._client_id])
        except KeyError:
            raise RealmUnavailable("it gives no ID token for a code") from None
        except LoginRefused as error:
            raise LoginRefused(f"The token that the provider has given is not accepted: {error}.") from error
        if not hmac.compare_digest(str(claims.get("nonce")).encode(), attempt.nonce.encode()):
            raise LoginRefused("The token that the provider has given is for another login.")
        if claims.get("azp", self._client_id) != self._client_id:
            raise LoginRefused("The token that the provider has given is for another client.")
        return self._tokens.found(self._completed(described, claims, answer.get("access_token")))

    def leave(self, back_url: str) -> str:
        """See `fabric.realms.BrowserLogin.leave`."""
        described = self._description() if self._ends_both else {}
        if not described.get("end_session_endpoint"):
            return ""
        asked = {"client_id": self._client_id, "post_logout_redirect_uri": back_url}
        return _with_query(_address(described, "end_session_endpoint"), asked)

    # ---- what the provider is asked for

    def _exchange(self, described: Mapping[str, Any], attempt: Attempt, code: str) -> dict[str, Any]:
        """A code for tokens, with the client's secret if it has one."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": attempt.redirect_url,
            "code_verifier": attempt.verifier,
        }
        headers = {}
        ways = described.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if self._secret and "client_secret_basic" in ways:
            pair = f"{quote(self._client_id, safe='')}:{quote(self._secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = self._client_id
            if self._secret:
                form["client_secret"] = self._secret
        try:
            answer = self._fetch(_address(described, "token_endpoint"), form, headers)
        except Refusal as error:
            raise LoginRefused(f"The provider gives no token for this login: {error}.") from error
        if not isinstance(answer, dict):
            raise RealmUnavailable("its answer to a code cannot be understood")
        return answer

    def _completed(
        self, described: Mapping[str, Any], claims: Mapping[str, Any], access_token: object
    ) -> Mapping[str, Any]:
        """The claims, with what only the provider's page of users says. The token's own count first."""
        if self._tokens.says_all(claims) or not access_token or not described.get("userinfo_endpoint"):
            return claims
        address = _address(described, "userinfo_endpoint")
        more = self._fetch(address, headers={"Authorization": f"Bearer {access_token}"})
        if not isinstance(more, dict) or not claims.get("sub") or more.get("sub") != claims["sub"]:
            raise LoginRefused("The provider tells of another user than its token does.")
        return {**more, **claims}

    def _description(self) -> dict[str, Any]:
        """What the provider says of itself; asked for now and then. Raises `RealmUnavailable`."""
        with self._lock:  # those who need a description that is being fetched wait for it
            now_s = self._seconds()
            if self._described and now_s - self._described_s < DESCRIPTION_AGE_S:
                return self._described
            if self._failed is None or now_s - self._failed[0] >= REST_S:
                try:
                    self._described, self._failed = describe(self._issuer, self._fetch), None
                    self._described_s = now_s
                except RealmUnavailable as error:
                    self._failed = (now_s, error)
            if not self._described:
                assert self._failed is not None
                raise RealmUnavailable(str(self._failed[1]))
            return self._described


def _with_query(address: str, asked: Mapping[str, str]) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(asked, quote_via=quote)}"


def _address(described: Mapping[str, Any], key: str) -> str:
    """One of the provider's addresses. Raises `RealmUnavailable`."""
    try:
        address = str(described[key])
        check_address(key, address)
    except (KeyError, RealmInvalid) as error:
        raise RealmUnavailable(f"its description cannot be used: {error}") from error
    return address
