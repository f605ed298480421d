"""What holds for every route there is: who may, what is refused, what is described."""

from __future__ import annotations

import re
from functools import cache

import pytest
from support.console import ConsoleWorld, Response

from fabric.web.roles import Role
from fabric.web.routes import Route
from fabric.web.table import ROUTES

FOR_EVERYBODY = {
    "/",
    "/login",
    "/login/openid/<realm>",
    "/login/openid/<realm>/callback",
    "/logout",
    "/api/v1/openapi.json",
    "/mq-discovery/<group>",
    "/metrics",
}
"""Paths that may need no role; whoever adds one says so here."""
ANSWERED_OTHERWISE = {"/api/v1/openapi.json", "/api/v1/events", "/api/v1/commands", "/mq-discovery/<group>"}
"""Routes of the API whose answer is no JSON of a type: a description, and streams."""
USER_OF = {Role.VIEWER: "viewer", Role.OPERATOR: "operator", Role.ADMIN: "admin"}

NEEDS_ROLE = [route for route in ROUTES if route.role is not None]
CHANGES = [route for route in NEEDS_ROLE if route.changes]


def name_of(route: Route) -> str:
    """For test ids."""
    return f"{route.method} {route.path}"


@cache
def world() -> ConsoleWorld:
    """One console: nothing here changes it."""
    return ConsoleWorld()


def ask(client: str, route: Route, *, browser: bool = False, **headers: str) -> Response:
    """Ask for a route with paths that lead nowhere."""
    who = world().browser(client) if browser else world().client(client)
    for name, value in headers.items():
        if value:
            who.headers[name.replace("_", "-")] = value
        else:
            who.headers.pop(name.replace("_", "-"), None)
    path = re.sub(r"<[^>]+>", "nothing", route.path)
    return who.request(route.method, path, {} if route.body else None)


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_every_route_says_what_it_is(route: Route) -> None:
    """A sentence for the description, a decision about roles, a type of the answer."""
    assert route.summary[:1].isupper() and route.summary.endswith(".")
    if route.role is None:
        assert route.path in FOR_EVERYBODY or route.path.startswith("/static/")
    if route.is_api and route.path not in ANSWERED_OTHERWISE:
        assert route.answer is not None
    if not route.is_api and route.path not in ("/login", "/logout"):
        assert not route.changes
    assert sum(other.path == route.path and other.method == route.method for other in ROUTES) == 1


@pytest.mark.parametrize("route", NEEDS_ROLE, ids=name_of)
def test_nobody_is_let_in_without_saying_who_he_is(route: Route) -> None:
    """Programs get 401, browsers the page for logging in."""
    answer = ask("", route)
    if route.is_api:
        assert answer.status == 401 and answer.json["error"]["code"] == "not_logged_in"
    else:
        assert answer.status in (401, 303)
        assert answer.status == 401 or answer.headers["location"].startswith("/login?next=%2F")


@pytest.mark.parametrize("route", [route for route in NEEDS_ROLE if route.role != Role.VIEWER], ids=name_of)
def test_every_lower_role_is_refused(route: Route) -> None:
    """With and without a browser; who has none of the roles, too."""
    lower = [user for role, user in USER_OF.items() if route.role is not None and role < route.role]
    for user in [*lower, "nobody"]:
        assert ask(user, route).status == 403
    for user in lower:
        assert ask(user, route, browser=True).status == 403


@pytest.mark.parametrize("route", CHANGES, ids=name_of)
def test_no_change_comes_from_another_site(route: Route) -> None:
    """Neither with the right cookie and token, nor with what a browser remembers of HTTP Basic."""
    for browser in (True, False):
        for headers in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
            answer = ask("admin", route, browser=browser, **headers)
            assert answer.status == 403 and "another site" in answer.text


@pytest.mark.parametrize("route", CHANGES, ids=name_of)
def test_no_change_without_the_page_it_comes_from(route: Route) -> None:
    """A browser's change needs the CSRF token of its login."""
    for token in ("", "wrong"):
        answer = ask("admin", route, browser=True, X_CSRF_Token=token)
        assert answer.status == 403 and "out of date" in answer.text


XSS = "<img src=x onerror=alert(1)>\"'"


def test_what_users_and_tokens_are_called_is_text() -> None:
    """Wherever a page shows it."""
    own = ConsoleWorld()
    admin = own.client("admin")
    assert admin.post("/api/v1/tokens", {"name": XSS}).status == 200
    own.registry.set(
        "/fabric/authentication/users/nobody", b'{"password": "", "roles": ["<script>alert(1)"]}'
    )
    for path in (
        "/account",
        "/users",
        f"/login?next={XSS.replace(' ', '+')}",
        f"/containers?filter={XSS.replace(' ', '+')}",
    ):
        page = (admin if "login" not in path else own.client()).get(path)
        assert page.status == 200, path
        assert "<img src=x" not in page.text and "<script>alert" not in page.text
    answer = own.client().post("/login", {"user": XSS, "password": "x"}, form=True)
    assert answer.status == 401 and "<img src=x" not in answer.text
