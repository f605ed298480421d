"""Lines of a log as people read them: those of JSON become what the text format would have written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

_HEAD: Final = ("time", "level", "container", "logger", "message", "exception")


def utc_text(at_s: float) -> str:
    """A time as lines of JSON have it.

    >>> utc_text(0.5)
    '1970-01-01T00:00:00.500Z'
    """
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def readable(line: str) -> str:
    """One line without its end; one that is no JSON of a log stays as it is."""
    if not line.startswith("{"):
        return line
    try:
        fields = json.loads(line)
        when, level, logger = fields["time"], fields["level"], fields["logger"]
        local = datetime.fromisoformat(when).astimezone().replace(tzinfo=None)
        stamp = local.isoformat(" ", "milliseconds").replace(".", ",")
        text = f"{stamp} {str(level).upper():<7} [{logger}] {fields['message']}{_context(fields)}"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return line
    return f"{text}\n{fields['exception']}" if fields.get("exception") else text


def _context(fields: dict[str, Any]) -> str:
    rest = [f"{name}={value}" for name, value in fields.items() if name not in _HEAD]
    return f" ({', '.join(rest)})" if rest else ""


def readable_text(text: str) -> str:
    """Whole lines, each with its end but perhaps the last."""
    return "".join(
        readable(line.removesuffix("\n")) + ("\n" if line.endswith("\n") else "")
        for line in text.splitlines(keepends=True)
    )
