"""The secrets in all profiles of a fabric: which are encrypted, with which key, and which are not.

Everything here blocks on ZooKeeper.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fabric.crypt import ALGORITHM, SALT_BYTES, KeyFile, MasterKey, MasterKeys, keys_in
from fabric.encrypted import changed_values, clear_secrets, stands_in_clear
from fabric.errors import ChangedMeanwhile, CryptError
from fabric.profiles import Profile, parse_profile
from fabric.znodes import UPDATE_ATTEMPTS_MAX, read_text
from registry import paths
from registry.errors import NodeExists

if TYPE_CHECKING:
    from pathlib import Path

    from fabric.mq import BrokerOptions
    from fabric.store import ProfileStore
    from registry.session import Session


@dataclass(frozen=True, slots=True)
class SecretRow:
    """One secret of one profile.

    Attributes:
        key: id of the master key it is encrypted with; empty: it stands in the clear.
    """

    version: str
    profile: str
    pid: str
    name: str
    key: str

    def to_json(self) -> dict[str, Any]:
        """The row for scripts."""
        return {
            "version": self.version,
            "profile": self.profile,
            "pid": self.pid,
            "property": self.name,
            "encrypted": bool(self.key),
            "key": self.key or None,
        }


def all_secrets(store: ProfileStore) -> list[SecretRow]:
    """The secrets of all versions, by version, profile, PID and name."""
    rows = []
    for version in store.versions():
        for profile in store.all(version).values():
            rows += [SecretRow(version, profile.id, *row) for row in _secrets(profile)]
    return rows


def _secrets(profile: Profile) -> Iterator[tuple[str, str, str]]:
    for pid, values in sorted(profile.configuration.items()):
        for name, value in sorted(values.items()):
            if keys := keys_in(value):
                yield pid, name, min(keys) or "not known"
            elif stands_in_clear(name, value):
                yield pid, name, ""


def keys_missing(store: ProfileStore, versions: Iterable[str], file: KeyFile) -> list[str]:
    """The ids of the keys that secrets in these versions are encrypted with, and that this host has not.

    Raises:
        CryptError: the file of keys cannot be used.
        ProfileError: a profile cannot be read.
    """
    used = {
        key
        for version in sorted(set(versions))
        for profile in store.all(version).values()
        for values in profile.configuration.values()
        for value in values.values()
        for key in keys_in(value)
    }
    here = {key.id for key in file.read().all} if file.exists else set()
    return sorted(used - here - {""})


def encrypt_anew(store: ProfileStore, keys: MasterKeys) -> int:
    """Encrypt with the first key what is encrypted with others; returns how many profiles have changed.

    Documents keep the form their authors gave them. It may be repeated after an interruption.

    Raises:
        CryptError: something was encrypted with a key that is not here; what came before it has changed.
    """
    changed = 0
    for version in store.versions():
        for profile_id in store.profile_ids(version):
            changed += _document_anew(store, profile_id, version, keys)
    return changed


def _document_anew(store: ProfileStore, profile_id: str, version: str, keys: MasterKeys) -> bool:
    for _ in range(UPDATE_ATTEMPTS_MAX):
        document, revision = store.document(profile_id, version)
        text = document.decode(errors="surrogateescape")
        try:
            anew = keys.encrypted_anew(text)
        except CryptError as error:
            raise CryptError(
                f"A secret in profile {profile_id} of version {version} is left as it is: {error.what}",
                error.do_next,
            ) from error
        if anew == text:
            return False
        written = anew.encode(errors="surrogateescape")
        try:
            store.save_document(parse_profile(profile_id, written), written, version, revision)
        except ChangedMeanwhile:
            continue
        return True
    raise ChangedMeanwhile(f"Profile {profile_id}")


def encrypt_clear(store: ProfileStore, keys: MasterKeys, version: str) -> list[SecretRow]:
    """Encrypt all known secrets of a version that stand in the clear; returns them as they are now."""

    def encrypt(_: str, name: str, value: str) -> str:
        return keys.encrypt(value) if stands_in_clear(name, value) else value

    rows = []
    for profile in store.all(version).values():
        found = list(clear_secrets(profile))
        if found:
            store.update(profile.id, version, lambda now: changed_values(now, encrypt))
            rows += [SecretRow(version, profile.id, pid, name, keys.first.id) for pid, name in found]
    return rows


def with_encrypted(options: BrokerOptions, keys: MasterKeys) -> BrokerOptions:
    """What somebody wants of a broker, with its passwords encrypted."""

    def encrypt(name: str, value: str) -> str:
        return keys.encrypt(value) if stands_in_clear(name, value) else value

    password = options.networks_password
    return replace(
        options,
        networks_password=password and encrypt("network.password", password),
        properties={name: encrypt(name, value) for name, value in options.properties.items()},
    )


def encrypted_if_possible(session: Session, key_file: Path, options: BrokerOptions) -> BrokerOptions:
    """As `with_encrypted` if this host has the fabric's key, else as it is. Raises `CryptError`."""
    keys = KeyFile(key_file).read_or_none()
    return options if keys is None else with_encrypted(options, check_key(session, keys))


# What the registry knows of the keys.


def publish_key(session: Session, key: MasterKey) -> None:
    """Say which key encrypts from now on."""
    session.put(paths.crypt_algorithm(), ALGORITHM.encode())
    session.put(paths.crypt_key(), key.id.encode())


def published_key(session: Session) -> str:
    """The id of the key that encrypts; empty if there has never been one."""
    return read_text(session, paths.crypt_key()) or ""


def prepared_key(session: Session) -> str:
    """The id of the key that was made to encrypt next; empty if there is none."""
    return read_text(session, paths.crypt_next_key()) or ""


def prepare_key(session: Session, key_id: str) -> None:
    """Say which key encrypts next; empty: none was made."""
    session.put(paths.crypt_next_key(), key_id.encode())


def next_key(session: Session, keys: MasterKeys) -> MasterKey:
    """The key that was made to encrypt next, or else a new one. Raises `CryptError`."""
    wanted = prepared_key(session)
    if not wanted:
        return MasterKey.generate()
    found = next((key for key in keys.all if key.id == wanted), None)
    if found is None:
        raise CryptError(
            f"The master key {wanted} waits to be used, but is not on this host.",
            "Bring it here with `fabric crypt-import`, or rotate where it was made.",
        )
    return found


def check_key(session: Session, keys: MasterKeys) -> MasterKeys:
    """Return the keys of this host if the first one is the fabric's. Raises `CryptError`."""
    published = published_key(session)
    if published and keys.first.id != published:
        known = published in {key.id for key in keys.all}
        raise CryptError(
            f"This host would encrypt with the master key {keys.first.id}, the fabric's is {published}.",
            "" if known else "Bring it here with `fabric crypt-export` there and `fabric crypt-import` here.",
        )
    return keys


def salt(session: Session) -> bytes:
    """What keys made of passphrases are salted with in this fabric; made when it is first asked for."""
    text = read_text(session, paths.crypt_salt())
    if not text:
        made = secrets.token_hex(SALT_BYTES)
        try:
            session.create(paths.crypt_salt(), made.encode())
        except NodeExists:
            return salt(session)
        return bytes.fromhex(made)
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise CryptError(f"{paths.crypt_salt()} is damaged: it is not hexadecimal.") from None
