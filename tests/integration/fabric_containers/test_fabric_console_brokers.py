"""The console asks real brokers: with a user of its own, through takeovers, slow ones and unknown ones."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from support.fabric import FabricForTests
from support.waiting import wait_until

BROKER = "orders"
PATH = f"/api/v1/brokers/default/{BROKER}"
PATIENCE_S = 60.0


class ApiClient:
    """A program that uses the API as an administrator."""

    def __init__(self, url: str) -> None:
        self._url = url
        secret = base64.b64encode(b"admin:admin").decode()
        self._headers = {"Authorization": f"Basic {secret}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One request: its status and what it answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, self._headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def get(self, path: str) -> Any:
        """What a route answers, which must be well."""
        status, found = self.ask("GET", path)
        assert status == 200, found
        return found

    def post(self, path: str, body: object = None) -> Any:
        """Likewise of a change."""
        status, found = self.ask("POST", path, body or {})
        assert status == 200, found
        return found


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricForTests]:
    """A fabric in which a master and a slave serve one broker."""
    fabric = FabricForTests(tmp_path_factory.mktemp("fabric"))
    try:
        fabric.create()
        fabric.run("mq-create", "--group", "default", BROKER)
        fabric.run("container-create-child", "--profile", f"mq-broker-default.{BROKER}", "root", "node", "2")
        fabric.wait_master(BROKER, slaves=1)
        yield fabric
    finally:
        fabric.end()


@pytest.fixture
def api(fabric: FabricForTests) -> ApiClient:
    """A client of the console's API."""
    return ApiClient(fabric.console_url)


def test_work_with_a_real_broker(api: ApiClient) -> None:
    """Send, look, move and remove, with a name that needs care; the console's user is known as its own."""
    name = "a/b %2F <b>"
    queue = f"{PATH}/queues/{quote(name, safe='')}"
    assert api.post(f"{PATH}/queues", {"name": name})["job"]["user"] == "console@root"
    for number in range(3):
        api.post(f"{queue}/messages", {"text": f"text {number}", "properties": {"number": number}})
    assert api.get(queue)["waiting"] == 3
    found = api.get(f"{queue}/messages?selector=number%3E0")["items"]
    assert [each["preview"] for each in found] == ["text 1", "text 2"]
    moved = api.post(f"{queue}/move", {"refs": [found[0]["ref"]], "target": "kept"})
    assert moved["message"] == "Moved 1 message to queue://kept."
    assert api.post(f"{queue}/purge", {"all": True})["job"]["changed"] == 2
    assert api.get(f"{PATH}/queues?filter=kept")["items"][0]["size"] == 1
    delayed = api.post(f"{queue}/messages", {"text": "later", "delay_ms": 3_600_000})
    assert delayed["job"]["state"] == "done"
    assert api.get(f"{PATH}/scheduled")["items"][0]["message"]["preview"] == "later"
    assert api.get(queue)["waiting"] == 0


def test_a_takeover(fabric: FabricForTests, api: ApiClient) -> None:
    """The next question is answered by the next master, which has all that was there."""
    api.post(f"{PATH}/queues/survivors/messages", {"text": "one"})
    master = fabric.broker(BROKER)["masters"][0]
    os.kill(fabric.pid(master), signal.SIGKILL)

    def is_served_by_another() -> bool:
        status, found = api.ask("GET", PATH)
        assert status in (200, 503), found
        return status == 200 and found["row"]["masters"] not in ([], [master])

    wait_until(is_served_by_another, PATIENCE_S, fabric.logs)
    wait_until(lambda: api.ask("GET", f"{PATH}/queues/survivors")[0] == 200, PATIENCE_S, fabric.logs)
    assert api.get(f"{PATH}/queues/survivors")["waiting"] == 1
    fabric.wait_master(BROKER, slaves=1)


def test_a_silent_broker_keeps_nobody_else_waiting(fabric: FabricForTests, api: ApiClient) -> None:
    """A master that is frozen fails its own pages after a while; those of other brokers answer at once."""
    fabric.wait_master(BROKER, slaves=1)
    api.get(PATH)
    frozen = fabric.pid(fabric.broker(BROKER)["masters"][0])
    os.kill(frozen, signal.SIGSTOP)
    try:
        begun_s = time.monotonic()
        api.get("/api/v1/brokers/default/root")
        assert time.monotonic() - begun_s < PATIENCE_S / 2
        wait_until(
            lambda: api.ask("GET", f"{PATH}/queues/survivors")[0] == 200, PATIENCE_S, fabric.logs
        )  # the slave has taken over, for the session of a frozen master expires
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(frozen, signal.SIGCONT)


def test_unknown_brokers(api: ApiClient) -> None:
    """A clear 404 for a broker or a group that is not there."""
    for path in ("/api/v1/brokers/default/none", "/api/v1/brokers/none/orders/queues"):
        status, found = api.ask("GET", path)
        assert status == 404, found
        assert found["error"]["code"] == "broker_not_found"
