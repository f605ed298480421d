"""Who is let in: logins, throttling, pages of other sites, CSRF, tokens."""

from __future__ import annotations

import base64
import time

import pytest
from support.console import ConsoleWorld

from fabric.web.gate import safe_location
from fabric.web.roles import Role
from fabric.web.sessions import (
    AGE_S_MAX,
    FORGET_S,
    FREE_FAILURES,
    FREE_FAILURES_AROUND,
    IDLE_S_MAX,
    SESSIONS_MAX,
    SESSIONS_OF_USER_MAX,
    LoginSessions,
    LoginThrottle,
)
from fabric.web.tokens import DAY_S

ME = "/api/v1/me"


@pytest.fixture
def world() -> ConsoleWorld:
    """A console."""
    return ConsoleWorld()


# ---- logins of browsers


def test_a_login_ends_when_nobody_uses_it_and_at_last_in_any_case() -> None:
    """It is kept alive by use, but not for ever; looking whether it is alive is no use."""
    sessions = LoginSessions()
    token = sessions.begin("ann", "stamp", 0.0).token
    assert sessions.find(token, IDLE_S_MAX) is not None
    assert sessions.find(token, 2 * IDLE_S_MAX, use=False) is not None
    assert sessions.find(token, 2 * IDLE_S_MAX + 1, use=False) is None
    token, now_s = sessions.begin("ann", "stamp", 0.0).token, 0.0
    while now_s + IDLE_S_MAX <= AGE_S_MAX:
        now_s += IDLE_S_MAX
        assert sessions.find(token, now_s) is not None
    assert sessions.find(token, AGE_S_MAX + 1) is None
    assert sessions.find(token, 0.0) is None


def test_one_user_cannot_push_out_the_logins_of_others() -> None:
    """Each user has so many logins, and all together so many."""
    sessions = LoginSessions()
    bob = sessions.begin("bob", "", 0.0).token
    own = [sessions.begin("ann", "", 0.0).token for _ in range(SESSIONS_OF_USER_MAX + 2)]
    assert sessions.find(bob, 0.0) is not None
    assert [sessions.find(token, 0.0) is None for token in own[:3]] == [True, True, False]
    for number in range(SESSIONS_MAX):
        sessions.begin(f"user {number}", "", 0.0)
    assert sessions.find(bob, 0.0) is None


def test_a_login_in_a_browser_is_a_new_session(world: ConsoleWorld) -> None:
    """What a browser held before logging in, planted by whomever, is never what it holds afterwards."""
    planted = {"Cookie": "fabric=planted"}
    answer = world.client().request(
        "POST", "/login", {"user": "admin", "password": "admin"}, form=True, headers=planted
    )
    assert answer.status == 303 and answer.headers["location"] == "/"
    cookie = answer.cookies[0]
    assert "planted" not in cookie and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert world.client().get(ME, **planted).status == 401
    first = {"Cookie": cookie.partition(";")[0]}
    form = {"user": "admin", "password": "admin"}
    again = world.client().request("POST", "/login", form, form=True, headers=first)
    assert again.status == 303 and again.cookies[0] != cookie
    assert world.client().get(ME, **first).status == 401


def test_a_login_ends_with_the_password_the_roles_and_the_user(world: ConsoleWorld) -> None:
    """Who was sent away is away at once, without logging out."""
    viewer, operator = world.browser("viewer"), world.browser("operator")
    world.console.users.set_password("viewer", "another password")
    world.console.users.set_roles("operator", ["nothing"])
    assert viewer.get(ME).status == operator.get(ME).status == 401


def test_logging_out_ends_the_login_here_and_in_the_browser(world: ConsoleWorld) -> None:
    """The cookie is worth nothing afterwards, and is taken away."""
    browser = world.browser("viewer")
    assert browser.get(ME).status == 200
    answer = browser.post("/logout")
    assert answer.status == 204 and "Max-Age=0" in answer.cookies[0]
    assert browser.get(ME).status == 401


def test_cookies_of_others_on_the_same_host_do_not_matter(world: ConsoleWorld) -> None:
    """A browser sends the cookies of all ports of a host; some are not what a parser expects."""
    browser = world.browser("viewer")
    browser.headers["Cookie"] = f'a b=c"; [x]=1; {browser.headers["Cookie"]}; other=2'
    assert browser.get(ME).status == 200


# ---- wrong passwords


def test_five_wrong_passwords_slow_down_and_time_heals() -> None:
    """The delay doubles up to a minute and is forgotten after a quarter of an hour."""
    throttle = LoginThrottle()
    for _ in range(FREE_FAILURES):
        assert throttle.wait_s("ann", "1.1.1.1", 0.0) == 0
        throttle.failed("ann", "1.1.1.1", 0.0)
    waits = []
    now_s = 0.0
    for _ in range(8):
        waits.append(throttle.wait_s("ann", "1.1.1.1", now_s))
        now_s += waits[-1]
        assert throttle.wait_s("ann", "1.1.1.1", now_s) == 0
        throttle.failed("ann", "1.1.1.1", now_s)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert throttle.wait_s("ann", "1.1.1.1", now_s + FORGET_S + 1) == 0


def test_guessing_elsewhere_does_not_lock_the_owner_out() -> None:
    """Who has logged in from an address before may do so again, however many guess from everywhere."""
    throttle = LoginThrottle()
    throttle.succeeded("ann", "home")
    for number in range(10 * FREE_FAILURES_AROUND):
        throttle.failed("ann", f"bot {number}", 0.0)
        throttle.failed(f"user {number}", "home", 0.0)
    assert throttle.wait_s("ann", "home", 0.0) == 0
    assert throttle.wait_s("ann", "a new place", 0.0) > 0
    assert throttle.wait_s("bob", "home", 0.0) > 0


def test_success_does_not_wash_away_what_was_guessed_for_others() -> None:
    """An attacker with an account of his own gains nothing by logging in between his guesses."""
    throttle = LoginThrottle()
    for number in range(FREE_FAILURES_AROUND):
        throttle.failed(f"user {number}", "bot", 0.0)
        throttle.succeeded("mallory", "bot")
    assert throttle.wait_s("bob", "bot", 0.0) > 0


def test_the_console_says_how_long_to_wait(world: ConsoleWorld) -> None:
    """Neither the right password is looked at while it waits, and afterwards it counts."""
    wrong = {"Authorization": "Basic " + base64.b64encode(b"admin:wrong").decode()}
    statuses = [world.client().get(ME, **wrong).status for _ in range(FREE_FAILURES + 1)]
    assert statuses == [401] * FREE_FAILURES + [429]
    answer = world.client("admin").get(ME)
    assert answer.status == 429 and int(answer.headers["retry-after"]) >= 1
    assert answer.json["error"]["code"] == "refused"
    assert world.client("viewer").get(ME).status == 200
    world.reactor.advance(2)
    assert world.client("admin").get(ME).status == 200


def test_a_password_is_not_checked_for_ever(world: ConsoleWorld) -> None:
    """While the users are not known yet the answer says so, and it is no wrong password."""
    world.users.authenticate = lambda user, password, done: None  # type: ignore[method-assign]  # for this test
    transport = world.send(b"GET /api/v1/me HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\n\r\n")
    assert transport.value() == b""
    world.reactor.pass_time(11)
    assert transport.value().startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic /w==", "Bearer", "Bearer x", "Bearer fabric_"]
)
def test_credentials_that_are_none_are_refused(world: ConsoleWorld, header: str) -> None:
    """Malformed ones are an error of the request's, never of the console's."""
    assert world.client().get(ME, Authorization=header).status in (400, 401)


def test_only_programs_are_told_of_http_basic(world: ConsoleWorld) -> None:
    """A browser would ask for the password in a window of its own, and then send it to whoever asks."""
    assert "Basic" in world.client().get(ME).headers["www-authenticate"]
    for header in ({"Sec-Fetch-Mode": "cors"}, {"HX-Request": "true"}, {"Cookie": "fabric=old"}):
        assert "Basic" not in world.client().get(ME, **header).headers["www-authenticate"]


def test_a_user_without_a_role_sees_nothing(world: ConsoleWorld) -> None:
    """His password is right, but no role of his counts here."""
    assert world.client("nobody").get(ME).status == 403


# ---- other sites


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://console.test.evil.example"},
    ],
)
@pytest.mark.parametrize("login", ["browser", "client"])
def test_no_other_site_changes_anything(world: ConsoleWorld, headers: dict[str, str], login: str) -> None:
    """Not with a cookie, and not with HTTP Basic that a browser remembers."""
    client = getattr(world, login)("admin")
    answer = client.request("POST", "/api/v1/tokens", {"name": "x"}, headers=headers)
    assert answer.status == 403 and "another site" in answer.json["error"]["message"]


def test_a_browser_needs_what_its_page_was_given(world: ConsoleWorld) -> None:
    """Without the CSRF token of this login nothing is changed; with another login's neither."""
    browser, other = world.browser("admin"), world.browser("admin")
    right = browser.headers.pop("X-CSRF-Token")
    for headers in ({}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": other.headers["X-CSRF-Token"]}):
        assert browser.request("POST", "/api/v1/tokens", {"name": "x"}, headers=headers).status == 403
    assert (
        browser.request("POST", "/api/v1/tokens", {"name": "x"}, headers={"X-CSRF-Token": right}).status
        == 200
    )


def test_behind_a_proxy_the_browser_says_that_it_is_the_same_site(world: ConsoleWorld) -> None:
    """A proxy may rename the host; then the browser's own word counts."""
    browser = world.browser("admin")
    browser.headers |= {"Origin": "https://public.example", "Sec-Fetch-Site": "same-origin"}
    assert browser.post("/api/v1/tokens", {"name": "x"}).status == 200


@pytest.mark.parametrize(
    "url",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\n/evil.example",
        "evil.example",
        "",
        "//[",
        "/a\r\nSet-Cookie: a=b",
        "/\x00",
    ],
)
def test_a_login_leads_nowhere_else(world: ConsoleWorld, url: str) -> None:
    """What a link says about where to go afterwards is a place of ours, or the first page."""
    assert safe_location(url) == "/"
    form = {"user": "admin", "password": "admin", "next": url}
    answer = world.client().post("/login", form, form=True)
    assert answer.status == 303 and answer.headers["location"] == "/"
    assert len(answer.cookies) == 1


def test_a_login_leads_back(world: ConsoleWorld) -> None:
    """The page that was asked for comes after the login, with its query and what is not ASCII."""
    assert safe_location("/registry?path=/fabric/ä&x=1#y") == "/registry?path=/fabric/%C3%A4&x=1#y"
    answer = world.client().get("/containers?filter=a%20b")
    assert answer.headers["location"] == "/login?next=%2Fcontainers%3Ffilter%3Da%2520b"


# ---- tokens


def test_a_token_stands_for_its_user_with_less(world: ConsoleWorld) -> None:
    """It may what its role says, as long as its user may that, too; revoked or expired it is nothing."""
    made = world.client("operator").post("/api/v1/tokens", {"name": "ci", "role": "operator", "days": 1}).json
    bearer = {"Authorization": f"Bearer {made['token']}"}
    assert world.client().get(ME, **bearer).json == {"user": "operator", "role": "operator"}
    world.console.users.set_roles("operator", ["viewer"])
    assert world.client().get(ME, **bearer).json["role"] == "viewer"
    stored = world.registry.get(f"/fabric/authentication/tokens/{made['id']}").data
    assert made["token"].encode() not in stored
    changed = made["token"][:-1] + ("A" if made["token"][-1] != "A" else "B")
    assert world.client().get(ME, Authorization=f"Bearer {changed}").status == 401
    world.console.users.delete("operator")
    assert world.client().get(ME, **bearer).status == 401


def test_a_token_expires(world: ConsoleWorld) -> None:
    """At its time, without anybody doing anything."""
    record, text = world.console.tokens.create("admin", Role.ADMIN, "old", 1, time.time() - DAY_S - 1)
    assert world.client().get(ME, Authorization=f"Bearer {text}").status == 401
    listed = world.client("admin").get("/api/v1/tokens").json
    assert [(token["id"], token["expired"]) for token in listed] == [(record.id, True)]


def test_a_token_makes_no_tokens_and_no_passwords(world: ConsoleWorld) -> None:
    """Who has found one cannot make it last."""
    text = world.client("admin").post("/api/v1/tokens", {"name": "ci", "role": "admin"}).json["token"]
    bearer = {"Authorization": f"Bearer {text}"}
    for path, body in (
        ("/api/v1/tokens", {"name": "more"}),
        ("/api/v1/me/password", {"current": "admin", "password": "another password"}),
    ):
        assert world.client().request("POST", path, body, headers=bearer).status == 403
