"""The journal's tool and real brokers: what one broker has stored is served by another."""

import signal
from pathlib import Path

import pytest
from support.openwire_peer import OpenWirePeer
from support.our_broker import OurBroker, add_user, running
from support.zookeeper import ZooKeeperForTests, free_port

from journal.__main__ import main

pytestmark = pytest.mark.integration

QUEUE = "workshop.test"
MESSAGES = 40


def test_a_broker_serves_what_was_exported_from_another(
    zookeeper: ZooKeeperForTests, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store of a running broker is exported; a new broker delivers it, in order, once."""
    add_user(zookeeper)
    export = tmp_path / "out.jsonl"
    first = OurBroker(zookeeper, tmp_path, port=free_port(), name="one", store=tmp_path / "store")
    with running(first):
        first.wait_listening()
        with OpenWirePeer(first.port) as client:
            client.log_in()
            for number in range(MESSAGES):
                client.send(QUEUE, f"m{number}", number + 1)
            assert main(["verify", str(tmp_path / "store")]) == 0
            assert main(["export", str(tmp_path / "store"), str(export)]) == 0
            client.send(QUEUE, "later", MESSAGES + 1)
        assert main(["import", str(tmp_path / "store"), str(export)]) == 2
        assert "the store's master is running: first (pid " in capsys.readouterr().err
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(20) == 0
    (tmp_path / "other").mkdir()
    assert main(["import", str(tmp_path / "other"), str(export)]) == 0
    second = OurBroker(
        zookeeper, tmp_path, port=free_port(), container="second", name="two", store=tmp_path / "other"
    )
    with running(second):
        second.wait_listening()
        with OpenWirePeer(second.port) as client:
            client.log_in()
            assert client.drain(QUEUE, MESSAGES) == [f"m{number}" for number in range(MESSAGES)]
    assert main(["import", str(tmp_path / "store"), str(export)]) == 0, "a closed store is not in use"


def test_a_store_of_a_killed_broker_can_be_restored(
    zookeeper: ZooKeeperForTests, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A killed broker's token still stands; its process does not run any more, so the import goes on."""
    add_user(zookeeper)
    broker = OurBroker(zookeeper, tmp_path, port=free_port(), name="killed", store=tmp_path / "store")
    with running(broker):
        broker.wait_listening()
        with OpenWirePeer(broker.port) as client:
            client.log_in()
            client.send(QUEUE, "first", 1)
        broker.kill()
    export = tmp_path / "out.jsonl"
    assert main(["export", str(tmp_path / "store"), str(export)]) == 0
    assert main(["import", str(tmp_path / "store"), str(export)]) == 0
    assert "imported 1 messages" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "store")]) == 0
    assert "sound: 2 live messages" in capsys.readouterr().out
