"""Asks brokers: finds the master in the registry, and talks to its management over the client library.

Requests and answers: `broker.management.endpoint`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fabric.clusters import ClusterRow, read_clusters
from fabric.errors import BrokerNotFound, BrokerRefused, BrokerUnreachable, NoMaster
from registry import paths

if TYPE_CHECKING:
    from mqclient import Connection, MessageConsumer, MessageProducer, Session
    from registry.session import Session as RegistrySession

MANAGEMENT: Final = "ActiveMQ.Management"
"""The queue that takes requests."""
SCHEMES: Final = ("tcp://", "auto://", "ssl://", "auto+ssl://")
"""What the client library connects to, what needs no certificates first."""
ANSWER_S: Final = 30.0
"""How long a broker may be silent; a long operation says twice a second how far it is."""
PAGE: Final = 500
"""Items asked for at a time."""

_DO_NEXT: Final = {
    "forbidden": "Give a user that has the role admin with --user.",
    "too_many": "Wait until others are over, or make space, and try again.",
}


@dataclass(frozen=True, slots=True)
class Login:
    """With what to log in to a broker."""

    user: str
    password: str


def broker_rows(session: RegistrySession, group: str) -> list[ClusterRow]:
    """The brokers of a group, or of all groups if it is empty: masters and slaves."""
    return read_clusters(session, paths.amq_group(group) if group else paths.amq_groups())


def find_broker(rows: Sequence[ClusterRow], group: str, name: str | None) -> ClusterRow:
    """The broker that is meant, which has a master.

    Args:
        rows: of the group.
        group: its name, for the error.
        name: of the broker; None: the only one there is.

    Raises:
        BrokerNotFound: there is none of that name, or there are several and none is named.
        NoMaster: none of its containers serves now.
    """
    named = [row for row in rows if name in (None, row.id)]
    if not named or len(named) > 1:
        raise BrokerNotFound(group, name, [row.id for row in rows])
    if not named[0].masters:
        raise NoMaster(named[0].id, group, named[0].slaves)
    return named[0]


def url_of(row: ClusterRow) -> str:
    """Where a broker's master takes OpenWire.

    Raises:
        BrokerUnreachable: nowhere.
    """
    for scheme in SCHEMES:
        for service in row.services:
            if service.startswith(scheme):
                return service
    raise BrokerUnreachable(
        row.id, f"it has no OpenWire connector, only {', '.join(row.services) or 'none at all'}"
    )


class BrokerClient:
    """A connection to one broker's management. To be used by one thread."""

    def __init__(
        self, name: str, url: str, login: Login, *, answer_s: float = ANSWER_S, trust_store: str = ""
    ) -> None:
        """Connect and log in.

        Args:
            name: of the broker, for errors.
            url: of its OpenWire connector.
            login: user and password.
            answer_s: how long it may be silent.
            trust_store: who signs its certificate, where it speaks TLS; empty: whom this system trusts.

        Raises:
            BrokerUnreachable: it does not answer.
            BrokerRefused: it refuses the login.
        """
        self.name = name
        self._answer_s = answer_s
        self._count = 0
        self._connection: Connection
        self._session: Session
        self._consumer: MessageConsumer
        self._producer: MessageProducer
        self._guarded(lambda: self._open(url, login, trust_store))

    def _open(self, url: str, login: Login, trust_store: str) -> None:
        from mqclient import ConnectionFactory, TlsFiles  # noqa: PLC0415 - takes long, and not every command asks

        timeout_ms = int(self._answer_s * 1000)
        options = f"jms.alwaysSyncSend=true&jms.sendTimeout={timeout_ms}&connectionTimeout={timeout_ms}"
        tls = TlsFiles(trust_store)
        factory = ConnectionFactory(f"{url}?{options}", login.user, login.password, tls=tls)
        self._connection = factory.create_connection()
        try:
            self._connection.start()
            self._session = self._connection.create_session()
            self._replies = self._session.create_temporary_queue()
            self._consumer = self._session.create_consumer(self._replies)
            self._producer = self._session.create_producer(f"queue://{MANAGEMENT}")
        except BaseException:
            self._connection.close()
            raise

    @property
    def is_connected(self) -> bool:
        """Whether the connection has not been found broken."""
        from mqclient import errors  # noqa: PLC0415 - see below

        try:
            self._connection.check_open()
        except errors.ClientError:
            return False
        return True

    def ask(self, operation: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Have an operation done and return its result.

        Raises:
            BrokerRefused: the broker said why not.
            BrokerUnreachable: it is silent, or gone.
        """
        return self._guarded(lambda: self._ask(operation, None, arguments))

    def change(
        self,
        operation: str,
        on_progress: Callable[[dict[str, Any]], None] | None,
        asker: Mapping[str, str] | None = None,
        **arguments: object,
    ) -> dict[str, Any]:
        """Have something changed and return the job.

        Args:
            operation: that changes it.
            on_progress: is told of the job now and then.
            asker: for whom, for the broker's audit log: `user`, `role` and `source`.
            arguments: of the operation.

        Raises:
            BrokerRefused, BrokerUnreachable: see `ask`.
        """
        job: dict[str, Any] = self._guarded(lambda: self._ask(operation, on_progress, arguments, asker))
        return job

    def _ask(
        self,
        operation: str,
        on_progress: Callable[[dict[str, Any]], None] | None,
        arguments: dict[str, object],
        asker: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        from mqclient import DeliveryMode, TextMessage  # noqa: PLC0415 - see above

        self._count += 1
        correlation_id = str(self._count)
        content: dict[str, object] = {"version": 1, "operation": operation, "arguments": arguments}
        if asker is not None:
            content["asker"] = dict(asker)
        request = TextMessage(json.dumps(content))
        request.reply_to = self._replies
        request.correlation_id = correlation_id
        self._producer.send(request, DeliveryMode.NON_PERSISTENT)
        while True:
            answer = self._receive(operation, correlation_id)
            if answer.get("status") == "running":
                if on_progress is not None:
                    on_progress(answer.get("result") or {})
                continue
            if answer.get("status") != "ok":
                fault = answer.get("error") or {}
                code = str(fault.get("code", ""))
                raise BrokerRefused(str(fault.get("message", answer)), _DO_NEXT.get(code, ""), code)
            return answer.get("result")

    def _receive(self, operation: str, correlation_id: str) -> dict[str, Any]:
        """The next answer to a request; those to earlier ones, for which nobody waits, are passed over."""
        until_s = time.monotonic() + self._answer_s
        while True:
            message = self._consumer.receive(max(until_s - time.monotonic(), 0))
            if message is None:
                raise BrokerUnreachable(
                    self.name, f"it did not answer '{operation}' within {self._answer_s:g} s"
                )
            if message.correlation_id != correlation_id:
                continue
            answer = json.loads(getattr(message, "text", "") or "{}")
            return answer if isinstance(answer, dict) else {}

    def items(self, operation: str, count: int = 0, **arguments: object) -> Iterator[dict[str, Any]]:
        """The items of a list, page by page.

        Args:
            operation: the list.
            count: at most so many; 0: all.
            arguments: of the operation, but for `after` and `limit`.
        """
        after, found = "", 0
        while True:
            limit = min(PAGE, count - found) if count else PAGE
            page = self.ask(operation, after=after, limit=limit, **arguments)
            yield from page["items"]
            found += len(page["items"])
            after = page["next"]
            if not after or (count and found >= count):
                return

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def _guarded(self, do: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it returns
        """What the client library raises, in this package's words."""
        from mqclient import errors  # noqa: PLC0415 - see above

        try:
            return do()
        except (errors.AuthenticationFailed, errors.NotAuthorized) as error:
            raise BrokerRefused(
                str(error),
                "Give user and password with --user and --password, or in the environment as "
                "FABRIC_USER and FABRIC_PASSWORD.",
                "forbidden",
            ) from error
        except errors.BrokerRefused as error:
            raise BrokerRefused(str(error), "", "") from error
        except (errors.ClientError, OSError, ValueError) as error:
            raise BrokerUnreachable(self.name, str(error)) from error
