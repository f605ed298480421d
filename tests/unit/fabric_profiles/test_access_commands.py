"""Users, roles and tokens by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable

from click.testing import Result
from support.memory_session import MemorySession

from fabric.web.tokens import TokenRecord, digest
from registry.users import UserRecord, verify_password

Run = Callable[..., Result]
SECRET = "a long secret"


def record(session: MemorySession, user: str) -> UserRecord:
    """What the registry has of a user."""
    return UserRecord.parse(user, session.get(f"/fabric/authentication/users/{user}").data)


def test_a_user_from_beginning_to_end(run: Run, session: MemorySession) -> None:
    """Made, with roles more and less, another password, deleted."""
    run("user-add", "root@x", "--password", SECRET, "--role", "admin")
    run("user-add", "ann", "--password", SECRET, "--role", "viewer")
    assert "already exists" in run("user-add", "ann", "--password", SECRET, code=1).output
    assert "viewer, buyers" in run("role-add", "ann", "buyers").output
    assert run("role-remove", "ann", "viewer", "buyers").output == "User ann has the roles: none.\n"
    run("user-password", "ann", "--password", "another secret")
    assert verify_password("another secret", record(session, "ann").password_hash)
    assert json.loads(run("user-list", "--output", "json").stdout) == [
        {"name": "ann", "roles": []},
        {"name": "root@x", "roles": ["admin"]},
    ]
    assert "none" in run("user-list").output
    run("user-remove", "ann")
    assert "does not exist" in run("user-remove", "ann", code=1).output
    assert "last administrator" in run("user-remove", "root@x", code=1).output
    assert "last administrator" in run("role-remove", "root@x", "admin", code=1).output


def test_bad_users_are_refused(run: Run) -> None:
    """In words, and without a terminal nobody is asked."""
    assert "8 to 1024 characters" in run("user-add", "ann", "--password", "x", code=1).output
    assert "not a user name" in run("user-add", "a b", "--password", SECRET, code=1).output
    assert "fabric's own" in run("user-add", "console@x", "--password", SECRET, code=1).output
    assert "--password" in run("user-add", "ann", code=2).output
    assert "does not exist" in run("user-password", "ann", "--password", SECRET, code=1).output


def test_a_token_from_beginning_to_end(run: Run, session: MemorySession) -> None:
    """It works as one made in the console; nobody gets one that may more than he."""
    run("user-add", "ann", "--password", SECRET, "--role", "operator")
    assert "has not the role admin" in run("token-create", "ann", "ci", "--role", "admin", code=1).output
    text = run("token-create", "ann", "ci", "--role", "operator", "--days", "3").stdout.strip()
    token_id = text.split("_")[1]
    stored = session.get(f"/fabric/authentication/tokens/{token_id}").data
    found = TokenRecord.parse(token_id, stored)
    assert (found.digest, found.user, found.role) == (digest(text), "ann", "operator")
    assert token_id in run("token-list").output and token_id in run("token-list", "ann").output
    assert json.loads(run("token-list", "bob", "--output", "json").stdout) == []
    assert text not in run("token-list", "--output", "json").output
    run("token-revoke", token_id)
    assert "does not exist" in run("token-revoke", token_id, code=1).output
    assert "1 to 3650 days" in run("token-create", "ann", "ci", "--days", "0", code=1).output
