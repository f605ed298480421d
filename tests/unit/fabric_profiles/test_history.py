"""The history of profiles: who wrote what, the last of it, and how two documents differ."""

import pytest
from support.memory_session import MemorySession

from fabric.history import DOCUMENTS_MAX, Action, DocumentNotFound, ProfileHistory, diff_lines
from fabric.profiles import Profile, set_value
from fabric.store import ProfileStore
from registry import paths
from registry.errors import RegistryUnavailable


def test_changes_are_kept_with_their_authors(session: MemorySession) -> None:
    """The first change keeps what was found before; the newest document comes first."""
    store = ProfileStore(session, "ada")
    store.update("mq-amq", "1.0", lambda now: set_value(now, "pid", "a", "1"))
    ProfileStore(session, "bob").update("mq-amq", "1.0", lambda now: set_value(now, "pid", "a", "2"))
    kept = store.history.all("1.0", "mq-amq")
    assert [(one.user, one.action) for one in kept] == [
        ("bob", Action.CHANGED),
        ("ada", Action.CHANGED),
        ("", Action.FOUND),
    ]
    assert "a: '2'" in kept[0].text
    assert store.history.get("1.0", "mq-amq", kept[1].number) == kept[1]


def test_what_is_shipped_has_no_history(session: MemorySession) -> None:
    """Only what somebody changes is kept."""
    assert not session.exists(paths.history())


def test_creation_and_deletion_are_kept(session: MemorySession) -> None:
    """A deleted profile's last document can be found again."""
    store = ProfileStore(session, "ada")
    store.create(Profile("shop"), "1.0")
    store.delete("shop", "1.0")
    assert [one.action for one in store.history.all("1.0", "shop")] == [Action.DELETED, Action.CREATED]


def test_the_oldest_go(session: MemorySession) -> None:
    """So many documents are kept and no more."""
    store = ProfileStore(session, "ada")
    for number in range(DOCUMENTS_MAX + 5):
        store.save(Profile("mq-amq", configuration={"pid": {"a": str(number)}}), "1.0")
    kept = store.history.all("1.0", "mq-amq")
    assert len(kept) == DOCUMENTS_MAX
    assert f"a: '{DOCUMENTS_MAX + 4}'" in kept[0].text
    with pytest.raises(DocumentNotFound):
        store.history.get("1.0", "mq-amq", 0)


def test_writing_the_same_again_is_no_change(session: MemorySession) -> None:
    """Nothing is kept for it."""
    store = ProfileStore(session, "ada")
    document, revision = store.document("mq-amq", "1.0")
    store.save_document(store.get("mq-amq", "1.0"), document, "1.0", revision)
    assert store.history.all("1.0", "mq-amq") == []


def test_a_registry_that_goes_away_fails_no_change(session: MemorySession) -> None:
    """The change has happened when its document is kept."""

    def fail(path: str) -> None:
        if path.startswith(paths.history()):
            raise RegistryUnavailable("gone")

    session.before_write = fail
    ProfileStore(session, "ada").create(Profile("shop"), "1.0")
    assert ProfileStore(session).exists("shop", "1.0")


def test_a_document_that_cannot_be_read_is_left_out(session: MemorySession) -> None:
    """The others are shown."""
    history = ProfileHistory(session, "ada", now=lambda: 12.0)
    history.record("1.0", "shop", b"parents: [default]\n", Action.CREATED)
    session.create(paths.new_profile_document("1.0", "shop"), b"nonsense", sequential=True)
    (kept,) = history.all("1.0", "shop")
    assert (kept.at_s, kept.user, kept.text) == (12.0, "ada", "parents: [default]\n")


def test_texts_are_compared_as_diff_does() -> None:
    """Equal texts have no lines; long ones are not compared."""
    assert diff_lines("a\nb\n", "a\nb\n") == []
    assert diff_lines("a\n", "b\n")[-2:] == ["-a", "+b"]
    assert "too long" in diff_lines("a\n" * 6000, "b\n")[0]
