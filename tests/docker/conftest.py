"""One lab for all tests of a session: starting it takes longer than most of them. Others run beside it."""

import uuid
from collections.abc import Iterator

import pytest
from support.docker_lab import DockerLab
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

COMPOSE = "tests/docker/test_compose_"
"""How the names of all tests of the compose lab begin; each other lab has a file of its own."""


class LabByLab(LoadScopeScheduling):
    """Tests of one lab stay on one worker."""

    def _split_scope(self, nodeid: str) -> str:
        return COMPOSE if nodeid.startswith(COMPOSE) else nodeid.split("::", maxsplit=1)[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """In a parallel run."""
    return LabByLab(config, log)


@pytest.fixture(scope="session")
def lab() -> Iterator[DockerLab]:
    """Return the compose lab with all its hosts healthy. Whoever breaks something mends it."""
    lab = DockerLab(f"fabric-test-{uuid.uuid4().hex[:8]}")
    try:
        lab.up()
        yield lab
    finally:
        lab.close()
