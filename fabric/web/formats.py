"""How pages write numbers, sizes, rates and times. All of these are filters of the templates."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

MISSING: Final = "\N{EN DASH}"
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def number(value: float) -> str:
    """1234567 as `1,234,567`."""
    return f"{value:,.0f}"


def size_text(value: float) -> str:
    """Bytes, in the unit that leaves few digits: `1.4 MiB`."""
    index = 0
    while value >= 1024 and index < len(_UNITS) - 1:
        value, index = value / 1024, index + 1
    return f"{value:,.0f} {_UNITS[index]}" if index == 0 or value >= 100 else f"{value:.1f} {_UNITS[index]}"


def rate(value: float | None) -> str:
    """Messages per second; a dash where it is not known."""
    if value is None:
        return MISSING
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def span(seconds: float) -> str:
    """How long, in its two largest units: `3 d 4 h`, `12 s`."""
    rest = max(int(seconds), 0)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if rest >= length or (unit == "s" and not parts):
            parts.append(f"{rest // length} {unit}")
            rest %= length
    return " ".join(parts[:2])


def moment(milliseconds: float) -> str:
    """A time since the epoch, in UTC to the second; a dash for 0."""
    if milliseconds <= 0:
        return MISSING
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds:.0f} ms"


def pretty(text: str) -> str:
    """A text that is JSON with its lines broken and indented; any other as it is."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def hex_dump(text: str) -> str:
    """Hexadecimal digits in lines of 16 bytes, with their offsets and what is printable ASCII."""
    data = bytes.fromhex(text)
    lines = []
    for offset in range(0, len(data), 16):
        part = data[offset : offset + 16]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        lines.append(f"{offset:08x}  {part.hex(' ', 1):<47}  {shown}")
    return "\n".join(lines)


def is_hexadecimal(text: str) -> bool:
    """Whether a preview of bytes is one in hexadecimal."""
    try:
        bytes.fromhex(text)
    except ValueError:
        return False
    return len(text) > 0 and " " not in text


FILTERS: Final = {
    "number": number,
    "size_text": size_text,
    "rate": rate,
    "span": span,
    "moment": moment,
    "pretty": pretty,
    "hex_dump": hex_dump,
}
