"""Connections to the brokers' management, one for each broker, as a user that exists only for the console.

The user is an ephemeral znode with the hash of a password that only this process knows: it ends with the
console's session, and no secret lies anywhere.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from fabric.brokers import BrokerClient, Login, find_broker, url_of
from fabric.errors import BrokerRefused, BrokerUnreachable
from registry import paths
from registry.errors import NodeExists
from registry.users import UserRecord, hash_password

if TYPE_CHECKING:
    from fabric.web.console import Console

ANSWER_S: Final = 10.0
"""How long a broker may be silent: a page waits for it."""
LOGIN_ATTEMPTS: Final = 20
LOGIN_PAUSE_S: Final = 0.1
"""A broker hears of the console's user a moment after it was made."""
PASSWORD_BYTES: Final = 32
USER_PREFIX: Final = "console@"
"""Before the container's name. Who lists users leaves these out."""


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
    """The connections to brokers. Its `ask` and `change` are for the reactor's thread."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._user = ConsoleUser(console)
        self._idle: dict[tuple[str, str], list[BrokerClient]] = {}
        self._closed = False

    async def ask(self, group: str, broker: str, operation: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Have a broker's master do an operation of its management; see `broker.management.operations`.

        Raises:
            BrokerNotFound, NoMaster, BrokerUnreachable, BrokerRefused: as they say.
        """
        rows = [row for row in self._console.view.brokers() if row.cluster == paths.amq_group(group)]
        row = find_broker(rows, group, broker)
        url = url_of(row)
        given = {name: value for name, value in arguments.items() if value is not None}
        idle = self._take((broker, url))
        try:
            client, found = await self._console.blocking(self._ask, idle, broker, url, operation, given)
        except BrokerRefused:
            if idle is not None:
                self._put((broker, url), idle)
            raise
        self._put((broker, url), client)
        return found

    def close(self) -> None:
        """Leave all brokers."""
        self._closed = True
        for clients in self._idle.values():
            for client in clients:
                client.close()
        self._idle.clear()

    def _take(self, key: tuple[str, str]) -> BrokerClient | None:
        clients = self._idle.get(key)
        return clients.pop() if clients else None

    def _put(self, key: tuple[str, str], client: BrokerClient) -> None:
        if self._closed:
            client.close()
            return
        for other in [other for other in self._idle if other[0] == key[0] and other != key]:
            for old in self._idle.pop(other):  # of a master before this one
                old.close()
        self._idle.setdefault(key, []).append(client)

    def _ask(
        self, client: BrokerClient | None, name: str, url: str, operation: str, arguments: dict[str, object]
    ) -> tuple[BrokerClient, Any]:
        """Ask in a thread; a connection that is broken is made anew once."""
        if client is not None:
            try:
                return client, client.ask(operation, **arguments)
            except BrokerUnreachable:
                client.close()
        fresh = self._connect(name, url)
        try:
            return fresh, fresh.ask(operation, **arguments)
        except BaseException:
            fresh.close()
            raise

    def _connect(self, name: str, url: str) -> BrokerClient:
        authority = self._console.home.authority_certificate
        trust_store = str(authority) if authority.exists() else ""
        for attempt in range(LOGIN_ATTEMPTS):
            try:
                return BrokerClient(name, url, self._user.login(), answer_s=ANSWER_S, trust_store=trust_store)
            except BrokerRefused:
                if attempt == LOGIN_ATTEMPTS - 1:
                    raise
                time.sleep(LOGIN_PAUSE_S)
        raise AssertionError
