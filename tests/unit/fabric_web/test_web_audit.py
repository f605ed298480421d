"""What the console and the API leave in the audit log, and its page."""

from typing import cast

import pytest
from support.console import ConsoleWorld

from broker.failed_logins import OF_ADDRESS_MAX, PERIOD_S
from fabric.audit import AuditEntry, read_entries, write_entry
from registry.session import Session


@pytest.fixture
def world() -> ConsoleWorld:
    """A console."""
    return ConsoleWorld()


def written(world: ConsoleWorld) -> list[AuditEntry]:
    """What the registry has."""
    return read_entries(cast("Session", world.registry))


def test_a_change_by_the_api_is_written_down(world: ConsoleWorld) -> None:
    """Who, his role, and what, without the password."""
    body = {"name": "bob", "password": "s3cr3t-s3cr3t", "roles": ["viewer"]}
    world.client("admin").post("/api/v1/users", body)
    (entry,) = written(world)
    assert (entry.user, entry.role, entry.origin, entry.result) == ("admin", "admin", "api", "done")
    assert "/api/v1/users" in entry.action
    assert "bob" in entry.action
    assert "s3cr3t" not in repr(entry)


def test_what_was_not_allowed_is_written_down(world: ConsoleWorld) -> None:
    """The entry says that it was refused."""
    world.client("viewer").post("/api/v1/users", {"name": "bob", "password": "password1", "roles": []})
    (entry,) = written(world)
    assert (entry.user, entry.role) == ("viewer", "viewer")
    assert entry.result.startswith("403")


def test_logins_are_written_down(world: ConsoleWorld) -> None:
    """Of a browser, and one that was refused; so many of these."""
    world.browser("admin")
    (entry,) = written(world)
    assert (entry.user, entry.action, entry.result) == ("admin", "login", "done")
    for number in range(OF_ADDRESS_MAX + 5):
        world.client().post("/login", {"user": f"nobody{number}\n\x1b[2J", "password": "x"}, form=True)
    refused = [each for each in written(world) if each.result.startswith("refused")]
    assert len(refused) == OF_ADDRESS_MAX


def test_a_flood_of_wrong_passwords_is_one_entry_a_minute(world: ConsoleWorld) -> None:
    """With their number; what was not written yet is when the console stops."""
    for _ in range(4):
        world.client().post("/login", {"user": "ann", "password": "x"}, form=True)
    assert [(each.user, each.count) for each in written(world)] == [("ann", 1)]
    world.reactor.advance(PERIOD_S)
    assert [(each.user, each.count) for each in written(world)] == [("ann", 3), ("ann", 1)]
    assert "3 times" in world.client("admin").get("/audit").text
    for _ in range(3):
        world.client().post("/login", {"user": "bob", "password": "x"}, form=True)
    world.console.close()
    assert [(each.user, each.count) for each in written(world)][:2] == [("bob", 2), ("bob", 1)]


def test_the_page_and_the_api_show_it_to_administrators(world: ConsoleWorld) -> None:
    """Nobody else; and what stands in it is shown as text."""
    entry = AuditEntry(1_700_000_000_000, "<b>ann</b>", "", "api", "x\x1b", "user-add", "done")
    write_entry(cast("Session", world.registry), world.console.home.audit_log, entry)
    page = world.client("admin").get("/audit")
    assert page.status == 200
    assert "&lt;b&gt;ann" in page.text
    assert "\x1b" not in page.text
    (item,) = world.client("admin").get("/api/v1/audit").json
    assert item == entry.to_json()
    assert world.client("admin").get("/api/v1/audit?user=bob").json == []
    assert world.client("operator").get("/api/v1/audit").status == 403
    assert world.client("operator").get("/audit").status == 403
    assert world.client().get("/api/v1/audit").status == 401
