"""The API of a real fabric is what its description says; and the command line from outside."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from typing import Any
from unittest import SkipTest
from urllib.parse import urlencode

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.fabric import BIN, COMMAND_TIMEOUT_S, FabricForTests
from support.waiting import wait_until

pytestmark = pytest.mark.integration

BASIC = "Basic " + base64.b64encode(b"admin:admin").decode()
WITHOUT_END = r"^/api/v1/(events|commands)$"
"""Streams are tested elsewhere."""
EXAMPLES = 6
"""Requests of each kind for each route: with what the description allows, and with what it does not."""


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """A fabric with a root container."""
    fabric = FabricForTests(tmp_path_factory.mktemp("fabric"))
    fabric.create()
    try:
        yield fabric
    finally:
        fabric.end()


@pytest.fixture(scope="module")
def url(fabric: FabricForTests) -> str:
    """Its console."""
    return fabric.run("zk-get", "/fabric/registry/containers/config/root/http").strip()


@pytest.fixture(scope="module")
def api(url: str) -> Any:
    """Its API, from its own description."""
    described = schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json")
    return described.exclude(path_regex=WITHOUT_END)


def is_no_mistake_of_ours(context: Any, response: Any, case: Any) -> None:
    """An error of the console's own is 500; 502 and 503 say that something else is away."""
    assert response.status_code != 500, response.text
    assert response.elapsed < 12, response.elapsed


CHECKS = [
    is_no_mistake_of_ours,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def test_every_route_answers_as_it_is_described(api: Any) -> None:
    """Statuses, types and schemas, for requests that are right and for such that are not."""
    asked = 0
    for found in api.get_all_operations():
        for mode in GenerationMode:
            asked += ask(found.ok(), mode)
    assert asked > 100


QUERY_BYTES_MAX = 15_000
"""The server ends the connection of a request whose first line is above 16 KiB, without an answer."""


def ask(operation: Any, mode: GenerationMode) -> int:
    """Ask a route in as many ways as there are; returns how many."""
    asked = 0

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask_once(case: Any) -> None:
        nonlocal asked
        hypothesis.assume(len(urlencode(case.query or {}, doseq=True)) < QUERY_BYTES_MAX)
        asked += 1
        case.call_and_validate(headers={"Authorization": BASIC}, checks=CHECKS)

    with contextlib.suppress(hypothesis.errors.Unsatisfiable, SkipTest):  # nothing to ask wrongly
        ask_once()
    return asked


def outside(fabric: FabricForTests, *arguments: str, code: int = 0) -> str:
    """Run a command where there is no fabric."""
    environment = {**fabric.environment, "FABRIC_HOME": "/nonexistent"}
    done = subprocess.run(
        [BIN / "fabric", *arguments],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stdout + done.stderr + fabric.logs()
    return done.stdout + done.stderr


def test_the_command_line_from_outside(fabric: FabricForTests, url: str) -> None:
    """What a viewer's token may is done and printed, what it may not is refused; passwords do, too."""
    token = fabric.run("token-create", "admin", "ci").strip()
    assert "root*" in outside(fabric, "--url", url, "--token", token, "container-list")
    assert "needs the role admin" in outside(fabric, "--url", url, "--token", token, "user-list", code=1)
    login = ("--url", url, "--user", "admin", "--password", "admin")
    assert "was made" in outside(fabric, *login, "user-add", "ann", "--password", "a long secret")
    assert "Missing argument" in outside(fabric, *login, "user-add", code=2)
    log = fabric.home.container("root").log.read_text()
    assert "user-add ann --password" in log and "a long secret" not in log


def test_browsers_come_with_tls_when_a_profile_says_so(fabric: FabricForTests, url: str) -> None:
    """The console moves to https with the container's certificate; whom nobody has signed for is refused."""
    fabric.run("certificate-create")
    fabric.run("profile-edit", "--pid", "io.fabric8.console/protocol=https", "console")

    def address() -> str:
        return fabric.run("zk-get", "/fabric/registry/containers/config/root/http").strip()

    wait_until(lambda: address().startswith("https://"), 60, fabric.logs)
    authority = str(fabric.home.authority_certificate)
    answer = requests.get(f"{address()}/login", verify=authority, timeout=30)
    assert answer.status_code == 200 and "max-age" in answer.headers["Strict-Transport-Security"]
    login = ("--url", address(), "--user", "admin", "--password", "admin")
    assert "not accepted" in outside(fabric, *login, "status", code=1)
    assert "fabric" in outside(fabric, "--ca", authority, *login, "status")
    show_the_new_certificate(fabric, address())


def show_the_new_certificate(fabric: FabricForTests, address: str) -> None:
    """After a renewal, and after the authority was replaced, without a restart of anything."""
    host, port = address.removeprefix("https://").rsplit(":", 1)
    authority = fabric.home.authority_certificate
    process = fabric.home.container("root").read_process()
    old = authority.read_bytes().decode()

    def shown() -> str:
        return ssl.get_server_certificate((host, int(port)), timeout=30)

    def is_trusted(by: str) -> bool:
        context = ssl.create_default_context(cadata=by)
        try:
            with (
                socket.create_connection((host, int(port)), 30) as raw,
                context.wrap_socket(raw, server_hostname=host),
            ):
                return True
        except ssl.SSLCertVerificationError:
            return False

    first = shown()
    assert "root" in fabric.run("certificate-renew")
    wait_until(lambda: shown() != first, 60, fabric.logs)
    assert is_trusted(old)
    fabric.run("certificate-rollover", "begin")
    new = authority.read_text().removeprefix(old)
    assert is_trusted(old) and not is_trusted(new)
    fabric.run("certificate-rollover", "switch")
    wait_until(lambda: is_trusted(new), 60, fabric.logs)
    assert not is_trusted(old) and is_trusted(old + new)
    fabric.run("certificate-rollover", "finish")
    assert authority.read_text() == new and is_trusted(new)
    assert fabric.home.container("root").read_process() == process
