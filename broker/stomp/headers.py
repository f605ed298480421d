r"""The headers of a frame: lines `name:value`, escaped as the connection's version says.

=========  ==============================================================================================
version    escapes
=========  ==============================================================================================
1.0        none; spaces around a value do not count
1.1        `\n`, `\c` (a colon) and `\\`; another backslash stands for itself, as ActiveMQ takes it
1.2        these and `\r`; another backslash is an error; lines may end in CR LF
=========  ==============================================================================================

The headers of CONNECT and CONNECTED are never escaped. Of headers that come twice the first counts. Lines
that end in CR LF are taken in 1.0, too, as ActiveMQ does.

Source: the STOMP specifications 1.0, 1.1 and 1.2, "Value Encoding", "Repeated Header Entries".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from broker.stomp.errors import FrameInvalid
from broker.stomp.limits import HEADER_BYTES_MAX, HEADERS_MAX


class Version(IntEnum):
    """What both sides speak."""

    V1_0 = 10
    V1_1 = 11
    V1_2 = 12

    @property
    def text(self) -> str:
        """As headers name it."""
        return f"1.{self - 10}"


VERSIONS: Final = {each.text: each for each in Version}

_ESCAPE: Final = re.compile(r"\\(.?)", re.DOTALL)
_MEANINGS_1_1: Final = {"n": "\n", "c": ":", "\\": "\\"}
_MEANINGS_1_2: Final = {**_MEANINGS_1_1, "r": "\r"}
_SPECIAL: Final = re.compile(r"[\\\n:\r]")
_ESCAPES: Final = {"\\": "\\\\", "\n": "\\n", ":": "\\c", "\r": "\\r"}
_ESCAPES_1_1: Final = {**_ESCAPES, "\r": "\r"}


def escaped(text: str, version: Version = Version.V1_2) -> str:
    """A name or value as 1.1 or 1.2 writes it; only a carriage return makes a difference."""
    if not _SPECIAL.search(text):
        return text
    escapes = _ESCAPES if version is Version.V1_2 else _ESCAPES_1_1
    return _SPECIAL.sub(lambda match: escapes[match[0]], text)


def unescaped(text: str, version: Version) -> str:
    """A name or value that was escaped.

    Raises:
        FrameInvalid: an escape is unknown in this version.
    """
    if version is Version.V1_0:
        return text
    meanings = _MEANINGS_1_2 if version is Version.V1_2 else _MEANINGS_1_1

    def meaning(match: re.Match[str]) -> str:
        found = meanings.get(match[1])
        if found is not None:
            return found
        if version is Version.V1_2:
            raise FrameInvalid(f"The header {text!r} has the escape {match[0]!r}, which does not exist.")
        return match[0]

    return _ESCAPE.sub(meaning, text)


def read_headers(head: bytes, version: Version, *, escapes: bool = True) -> dict[str, str]:
    """The headers of a client's frame by their names.

    Args:
        head: a line feed before each header, none at the end.
        version: how they are escaped.
        escapes: they are, unless it is 1.0.

    Raises:
        FrameInvalid: one of them is none, or there are too many or too long ones, or it is no UTF-8.
    """
    check_size(head)
    return parsed_headers(head, version, escapes=escapes)


def parsed_headers(head: bytes, version: Version, *, escapes: bool = True) -> dict[str, str]:
    """The same of any size, as this side has written it."""
    if not head:
        return {}
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        raise FrameInvalid("The headers are not valid UTF-8.") from None
    if "\0" in text:
        raise FrameInvalid("A zero byte stands in the headers.")
    if "\r" in text and version is not Version.V1_1:
        text = (text + "\n").replace("\r\n", "\n")[:-1]
    headers: dict[str, str] = {}
    is_escaped = escapes and version is not Version.V1_0 and "\\" in text
    for line in text[1:].split("\n"):
        name, colon, value = line.partition(":")
        if not colon or not name:
            raise FrameInvalid(f"Unable to parse header line [{line[:100]}].")
        if is_escaped:
            name, value = unescaped(name, version), unescaped(value, version)
        if version is Version.V1_0:
            value = value.strip()
        headers.setdefault(name, value)
    return headers


def check_size(head: bytes) -> None:
    """Refuses headers that are too many or too long.

    Raises:
        FrameInvalid: they are.
    """
    if len(head) <= HEADERS_MAX:  # no header is shorter than two bytes and its line feed
        return
    if head.count(b"\n") > HEADERS_MAX:
        raise FrameInvalid("The maximum number of headers was exceeded.")
    if len(head) > HEADER_BYTES_MAX and max(map(len, head.split(b"\n"))) > HEADER_BYTES_MAX:
        raise FrameInvalid("The maximum header length was exceeded.")


def lines(headers: Mapping[str, str], version: Version = Version.V1_2) -> str:
    """Headers as they are written in 1.1 and 1.2, a line feed behind each."""
    return "".join(
        [f"{escaped(name, version)}:{escaped(value, version)}\n" for name, value in headers.items()]
    )


def plain_lines(headers: Mapping[str, str]) -> str:
    """Headers as they are written in 1.0, and in CONNECTED: nothing is escaped.

    A line feed, which cannot be written there, becomes a space: it must not begin another header.
    """
    return "".join([f"{_flat(name)}:{_flat(value)}\n" for name, value in headers.items()])


def _flat(text: str) -> str:
    return text.replace("\n", " ").replace("\r", " ")
