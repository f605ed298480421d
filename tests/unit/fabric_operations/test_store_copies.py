"""Stores in a backup: copied, put back with the number their broker expects, refused where it would harm."""

from pathlib import Path

import pytest
from support.journal_stores import fill, opened
from support.memory_session import MemorySession

from fabric.backup import Backup, BackupInvalid, BackupWriter, StoreMember, Tree, read_backup
from fabric.store_copies import StoreRefused, check_stores, copied_stores, directories, put_back
from fabric.stores import BrokerStore
from journal.files import PosixFiles
from journal.identity import read_store_id
from journal.progress import Progress
from registry import paths

ORDERS = StoreMember("default", "orders", "/shared/orders")
NUMBER = "0123456789abcdef0123456789abcdef"


def with_store(folder: Path) -> tuple[Backup, Path]:
    """A backup of a store with messages, and that store."""
    store = folder / "store"
    store.mkdir()
    fill(store, 30)
    found = [
        BrokerStore("default", "orders", "a", store),
        BrokerStore("default", "orders", "b", store),
        BrokerStore("default", "unborn", "a", folder / "none"),
    ]
    tree = Tree(())
    with BackupWriter(folder / "b.tar") as writer:
        writer.add_registry(tree)
        members, notes = copied_stores(writer, found, Progress())
        writer.finish("h:1", tree, members)
    assert [(member.group, member.broker) for member in members] == [("default", "orders")]
    assert notes == [f"Broker unborn has no store at {folder / 'none'} yet."]
    return read_backup(folder / "b.tar"), store


def test_where_stores_go() -> None:
    """Where they were, or as is said; what is said of others is refused."""
    backup = Backup(Path("/b.tar"), "1", 0.0, {}, (ORDERS,))
    assert directories(backup, []) == {ORDERS: Path("/shared/orders")}
    assert directories(backup, ["default/orders=/new"]) == {ORDERS: Path("/new")}
    with pytest.raises(BackupInvalid, match="no store of default/other"):
        directories(backup, ["default/other=/new"])
    with pytest.raises(BackupInvalid, match="does not say where"):
        directories(backup, ["/new"])


def test_a_store_is_put_back(tmp_path: Path) -> None:
    """With all its messages, under the number that its broker's record has."""
    backup, _ = with_store(tmp_path)
    (member,) = backup.stores
    session = MemorySession()
    session.put(paths.store("default", "orders"), f'{{"id": "{NUMBER}"}}'.encode())
    place = tmp_path / "new" / "orders"
    check_stores(backup, {member: place}, force=False)
    assert not place.exists()
    assert put_back(session, backup, member, place, Progress()) == member.messages > 0  # type: ignore[arg-type]  # a fake
    assert read_store_id(PosixFiles(place)) == NUMBER
    with pytest.raises(StoreRefused, match=f"holds {member.messages} messages already"):
        check_stores(backup, {member: place}, force=False)
    check_stores(backup, {member: place}, force=True)


def test_a_store_in_use_is_not_touched(tmp_path: Path) -> None:
    """A running master would be fenced, come back, and fence the restoration."""
    backup, store = with_store(tmp_path)
    (member,) = backup.stores
    with opened(store), pytest.raises(StoreRefused, match=r"cannot be put into|is in use"):
        check_stores(backup, {member: store}, force=False)


def test_a_directory_of_something_else(tmp_path: Path) -> None:
    """It is neither empty nor a store."""
    backup, _ = with_store(tmp_path)
    (member,) = backup.stores
    other = tmp_path / "other"
    other.mkdir()
    (other / "letters.txt").touch()
    with pytest.raises(StoreRefused, match=r"neither empty nor a store: it holds letters\.txt"):
        check_stores(backup, {member: other}, force=False)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """It is said which."""
    backup, _ = with_store(tmp_path)
    (member,) = backup.stores
    (tmp_path / "file").touch()
    with pytest.raises(StoreRefused, match="could not be put into"):
        put_back(MemorySession(), backup, member, tmp_path / "file" / "x", Progress())  # type: ignore[arg-type]  # a fake
