"""Tokens before the first delivery and between two: nobody is refused who may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from support.console import ConsoleWorld, parse_response
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from fabric.web import known_tokens
from fabric.web.errors import Refused
from fabric.web.known_tokens import READ_S_MAX, KnownTokens
from fabric.web.roles import Role
from fabric.web.tokens import DAYS, TokenRecord, digest
from registry.errors import RegistryError, RegistryUnavailable

ID = "0123456789abcdef"
TEXT = f"fabric_{ID}_{'x' * 43}"
RECORD = TokenRecord(ID, digest(TEXT), "ann", "viewer", "ci", 0, 100)
ME = "/api/v1/me"


class Scene:
    """Tokens in memory, and a registry that answers when it is told to."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked: list[Callable[[TokenRecord | RegistryError | None], None]] = []
        self.now_s = 0.0
        self.known = KnownTokens(
            lambda: self.now_s, lambda token_id, done: self.asked.append(done), cast("Any", self.clock)
        )

    def find(self, text: str = TEXT) -> list[object]:
        """What is found, as soon as it is."""
        found: list[object] = []
        Deferred.fromCoroutine(self.known.find(text)).addBoth(found.append)
        return found


def failure_of(found: list[object]) -> Refused:
    """Why not."""
    (failure,) = found
    assert isinstance(failure, Failure) and isinstance(failure.value, Refused)
    return failure.value


def test_what_was_not_delivered_yet_is_asked_for() -> None:
    """Once; what is in memory is not."""
    scene = Scene()
    found = scene.find()
    assert found == [] and len(scene.asked) == 1
    scene.asked[0](RECORD)
    assert found == [RECORD]
    scene.known.set_records({ID: RECORD})
    assert scene.find() == [RECORD] and len(scene.asked) == 1
    scene.now_s = 100.0
    assert scene.find() == [None] and scene.known.get(ID) is None


@pytest.mark.parametrize(
    "text", ["", "fabric_", "fabric_0123_x", TEXT + "x", TEXT[:-1] + "\n", "FABRIC" + TEXT[6:]]
)
def test_what_can_be_no_token_asks_nobody(text: str) -> None:
    """It costs the registry nothing."""
    scene = Scene()
    assert scene.find(text) == [None] and scene.asked == []


def test_the_registry_knows_better_or_not_at_all() -> None:
    """No token of this name; another secret; expired."""
    scene = Scene()
    for answer in (None, TokenRecord(ID, digest("another"), "ann", "viewer", "ci", 0, 100)):
        found = scene.find()
        scene.asked[-1](answer)
        assert found == [None]
    scene.now_s = 200.0
    found = scene.find()
    scene.asked[-1](RECORD)
    assert found == [None]


def test_a_registry_that_does_not_answer_is_no_reason_to_say_that_the_token_is_wrong() -> None:
    """The answer is 503, soon."""
    scene = Scene()
    found = scene.find()
    scene.asked[-1](RegistryUnavailable("away"))
    assert failure_of(found).status == 503
    found = scene.find()
    scene.clock.advance(READ_S_MAX)
    assert failure_of(found).status == 503
    scene.asked[-1](RECORD)


def test_made_up_tokens_ask_so_often_at_a_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next ones wait for others."""
    monkeypatch.setattr(known_tokens, "READING_MAX", 2)
    scene = Scene()
    for _ in range(2):
        scene.find()
    assert failure_of(scene.find()).status == 503
    scene.asked[0](None)
    assert scene.find() == [] and len(scene.asked) == 3


def test_the_first_request_of_a_console_may_show_a_token() -> None:
    """Before the tokens, and before the users were delivered: it is answered when they are."""
    world = ConsoleWorld()
    _, text = world.console.tokens.create("admin", Role.VIEWER, "ci", DAYS, 0.0 + 2e9)
    world.console._token_watch.cancel()
    world.console.gate._tokens.set_records({})
    users, world.users._users = world.users._users, None
    assert users is not None
    head = f"GET {ME} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {text}\r\nConnection: close\r\n\r\n"
    transport = world.send(head.encode())
    assert transport.value() == b""
    world.users.set_users(users)
    answer = parse_response(transport.value())
    assert (answer.status, answer.json["user"], answer.json["role"]) == (200, "admin", "viewer")


def test_users_that_are_never_known_are_no_reason_either() -> None:
    """503 after a while."""
    world = ConsoleWorld()
    _, text = world.console.tokens.create("admin", Role.VIEWER, "ci", DAYS, 2e9)
    world.users._users = None
    head = f"GET {ME} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {text}\r\nConnection: close\r\n\r\n"
    transport = world.send(head.encode())
    world.reactor.advance(11)
    assert parse_response(transport.value()).status == 503
