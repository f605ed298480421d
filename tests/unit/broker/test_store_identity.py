"""A broker finds its own store, or none it may serve from."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_zookeeper import FakeZooKeeper

from broker.errors import StoreIsAnother
from broker.store_identity import StoreIdentity
from journal.errors import StoreUnavailable
from journal.files import PosixFiles
from journal.identity import NAME, make_store_id, read_store_id
from registry import paths
from registry.errors import InvalidRecord
from registry.session import Session
from registry.stores import StoreRecord, note_store, read_store


@pytest.fixture
def session() -> Session:
    """A registry whose callbacks come at once."""
    session = Session("fake:1", "x", post=lambda call: call(), client_factory=FakeZooKeeper().client)
    session.start()
    return session


@pytest.fixture
def store(session: Session, tmp_path: Path) -> StoreIdentity:
    """The store of broker `shop`, as the host of `root` sees it."""
    return StoreIdentity(session, "default", "shop", tmp_path / "shop", "root")


def test_a_first_store_is_given_a_number_that_all_hosts_find(store: StoreIdentity) -> None:
    """It is made once; whoever sees the same directory sees the same store, by whatever path."""
    number = store.establish()
    assert store.establish() == number
    elsewhere = store.directory.parent / "mount"
    elsewhere.symlink_to(store.directory)
    east = replace(store, directory=elsewhere, place="east")
    assert east.establish() == number
    assert read_store(store.session, "default", "shop") == StoreRecord(
        number, {"root": str(store.directory), "east": str(elsewhere)}
    )
    store.check(number)


@pytest.mark.parametrize("holds", ["nothing", "another"])
def test_another_directory_is_refused_and_left_alone(store: StoreIdentity, holds: str) -> None:
    """A mount that is missing, or another store of the same name: the error says where the messages are."""
    number = store.establish()
    local = replace(store, directory=store.directory.parent / "local", place="east")
    if holds == "another":
        local.directory.mkdir()
        other = make_store_id(PosixFiles(local.directory), "0" * 32)
    with pytest.raises(StoreIsAnother) as refused:
        local.establish()
    text = str(refused.value)
    assert f"the broker's messages are in store {number[:8]} ({store.directory} on root)" in text
    assert "it holds none" in text if holds == "nothing" else f"another one, {other[:8]}" in text
    assert "fabric zk-delete /fabric/registry/stores/amq/default/shop" in text
    assert local.directory.exists() == (holds == "another")
    record = read_store(store.session, "default", "shop")
    assert record is not None
    assert "east" not in record.places


def test_a_directory_that_goes_away_is_noticed_before_a_takeover(store: StoreIdentity) -> None:
    """Unmounted since the broker joined: nothing is asked for it but the directory."""
    number = store.establish()
    store.directory.rename(store.directory.with_name("away"))
    with pytest.raises(StoreIsAnother, match="it holds none"):
        store.check(number)
    store.directory.mkdir()
    with pytest.raises(StoreIsAnother, match="it holds none"):
        store.check(number)


def test_a_store_keeps_its_number_in_a_new_registry(store: StoreIdentity) -> None:
    """Stores outlive fabrics; a store that is given up leaves the broker free to take another."""
    number = store.establish()
    store.session.delete(paths.store("default", "shop"))
    assert store.establish() == number
    store.session.delete(paths.store("default", "shop"))
    assert replace(store, directory=store.directory.parent / "new").establish() != number


def test_two_first_brokers_agree(store: StoreIdentity) -> None:
    """Of two directories the one that was registered first counts; in one directory there is one number."""
    files = PosixFiles(store.directory)
    store.directory.mkdir()
    first = make_store_id(files, "a" * 32)
    assert make_store_id(files, "b" * 32) == first == read_store_id(files)
    assert note_store(store.session, "default", "shop", first, place="a", seen_at="/a") == first
    assert note_store(store.session, "default", "shop", "b" * 32, place="b", seen_at="/b") == first
    record = read_store(store.session, "default", "shop")
    assert record == StoreRecord(first, {"a": "/a"})


def test_what_cannot_be_read_is_an_error(store: StoreIdentity) -> None:
    """A damaged number, a damaged record, a parent directory that is missing."""
    with pytest.raises(StoreUnavailable):
        replace(store, directory=store.directory / "deep" / "er").establish()
    store.directory.mkdir()
    (store.directory / NAME).write_bytes(b"cut")
    with pytest.raises(StoreUnavailable, match="remove that file"):
        store.establish()
    for damaged in (b"{", b"[]", b"{}", b'{"id": 1}', b'{"id": "a", "places": []}'):
        store.session.put(paths.store("default", "shop"), damaged)
        with pytest.raises(InvalidRecord):
            store.establish()


def test_unknown_fields_of_a_record_are_kept() -> None:
    """A newer version may have written them."""
    record = StoreRecord.parse("/x", b'{"id": "a", "places": {"r": "/p"}, "new": 1}')
    assert StoreRecord.parse("/x", record.serialize()).unknown == {"new": 1}
