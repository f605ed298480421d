"""Password hashes and user records."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import InvalidRecord
from registry.users import UserRecord, check_user_name, hash_password, verify_password


@settings(max_examples=10, deadline=None)
@given(st.text(max_size=40))
def test_hash_verifies_only_its_own_password(password: str) -> None:
    """A hash verifies its password, and no other."""
    stored = hash_password(password)
    assert verify_password(password, stored)
    assert not verify_password(password + "x", stored)


def test_equal_passwords_have_different_hashes() -> None:
    """Each hash has a salt of its own."""
    assert hash_password("admin") != hash_password("admin")


def test_cost_is_read_from_the_hash() -> None:
    """A hash made with other costs still verifies."""
    stored = "scrypt$16$1$1$c2FsdA==$" + "A" * 43 + "="
    assert not verify_password("admin", stored)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "admin",
        "scrypt$1",
        "md5$1$1$1$AAAA$AAAA",
        "scrypt$x$8$1$AAAA$AAAA",
        "scrypt$3$8$1$AAAA$AAAA",
        "scrypt$16$1$1$A$AAAA",
        "scrypt$1073741824$8$1$AAAA$AAAA",
        "scrypt$-2$8$1$AAAA$AAAA",
    ],
)
def test_malformed_hash_verifies_nothing(stored: str) -> None:
    """What is no hash of ours, or costs too much, verifies nothing and raises nothing."""
    assert not verify_password("admin", stored)


def test_record_round_trip_keeps_unknown_fields() -> None:
    """A record written again keeps what a newer version has put there."""
    record = UserRecord.parse("admin", b'{"password": "h", "roles": ["admin", "viewer"], "expires": 7}')
    assert record == UserRecord("admin", "h", ("admin", "viewer"))
    assert json.loads(record.serialize()) == {"password": "h", "roles": ["admin", "viewer"], "expires": 7}


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"7", b"{}", b'{"password": 7}', b'{"password": "h", "roles": "admin"}', b"\xff"],
)
def test_unreadable_record_names_the_user(data: bytes) -> None:
    """A record that cannot be read is an error that names the user."""
    with pytest.raises(InvalidRecord, match="admin"):
        UserRecord.parse("admin", data)


@pytest.mark.parametrize("name", ["", "a/b", "..", "-a", "a b", "a\n", "x" * 65, "ä"])
def test_invalid_user_names(name: str) -> None:
    """A name that could leave its place in the tree, or that nobody can type, is refused."""
    with pytest.raises(InvalidRecord):
        check_user_name(name)


@pytest.mark.parametrize("name", ["admin", "a", "a.b@example.org", "A_1-2"])
def test_valid_user_names(name: str) -> None:
    """Usual names are fine."""
    assert check_user_name(name) == name
