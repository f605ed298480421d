"""Connections to the brokers' management, as a user that exists only for the console.

The user is an ephemeral znode with the hash of a password that only this process knows: it ends with the
console's session, and no secret lies anywhere.

A broker that is slow holds a few threads and keeps those waiting who ask it, nobody else.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore

from fabric.brokers import BrokerClient, Login, find_broker, url_of
from fabric.errors import BrokerNotFound, BrokerRefused, BrokerUnreachable
from fabric.web.errors import Refused
from registry import paths
from registry.errors import NodeExists
from registry.users import UserRecord, hash_password

if TYPE_CHECKING:
    from fabric.clusters import ClusterRow
    from fabric.web.console import Console

T = TypeVar("T")
Key = tuple[str, str]
"""A broker: its group and its name."""

log = logging.getLogger("fabric.web")

ANSWER_S: Final = 10.0
"""How long a broker may be silent: a page waits for it."""
LOGIN_ATTEMPTS: Final = 50
LOGIN_PAUSE_S: Final = 0.1
"""A broker hears of the console's user a moment after it was made."""
PASSWORD_BYTES: Final = 32
USER_PREFIX: Final = "console@"
"""Before the container's name. Who lists users leaves these out."""
AT_ONCE_MAX: Final = 4
"""Questions to one broker at a time, each of which holds a thread and a connection."""
AT_ONCE_IN_ALL_MAX: Final = 12
"""Questions to all brokers: some threads of the console's are always left for ZooKeeper."""
WAITING_MAX: Final = 64
"""Questions that wait for their turn at one broker."""

Question = tuple[str, Mapping[str, object]]
"""An operation and its arguments."""


class _GoesOnError(Exception):
    """The job runs on; nobody waits for its end."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        self.job = job


class ConsoleUser:
    """The user the console logs in to brokers with. Its methods block."""

    def __init__(self, console: Console) -> None:
        self._session = console.session
        self._name = f"{USER_PREFIX}{console.container}"[:64]
        self._password = secrets.token_urlsafe(PASSWORD_BYTES)
        self._hash = ""

    def login(self) -> Login:
        """Make sure that it is there, and return its name and password."""
        path = paths.user(self._name)
        self._hash = self._hash or hash_password(self._password)
        record = UserRecord(self._name, self._hash, ("admin",)).serialize()
        node = self._session.get_or_none(path)
        if node is not None and (node.data != record or node.ephemeral_owner != self._session.session_id):
            self._session.delete(path, missing_ok=True)
            node = None
        if node is None:
            try:
                self._session.create(path, record, ephemeral=True)
            except NodeExists:
                return self.login()
        return Login(self._name, self._password)


class BrokerLinks:
    """The connections to brokers. Lives in the reactor's thread.

    Attributes:
        connect: makes a connection, blocks: given the broker's name, its URL and the login.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._user = ConsoleUser(console)
        self._entrance = DeferredLock()
        self._gates: dict[Key, DeferredSemaphore] = {}
        self._gate_of_all = DeferredSemaphore(AT_ONCE_IN_ALL_MAX)
        self._idle: dict[Key, tuple[str, list[BrokerClient]]] = {}
        self._closed = False
        self.connect = self._connect

    def login(self) -> Login:
        """The user that exists only for this console (blocking)."""
        return self._user.login()

    async def ask(self, group: str, broker: str, operation: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Have a broker's master answer a question; see `broker.management.operations`.

        Raises:
            BrokerNotFound, NoMaster, BrokerUnreachable, BrokerRefused: as they say.
            Refused: too many ask it.
        """
        given = _given(arguments)
        return await self._use(group, broker, lambda client: client.ask(operation, **given), is_safe=True)

    async def ask_all(self, group: str, broker: str, questions: Sequence[Question]) -> list[Any]:
        """Have several questions answered in a row; raises as `ask` does."""
        return await self._use(
            group,
            broker,
            lambda client: [client.ask(operation, **_given(given)) for operation, given in questions],
            is_safe=True,
        )

    async def change(
        self,
        group: str,
        broker: str,
        operation: str,
        asker: Mapping[str, str] | None = None,
        **arguments: object,
    ) -> dict[str, Any]:
        """Have something changed; its job, which may run on if it takes longer than half a second.

        It is never repeated, for a request that is not answered may have been carried out. Raises as `ask`.

        Args:
            group: of the broker.
            broker: its name.
            operation: that changes it.
            asker: for whom; the broker names him in the audit log when a job that ran on is over.
            arguments: of the operation.
        """
        given = _given(arguments)

        def carry_out(client: BrokerClient) -> dict[str, Any]:
            try:
                return client.change(operation, _leave, asker, **given)
            except _GoesOnError as goes_on:
                return goes_on.job

        return await self._use(group, broker, carry_out, is_safe=False)

    def row(self, group: str, broker: str) -> ClusterRow:
        """A broker as the registry knows it, with or without a master. Raises `BrokerNotFound`."""
        rows = self.rows(group)
        found = next((row for row in rows if row.id == broker), None)
        if found is None:
            raise BrokerNotFound(group, broker, [row.id for row in rows])
        return found

    def rows(self, group: str) -> list[ClusterRow]:
        """The brokers of a group."""
        return [row for row in self._console.view.brokers() if row.cluster == paths.amq_group(group)]

    def close(self) -> None:
        """Leave all brokers."""
        self._closed = True
        for _, clients in self._idle.values():
            self._leave(clients)
        self._idle.clear()

    async def _use(self, group: str, broker: str, work: Callable[[BrokerClient], T], *, is_safe: bool) -> T:
        """Work with a connection; what is safe is done again if the connection turns out to be broken."""
        key = (group, broker)
        gate = self._gates.setdefault(key, DeferredSemaphore(AT_ONCE_MAX))
        if len(gate.waiting) >= WAITING_MAX:
            raise Refused(
                503, f"Broker {broker} answers slowly, and {WAITING_MAX} questions wait for it.", "Try again."
            )
        self.row(group, broker)
        await gate.acquire()
        try:
            await self._gate_of_all.acquire()
            try:
                return await self._work(key, work, is_safe=is_safe)
            finally:
                self._gate_of_all.release()
        finally:
            gate.release()

    async def _work(self, key: Key, work: Callable[[BrokerClient], T], *, is_safe: bool) -> T:
        group, broker = key
        url = url_of(find_broker(self.rows(group), group, broker))
        idle = self._take(key, url)
        if idle is not None:
            try:
                return await self._with(idle, key, url, work)
            except BrokerUnreachable:
                if not is_safe:
                    raise
        login = await self._entrance.run(self._login)
        client = await self._console.blocking(self.connect, broker, url, login)
        return await self._with(client, key, url, work)

    async def _with(self, client: BrokerClient, key: Key, url: str, work: Callable[[BrokerClient], T]) -> T:
        try:
            found = await self._console.blocking(work, client)
        except BrokerRefused:
            self._put(key, url, client)
            raise
        except BaseException:
            self._leave([client])
            raise
        self._put(key, url, client)
        return found

    def _login(self) -> Deferred[Login]:
        return Deferred.fromCoroutine(self._console.blocking(self._user.login))

    def _take(self, key: Key, url: str) -> BrokerClient | None:
        known, clients = self._idle.get(key, (url, []))
        if known != url:  # of a master before this one
            del self._idle[key]
            self._leave(clients)
            return None
        while clients:
            client = clients.pop()
            if client.is_connected:
                return client
            self._leave([client])
        return None

    def _put(self, key: Key, url: str, client: BrokerClient) -> None:
        known, clients = self._idle.setdefault(key, (url, []))
        if self._closed or known != url or not client.is_connected:
            self._leave([client])
        else:
            clients.append(client)

    def _leave(self, clients: Sequence[BrokerClient]) -> None:
        """Close connections, which takes long if the broker is silent."""

        def close_all() -> None:
            for client in clients:
                client.close()

        leaving = Deferred.fromCoroutine(self._console.blocking(close_all))
        leaving.addErrback(lambda failure: log.info("A broker could not be left: %s", failure.value))

    def _connect(self, name: str, url: str, login: Login) -> BrokerClient:
        authority = self._console.home.authority_certificate
        trust_store = str(authority) if authority.exists() else ""
        for attempt in range(LOGIN_ATTEMPTS):
            try:
                return BrokerClient(name, url, login, answer_s=ANSWER_S, trust_store=trust_store)
            except BrokerRefused:
                if attempt == LOGIN_ATTEMPTS - 1:
                    raise
                time.sleep(LOGIN_PAUSE_S)
        raise AssertionError


def _given(arguments: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in arguments.items() if value is not None}


def _leave(job: dict[str, Any]) -> None:
    raise _GoesOnError(job)
