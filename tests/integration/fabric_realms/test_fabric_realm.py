"""A directory's users in a real fabric: the realm stands in a profile, its own password there encrypted."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests
from support.fabric import FabricForTests
from support.port_logins import LET_IN, Credentials, Line, log_in_stomp
from support.realms import Slapd, slapd
from support.waiting import wait_until

pytestmark = pytest.mark.integration

BROKER = "asking"
PID = "io.fabric8.authentication"
ANN = Credentials("ann", "ann-in-ldap")
CLERK = Credentials("clerk", "clerk-in-ldap")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """A directory in which only its reader finds anybody."""
    with slapd(tmp_path_factory.mktemp("ldap")) as server:
        yield server


@pytest.fixture(scope="module")
def fabric(directory: Slapd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """A fabric with a console and a broker, whose profile `default` names the directory."""
    fabric = FabricForTests(tmp_path_factory.mktemp("fabric"))
    try:
        fabric.create("--profile=fabric")
        encrypted = fabric.execute("encrypt-message", "reading").stdout.strip()
        assert encrypted.startswith("${crypt:") and "reading" not in encrypted
        realm = directory.properties(bindPassword=encrypted)
        values = {"realms": "ldap", **{f"ldap.{key}": value for key, value in realm.items()}}
        options = [word for key, value in values.items() for word in ("--pid", f"{PID}/{key}={value}")]
        fabric.run("profile-edit", *options, "default")
        fabric.run("mq-create", "--kind=StandAlone", "--create-container=node", BROKER)
        fabric.wait_master(BROKER, slaves=0)
        fabric.wait_provisioned("node")
        fabric.wait_provisioned("root")
        yield fabric
    finally:
        fabric.end()


def log_in(fabric: FabricForTests, who: Credentials) -> str:
    """What the broker answers over STOMP."""
    urls = fabric.broker(BROKER)["services"]
    (port,) = (int(url.rpartition(":")[2]) for url in urls if url.startswith("stomp://"))
    line = Line(port)
    try:
        return log_in_stomp(line, who)
    finally:
        line.close()


def ask(fabric: FabricForTests, who: Credentials) -> requests.Response:
    """Who the console takes somebody for, by HTTP Basic."""
    assert who.user is not None
    url = f"{fabric.console_url.rstrip('/')}/api/v1/me"
    return requests.get(url, auth=(who.user, who.password), timeout=30)


def test_users_of_the_directory_log_in_to_broker_and_console(fabric: FabricForTests) -> None:
    """With the roles that their groups are mapped to; the console needs one that it knows."""
    wait_until(lambda: ask(fabric, ANN).status_code == 200, 60, fabric.logs)
    told = ask(fabric, ANN).json()
    assert (told["user"], told["role"]) == ("ann", "operator")
    assert ask(fabric, CLERK).status_code == 403
    for who in (ANN, CLERK):
        assert log_in(fabric, who) == LET_IN


@pytest.mark.parametrize("user", ["ann", "admin", "stranger"])
def test_wrong_passwords_are_refused(fabric: FabricForTests, user: str) -> None:
    """Also of `admin`, who is in the directory too: that name is the registry's alone."""
    wrong = Credentials(user, "admin-in-ldap")
    assert log_in(fabric, wrong) == f"User name [{user}] or password is invalid."
    assert ask(fabric, wrong).status_code == 401


def test_the_password_is_nowhere_in_the_clear(fabric: FabricForTests) -> None:
    """Neither in the profile nor in what the containers say of it."""
    shown = fabric.run("profile-display", "--overlay", "default")
    assert "${crypt:" in shown and "bindPassword" in shown
    logs = [fabric.home.container(name).log.read_text("utf-8") for name in ("root", "node")]
    for text in (shown, fabric.run("container-info", "--verbose", "node"), *logs):
        assert not re.search(r"bindPassword\W{1,4}reading", text)
