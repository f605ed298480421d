"""What operators did by management, for whoever keeps an audit log: records of the logger `broker.audit`.

Each has the attribute `audited`: `user`, `remote`, `action` and `result`, as text. What only looks is left
out, and what a message says, too. A job has two, when it is begun and when it is over; the second one has
`asker` if its end was not waited for by who has asked for somebody else. Failed logins are told, too, with
`count` and `left_out`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from broker.management.jobs import CANCELLED, RUNNING, Caller, Immediate
from broker.management.operations import OPERATIONS

if TYPE_CHECKING:
    from broker.failed_logins import FailedLogin
    from broker.management.jobs import Asker, Job

READS: Final = frozenset(
    {
        "broker", "usage", "queues", "queue", "topics", "subscriptions", "connections", "consumers",
        "producers", "browse", "scheduled", "transactions", "jobs", "job",
    }
)  # fmt: skip
"""Operations that change nothing."""
HIDDEN: Final = frozenset({"body", "text", "base64", "headers", "properties"})
"""Arguments that are content of messages."""
ARGUMENTS_CHARACTERS_MAX: Final = 500
NOT_MASTER: Final = "this broker is not the master any more"

_log: Final = logging.getLogger("broker.audit")


def audit(caller: Caller, name: str, arguments: Mapping[str, Any], result: str) -> None:
    """Say what somebody did, or what he was refused, unless it changes nothing."""
    if name in READS and not result.startswith("refused"):
        return
    _tell(caller, _described(name, arguments), result)


class JobAudit:
    """Says that a job has begun, and what has become of it.

    Args:
        caller: who has asked for it.
        name: of the operation.
        arguments: its; they are not kept.
        job: has just begun.
    """

    def __init__(self, caller: Caller, name: str, arguments: Mapping[str, Any], job: Job) -> None:
        self._caller = caller
        self._action = _described(name, arguments)
        self._say(f"begun as job {job.number}")

    def ended(self, job: Job, *, is_awaited: bool) -> None:
        """It is over; if it still runs, it is broken off.

        Args:
            job: as it is now.
            is_awaited: who has asked for it gets this as the first answer.
        """
        self._say(result_of(job), None if is_awaited else self._caller.asker)

    def _say(self, result: str, asker: Asker | None = None) -> None:
        if asker is None:
            _tell(self._caller, self._action, result)
        else:
            _tell(self._caller, self._action, result, asker=asdict(asker))


def audit_login(failed: FailedLogin) -> None:
    """Say who was refused."""
    caller = Caller(failed.user, failed.address)
    _tell(caller, "login", failed.reason, count=failed.count, left_out=failed.left_out)


def result_of(job: Job) -> str:
    """How a job has ended, in words: `done: job 3, 12 messages`."""
    info = job.info()
    state = "broken off" if info.state == RUNNING else info.state
    parts = [f"job {info.id}"]
    if not isinstance(job, Immediate):
        parts.append(f"{info.changed} message{'' if info.changed == 1 else 's'}")
    if info.result:
        parts.append(info.result)
    if info.skipped:
        parts.append(f"{info.skipped} stayed")
    if info.left:
        parts.append(f"{info.left} at consumers")
    if info.state in (RUNNING, CANCELLED) and info.total > info.looked_at:
        parts.append(f"{info.total - info.looked_at} not looked at")
    why = NOT_MASTER if info.state == RUNNING else info.error
    return f"{state}: {', '.join(parts)}{f': {why}' if why else ''}"


def _described(name: str, arguments: Mapping[str, Any]) -> str:
    shown = {key: "…" if key in HIDDEN else value for key, value in arguments.items()}
    known = name if name in OPERATIONS else repr(name)[:100]
    return f"{known} {json.dumps(shown)[:ARGUMENTS_CHARACTERS_MAX]}"


def _tell(caller: Caller, action: str, result: str, **more: object) -> None:
    audited = {"user": caller.user, "remote": caller.remote, "action": action, "result": result, **more}
    _log.info("%s: %s: %s", ascii(str(caller)), action, ascii(result), extra={"audited": audited})
