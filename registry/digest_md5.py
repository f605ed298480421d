"""DIGEST-MD5, the client's side: bytes in, bytes out.

    server   realm="…",nonce="…",charset=utf-8,algorithm=md5-sess      a challenge
    client   username="…",nonce="…",cnonce="…",response=…,…            knows the password
    server   rspauth=…                                                 knows it, too

Only ``qop=auth`` is spoken, as ZooKeeper does: what follows the login is neither signed nor encrypted by it.
MD5 is the mechanism's; it says the password to nobody all the same, as long as that is not guessed.

Source: RFC 2831; the order and the character sets as in Java's ``com.sun.security.sasl.digest``.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

_DIRECTIVE = re.compile(rb'\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s]*))\s*(?:,|$)')
_NUMBER_OF_USES = b"00000001"
_QOP = b"auth"


class ChallengeInvalid(ValueError):
    """What the server says is not DIGEST-MD5, or not a kind of it that can be answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent, and what the server sends then if it knows the password."""

    response: bytes
    expected: bytes


def answer(challenge: bytes, *, user: str, password: str, uri: str, cnonce: str) -> Answer:
    """Answer the first challenge of a server.

    Args:
        challenge: as it came.
        user: who logs in.
        password: his.
        uri: ``service/host`` of the server.
        cnonce: random text, never used before.

    Raises:
        ChallengeInvalid: it cannot be answered.
    """
    said = directives(challenge)
    if "nonce" not in said:
        raise ChallengeInvalid("there is no nonce in it")
    if said.get("algorithm", b"").lower() != b"md5-sess":
        raise ChallengeInvalid("its algorithm is not md5-sess")
    if _QOP not in [each.strip() for each in said.get("qop", _QOP).split(b",")]:
        raise ChallengeInvalid("it asks for more than a login (qop)")
    is_utf8 = said.get("charset", b"").lower() == b"utf-8"
    realm, nonce = said.get("realm", b""), said["nonce"]
    secret = b":".join([_hashed_form(user), _narrowed(realm), _hashed_form(password)])
    first = b":".join([_md5(secret), nonce, cnonce.encode()])
    numbers = b":".join([nonce, _NUMBER_OF_USES, cnonce.encode(), _QOP])

    def proof(method: bytes) -> bytes:
        second = _hex(method + b":" + uri.encode())
        return _hex(b":".join([_hex(first), numbers, second]))

    words = [
        b"charset=utf-8" if is_utf8 else b"",
        b'username="%b"' % _escaped(user.encode("utf-8" if is_utf8 else "latin-1", "replace")),
        b'realm="%b"' % _escaped(realm) if "realm" in said else b"",
        b'nonce="%b"' % _escaped(nonce),
        b"nc=%b" % _NUMBER_OF_USES,
        b'cnonce="%b"' % cnonce.encode(),
        b'digest-uri="%b"' % uri.encode(),
        b"response=%b" % proof(b"AUTHENTICATE"),
        b"qop=%b" % _QOP,
    ]
    return Answer(b",".join(word for word in words if word), b"rspauth=%b" % proof(b""))


def is_proof(said: bytes, expected: bytes) -> bool:
    """Whether the server's last word is what is expected of one that knows the password."""
    return hmac.compare_digest(said.strip(), expected)


def directives(challenge: bytes) -> dict[str, bytes]:
    """Take a challenge apart: values by name, the first of those that come twice.

    Raises:
        ChallengeInvalid: it is none.
    """
    found: dict[str, bytes] = {}
    place = 0
    while place < len(challenge):
        match = _DIRECTIVE.match(challenge, place)
        if match is None:
            raise ChallengeInvalid("it is no list of name=value")
        name, quoted, plain = match.groups()
        value = plain if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted)
        found.setdefault(name.decode().lower(), value)
        place = match.end()
    return found


def _hashed_form(text: str) -> bytes:
    """ISO 8859-1 where that can say it, else UTF-8. Source: RFC 2831, 2.1.2.1."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def _narrowed(realm: bytes) -> bytes:
    try:
        return _hashed_form(realm.decode())
    except UnicodeDecodeError:
        return realm


def _escaped(value: bytes) -> bytes:
    return re.sub(rb'(["\\])', rb"\\\1", value)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _hex(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().encode()
