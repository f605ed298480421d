"""Management over messages: requests to a destination of the broker's own, answers to their JMSReplyTo.

A request is a text message with `{"version": 1, "operation": NAME, "arguments": {…}}`. Its answer has the
request's correlation id and says

* `{"version": 1, "status": "ok", "result": …}`, for a change once it is durable: then the result is its job;
* `{"version": 1, "status": "running", "result": JOB}` meanwhile, now and then, if it takes long;
* `{"version": 1, "status": "error", "error": {"code": …, "message": …}}`.

A request may have an `asker`, with `user`, `role` and `source`: for whom somebody asks, for the audit log.
"""

from __future__ import annotations

import json
import logging
import struct
from typing import TYPE_CHECKING, Any, Final

from broker import modified_utf8
from broker.errors import ClientError, RequestInvalid
from broker.management.audit import JobAudit, audit
from broker.management.errors import ManagementError, RequestMalformed, from_client_error
from broker.management.jobs import FAILED, RUNNING, Asker, Caller, Job
from broker.management.model import Plain
from broker.management.operations import carry_out, plain_of
from broker.management.preview import preview
from broker.message import BodyKind

if TYPE_CHECKING:
    from broker.management.management import Management
    from broker.message import Message
    from broker.region.connection import RegionConnection

DESTINATION: Final = "ActiveMQ.Management"
"""Name of the queue that takes requests."""
VERSION: Final = 1
"""Of requests and answers; a request of another one is refused."""
REQUEST_CHARACTERS_MAX: Final = 1024 * 1024
"""Of one request's text."""
PROGRESS_MS: Final = 500
"""How often a long change says how far it is."""
ASKER_CHARACTERS_MAX: Final = 128
"""Of each word about for whom somebody asks."""

_LENGTH: Final = struct.Struct(">i")
_log: Final = logging.getLogger("broker.management")


class ManagementEndpoint:
    """Takes requests from connections."""

    def __init__(self, management: Management) -> None:
        self._management = management
        self._endpoints = management.region.endpoints
        self._endpoints.add(DESTINATION, self.take)
        self._following: dict[Following, None] = {}

    def take(self, message: Message, connection: RegionConnection) -> int:
        """Take one request; it is answered now or later.

        Raises:
            RequestInvalid: it says nowhere that the answer should go to.
        """
        if message.reply_to is None:
            raise RequestInvalid(f"A request to {DESTINATION} needs a JMSReplyTo, to which its answer goes.")
        try:
            self._carry_out(message, connection)
        except ManagementError as error:
            self._refuse(message, connection, error)
        except ClientError as error:
            self._refuse(message, connection, from_client_error(error))
        return 0

    def close(self) -> None:
        """The mastership ends, and the jobs with it."""
        following, self._following = self._following, {}
        for each in following:
            each.break_off()

    def ended(self, following: Following) -> None:
        """A job is over."""
        self._following.pop(following, None)

    def _carry_out(self, message: Message, connection: RegionConnection) -> None:
        name, arguments, asker = _read(message)
        caller = Caller(connection.user, connection.remote, connection.connection_id, asker)
        try:
            found = carry_out(self._management.operator(caller), name, arguments)
        except (ManagementError, ClientError) as error:
            audit(caller, name, arguments, f"refused: {error}")
            raise
        if isinstance(found, Job):
            following = Following(self, message, connection, found, JobAudit(caller, name, arguments, found))
            self._following[following] = None
            following.begin()
        else:
            audit(caller, name, arguments, "done")
            self.answer(message, connection, {"status": "ok", "result": found})

    def _refuse(self, message: Message, connection: RegionConnection, error: ManagementError) -> None:
        fault: Plain = {"code": error.code, "message": str(error)}
        self.answer(message, connection, {"status": "error", "error": fault})

    def answer(self, message: Message, connection: RegionConnection, content: dict[str, Plain]) -> None:
        """Send an answer to a request."""
        data = modified_utf8.encode(json.dumps({"version": VERSION, **content}, ensure_ascii=False))
        self._endpoints.answer(
            message,
            connection,
            body_kind=BodyKind.TEXT,
            body=_LENGTH.pack(len(data)) + data,
            urgent=self._management.region.rights.is_admin(connection.user),
        )


class Following:
    """Tells whoever asked for a job how far it is, and the audit log what has become of it."""

    def __init__(
        self,
        endpoint: ManagementEndpoint,
        message: Message,
        connection: RegionConnection,
        job: Job,
        job_audit: JobAudit,
    ) -> None:
        self._endpoint = endpoint
        self._message = message
        self._connection = connection
        self._job = job
        self._told_ms = job.region.now_ms
        self._audit = job_audit
        self._has_told = False

    def begin(self) -> None:
        """Follow it to its end."""
        self._job.call(self._changed)

    def break_off(self) -> None:
        """It does not come to its end."""
        self._audit.ended(self._job, is_awaited=False)

    def _changed(self, job: Job) -> None:
        now_ms = job.region.now_ms
        content: dict[str, Plain]
        if job.state == RUNNING:
            if now_ms - self._told_ms < PROGRESS_MS:
                return
            content = {"status": "running", "result": plain_of(job.info())}
        elif job.state == FAILED:
            fault: Plain = {"code": job.code, "message": job.error, "job": plain_of(job.info())}
            content = {"status": "error", "error": fault}
        else:
            content = {"status": "ok", "result": plain_of(job.info())}
        if job.state != RUNNING:
            self._endpoint.ended(self)
            self._audit.ended(job, is_awaited=not self._has_told)
        self._has_told = True
        self._told_ms = now_ms
        self._endpoint.answer(self._message, self._connection, content)


def _read(message: Message) -> tuple[str, dict[str, Any], Asker | None]:
    """The operation and the arguments of a request, and for whom it is asked.

    Raises:
        RequestMalformed: it is none.
    """
    if message.body_kind is not BodyKind.TEXT:
        raise RequestMalformed("A request is a text message.")
    text, cut = preview(message, REQUEST_CHARACTERS_MAX)
    if cut:
        raise RequestMalformed(
            f"The text of a request is damaged, or longer than {REQUEST_CHARACTERS_MAX} characters."
        )
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestMalformed(f"A request is JSON: {error}.") from error
    if not isinstance(content, dict):
        raise RequestMalformed("A request is a JSON object.")
    version = content.get("version", VERSION)
    if version != VERSION:
        raise RequestMalformed(f"This broker understands requests of version {VERSION}, not {version!r}.")
    operation, arguments = content.get("operation"), content.get("arguments", {})
    if not isinstance(operation, str):
        raise RequestMalformed("A request names its 'operation'.")
    if not isinstance(arguments, dict):
        raise RequestMalformed("The 'arguments' of a request are a JSON object.")
    return operation, arguments, _asker(content.get("asker"))


def _asker(said: object) -> Asker | None:
    """For whom somebody asks; None: he does not say it.

    Raises:
        RequestMalformed: he says something else.
    """
    if said is None:
        return None
    given = [said.get(name, "") for name in ("user", "role", "source")] if isinstance(said, dict) else []
    words = [word[:ASKER_CHARACTERS_MAX] for word in given if isinstance(word, str)]
    if len(words) < 3:
        raise RequestMalformed("The 'asker' of a request is a JSON object with user, role and source.")
    return Asker(*words)
