"""The cipher of secrets in profiles, and the master key, which is never in the registry.

An encrypted text reads ``v1.<key>.<data>``: the id of the key it was encrypted with, and in URL-safe base64
without padding a nonce of 12 bytes and what AES-256-GCM makes of the text. Source: NIST SP 800-38D.

The file of master keys, one on each host that runs containers with secrets:

    # comment
    fabric-key-1 <32 bytes in base64>

Its first key encrypts; all of them decrypt, so that secrets can be encrypted anew one after the other.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fabric.encrypted import encrypted_texts, placeholder, replaced
from fabric.errors import CryptError
from fabric.home import DIRECTORY_MODE, SECRET_FILE_MODE
from fabric.replacing import replace_file

ALGORITHM: Final = "AES-256-GCM"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
SALT_BYTES: Final = 16
KEYS_MAX: Final = 32
"""In one file; a key that nothing is encrypted with any more is taken out with `crypt-rotate --forget`."""
FILE_BYTES_MAX: Final = 64 * 1024
TEXT_CHARACTERS_MAX: Final = 64 * 1024
"""Of one secret: a profile holds a megabyte altogether."""
PASSPHRASE_CHARACTERS_MIN: Final = 12
"""A key made of less can be found by trying."""
SCRYPT_N: Final = 2**15
SCRYPT_MEMORY_MAX: Final = 64 * 2**20
"""32 MiB and a tenth of a second for each guess at a passphrase. Source: RFC 7914."""

_LINE: Final = re.compile(r"fabric-key-1 ([A-Za-z0-9+/=]+)")
_TEXT: Final = re.compile(r"v1\.([0-9a-f]{16})\.([A-Za-z0-9_-]+)")
_WRAPPED: Final = re.compile(r"fabric-keys-1 ([A-Za-z0-9+/=]+) ([A-Za-z0-9+/=]+)\s*")


@dataclass(frozen=True, slots=True)
class MasterKey:
    """One key.

    Attributes:
        data: the key itself.
    """

    data: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """By what it is called in encrypted texts: says nothing of the key, which is random."""
        return hashlib.sha256(b"fabric master key\0" + self.data).hexdigest()[:16]

    @classmethod
    def generate(cls) -> MasterKey:
        """A new one."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def of_passphrase(cls, passphrase: str, salt: bytes) -> MasterKey:
        """The one that a passphrase stands for. Takes a tenth of a second. Raises `CryptError`."""
        return cls(_derived(passphrase, salt))


class MasterKeys:
    """The keys of a host: the first one encrypts."""

    def __init__(self, keys: Sequence[MasterKey]) -> None:
        """Take them; each counts once."""
        self.all = tuple({key.id: key for key in keys}.values())
        self._by_id = {key.id: key for key in self.all}

    @property
    def first(self) -> MasterKey:
        """The one that encrypts. Raises `CryptError` if there is none."""
        if not self.all:
            raise CryptError("The file of master keys holds none.", "Make one with: fabric crypt-rotate")
        return self.all[0]

    def encrypt(self, text: str) -> str:
        """A text as it may stand in a profile, as a placeholder. Raises `CryptError`."""
        if len(text) > TEXT_CHARACTERS_MAX:
            raise CryptError(f"A secret has at most {TEXT_CHARACTERS_MAX} characters, not {len(text)}.")
        key, nonce = self.first, secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(key.data).encrypt(nonce, text.encode("utf-8", "surrogatepass"), _bound_to(key.id))
        data = base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()
        return placeholder(f"v1.{key.id}.{data}")

    def decrypt(self, text: str) -> str:
        """What stands in a placeholder, in the clear.

        Raises:
            CryptError: it is damaged, or its key is not here.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise CryptError("it is no text that this fabric has encrypted.", "Encrypt it again.")
        key = self._by_id.get(match[1])
        if key is None:
            raise CryptError(
                f"this host has not the master key {match[1]}.",
                "Bring it here with `fabric crypt-export` there and `fabric crypt-import` here.",
            )
        try:
            data = base64.urlsafe_b64decode(match[2] + "=" * (-len(match[2]) % 4))
            clear = AESGCM(key.data).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], _bound_to(key.id))
        except (InvalidTag, ValueError, binascii.Error):
            raise CryptError("it is damaged.", "Encrypt it again.") from None
        return clear.decode("utf-8", "surrogatepass")

    def encrypted_anew(self, value: str) -> str:
        """A value whose placeholders hold the same texts under the first key. Raises `CryptError`."""
        return replaced(
            value, lambda text: placeholder(text) if self.is_first(text) else self.encrypt(self.decrypt(text))
        )

    def is_first(self, text: str) -> bool:
        """Whether what stands in a placeholder was encrypted with the first key."""
        match = _TEXT.fullmatch(text)
        return match is not None and match[1] == self.first.id

    def with_first(self, key: MasterKey) -> MasterKeys:
        """These, and another one that encrypts from now on. Raises `CryptError`."""
        if len(self.all) >= KEYS_MAX and key.id not in self._by_id:
            raise CryptError(
                f"There are {KEYS_MAX} master keys.", "Forget the old ones: fabric crypt-rotate --forget"
            )
        return MasterKeys([key, *self.all])

    def with_others(self, keys: Sequence[MasterKey]) -> MasterKeys:
        """These, and others that only decrypt."""
        return MasterKeys([*self.all, *keys])

    def wrapped(self, passphrase: str) -> str:
        """All of them as a text that only the passphrase opens. Raises `CryptError`."""
        salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(_derived(passphrase, salt)).encrypt(nonce, _lines(self.all).encode(), salt)
        return f"fabric-keys-1 {_base64(salt)} {_base64(nonce + sealed)}\n"


def key_of(text: str) -> str:
    """The id of the key that what stands in a placeholder was encrypted with; empty if it is not ours."""
    match = _TEXT.fullmatch(text)
    return match[1] if match else ""


def keys_in(value: str) -> set[str]:
    """The ids of the keys that a value's texts were encrypted with."""
    return {key_of(text) for text in encrypted_texts(value)}


def unwrap(text: str, passphrase: str) -> MasterKeys:
    """The keys in a text that `MasterKeys.wrapped` has made. Raises `CryptError`."""
    match = _WRAPPED.fullmatch(text)
    if match is None:
        raise CryptError("This is no file of `fabric crypt-export`.")
    try:
        salt, data = (base64.b64decode(part, validate=True) for part in match.groups())
        clear = AESGCM(_derived(passphrase, salt, new=False)).decrypt(
            data[:NONCE_BYTES], data[NONCE_BYTES:], salt
        )
    except (InvalidTag, ValueError, binascii.Error):
        raise CryptError("The passphrase is wrong, or the file is damaged.") from None
    return parse_keys(clear.decode(), "the exported file")


def parse_keys(text: str, source: str) -> MasterKeys:
    """Read a file's content.

    Raises:
        CryptError: it is something else; no key is said.
    """
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        try:
            data = base64.b64decode(match[1], validate=True) if match else b""
        except binascii.Error:
            data = b""
        if len(data) != KEY_BYTES:
            raise CryptError(f"Line {number} of {source} is no master key.")
        keys.append(MasterKey(data))
    if len(keys) > KEYS_MAX:
        raise CryptError(f"{source} holds more than {KEYS_MAX} master keys.")
    return MasterKeys(keys)


class KeyFile:
    """The file of master keys on this host."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether there is one."""
        return self.path.is_file()

    def read(self) -> MasterKeys:
        """Read it.

        Raises:
            CryptError: there is none, others could have written or read it, or it is damaged.
        """
        try:
            with self.path.open("rb") as file:
                found = os.fstat(file.fileno())
                mode, owner = found.st_mode, found.st_uid
                content = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            raise CryptError(
                f"this host has no master key: {self.path} does not exist.",
                "Bring it here with `fabric crypt-export` on the host of the root container and "
                "`fabric crypt-import` here.",
            ) from None
        except OSError as error:
            raise CryptError(f"the master key {self.path} cannot be read: {error.strerror}.") from error
        is_ours = owner == os.geteuid()  # a secret that is mounted is somebody else's, and stays as it is
        if mode & 0o022 or (mode & 0o077 and is_ours):
            raise CryptError(
                f"the master key {self.path} is open to others on this host.", f"chmod 600 {self.path}"
            )
        if len(content) > FILE_BYTES_MAX:
            raise CryptError(f"{self.path} has more than {FILE_BYTES_MAX} bytes.")
        return parse_keys(content.decode("utf-8", "replace"), str(self.path))

    def read_or_none(self) -> MasterKeys | None:
        """Read it, None if there is none. Raises `CryptError` as `read` does."""
        return self.read() if self.exists else None

    def write(self, keys: MasterKeys) -> None:
        """Replace it as a whole; nobody but the owner can read it at any moment. Raises `CryptError`."""
        target = self.path.resolve()
        content = f"# Master keys of a fabric. The first one encrypts.\n{_lines(keys.all)}"
        try:
            target.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            replace_file(target, content.encode(), SECRET_FILE_MODE)
        except OSError as error:
            raise CryptError(f"The master key {self.path} cannot be written: {error.strerror}.") from error


def check_passphrase(passphrase: str) -> str:
    """Return a passphrase for a key that is made of it. Raises `CryptError`."""
    if len(passphrase) < PASSPHRASE_CHARACTERS_MIN:
        raise CryptError(f"A passphrase has {PASSPHRASE_CHARACTERS_MIN} characters at least.")
    return passphrase


def _derived(passphrase: str, salt: bytes, *, new: bool = True) -> bytes:
    if new:
        check_passphrase(passphrase)
    return hashlib.scrypt(
        passphrase.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=SCRYPT_N,
        r=8,
        p=1,
        maxmem=SCRYPT_MEMORY_MAX,
        dklen=KEY_BYTES,
    )


def _bound_to(key_id: str) -> bytes:
    return f"fabric v1 {key_id}".encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _lines(keys: Sequence[MasterKey]) -> str:
    return "".join(f"fabric-key-1 {_base64(key.data)}\n" for key in keys)
