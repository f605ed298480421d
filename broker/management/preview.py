"""What people are shown of a message's body and properties; a damaged one is described, not refused."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

from broker import modified_utf8
from broker.conversion import plain, whole_characters
from broker.errors import CodecError
from broker.management.model import Plain
from broker.message import BodyKind
from broker.primitive_map import decode_map, decode_stream
from broker.properties import properties_of

if TYPE_CHECKING:
    from broker.message import Message

INFLATED_MAX: Final = 1024 * 1024
"""Bytes of a compressed body that are inflated for a preview."""
BYTES_PER_CHARACTER: Final = 3
"""Of modified UTF-8, at most."""
_LENGTH: Final = struct.Struct(">i")


def preview(message: Message, characters: int) -> tuple[str, bool]:
    """The beginning of a body as text, and whether something is missing.

    Args:
        message: any.
        characters: at most so many.
    """
    if message.body is None or message.body_kind is BodyKind.NONE:
        return "", False
    try:
        data, cut = _inflated(message)
        text, more = _READERS.get(message.body_kind, _opaque)(data, characters)
    except (CodecError, zlib.error, struct.error) as error:
        return f"(damaged: {error})", True
    return text[:characters], cut or more or len(text) > characters


def plain_properties(message: Message) -> dict[str, Plain]:
    """A message's own properties as JSON has them."""
    return {name: plain(value) for name, value in properties_of(message).items()}


def _inflated(message: Message) -> tuple[bytes, bool]:
    """The body, not compressed, and whether it goes on."""
    assert message.body is not None
    if not message.compressed:
        return message.body, False
    inflater = zlib.decompressobj()
    if message.body_kind is not BodyKind.BYTES:
        data = inflater.decompress(message.body, INFLATED_MAX)
        return data, not inflater.eof
    (length,) = _LENGTH.unpack_from(message.body)
    data = inflater.decompress(message.body[_LENGTH.size :], INFLATED_MAX)[: max(length, 0)]
    return data, length > len(data)


def _text(data: bytes, characters: int) -> tuple[str, bool]:
    (length,) = _LENGTH.unpack_from(data)
    begin = data[_LENGTH.size : _LENGTH.size + characters * BYTES_PER_CHARACTER]
    return whole_characters(_decoded(begin)), length > len(begin)


def _decoded(begin: bytes) -> str:
    """The text of some bytes that may end within a character."""
    for missing in range(min(BYTES_PER_CHARACTER, len(begin) + 1)):
        try:
            return modified_utf8.decode(begin[: len(begin) - missing]) if len(begin) > missing else ""
        except CodecError:
            continue
    raise CodecError("it is no text")


def _bytes(data: bytes, characters: int) -> tuple[str, bool]:
    begin = data[: characters * BYTES_PER_CHARACTER]
    try:
        text = begin.decode("utf-8")
    except UnicodeDecodeError as error:
        text = begin[: error.start].decode("utf-8") if error.start >= len(begin) - BYTES_PER_CHARACTER else ""
    if text and all(character.isprintable() or character in "\t\r\n" for character in text):
        return text, len(data) > len(begin)
    shown = data[: max(characters // 2, 1)]
    return shown.hex(), len(data) > len(shown)


def _map(data: bytes, characters: int) -> tuple[str, bool]:
    del characters
    entries = decode_map(data) or {}
    return ", ".join(f"{name}={plain(value)}" for name, value in entries.items()), False


def _stream(data: bytes, characters: int) -> tuple[str, bool]:
    del characters
    return ", ".join(str(plain(value)) for value in decode_stream(data)), False


def _opaque(data: bytes, characters: int) -> tuple[str, bool]:
    del characters
    return f"({len(data)} bytes)", True


_READERS: Final = {
    BodyKind.TEXT: _text,
    BodyKind.BYTES: _bytes,
    BodyKind.MAP: _map,
    BodyKind.STREAM: _stream,
}
