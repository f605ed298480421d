"""Users, passwords and tokens by the API and on their pages."""

from __future__ import annotations

import pytest
from support.console import ConsoleWorld

from fabric.web.roles import Role
from fabric.web.tokens import TOKENS_OF_USER_MAX

SECRET = "a long secret"


@pytest.fixture
def world() -> ConsoleWorld:
    """A console."""
    return ConsoleWorld()


def test_a_user_from_beginning_to_end(world: ConsoleWorld) -> None:
    """He is made, gets another password and other roles, and is deleted with his tokens."""
    admin = world.client("admin")
    body = {"name": "ann@shop", "password": SECRET, "roles": ["viewer"]}
    assert admin.post("/api/v1/users", body).json["message"] == "User ann@shop was made."
    assert admin.post("/api/v1/users", body).status == 409
    assert {"name": "ann@shop", "roles": ["viewer"]} in admin.get("/api/v1/users").json
    token = world.console.tokens.create("ann@shop", Role.VIEWER, "t", 1, 0)[0]
    assert admin.post("/api/v1/users/ann%40shop/roles", {"roles": ["operator", "buyers"]}).status == 200
    assert world.console.users.get("ann@shop").roles == ("operator", "buyers")
    assert admin.post("/api/v1/users/ann@shop/password", {"password": "another secret"}).status == 200
    assert "ann@shop" in admin.get("/users").text
    assert admin.request("DELETE", "/api/v1/users/ann@shop").status == 200
    assert not world.registry.exists(f"/fabric/authentication/tokens/{token.id}")
    assert admin.request("DELETE", "/api/v1/users/ann@shop").status == 404


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a b", "password": SECRET},
        {"name": "", "password": SECRET},
        {"name": "../x", "password": SECRET},
        {"name": "console@root", "password": SECRET},
        {"name": "x" * 65, "password": SECRET},
        {"name": "ann", "password": "short"},
        {"name": "annannann", "password": "annannann"},
        {"name": "ann", "password": "x" * 1025},
        {"name": "ann", "password": SECRET, "roles": ["a b"]},
        {"name": "ann", "password": SECRET, "roles": [f"r{number}" for number in range(51)]},
        {"name": "ann"},
    ],
)
def test_a_user_who_cannot_be_is_not_made(world: ConsoleWorld, body: dict[str, object]) -> None:
    """And the answer does not repeat his password."""
    answer = world.client("admin").post("/api/v1/users", body)
    assert answer.status == 400 and SECRET not in answer.text


def test_somebody_stays_administrator(world: ConsoleWorld) -> None:
    """The last one is neither deleted nor made less."""
    admin = world.client("admin")
    assert admin.request("DELETE", "/api/v1/users/admin").status == 409
    assert admin.post("/api/v1/users/admin/roles", {"roles": ["viewer"]}).status == 409
    world.console.users.add_roles("operator", ["_g_:admin"])
    assert admin.post("/api/v1/users/admin/roles", {"roles": ["viewer"]}).status == 200


def test_the_fabrics_own_users_are_nobodys(world: ConsoleWorld) -> None:
    """They are not shown, and cannot be changed."""
    world.registry.create(
        "/fabric/authentication/users/console@root", b'{"password": "x", "roles": ["admin"]}'
    )
    admin = world.client("admin")
    assert "console@root" not in admin.get("/api/v1/users").text + admin.get("/users").text
    assert admin.post("/api/v1/users/console@root/password", {"password": SECRET}).status == 404


def test_everybody_changes_his_own_password(world: ConsoleWorld) -> None:
    """With the current one; all his logins end, and the new one counts."""
    first, second = world.browser("viewer"), world.browser("viewer")
    path = "/api/v1/me/password"
    assert first.post(path, {"current": "wrong", "password": SECRET}).status == 403
    assert first.post(path, {"current": "viewer", "password": "short"}).status == 400
    assert first.post(path, {"current": "viewer", "password": SECRET}, form=True).status == 200
    assert first.get("/api/v1/me").status == second.get("/api/v1/me").status == 401
    login = {"user": "viewer", "password": SECRET}
    assert world.client().post("/login", login, form=True).status == 303


def test_wrong_current_passwords_slow_down_too(world: ConsoleWorld) -> None:
    """A browser left open is no place to guess at."""
    browser = world.browser("viewer")
    statuses = [
        browser.post("/api/v1/me/password", {"current": "x", "password": SECRET}).status for _ in range(6)
    ]
    assert statuses == [403] * 5 + [429]


def test_tokens_are_ones_own(world: ConsoleWorld) -> None:
    """Others' are for administrators; nobody makes one that may more than himself."""
    operator, viewer, admin = (world.client(name) for name in ("operator", "viewer", "admin"))
    made = operator.post("/api/v1/tokens", {"name": "ci", "role": "operator", "days": 7}).json
    assert made["token"].startswith(f"fabric_{made['id']}_")
    assert viewer.post("/api/v1/tokens", {"name": "ci", "role": "operator"}).status == 403
    assert viewer.get("/api/v1/tokens").json == []
    assert viewer.get("/api/v1/tokens?user=operator").status == 403
    assert viewer.request("DELETE", f"/api/v1/tokens/{made['id']}").status == 404
    assert [token["name"] for token in admin.get("/api/v1/tokens?user=*").json] == ["ci"]
    assert [token["role"] for token in admin.get("/api/v1/tokens?user=operator").json] == ["operator"]
    assert made["token"] not in operator.get("/account").text
    assert "ci" in operator.get("/account", HX_Request="true").text
    assert admin.request("DELETE", f"/api/v1/tokens/{made['id']}").status == 200
    assert admin.request("DELETE", f"/api/v1/tokens/{made['id']}").status == 404
    assert admin.request("DELETE", "/api/v1/tokens/..").status == 404


@pytest.mark.parametrize(
    "body",
    [{"name": ""}, {"name": " "}, {"name": "a\nb"}, {"name": "x", "days": 0}, {"name": "x", "role": "root"}],
)
def test_a_token_that_cannot_be_is_not_made(world: ConsoleWorld, body: dict[str, object]) -> None:
    """Names, days and roles have their limits."""
    assert world.client("admin").post("/api/v1/tokens", body).status == 400


def test_so_many_tokens_and_no_more(world: ConsoleWorld) -> None:
    """Who makes more has forgotten to revoke some."""
    for number in range(TOKENS_OF_USER_MAX):
        world.registry.create(
            f"/fabric/authentication/tokens/{number:016x}",
            b'{"digest": "", "user": "admin", "role": "admin", "name": "", "created": 0, "expires": 0}',
        )
    world.registry.create("/fabric/authentication/tokens/unreadable", b"{}")
    assert world.client("admin").post("/api/v1/tokens", {"name": "x"}).status == 400
