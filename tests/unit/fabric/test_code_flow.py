"""Login in a browser by an OpenID provider: what it is asked for, and what of its answers is believed."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.openid_fake import ISSUER, FakeProvider

from fabric.realms import Attempt, Found, LoginRefused, RealmInvalid, RealmUnavailable
from fabric.realms.code_flow import DESCRIPTION_AGE_S, REST_S, CodeFlow
from fabric.realms.openid import OpenIdRealm

BACK = "https://console.example.com/login/openid/id/callback"
ATTEMPT = Attempt("the state", "the nonce", "v" * 43, BACK)


def flow_of(provider: FakeProvider, **more: str) -> CodeFlow:
    """The realm's login in a browser."""
    flow = OpenIdRealm("id", provider.properties(**more), provider).browser_login
    assert isinstance(flow, CodeFlow)
    return flow


def log_in(provider: FakeProvider, **more: str) -> Found:
    """From the beginning to the end."""
    flow = flow_of(provider, **more)
    back = provider.log_in(flow.begin(ATTEMPT))
    return flow.finish(ATTEMPT, back["code"], "")


def test_who_has_logged_in_there_is_known_here() -> None:
    """With the roles of his groups, by a token for this client."""
    found = log_in(FakeProvider())
    assert (found.name, found.roles, found.realm) == ("ann", ("viewer", "operator"), "id")


def test_the_provider_is_told_all_it_needs() -> None:
    """State, nonce and challenge; the verifier stays here. An address that has a query keeps it."""
    provider = FakeProvider()
    provider.described["authorization_endpoint"] = f"{ISSUER}/auth?tenant=a"
    location = flow_of(provider, scopes="profile, groups").begin(ATTEMPT)
    asked = parse_qs(urlsplit(location).query)
    assert {key: asked[key] for key in ("tenant", "scope", "state", "nonce", "redirect_uri")} == {
        "tenant": ["a"],
        "scope": ["openid profile groups"],
        "state": ["the state"],
        "nonce": ["the nonce"],
        "redirect_uri": [BACK],
    }
    assert ATTEMPT.verifier not in location and ATTEMPT.verifier not in repr(ATTEMPT)


@pytest.mark.parametrize("ways", [None, ["client_secret_post"], ["private_key_jwt", "client_secret_basic"]])
def test_the_secret_is_shown_as_the_provider_wishes(ways: list[str] | None) -> None:
    """In a header unless it only takes it in the form; a wrong one is the provider's to refuse."""
    provider = FakeProvider()
    provider.secret = "a secret"
    if ways is not None:
        provider.described["token_endpoint_auth_methods_supported"] = ways
    assert log_in(provider, clientSecret="a secret").name == "ann"
    assert ("client_secret" in provider.forms[-1]) is (ways == ["client_secret_post"])
    with pytest.raises(LoginRefused, match="invalid_client"):
        log_in(provider, clientSecret="another")


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"aud": "shop"}, "Audience"),
        ({"aud": ["console", "shop"], "azp": "shop"}, "another client"),
        ({"nonce": "another"}, "another login"),
        ({"nonce": None}, "another login"),
        ({"iss": "https://evil.example.com"}, "issuer"),
        ({"exp": 1.0}, "expired"),
        ({"exp": None}, "exp"),
    ],
    ids=str,
)
def test_a_token_that_does_not_hold_lets_nobody_in(claims: dict[str, Any], said: str) -> None:
    """And it is said why."""
    provider = FakeProvider()
    provider.claims = claims
    with pytest.raises(LoginRefused, match=f"(?i){said}"):
        log_in(provider)


def test_a_token_for_the_realms_audience_is_none_for_the_console() -> None:
    """Nor the other way round: what the console gets opens no broker."""
    provider = FakeProvider()
    realm = OpenIdRealm("id", provider.properties(), provider)
    assert realm.check("", provider.token(aud="fabric")) is not None
    assert realm.check("", provider.token(aud="console")) is None
    provider.claims = {"aud": "fabric"}
    with pytest.raises(LoginRefused, match="Audience"):
        log_in(provider)


def test_signatures_of_others_are_refused() -> None:
    """Another algorithm than the realm takes, and another key."""
    provider = FakeProvider()
    with pytest.raises(LoginRefused, match="ES256"):
        log_in(provider, algorithms="RS256")
    token = provider.token

    def forged(**claims: object) -> str:
        head, body, signature = token(**claims).split(".")
        return f"{head}.{body}.{signature[:-8]}AAAAAAAA"

    provider.token = forged  # type: ignore[method-assign]  # for this test
    with pytest.raises(LoginRefused, match=r"(?i)signature"):
        log_in(provider)


def test_groups_that_the_token_leaves_out_are_asked_for() -> None:
    """Where the provider tells of users; the token's own claims count first, and it is the same user."""
    provider = FakeProvider()
    provider.claims = {"roles": None, "preferred_username": None}
    provider.users = {"sub": "1234", "preferred_username": "ann", "roles": ["ops"]}
    assert log_in(provider).roles == ("viewer", "operator")
    provider.claims = {"roles": None, "preferred_username": "bob"}
    assert log_in(provider).name == "bob"
    for other in ({"sub": "666", "roles": ["ops"]}, {"roles": ["ops"]}, ["ops"]):
        provider.users = other  # type: ignore[assignment]  # for this test
        with pytest.raises(LoginRefused, match="another user"):
            log_in(provider)
    del provider.described["userinfo_endpoint"]
    assert log_in(provider).roles == ()


def test_an_answer_of_another_provider_is_not_used() -> None:
    """Who says who he is (RFC 9207) is who was asked; who promises to say it does."""
    provider = FakeProvider()
    flow = flow_of(provider)
    back = provider.log_in(flow.begin(ATTEMPT))
    with pytest.raises(LoginRefused, match="another provider"):
        flow.finish(ATTEMPT, back["code"], "https://evil.example.com")
    provider.described["authorization_response_iss_parameter_supported"] = True
    with pytest.raises(LoginRefused, match="another provider"):
        flow.finish(ATTEMPT, back["code"], "")
    assert "/token" not in provider.fetched
    assert flow.finish(ATTEMPT, back["code"], ISSUER).name == "ann"


def test_a_code_counts_once() -> None:
    """The provider says so, and is quoted."""
    provider = FakeProvider()
    flow = flow_of(provider)
    back = provider.log_in(flow.begin(ATTEMPT))
    flow.finish(ATTEMPT, back["code"], "")
    with pytest.raises(
        LoginRefused, match=r"no token for this login: invalid_grant: this code is nobody's\."
    ):
        flow.finish(ATTEMPT, back["code"], "")


def test_a_provider_that_is_away_is_left_alone_for_a_while() -> None:
    """And asked again then; what it has said of itself stays in use meanwhile."""
    provider = FakeProvider()
    flow, now_s = flow_of(provider), [0.0]
    flow._seconds = lambda: now_s[0]
    provider.is_away = True
    for _ in range(5):
        with pytest.raises(RealmUnavailable, match="nobody answers"):
            flow.begin(ATTEMPT)
    assert len(provider.fetched) == 1
    provider.is_away = False
    now_s[0] += REST_S
    flow.begin(ATTEMPT)
    flow.begin(ATTEMPT)
    assert len(provider.fetched) == 2
    provider.is_away = True
    now_s[0] += DESCRIPTION_AGE_S
    flow.begin(ATTEMPT)
    flow.begin(ATTEMPT)
    assert len(provider.fetched) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"issuer": "https://other.example.com"}, "calls itself"),
        ({"authorization_endpoint": None}, "cannot be used"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "no https"),
        ({"authorization_endpoint": "http://id.example.com/auth"}, "not encrypted"),
    ],
)
def test_a_description_that_cannot_be_used(change: dict[str, Any], said: str) -> None:
    """Browsers are sent nowhere."""
    provider = FakeProvider()
    described = {**provider.described, **change}
    provider.described = {key: value for key, value in described.items() if value is not None}
    with pytest.raises(RealmUnavailable, match=said):
        flow_of(provider).begin(ATTEMPT)


@pytest.mark.parametrize("answer", [[], {}, "token", {"access_token": "x"}], ids=json.dumps)
def test_answers_to_a_code_that_are_none(answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the provider's fault, not the user's."""
    provider = FakeProvider()
    monkeypatch.setattr(provider, "_exchange", lambda form, headers: answer)
    with pytest.raises(RealmUnavailable, match=r"cannot be understood|no ID token"):
        log_in(provider)


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"clientId": "", "clientSecret": "x"}, r"id\.clientSecret says nothing without id\.clientId"),
        ({"clientId": "", "redirectUrl": BACK}, r"id\.redirectUrl says nothing"),
        ({"redirectUrl": "https://console.example.com/"}, "does not end with /login/openid/id/callback"),
        ({"redirectUrl": BACK.replace("https", "http")}, "not encrypted"),
        ({"title": "x" * 41}, "longer than 40"),
        ({"logout": "everywhere"}, "possible: console, provider"),
    ],
)
def test_mistakes_of_administrators_are_named(properties: dict[str, str], said: str) -> None:
    """With the property."""
    provider = FakeProvider()
    with pytest.raises(RealmInvalid, match=said):
        OpenIdRealm("id", provider.properties(**properties), provider)


def test_a_logout_there_is_asked_for() -> None:
    """Of a provider that knows how, and only if it is wished; nobody is asked for it otherwise."""
    back = "https://console.example.com/login"
    provider = FakeProvider()
    assert flow_of(provider).leave(back) == "" and provider.fetched == []
    assert flow_of(provider, logout="provider").leave(back) == ""
    provider.described["end_session_endpoint"] = f"{ISSUER}/end"
    assert flow_of(provider, logout="provider").leave(back) == (
        f"{ISSUER}/end?client_id=console&post_logout_redirect_uri=https%3A%2F%2Fconsole.example.com%2Flogin"
    )


def test_without_a_client_there_is_no_login_in_a_browser() -> None:
    """Tokens count as before."""
    provider = FakeProvider()
    realm = OpenIdRealm("id", provider.properties(clientId=""), provider)
    assert realm.browser_login is None
    assert realm.check("", provider.token(aud="fabric")) is not None
    assert flow_of(provider).title == "id" and flow_of(provider, title="Example").title == "Example"
