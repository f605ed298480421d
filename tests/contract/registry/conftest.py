"""The registries that have to keep the contract."""

import re

import pytest
from support.worlds import FakeWorld, RealWorld, World


@pytest.fixture(params=["real", "fake"])
def world(request: pytest.FixtureRequest) -> World:
    """A registry."""
    return RealWorld(request.getfixturevalue("zookeeper")) if request.param == "real" else FakeWorld()


@pytest.fixture
def unique_name(request: pytest.FixtureRequest) -> str:
    """A name for znodes of the test's own."""
    return re.sub(r"\W+", "-", request.node.name).strip("-")
