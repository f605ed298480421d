"""What operators did by management, for whoever keeps an audit log: records of the logger `broker.audit`.

Each has the attribute `audited`: `user`, `remote`, `action` and `result`, as text. What only looks is left
out, and what a message says, too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from broker.management.operations import OPERATIONS

if TYPE_CHECKING:
    from broker.management.jobs import Caller

READS: Final = frozenset(
    {
        "broker", "usage", "queues", "queue", "topics", "subscriptions", "connections", "consumers",
        "producers", "browse", "scheduled", "transactions", "jobs", "job",
    }
)  # fmt: skip
"""Operations that change nothing."""
HIDDEN: Final = frozenset({"body", "text", "headers", "properties"})
"""Arguments that are content of messages."""
ARGUMENTS_CHARACTERS_MAX: Final = 500

_log: Final = logging.getLogger("broker.audit")


def audit(caller: Caller, name: str, arguments: Mapping[str, Any], result: str) -> None:
    """Say what somebody did, or what he was refused, unless it changes nothing."""
    if name in READS and not result.startswith("refused"):
        return
    shown = {key: "…" if key in HIDDEN else value for key, value in arguments.items()}
    action = (
        f"{name if name in OPERATIONS else repr(name)[:100]} {json.dumps(shown)[:ARGUMENTS_CHARACTERS_MAX]}"
    )
    audited = {"user": caller.user, "remote": caller.remote, "action": action, "result": result}
    _log.info("%s: %s: %s", caller, action, ascii(result), extra={"audited": audited})
