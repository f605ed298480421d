"""`ensemble-password` and `ensemble-security`, as they are typed, against a registry in memory."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support.password_session import PasswordSession

from fabric.bootstrap import write_first_content
from fabric.home import Home, RegistryAddress
from fabric.store import ContainerStore
from registry import paths

Run = Callable[..., Result]

SERVERS = b"server.1=127.0.0.1:2888:3888:participant;127.0.0.1:2181\nversion=0"  # as ZooKeeper writes it


@pytest.fixture
def session() -> PasswordSession:
    """A registry with a root container that is connected, and runs its server."""
    session = PasswordSession("old")
    write_first_content(session)
    ContainerStore(session).create("root", profiles=["fabric"], version="1.0", fields={})
    session.put(paths.container_alive("root"), b'{"pid": 1, "host": "h", "started_at": 1}')
    session.put(paths.ensemble(), b"0000")
    session.put(paths.ensemble_members("0000"), b"root")
    return session


def test_the_password_is_shown(run: Run, session: PasswordSession) -> None:
    """Alone on standard output, for scripts; whether it is being changed stands beside it."""
    assert run("ensemble-password").stdout == "old\n"
    record = json.loads(run("ensemble-password", "--output=json").stdout)
    assert record == {
        "password": "old",
        "is_changing": False,
        "taken": ["root"],
        "waiting": [],
        "away": [],
    }


def test_both_steps_say_what_is_true_then(run: Run, session: PasswordSession) -> None:
    """A container that does not answer is named, and the command fails; when it has, it goes on."""
    said = run("ensemble-password", "new", "--timeout=0", code=1).output
    assert "Both passwords are accepted, but these containers do not know the new one yet: root." in said
    shown = run("ensemble-password")
    assert shown.stdout == "new\n"
    assert "Connected containers that do not know the new one yet: root" in shown.stderr
    assert "not yet known to: root" in run("ensemble-password", "-c", code=1).output
    session.answer("root")
    said = run("ensemble-password", "new").output
    assert "Both passwords are accepted. The new one is used by: root." in said
    assert "fabric ensemble-password --commit" in said
    run("ensemble-password", "--commit", "--timeout=0", code=1)
    session.answer("root")
    assert "No change is under way any more" in run("ensemble-password", "--commit").output
    assert session.given[-1] == ("new",)


def test_a_host_that_is_away_is_named(run: Run, session: PasswordSession) -> None:
    """And what to type there."""
    ContainerStore(session).create("north", profiles=["default"], version="1.0", fields={})
    run("ensemble-password", "new", "--timeout=0", code=1)
    session.answer("root")
    said = run("ensemble-password", "new").output
    assert "on hosts that do not know it: north" in said
    assert "fabric ensemble-password --note" in said
    assert "Containers on hosts that do not know it: north" in run("ensemble-password").stderr
    assert "hosts of: north" in run("ensemble-password", "--commit", code=1).output


def test_the_new_one_need_not_stand_on_the_command_line(run: Run, session: PasswordSession) -> None:
    """`-` reads it from standard input."""
    run("ensemble-password", "-", "--timeout=0", code=1, stdin="from-a-file\r\n")
    assert session.password == "from-a-file"
    assert "it is empty" in run("ensemble-password", "-", code=1, stdin="").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("new", "--commit"), "one at a time"),
        (("--note", "--commit"), "one at a time"),
        (("--force",), "--force goes with --commit"),
        (("--note",), "The password of ZooKeeper is missing"),
    ],
)
def test_what_does_not_go_together(
    run: Run, session: PasswordSession, arguments: list[str], said: str
) -> None:
    """It is wrong usage, and nothing is changed."""
    assert said in run("ensemble-password", *arguments, code=2).output
    assert session.given == []


def test_a_host_that_was_away_notes_it(run: Run, session: PasswordSession, tmp_path: Path) -> None:
    """What was given, not what is noted there, is tried and written down."""
    home = Home(tmp_path)
    home.write_registry_address(RegistryAddress("h:2181", "of-the-time-before"))
    session.password = "present"
    said = run("ensemble-password", "--note", "--zookeeper-password=present").output
    assert "The password is noted for this host" in said
    assert home.read_registry_address() == RegistryAddress("h:2181", "present")


def test_servers_always_prove_who_they_are(run: Run, session: PasswordSession) -> None:
    """The state is shown; to enable it changes nothing, to disable it is refused with the reason."""
    assert "disabled" in run("ensemble-security").output  # a server of an earlier release
    session.put("/zookeeper/config", SERVERS)
    assert "authentication is currently enabled\n" in run("ensemble-security").output
    assert "authentication is already enabled\n" in run("ensemble-security", "--enable-sasl").output
    assert "SASL stays enabled" in run("ensemble-security", "--disable-sasl", code=1).output
    run("ensemble-security", "--disable-sasl", "--enable-sasl", code=2)
    assert json.loads(run("ensemble-security", "--output=json").output) == {
        "sasl": "enabled",
        "containers": ["root"],
    }


def test_servers_of_others_are_their_business(run: Run, session: PasswordSession) -> None:
    """Nothing is known of them, and nothing is changed."""
    session.put(paths.ensemble_members("0000"), b"")
    assert "unknown" in run("ensemble-security").output
    for option in ("--enable-sasl", "--disable-sasl"):
        assert "does not run its ensemble itself" in run("ensemble-security", option, code=1).output
