"""Logging in to the console by the pages of an OpenID provider, and all that can be wrong with it."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from support.console import URL, Client, ConsoleWorld, Response
from support.openid_fake import ISSUER, FakeProvider
from twisted.internet.defer import Deferred

from fabric.realms.openid import OpenIdRealm
from fabric.web import provider_logins
from fabric.web.pending_logins import PENDING_S_MAX
from fabric.web.sessions import AGE_S_MAX, IDLE_S_MAX

BEGIN = "/login/openid/id"
BACK = f"{BEGIN}/callback"
ME = "/api/v1/me"


class Scene:
    """A console, its provider, and what the console has audited."""

    def __init__(self, *, is_secure: bool = False, **properties: str) -> None:
        self.provider = FakeProvider()
        given = self.provider.properties(title="Example", **properties)
        self.world = ConsoleWorld(is_secure=is_secure, realms=[OpenIdRealm("id", given, self.provider)])
        self.tried: list[tuple[str, str]] = []
        self.world.console.gate.when_tried = lambda user, remote, outcome: self.tried.append((user, outcome))

    def begin(self, next_url: str = "/containers?filter=a b", client: Client | None = None) -> Client:
        """A browser that has been sent to the provider; `location` says where."""
        client = client or self.world.client()
        answer = client.get(f"{BEGIN}?next={quote(next_url, safe='')}")
        assert answer.status == 303, answer.text
        self.location = answer.headers["location"]
        client.headers["Cookie"] = answer.cookies[0].partition(";")[0]
        self.cookie = answer.cookies[0]
        return client

    def come_back(self, client: Client, **said: str) -> Response:
        """The browser comes back from the provider, by a link of another site."""
        site = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        return client.get(f"{BACK}?{urlencode(said)}", **site)

    def log_in(self) -> Response:
        """From the beginning to the end."""
        client = self.begin()
        return self.come_back(client, **self.provider.log_in(self.location))


@pytest.fixture
def scene() -> Scene:
    """A console with a provider."""
    return Scene()


def alert(answer: Response) -> str:
    """What the login page says is wrong."""
    found = re.search(r'role="alert">([^<]+)<', answer.text)
    assert found is not None and "Log in with Example" in answer.text, answer.text
    return found[1]


# ---- as it should be


def test_the_login_page_offers_the_provider(scene: Scene) -> None:
    """At the console's own address, where browsers come back to; without one it offers nothing."""
    text = scene.world.client().get("/login?next=/mq%3Fa=1").text
    assert f'href="{URL}{BEGIN}?next=%2Fmq%3Fa%3D1">Log in with Example</a>' in text
    assert "Log in with" not in ConsoleWorld().client().get("/login").text
    configured = Scene(redirectUrl=f"https://fabric.example.com/a{BACK}")
    text = configured.world.client().get("/login").text
    assert f'href="https://fabric.example.com/a{BEGIN}?next=%2F">' in text
    configured.begin()
    asked = parse_qs(urlsplit(configured.location).query)
    assert asked["redirect_uri"] == [f"https://fabric.example.com/a{BACK}"]


def test_who_comes_back_is_logged_in(scene: Scene) -> None:
    """As by a password: a cookie, a token for changes, an entry in the audit log, limits of time."""
    answer = scene.log_in()
    assert answer.status == 200 and answer.headers["refresh"] == "0; url=/containers?filter=a%20b"
    assert 'href="/containers?filter=a%20b"' in answer.text
    cookie, gone = answer.cookies
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Max-Age=0" in gone
    client = Client(scene.world, {"Cookie": cookie.partition(";")[0]})
    assert client.get(ME).json == {"user": "ann", "role": "operator"}
    assert client.post("/api/v1/tokens", {"name": "x"}).status == 403
    token = re.search(r'"X-CSRF-Token": "([^"]+)"', client.get("/containers").text)
    assert token is not None
    assert client.post("/api/v1/tokens", {"name": "x"}, X_CSRF_Token=token[1]).status == 200
    assert scene.tried == [("ann", "done")]
    for _ in range(int(AGE_S_MAX / IDLE_S_MAX)):
        scene.world.reactor.advance(IDLE_S_MAX - 1)
        assert client.get(ME).status == 200
    scene.world.reactor.advance(IDLE_S_MAX - 1)
    assert client.get(ME).status == 401


def test_the_cookie_of_the_way_there(scene: Scene) -> None:
    """It comes along when the provider leads back, is out of reach of scripts, and ends by itself."""
    scene.begin()
    assert scene.cookie.startswith("fabric-login=")
    assert "HttpOnly" in scene.cookie and "SameSite=Lax" in scene.cookie and "Max-Age=600" in scene.cookie
    secure = Scene(is_secure=True)
    secure.begin()
    assert secure.cookie.startswith("__Host-fabric-login=") and "Secure" in secure.cookie


def test_who_is_logged_in_need_not_do_it_again(scene: Scene) -> None:
    """He is sent on, and nobody is asked."""
    answer = scene.world.browser("viewer").get(f"{BEGIN}?next=/mq")
    assert (answer.status, answer.headers["location"]) == (303, "/mq")
    assert scene.provider.fetched == []


def test_a_login_by_the_provider_ends_another_one(scene: Scene) -> None:
    """The browser holds the new one only."""
    client = scene.begin()
    old = scene.world.browser("viewer").headers["Cookie"]
    client.headers["Cookie"] += f"; {old}"
    assert scene.come_back(client, **scene.provider.log_in(scene.location)).status == 200
    assert Client(scene.world, {"Cookie": old}).get(ME).status == 401


def test_other_roles_at_the_next_login_end_the_ones_before(scene: Scene) -> None:
    """Who may less now does not go on with more elsewhere."""
    first = Client(scene.world, {"Cookie": scene.log_in().cookies[0].partition(";")[0]})
    assert first.get(ME).json["role"] == "operator"
    scene.provider.claims = {"roles": ["viewers"]}
    assert scene.log_in().status == 403
    assert first.get(ME).status == 401


@pytest.mark.parametrize("url", ["//evil.example", "https://evil.example", "/a\r\nSet-Cookie: a=b"])
def test_a_login_by_the_provider_leads_nowhere_else(scene: Scene, url: str) -> None:
    """As by a password."""
    client = scene.begin(url)
    answer = scene.come_back(client, **scene.provider.log_in(scene.location))
    assert answer.headers["refresh"] == "0; url=/" and len(answer.cookies) == 2


@pytest.mark.parametrize("where", ["console", "provider"])
def test_logging_out_here_and_there(where: str) -> None:
    """At the provider only if the realm says so; a provider that is away keeps nobody logged in here."""
    scene = Scene(logout=where)
    scene.provider.described["end_session_endpoint"] = f"{ISSUER}/end"
    for is_away in (False, True):
        client = Client(scene.world, {"Cookie": scene.log_in().cookies[0].partition(";")[0]})
        if is_away:
            scene.provider.is_away = True
            login = scene.world.users.browser_logins()[0]
            login._described = {}  # type: ignore[attr-defined]  # as if it had not been asked yet
        answer = client.post("/logout")
        there = where == "provider" and not is_away
        back = f"{ISSUER}/end?client_id=console&post_logout_redirect_uri={quote(URL, safe='')}%2Flogin"
        assert answer.headers["hx-redirect"] == (back if there else "/login")
        assert "Max-Age=0" in answer.cookies[0] and client.get(ME).status == 401


# ---- what may be wrong


def test_a_login_that_is_not_waited_for(scene: Scene) -> None:
    """Made up, without a state, of another browser, used before, too late: nothing is asked for."""
    client = scene.begin()
    said = scene.provider.log_in(scene.location)
    other = scene.world.client()
    for who, given in (
        (client, {**said, "state": "made up"}),
        (client, {"code": said["code"]}),
        (client, {}),
        (other, said),
        (Client(scene.world, {"Cookie": "fabric-login=guessed"}), said),
    ):
        answer = scene.come_back(who, **given)
        assert answer.status == 400 and "not waited for" in alert(answer) and not answer.cookies
    assert "/token" not in scene.provider.fetched
    assert scene.come_back(client, **said).status == 200
    assert scene.come_back(client, **said).status == 400
    late = scene.begin()
    scene.world.reactor.advance(PENDING_S_MAX + 1)
    assert scene.come_back(late, **scene.provider.log_in(scene.location)).status == 400


def test_the_provider_sends_somebody_back_with_an_error(scene: Scene) -> None:
    """It is quoted, as text, to whom it was sent; a link that somebody made up quotes nothing."""
    text = "not <b>you</b>\r\n" + "x" * 1000
    scene.begin()
    state = parse_qs(urlsplit(scene.location).query)["state"][0]
    client = Client(scene.world, {"Cookie": scene.cookie.partition(";")[0]})
    made_up = scene.come_back(client, error="access_denied", error_description="call 555", state="made up")
    assert made_up.status == 400 and "555" not in made_up.text
    answer = scene.come_back(client, error="access_denied", error_description=text, state=state)
    assert answer.status == 403 and "Max-Age=0" in answer.cookies[0]
    assert "access_denied: not &lt;b&gt;you&lt;/b&gt;" in alert(answer) and "x" * 300 not in answer.text
    ((user, outcome),) = scene.tried
    assert user == "" and outcome.startswith("refused: by id: It says access_denied")
    assert 'value="/containers?filter=a b"' in answer.text
    client = scene.begin()
    state = parse_qs(urlsplit(scene.location).query)["state"][0]
    assert "no code" in alert(scene.come_back(client, state=state))


@pytest.mark.parametrize(
    ("claims", "said", "user"),
    [
        ({"aud": "shop"}, "is not accepted: Audience", ""),
        ({"nonce": "another"}, "for another login", ""),
        ({"roles": ["unmapped"]}, "none of the roles viewer, operator, admin", "ann"),
        ({"preferred_username": "admin"}, "is a user of the registry, too", "admin"),
        ({"preferred_username": "a b"}, "names somebody who can be no user", "a b"),
    ],
)
def test_who_is_not_let_in_is_told_why(scene: Scene, claims: dict[str, object], said: str, user: str) -> None:
    """And the audit log has it; no cookie is given."""
    scene.provider.claims = claims
    answer = scene.log_in()
    assert answer.status == 403 and said in alert(answer)
    assert [cookie for cookie in answer.cookies if "Max-Age=0" not in cookie] == []
    ((tried, outcome),) = scene.tried
    assert tried == user and outcome.startswith("refused: by id: ") and said in outcome


def test_a_provider_that_is_away(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """At the beginning and at the end: the page says what to do, the log why."""
    scene.provider.is_away = True
    answer = scene.world.client().get(BEGIN)
    assert answer.status == 503 and "Example cannot say now who you are" in alert(answer)
    assert "nobody answers" in caplog.text and ISSUER not in answer.text
    scene = Scene()
    client = scene.begin()
    said = scene.provider.log_in(scene.location)
    scene.provider.is_away = True
    assert scene.come_back(client, **said).status == 503
    assert scene.tried == []


def test_a_realm_that_is_not_there(scene: Scene) -> None:
    """Nobody is sent anywhere, whatever stands in the address."""
    for realm in ("other", "%3Cb%3E", "..%2F", "x" * 1000):
        answer = scene.world.client().get(f"/login/openid/{realm}")
        assert answer.status == 404 and "Nobody logs in by" in alert(answer) and "<b>" not in answer.text
    assert scene.world.client().get("/login/openid/%FF").status == 400


def test_what_a_provider_says_beyond_what_is_read(scene: Scene) -> None:
    """Many say more, such as a session's state; it is no mistake."""
    client = scene.begin()
    said = scene.provider.log_in(scene.location)
    assert scene.come_back(client, **said, session_state="x", scope="openid").status == 200


def test_a_provider_that_hangs_holds_up_nobody_else(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many questions go on and wait; who comes then is told, and pages are served as before."""
    monkeypatch.setattr(provider_logins, "WAITING_MAX", 3)
    answers: list[Deferred[object]] = []

    def hang(call: object) -> Deferred[object]:
        del call
        answers.append(Deferred())
        return answers[-1]

    monkeypatch.setattr(scene.world.console, "_run_blocking", hang)
    request = f"GET {BEGIN} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    lines = [scene.world.send(request) for _ in range(provider_logins.ASKED_TOGETHER + 3)]
    assert len(answers) == provider_logins.ASKED_TOGETHER
    assert all(line.value() == b"" for line in lines)
    answer = scene.world.client().get(BEGIN)
    assert answer.status == 503 and "Too many people" in alert(answer)
    assert scene.world.client().get("/login").status == 200


def test_the_users_are_not_known_yet(scene: Scene) -> None:
    """Nobody is let in whose name may be another's."""
    client = scene.begin()
    said = scene.provider.log_in(scene.location)
    scene.world.users._users = None
    query = urlencode(said)
    cookie = client.headers["Cookie"]
    line = scene.world.send(f"GET {BACK}?{query} HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n".encode())
    assert line.value() == b""
    scene.world.reactor.pass_time(11)
    assert line.value().startswith(b"HTTP/1.1 503 ")
