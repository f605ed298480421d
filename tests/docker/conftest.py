"""One lab for all tests of a session: starting it takes longer than most of them."""

import uuid
from collections.abc import Iterator

import pytest
from support.docker_lab import DockerLab


@pytest.fixture(scope="session")
def lab() -> Iterator[DockerLab]:
    """Return the compose lab with all its hosts healthy. Whoever breaks something mends it."""
    lab = DockerLab(f"fabric-test-{uuid.uuid4().hex[:8]}")
    try:
        lab.up()
        yield lab
    finally:
        lab.close()
