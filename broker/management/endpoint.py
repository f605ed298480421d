"""Management over messages: requests to a destination of the broker's own, answers to their JMSReplyTo.

A request is a text message with `{"version": 1, "operation": NAME, "arguments": {…}}`. Its answer has the
request's correlation id and says

* `{"version": 1, "status": "ok", "result": …}`, for a change once it is durable: then the result is its job;
* `{"version": 1, "status": "running", "result": JOB}` meanwhile, now and then, if it takes long;
* `{"version": 1, "status": "error", "error": {"code": …, "message": …}}`.
"""

from __future__ import annotations

import json
import logging
import struct
from typing import TYPE_CHECKING, Any, Final

from broker import modified_utf8
from broker.errors import ClientError, RequestInvalid
from broker.management.audit import audit
from broker.management.errors import ManagementError, RequestMalformed, from_client_error
from broker.management.jobs import FAILED, RUNNING, Caller, Job
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

_LENGTH: Final = struct.Struct(">i")
_log: Final = logging.getLogger("broker.management")


class ManagementEndpoint:
    """Takes requests from connections."""

    def __init__(self, management: Management) -> None:
        self._management = management
        self._endpoints = management.region.endpoints
        self._endpoints.add(DESTINATION, self.take)

    def take(self, message: Message, connection: RegionConnection) -> int:
        """Take one request; it is answered now or later.

        Raises:
            RequestInvalid: it says nowhere that the answer should go to.
        """
        if message.reply_to is None:
            raise RequestInvalid(f"A request to {DESTINATION} needs a JMSReplyTo, to which its answer goes.")
        try:
            found = self._carry_out(message, connection)
        except ManagementError as error:
            self._refuse(message, connection, error)
        except ClientError as error:
            self._refuse(message, connection, from_client_error(error))
        else:
            if isinstance(found, Job):
                Following(self, message, connection, found)
            else:
                self.answer(message, connection, {"status": "ok", "result": found})
        return 0

    def _carry_out(self, message: Message, connection: RegionConnection) -> Job | Plain:
        caller = Caller(connection.user, connection.remote, connection.connection_id)
        name, arguments = _read(message)
        try:
            found = carry_out(self._management.operator(caller), name, arguments)
        except (ManagementError, ClientError) as error:
            audit(caller, name, arguments, f"refused: {error}")
            raise
        audit(
            caller, name, arguments, f"begun as job {found.info().id}" if isinstance(found, Job) else "done"
        )
        return found

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
    """Tells whoever asked for a job how far it is."""

    def __init__(
        self, endpoint: ManagementEndpoint, message: Message, connection: RegionConnection, job: Job
    ) -> None:
        self._endpoint = endpoint
        self._message = message
        self._connection = connection
        self._told_ms = job.region.now_ms
        job.call(self._changed)

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
        self._told_ms = now_ms
        self._endpoint.answer(self._message, self._connection, content)


def _read(message: Message) -> tuple[str, dict[str, Any]]:
    """The operation and the arguments of a request.

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
    return operation, arguments
