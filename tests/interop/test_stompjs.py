"""@stomp/stompjs works against our broker, and follows a master that was killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import javascript
from support.our_broker import OurBroker, add_user, running
from support.zookeeper import ZooKeeperForTests, free_port

pytestmark = pytest.mark.interop


def our_broker(zookeeper: ZooKeeperForTests, folder: Path, container: str) -> tuple[OurBroker, str, str]:
    """A broker, the port where it speaks STOMP, and the URL where it does so over WebSocket."""
    port, other = str(free_port()), str(free_port())
    properties = {"connectors": "openwire stomp ws", "stomp-port": port, "ws-port": other}
    broker = OurBroker(zookeeper, folder, port=free_port(), container=container, properties=properties)
    return broker, port, f"ws://127.0.0.1:{other}"


def test_basics_and_takeover(zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """Text, bytes, headers, acknowledgements, transactions; no confirmed message is lost with a master."""
    add_user(zookeeper)
    first, first_port, first_url = our_broker(zookeeper, tmp_path, "first")
    with running(first):
        first.wait_listening()
        for place in (first_port, first_url):
            assert javascript.facts("stomp.js", "basics", place) == javascript.STOMP_BASICS
        second, _, second_url = our_broker(zookeeper, tmp_path, "second")
        program = javascript.start(tmp_path / "sent", "stomp.js", "numbers", "100", first_url, second_url)
        with running(second), program:
            program.wait_for("confirmed", 50)
            first.kill()
            program.wait_for("done", timeout_s=60)
            assert program.values("confirmed") == [f"{number}" for number in range(100)]
