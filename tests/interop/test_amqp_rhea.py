"""rhea, the JavaScript client, against our broker, and after its master was killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import javascript
from support.listening import listening_ports
from support.our_broker import OurBroker, add_user, running
from support.waiting import wait_until
from support.zookeeper import ZooKeeperForTests, free_port

pytestmark = pytest.mark.interop


def our_broker(zookeeper: ZooKeeperForTests, folder: Path, container: str) -> tuple[OurBroker, int]:
    """A broker of ours with an AMQP connector, and its port."""
    port = free_port()
    properties = {"connectors": "openwire amqp", "amqp-port": str(port)}
    return OurBroker(zookeeper, folder, port=free_port(), container=container, properties=properties), port


def test_rhea_and_its_failover(zookeeper: ZooKeeperForTests, tmp_path: Path) -> None:
    """What it says and hears; then its master is killed, and nothing that was accepted is lost."""
    add_user(zookeeper)
    places = dict(our_broker(zookeeper, tmp_path, name) for name in ("first", "second"))
    with running(*places):

        def serving() -> list[OurBroker]:
            return [
                broker
                for broker, port in places.items()
                if broker.process.poll() is None and port in listening_ports(broker.process.pid)
            ]

        master = wait_until(serving, 30.0, lambda: "a master")[0]
        assert javascript.facts("amqp.js", "basics", str(places[master])) == javascript.AMQP_BASICS
        ports = [str(port) for port in places.values()]
        with javascript.start(tmp_path / "facts", "amqp.js", "numbers", *ports) as program:
            program.wait_for("accepted", 100)
            master.kill()
            wait_until(serving, 30.0, lambda: "another master")
            program.wait_for("accepted", len(program.values("accepted")) + 100)
            program.tell_to_stop()
            assert len(program.values("open")) >= 2
            accepted = set(program.values("accepted"))
        with javascript.start(tmp_path / "rest", "amqp.js", "numbers", *ports) as rest:
            rest.wait_for("got")
            wait_until(
                lambda: accepted <= {*program.values("got"), *rest.values("got")},
                20.0,
                lambda: f"lost: {accepted - {*program.values('got'), *rest.values('got')}}",
            )
