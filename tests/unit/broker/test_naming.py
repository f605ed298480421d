"""Names for what clients do not name."""

from broker.naming import MessageNames, new_connection_id


def test_connections_have_different_names() -> None:
    """No two connections of a mastership have one name."""
    names = {new_connection_id("ID:h-1-2-0:1") for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith("ID:h-1-2-0:1:") for name in names)


def test_messages_are_numbered() -> None:
    """The messages of a connection have its name and their number."""
    names = MessageNames("ID:h-1-2-0:1:7")
    assert [names.next(), names.next()] == ["ID:h-1-2-0:1:7:-1:1:1", "ID:h-1-2-0:1:7:-1:1:2"]
