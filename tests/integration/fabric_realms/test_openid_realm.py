"""The OpenID realm against a certified provider, and against tokens that somebody has made up."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.realms import OpenIdProvider, free_port

from fabric.realms import Found, RealmUnavailable
from fabric.realms.openid import KEYS_PERIOD_S, OpenIdRealm, is_token

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    """A provider."""
    provider = OpenIdProvider(tmp_path_factory.mktemp("openid"))
    provider.start("first")
    try:
        yield provider
    finally:
        provider.stop()


@pytest.fixture
def realm(provider: OpenIdProvider) -> OpenIdRealm:
    """A realm that believes it."""
    return OpenIdRealm("openid", provider.properties(leewaySeconds="5"))


def made_up(provider: OpenIdProvider, key: Any = None, algorithm: str = "RS256", **claims: object) -> str:
    """A token that is right but for what is given."""
    right = {
        "iss": provider.issuer,
        "aud": "fabric",
        "exp": time.time() + 60,
        "preferred_username": "ann",
        "roles": ["ops"],
    }
    said = {name: value for name, value in {**right, **claims}.items() if value is not None}
    return jwt.encode(said, key or provider.key, algorithm, headers={"kid": provider.key_id})


def test_the_providers_own_token(provider: OpenIdProvider, realm: OpenIdRealm) -> None:
    """It names its user, and the roles that are mapped; who shows it does not matter."""
    token = provider.token("ann")
    assert is_token(token) and realm.accepts("anybody", token) and not realm.accepts("ann", "secret")
    found = realm.check("", token)
    assert found is not None and found.until > time.time() + 500
    assert (found.name, found.roles, found.realm) == ("ann", ("viewer", "operator"), "openid")


def test_a_token_for_somebody_else_is_worth_nothing(provider: OpenIdProvider, realm: OpenIdRealm) -> None:
    """It was given for another service."""
    assert realm.check("", provider.token("ann", "shop")) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1.0},
        {"exp": None},
        {"aud": "shop"},
        {"aud": None},
        {"iss": "https://evil.example.com"},
        {"iss": None},
        {"nbf": 4_000_000_000},
        {"exp": "soon"},
    ],
    ids=str,
)
def test_what_does_not_hold_is_refused(
    provider: OpenIdProvider, realm: OpenIdRealm, claims: dict[str, object]
) -> None:
    """Signed with the right key, but expired, for others, of others, or without saying it."""
    assert realm.check("", made_up(provider)) is not None
    assert realm.check("", made_up(provider, **claims)) is None


def test_clocks_may_differ_a_little(provider: OpenIdProvider, realm: OpenIdRealm) -> None:
    """By the leeway, and no more."""
    assert realm.check("", made_up(provider, exp=time.time() - 2)) is not None
    assert realm.check("", made_up(provider, exp=time.time() - 8)) is None


def test_signatures_that_anybody_can_make_are_refused(provider: OpenIdProvider, realm: OpenIdRealm) -> None:
    """None, another key, and the public key as if it were a secret (CVE-2015-9235)."""
    public = provider.key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    other = rsa.generate_private_key(65537, 2048)
    right = made_up(provider)
    head, _, signature = right.split(".")
    forged = made_up(provider, preferred_username="admin").split(".")[1]
    for token in (
        jwt.encode({"iss": provider.issuer}, None, "none") + "AA",
        signed_with(public, provider),
        made_up(provider, other),
        f"{head}.{forged}.{signature}",
        right[:-8] + "AAAAAAAA",
    ):
        assert realm.check("", token) is None, token


def test_claims_that_are_nested_or_text(provider: OpenIdProvider) -> None:
    """Keycloak's roles are within another claim, scopes are one text."""
    nested = OpenIdRealm("openid", provider.properties(roleClaim="realm_access.roles"))
    found = nested.check("", made_up(provider, realm_access={"roles": ["ops", 7]}))
    assert found is not None and found.roles == ("viewer", "operator")
    scopes = OpenIdRealm("openid", provider.properties(roleClaim="scope"))
    for value, roles in (("x ops", ("viewer", "operator")), ({"a": 1}, ()), (None, ())):
        found = scopes.check("", made_up(provider, scope=value))
        assert found is not None and found.roles == roles
    unnamed = scopes.check("", made_up(provider, preferred_username=None, sub="ann@shop"))
    assert unnamed is not None and unnamed.name == "ann@shop"


def test_keys_are_changed_without_a_restart(provider: OpenIdProvider) -> None:
    """A token with a new key has the keys fetched again, but not at once; old ones are forgotten."""
    realm = OpenIdRealm("openid", provider.properties())
    now_s = [0.0]
    realm._keys._seconds = lambda: now_s[0]
    old = made_up(provider)
    assert realm.check("", old) is not None
    provider.start("second")
    new = made_up(provider)
    assert realm.check("", new) is None
    now_s[0] += KEYS_PERIOD_S
    assert realm.check("", new) == Found("ann", ("viewer", "operator"), "openid", jwt_expiry(new))
    assert realm.check("", old) is None


def test_made_up_keys_are_no_load_for_the_provider(provider: OpenIdProvider, realm: OpenIdRealm) -> None:
    """However many names of keys somebody makes up, the provider is asked once in a while."""
    fetched: list[str] = []
    fetch = realm._keys._fetch

    def count(url: str) -> Any:
        fetched.append(url)
        return fetch(url)

    realm._keys._fetch = count
    for number in range(50):
        token = jwt.encode({"n": number}, provider.key, "RS256", headers={"kid": f"made up {number}"})
        assert realm.check("", token) is None
    assert len(fetched) == 2


def test_a_provider_that_is_away_or_another(provider: OpenIdProvider) -> None:
    """The realm cannot say, and says why."""
    token = made_up(provider)
    away = OpenIdRealm("openid", provider.properties(issuer=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(RealmUnavailable, match="refused"):
        away.check("", token)
    elsewhere = provider.issuer.replace("127.0.0.1", "localhost")
    other = OpenIdRealm("openid", provider.properties(issuer=elsewhere))
    with pytest.raises(RealmUnavailable, match="calls itself"):
        other.check("", token)


def signed_with(secret: bytes, provider: OpenIdProvider) -> str:
    """A token with a hash for a signature; the library would refuse to make it with such a key."""
    header = {"alg": "HS256", "typ": "JWT", "kid": provider.key_id}
    body = made_up(provider).split(".")[1]
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    digest = hmac.digest(secret, f"{head}.{body}".encode(), "sha256")
    return f"{head}.{body}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def jwt_expiry(token: str) -> float:
    """When a token ends."""
    expires: float = jwt.decode(token, options={"verify_signature": False})["exp"]
    return expires
