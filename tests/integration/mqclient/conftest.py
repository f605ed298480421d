"""Fixtures of the client's tests."""

from collections.abc import Iterator

import pytest
from support.model_broker_server import ModelBroker
from support.mqclient_programs import connect

from mqclient import Connection


@pytest.fixture
def broker() -> Iterator[ModelBroker]:
    """A broker that serves."""
    with ModelBroker() as made:
        yield made


@pytest.fixture
def connection(broker: ModelBroker) -> Iterator[Connection]:
    """A started connection to it, with failover."""
    with connect(broker) as made:
        yield made
