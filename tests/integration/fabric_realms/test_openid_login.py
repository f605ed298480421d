"""A real OpenID provider and a real fabric: login by its pages to the console, by its tokens to a broker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import requests
from support import javascript
from support.fabric import FabricForTests
from support.port_logins import LET_IN, Credentials, Line, log_in_amqp
from support.realms import OpenIdProvider, openid_provider
from support.waiting import wait_until

from fabric.realms import Attempt, LoginRefused
from fabric.realms.code_flow import CodeFlow
from fabric.realms.openid import OpenIdRealm

pytestmark = pytest.mark.integration

BROKER = "taking"
QUEUE = "for.operators"


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """A fabric with a console and a broker whose queues are for operators."""
    fabric = FabricForTests(tmp_path_factory.mktemp("fabric"))
    try:
        fabric.create("--profile=fabric")
        rights = [f"authorization.queue.>.{right}=operator" for right in ("read", "write", "admin")]
        options = [word for line in (*rights, "connectors=openwire amqp") for word in ("-D", line)]
        fabric.run("mq-create", "--kind=StandAlone", "--create-container=node", *options, BROKER)
        yield fabric
    finally:
        fabric.end()


@pytest.fixture(scope="module")
def provider(fabric: FabricForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    """A provider that the fabric believes."""
    with openid_provider(fabric, tmp_path_factory.mktemp("openid")) as provider:
        fabric.wait_master(BROKER, slaves=0)
        fabric.wait_provisioned("node")
        yield provider


def ask(fabric: FabricForTests, path: str, browser: Any = requests, **more: Any) -> requests.Response:
    """A page of the console, without going where it leads."""
    url = urljoin(fabric.console_url, path)
    answer: requests.Response = browser.get(url, timeout=30, allow_redirects=False, **more)
    return answer


def come_back(fabric: FabricForTests, provider: OpenIdProvider, user: str, browser: Any) -> requests.Response:
    """Somebody goes to the provider by the login page, and comes back; what the console says then."""
    away = ask(fabric, "/login/openid/openid?next=/mq", browser)
    assert away.status_code == 303, away.text
    return ask(fabric, provider.log_in(away.headers["Location"], user), browser)


# ---- the console


def test_login_by_the_providers_pages(fabric: FabricForTests, provider: OpenIdProvider) -> None:
    """From the login page to the page that was asked for; the audit log knows it."""
    with requests.Session() as browser:
        answer = come_back(fabric, provider, "ann", browser)
        assert (answer.status_code, answer.headers["Refresh"]) == (200, "0; url=/mq")
        assert ask(fabric, "/mq", browser).status_code == 200
        assert ask(fabric, "/api/v1/me", browser).json() == {"user": "ann", "role": "operator"}
    wait_until(
        lambda: any(
            (entry["user"], entry["action"], entry["result"]) == ("ann", "login", "done")
            for entry in fabric.json("audit-list")
        ),
        30,
        fabric.logs,
    )


@pytest.mark.parametrize(
    ("user", "said"),
    [("clerk", "none of the roles"), ("stranger", "none of the roles"), ("admin", "a user of the registry")],
)
def test_who_may_nothing_here(fabric: FabricForTests, provider: OpenIdProvider, user: str, said: str) -> None:
    """He is told why, and is not logged in."""
    with requests.Session() as browser:
        answer = come_back(fabric, provider, user, browser)
        assert answer.status_code == 403 and said in answer.text
        assert ask(fabric, "/api/v1/me", browser).status_code == 401


def test_a_client_without_a_secret(provider: OpenIdProvider) -> None:
    """The proof of who began it is enough; a code, or another's proof, is not."""
    realm = OpenIdRealm("openid", provider.properties(clientId="pages"))
    flow = realm.browser_login
    assert isinstance(flow, CodeFlow)
    attempt = Attempt("a state", "a nonce", "v" * 43, provider.callback)
    codes = [said(provider.log_in(flow.begin(attempt), "ann")) for _ in range(2)]
    assert codes[0]["state"] == "a state"
    found = flow.finish(attempt, codes[0]["code"], codes[0]["iss"])
    assert (found.name, found.roles) == ("ann", ("viewer", "operator"))
    for other, code in (
        (attempt, codes[0]["code"]),
        (Attempt("a state", "a nonce", "w" * 43, provider.callback), codes[1]["code"]),
    ):
        with pytest.raises(LoginRefused, match="invalid_grant"):
            flow.finish(other, code, provider.issuer)


def test_a_logout_reaches_the_provider(provider: OpenIdProvider) -> None:
    """It goes on with it where the browser is to come back to a place that it knows, and nowhere else."""
    realm = OpenIdRealm("openid", provider.properties(clientId="console", logout="provider"))
    assert realm.browser_login is not None
    back = urljoin(provider.callback, "/login")
    answer = requests.get(realm.browser_login.leave(back), timeout=30)
    assert answer.status_code == 200 and "/session/end/confirm" in answer.text
    assert requests.get(realm.browser_login.leave(f"{back}/other"), timeout=30).status_code == 400


def said(location: str) -> dict[str, str]:
    """What the provider sends along with a browser."""
    return {key: values[0] for key, values in parse_qs(urlsplit(location).query).items()}


# ---- a broker


def amqp_port(fabric: FabricForTests) -> int:
    """Where the broker listens."""
    (port,) = (urlsplit(url).port for url in fabric.broker(BROKER)["services"] if url.startswith("amqp:"))
    assert port is not None
    return port


def test_rhea_shows_its_token(fabric: FabricForTests, provider: OpenIdProvider) -> None:
    """By XOAUTH2; it sends and receives with the rights of the user whom the token names."""
    port = amqp_port(fabric)
    facts = javascript.facts("amqp.js", "token", str(port), "oauth2", provider.token("ann"), QUEUE)
    assert facts == ["opened: true", "got: for operators"]
    facts = javascript.facts("amqp.js", "token", str(port), "oauth2", provider.token("clerk"), QUEUE)
    assert facts == ["opened: true", "refused: amqp:unauthorized-access"]
    for token in (provider.token("ann", "shop"), "admin"):
        assert javascript.facts("amqp.js", "token", str(port), "admin", token, QUEUE) == ["opened: false"]


def test_a_token_for_a_password(fabric: FabricForTests, provider: OpenIdProvider) -> None:
    """By PLAIN, as by the other protocols."""
    line = Line(amqp_port(fabric))
    try:
        assert log_in_amqp(line, Credentials("oauth2", provider.token("ann"))) == LET_IN
    finally:
        line.close()
