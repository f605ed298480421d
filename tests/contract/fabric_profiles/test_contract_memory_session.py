"""The registry in memory keeps the promises of the real one that stores and commands build on."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from support.memory_session import MemorySession
from support.registry import open_session

from registry.errors import NodeExists, NodeNotEmpty, NoSuchNode, VersionConflict
from registry.session import Session

AnySession = MemorySession | Session


@pytest.fixture(params=["memory", pytest.param("zookeeper", marks=pytest.mark.integration)])
def session(request: pytest.FixtureRequest) -> Iterator[AnySession]:
    """Each test runs with both."""
    if request.param == "memory":
        yield MemorySession()
    else:
        with open_session(request.getfixturevalue("zookeeper")) as real:
            yield real


@pytest.fixture
def root(session: AnySession) -> str:
    """A place of the test's own."""
    return f"/fabric/contract-{uuid4().hex}"


def test_what_is_created_can_be_read(session: AnySession, root: str) -> None:
    """A znode is created with its parents and read with version 0."""
    assert session.create(f"{root}/a/b", b"text") == f"{root}/a/b"
    node = session.get(f"{root}/a/b")
    assert (node.data, node.version, node.ephemeral_owner) == (b"text", 0, 0)
    assert session.get(f"{root}/a").data == b""
    assert session.children(root) == ["a"]


def test_missing_znodes(session: AnySession, root: str) -> None:
    """A missing znode is an error where it is needed and None where it is asked for."""
    assert session.get_or_none(root) is None
    assert not session.exists(root)
    for attempt in (session.get, session.children, session.delete):
        with pytest.raises(NoSuchNode):
            attempt(root)
    with pytest.raises(NoSuchNode):
        session.set(root, b"")
    with pytest.raises(NoSuchNode):
        session.create(f"{root}/a/b", make_parents=False)
    session.delete(root, missing_ok=True)
    session.delete(root, missing_ok=True, recursive=True)


def test_a_znode_is_created_once(session: AnySession, root: str) -> None:
    """Creating what exists is refused and changes nothing."""
    session.create(root, b"first")
    with pytest.raises(NodeExists):
        session.create(root, b"second")
    assert session.get(root).data == b"first"


def test_a_write_with_an_old_version_is_refused(session: AnySession, root: str) -> None:
    """A version that is not the znode's own keeps the data as it is; -1 always writes."""
    session.create(root, b"0")
    session.set(root, b"1", version=0)
    with pytest.raises(VersionConflict):
        session.set(root, b"2", version=0)
    assert session.get(root).data == b"1"
    session.set(root, b"3")
    assert session.get(root).version == 2


def test_put_writes_whether_it_exists_or_not(session: AnySession, root: str) -> None:
    """The data is there after one call, with parents if they were missing."""
    session.put(f"{root}/x", b"1")
    session.put(f"{root}/x", b"2")
    assert session.get(f"{root}/x").data == b"2"


def test_only_a_recursive_delete_takes_children(session: AnySession, root: str) -> None:
    """A znode with children stays unless asked for with all below."""
    session.create(f"{root}/a/b")
    with pytest.raises(NodeNotEmpty):
        session.delete(f"{root}/a")
    session.delete(f"{root}/a", recursive=True)
    assert session.children(root) == []


def test_sequential_znodes_are_numbered_upwards(session: AnySession, root: str) -> None:
    """Names end in ten digits, the later one higher, and ephemeral ones are owned."""
    session.create(root)
    first = session.create(f"{root}/0", ephemeral=True, sequential=True)
    second = session.create(f"{root}/0", ephemeral=True, sequential=True)
    assert first < second
    assert len(first.rpartition("/")[2]) == 11
    assert session.get(first).ephemeral_owner != 0
