"""Java's modified UTF-8: NUL is C0 80, and characters beyond U+FFFF are two surrogates of three bytes each.

A Java string may hold half a surrogate pair; it travels as a lone surrogate in the Python string.

Source: the Java platform's documentation of ``java.io.DataInput``.
"""

from __future__ import annotations

import re

from broker.errors import CodecError

_BEYOND_BMP = re.compile("[\U00010000-\U0010ffff]+")
_FOUR_BYTES_FROM = 0xF0  # the first byte of standard UTF-8's four-byte forms, which Java refuses


def encode(text: str) -> bytes:
    """The bytes of a string."""
    if text.isascii():
        data = text.encode("ascii")
    else:
        data = _BEYOND_BMP.sub(_surrogates, text).encode("utf-8", "surrogatepass")
    return data.replace(b"\0", b"\xc0\x80") if b"\0" in data else data


def decode(data: bytes) -> str:
    """The string of some bytes; a plain zero byte is accepted for NUL, as Java does.

    Raises:
        CodecError: the bytes are not modified UTF-8.
    """
    if data.isascii():
        return data.decode("ascii")
    if max(data) >= _FOUR_BYTES_FROM:
        raise CodecError("a string is not modified UTF-8")
    try:
        text = data.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise CodecError("a string is not modified UTF-8") from None
    if b"\xed" in data:  # the first byte of every surrogate
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text


def _surrogates(match: re.Match[str]) -> str:
    pairs = match[0].encode("utf-16-be")
    return "".join(chr(pairs[at] << 8 | pairs[at + 1]) for at in range(0, len(pairs), 2))
