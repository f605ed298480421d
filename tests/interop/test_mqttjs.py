"""MQTT.js, npm's `mqtt`, works against our broker, and follows a master that was killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import javascript
from support.our_broker import OurBroker, add_user, running
from support.zookeeper import ZooKeeperForTests, free_port

pytestmark = pytest.mark.interop


def test_basics_and_takeover(zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """Each QoS of both versions, retained messages, properties; with QoS 2 each number comes once."""
    add_user(zookeeper)
    port = free_port()
    properties = {"connectors": "openwire mqtt", "mqtt-port": str(port)}

    def broker(container: str) -> OurBroker:
        return OurBroker(zookeeper, tmp_path, port=free_port(), container=container, properties=properties)

    url = f"mqtt://127.0.0.1:{port}"
    first = broker("first")
    with running(first):
        first.wait_listening()
        assert javascript.facts("mqtt.js", "basics", url) == javascript.MQTT_BASICS
        program = javascript.start(tmp_path / "sent", "mqtt.js", "numbers", url, "200")
        with program:
            program.wait_for("confirmed", 50)
            first.kill()
            second = broker("second")
            with running(second):
                program.wait_for("done", timeout_s=60)
                assert program.wait_for("got", 200) == [f"{number}" for number in range(200)]
