"""The cipher of secrets in profiles, and the file of master keys."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.crypt import (
    FILE_BYTES_MAX,
    KEYS_MAX,
    TEXT_CHARACTERS_MAX,
    KeyFile,
    MasterKey,
    MasterKeys,
    key_of,
    parse_keys,
    unwrap,
)
from fabric.encrypted import Decrypted, decrypt_all, encrypted_texts, stands_in_clear
from fabric.errors import CryptError

PASSPHRASE = "correct horse battery"


def inside(placeholder: str) -> str:
    """What stands in a placeholder."""
    (text,) = encrypted_texts(placeholder)
    return text


@pytest.fixture
def keys() -> MasterKeys:
    """One key."""
    return MasterKeys([MasterKey.generate()])


@given(st.text())
def test_what_is_encrypted_comes_back(text: str) -> None:
    """Any text, also one that looks like a placeholder, is the same after both ways."""
    keys = MasterKeys([MasterKey.generate()])
    assert keys.decrypt(inside(keys.encrypt(text))) == text


def test_the_same_text_is_never_encrypted_to_the_same(keys: MasterKeys) -> None:
    """Who sees two encrypted passwords cannot say whether they are the same."""
    assert keys.encrypt("secret") != keys.encrypt("secret")


@given(st.data())
def test_what_was_tampered_with_is_refused(data: st.DataObject) -> None:
    """No other character in it is taken, wherever it stands."""
    keys = MasterKeys([MasterKey(b"k" * 32)])
    text = inside(keys.encrypt("secret"))
    position = data.draw(st.integers(0, len(text) - 2))  # the last character has bits that mean nothing
    first, second = data.draw(st.permutations("abcdef0123456789-_"))[:2]
    other = second if first == text[position] else first  # the text differs each time, what is drawn must not
    with pytest.raises(CryptError):
        keys.decrypt(text[:position] + other + text[position + 1 :])


def test_a_key_that_is_not_here_is_named(keys: MasterKeys) -> None:
    """The error says which key is missing, and how it comes here."""
    other = MasterKeys([MasterKey.generate()])
    with pytest.raises(CryptError, match=f"not the master key {other.first.id}.*crypt-import"):
        keys.decrypt(inside(other.encrypt("secret")))


@pytest.mark.parametrize("text", ["", "v1", "v1.x.y", "PBEWithMD5AndDES", "v2.0123456789abcdef.AAAA"])
def test_what_is_not_ours_is_refused(keys: MasterKeys, text: str) -> None:
    """The original's encrypted values, and what was cut, are called so."""
    assert key_of(text) == ""
    with pytest.raises(CryptError, match="no text that this fabric has encrypted"):
        keys.decrypt(text)


def test_values_are_encrypted_anew_under_the_first_key(keys: MasterKeys) -> None:
    """Only what another key has encrypted changes; the text around it stays."""
    value = f"user:{keys.encrypt('secret')}@host"
    more = keys.with_first(MasterKey.generate())
    anew = more.encrypted_anew(value)
    assert anew != value
    assert more.decrypt(encrypted_texts(anew)[0]) == "secret"
    assert more.encrypted_anew(anew) == anew
    assert (anew[:5], anew[-5:]) == ("user:", "@host")


def test_too_long_a_secret_and_too_many_keys_are_refused(keys: MasterKeys) -> None:
    """The limits are said."""
    with pytest.raises(CryptError, match=str(TEXT_CHARACTERS_MAX)):
        keys.encrypt("x" * (TEXT_CHARACTERS_MAX + 1))
    for _ in range(KEYS_MAX - 1):
        keys = keys.with_first(MasterKey.generate())
    with pytest.raises(CryptError, match="--forget"):
        keys.with_first(MasterKey.generate())


def test_a_key_of_a_passphrase_depends_on_both() -> None:
    """The same passphrase is the same key in one fabric, and another one in another fabric."""
    key = MasterKey.of_passphrase(PASSPHRASE, b"salt")
    assert key == MasterKey.of_passphrase(PASSPHRASE, b"salt")
    assert key.id not in (
        MasterKey.of_passphrase(PASSPHRASE, b"other").id,
        MasterKey.of_passphrase(PASSPHRASE + "!", b"salt").id,
    )
    with pytest.raises(CryptError, match="at least"):
        MasterKey.of_passphrase("short", b"salt")


def test_exported_keys_open_with_their_passphrase_only(keys: MasterKeys) -> None:
    """Another passphrase, or a damaged file, opens nothing."""
    text = keys.wrapped(PASSPHRASE)
    assert [key.id for key in unwrap(text, PASSPHRASE).all] == [keys.first.id]
    with pytest.raises(CryptError, match="wrong"):
        unwrap(text, PASSPHRASE + "!")
    with pytest.raises(CryptError, match="wrong, or"):
        unwrap(text[:-8] + "AAAA\n", PASSPHRASE)
    with pytest.raises(CryptError, match="no file of"):
        unwrap("something", PASSPHRASE)


def test_the_file_is_the_owners_alone(keys: MasterKeys, tmp_path: Path) -> None:
    """It is written with 0600, and refused when others on the host can read or write it."""
    file = KeyFile(tmp_path / "master.key")
    assert file.read_or_none() is None
    file.write(keys)
    assert (tmp_path / "master.key").stat().st_mode & 0o777 == 0o600
    assert file.read().first == keys.first
    for mode in (0o640, 0o604, 0o620):
        file.path.chmod(mode)
        with pytest.raises(CryptError, match="chmod 600"):
            file.read()


def test_a_missing_or_damaged_file_is_said(tmp_path: Path) -> None:
    """The error says what to do, or which line is wrong, and never what stands in it."""
    file = KeyFile(tmp_path / "master.key")
    with pytest.raises(CryptError, match="crypt-import"):
        file.read()
    file.path.touch(mode=0o600)
    with pytest.raises(CryptError, match="crypt-rotate"):
        file.read().encrypt("secret")
    file.path.write_text("# comment\n\nfabric-key-1 c2VjcmV0\n")
    with pytest.raises(CryptError, match="Line 3") as caught:
        file.read()
    assert "c2VjcmV0" not in str(caught.value)
    file.path.write_bytes(b"\xff" * (FILE_BYTES_MAX + 1))
    with pytest.raises(CryptError, match="more than"):
        file.read()


def test_keys_are_not_shown() -> None:
    """Neither a key nor its list shows it when it is printed."""
    key = MasterKey(b"k" * 32)
    assert "kkk" not in repr(key)
    with pytest.raises(CryptError, match="more than"):
        parse_keys("fabric-key-1 " + "A" * 43 + "=\n" + "".join(_line(n) for n in range(KEYS_MAX)), "it")


def _line(number: int) -> str:
    return KEY_LINE.format(number=chr(ord("A") + number % 26), more="B" if number < 26 else "C")


KEY_LINE = "fabric-key-1 {number}{more}" + "A" * 41 + "=\n"


def test_one_wrong_property_costs_its_pid_alone(keys: MasterKeys) -> None:
    """The others are decrypted; the problem names the property, and no value."""
    good = keys.encrypt("${not a placeholder}")
    found = decrypt_all(
        {"good": {"password": good, "port": "1"}, "bad": {"password": "${crypt:junk}", "user": "ann"}},
        keys.decrypt,
    )
    assert found.configuration == {"good": {"password": "${not a placeholder}", "port": "1"}}
    assert list(found.problems) == ["bad"]
    assert "the property password cannot be decrypted" in found.problems["bad"]
    assert "junk" not in found.problems["bad"]
    assert "not a placeholder" not in repr(found)
    assert Decrypted({}).problems == {}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("network.password", "secret", True),
        ("ssl.keyStoreKeyPassword", "secret", True),
        ("ldap.bindCredential", "secret", True),
        ("network.password", "", False),
        ("network.password", "${crypt:v1.x.y}", False),
        ("network.password", "${zk:root/password}", False),
        ("network.password", "#deleted#", False),
        ("network.userName", "ann", False),
    ],
)
def test_secrets_are_known_by_their_names(name: str, value: str, expected: bool) -> None:
    """What the name calls a secret, and says something that can be read, stands in the clear."""
    assert stands_in_clear(name, value) is expected
