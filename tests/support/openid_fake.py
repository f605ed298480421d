"""An OpenID provider in memory: what a realm fetches, and the pages that a browser would be shown."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from fabric.realms import RealmUnavailable
from fabric.realms.fetching import Refusal

ISSUER = "https://id.example.com"
CLIENT = "console"

_KEY = ec.generate_private_key(ec.SECP256R1())


class FakeProvider:
    """The provider, whose people are whoever comes.

    Attributes:
        fetched: addresses that were asked for.
        described: what it says of itself.
        claims: what its ID tokens say beyond or instead of what is right; None: not at all.
        users: what it tells of users where it is asked for them.
        secret: of its client; empty: it has none.
        is_away: nobody answers.
    """

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.forms: list[Mapping[str, str]] = []
        self.described: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/auth",
            "token_endpoint": f"{ISSUER}/token",
            "userinfo_endpoint": f"{ISSUER}/me",
            "jwks_uri": f"{ISSUER}/keys",
        }
        self.claims: dict[str, Any] = {}
        self.users: dict[str, Any] = {"sub": "1234"}
        self.secret = ""
        self.is_away = False
        self._codes: dict[str, dict[str, str]] = {}

    def properties(self, **more: str) -> dict[str, str]:
        """A realm that believes it."""
        return {
            "issuer": ISSUER,
            "audience": "fabric",
            "clientId": CLIENT,
            "role.ops": "viewer operator",
            **more,
        }

    def log_in(self, location: str) -> dict[str, str]:
        """Somebody is sent here, and says who he is; what he is sent back with."""
        assert location.startswith(f"{ISSUER}/auth?")
        asked = {key: values[0] for key, values in parse_qs(urlsplit(location).query).items()}
        assert asked["response_type"] == "code" and asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256" and "openid" in asked["scope"].split()
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def __call__(
        self, url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """See `fabric.realms.fetching.Fetch`."""
        self.fetched.append(url.removeprefix(ISSUER))
        if self.is_away:
            raise RealmUnavailable(f"{url}: nobody answers")
        match url.removeprefix(ISSUER):
            case "/.well-known/openid-configuration":
                return self.described
            case "/keys":
                return {"keys": [{**public_key(), "kid": "first", "use": "sig"}]}
            case "/token":
                assert form is not None
                return self._exchange(form, headers or {})
            case "/me":
                assert (headers or {})["Authorization"] == "Bearer opaque"
                return self.users
        raise AssertionError(url)

    def token(self, **claims: object) -> str:
        """A signed token."""
        right = {
            "iss": ISSUER,
            "aud": CLIENT,
            "sub": "1234",
            "iat": time.time(),
            "exp": time.time() + 60,
            "preferred_username": "ann",
            "roles": ["ops"],
        }
        said = {name: value for name, value in {**right, **claims}.items() if value is not None}
        return jwt.encode(said, _KEY, "ES256", headers={"kid": "first"})

    def _exchange(self, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        self.forms.append(form)
        shown = headers.get("Authorization", "").removeprefix("Basic ")
        pair = unquote(base64.b64decode(shown).decode()) if shown else f"{form['client_id']}:"
        if "client_secret" in form:
            pair += form["client_secret"]
        if pair != f"{CLIENT}:{self.secret}":
            raise Refusal("invalid_client")
        asked = self._codes.pop(form["code"], None)
        if asked is None or form["grant_type"] != "authorization_code":
            raise Refusal("invalid_grant: this code is nobody's")
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert (challenge, form["redirect_uri"]) == (asked["code_challenge"], asked["redirect_uri"])
        token = self.token(**{"nonce": asked["nonce"], **self.claims})
        return {"id_token": token, "access_token": "opaque", "token_type": "Bearer"}


def public_key() -> dict[str, Any]:
    """The key by which its tokens are known."""
    record: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(_KEY.public_key(), as_dict=True)
    record.pop("key_ops", None)
    return record
