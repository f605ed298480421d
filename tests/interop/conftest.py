"""Fixtures for several files of these tests."""

from collections.abc import Iterator

import pytest
from support.mqtt_scene import started_broker
from support.zookeeper import ZooKeeperForTests


@pytest.fixture(scope="module")
def mqtt_port(zookeeper: ZooKeeperForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A broker that serves MQTT for all tests of a file; its port."""
    yield from started_broker(zookeeper, tmp_path_factory.mktemp("mqtt"))
