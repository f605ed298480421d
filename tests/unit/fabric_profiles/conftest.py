"""A fabric in memory."""

import pytest
from support.memory_session import MemorySession

from fabric.bootstrap import ensemble_profiles, write_first_content
from fabric.store import ContainerStore, ProfileStore


@pytest.fixture
def session() -> MemorySession:
    """A registry with the first content and a root container."""
    session = MemorySession()
    write_first_content(session, profiles=ensemble_profiles(2181))
    ContainerStore(session).create(
        "root",
        profiles=["fabric", "fabric-ensemble-0000-1", "mq-amq"],
        version="1.0",
        fields={"ip": "${zk:root/localip}", "localip": "127.0.0.1", "resolver": "localip"},
    )
    return session


@pytest.fixture
def profiles(session: MemorySession) -> ProfileStore:
    """Its profiles."""
    return ProfileStore(session)


@pytest.fixture
def containers(session: MemorySession) -> ContainerStore:
    """Its containers."""
    return ContainerStore(session)
