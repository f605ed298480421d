"""Users of an LDAP directory, such as OpenLDAP or Active Directory.

A user is found by a pattern of his DN, or by a search; his password is checked by binding as him; his groups
give him roles. What a user types is escaped before it is part of a DN or a filter.
"""

from __future__ import annotations

import contextlib
import math
import select
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from fabric.addresses import is_loopback
from fabric.realms import Found, RealmInvalid, RealmUnavailable, duration_s, mapped_roles, needed

if TYPE_CHECKING:
    from ldap3 import Connection, Server

TIMEOUT_MS: Final = 5_000
"""To connect, and for each answer."""
IDLE_MAX: Final = 4
"""Connections for searches that are kept open; as many as there are checks at a time."""
GROUPS_MAX: Final = 1_000
"""Groups of one user that are looked at."""
WRONG_PASSWORD: Final = 49
NO_SUCH_OBJECT: Final = 32
REFUSALS: Final = (WRONG_PASSWORD, NO_SUCH_OBJECT, 34, 48, 53)
"""Results of a bind that say something of the user: besides invalid DN syntax, inappropriate authentication,
unwilling to perform (a locked account). Source: RFC 4511, appendix A."""


class Address(NamedTuple):
    """Where a server is."""

    host: str
    port: int
    is_encrypted: bool


class LdapRealm:
    """See `fabric.realms.Realm`."""

    def __init__(self, name: str, properties: Mapping[str, str]) -> None:
        self.name = name
        self._properties = properties
        self._timeout_s = duration_s(name, properties, "timeout", TIMEOUT_MS)
        self._pattern = properties.get("userDn", "").strip()
        self._bind_dn = properties.get("bindDn", "").strip()
        self._user_filter = properties.get("userFilter") or "(uid={0})"
        self._group_filter = properties.get("groupFilter") or "(member={0})"
        self._group_base = properties.get("groupBase", "").strip()
        self._user_base = "" if self._pattern else needed(name, properties, "userBase")
        self._starts_tls = properties.get("startTls", "false").strip().lower() == "true"
        self.notice = ""
        self._servers = [
            self._address(url) for url in needed(name, properties, "url").replace(",", " ").split()
        ]
        self._idle: list[Connection] = []

    def accepts(self, user: str, password: str) -> bool:
        """Everything that is a user and a password: without a password LDAP would bind as nobody."""
        return bool(user and password) and "\0" not in user + password

    def check(self, user: str, password: str) -> Found | None:
        """See `fabric.realms.Realm`."""
        from ldap3.core.exceptions import LDAPExceptionError  # noqa: PLC0415 - large, and seldom used

        problems = []
        for server in self._servers:
            try:
                return self._check_at(server, user, password)
            except (LDAPExceptionError, OSError, RealmUnavailable) as error:
                problems.append(f"{server.host}:{server.port}: {str(error)[:300]}")
        raise RealmUnavailable("; ".join(problems))

    def close(self) -> None:
        """See `fabric.realms.Realm`."""
        while self._idle:
            _end(self._idle.pop())

    # ---- one server

    def _check_at(self, server: Address, user: str, password: str) -> Found | None:
        from ldap3.utils.dn import escape_rdn  # noqa: PLC0415 - likewise

        searching: Connection | None = None
        try:
            if self._pattern:
                dn = self._pattern.replace("{0}", escape_rdn(user))
            else:
                searching = self._searching(server)
                entries = self._search(searching, self._user_base, self._user_filter, (user,))
                if len(entries) != 1:
                    self._keep(searching)
                    return None
                dn = str(entries[0]["dn"])
            own = self._connect(server, dn, password)
            if own is None:
                self._keep(searching)
                return None
            groups = self._groups(searching or own, dn, user)
            _end(own)
        except BaseException:
            if searching is not None:
                _end(searching)
            raise
        self._keep(searching)
        return Found(user, mapped_roles(self._properties, groups), self.name)

    def _groups(self, connection: Connection, dn: str, user: str) -> list[str]:
        """The names of the groups somebody is in."""
        if not self._group_base:
            return []
        named = self._properties.get("groupName") or "cn"
        entries = self._search(connection, self._group_base, self._group_filter, (dn, user), named)
        return [str(value) for entry in entries for value in entry["attributes"].get(named, ())]

    def _search(
        self, connection: Connection, base: str, text: str, values: tuple[str, ...], wanted: str | None = None
    ) -> list[Any]:
        from ldap3.utils.conv import escape_filter_chars  # noqa: PLC0415 - likewise

        for number, value in enumerate(values):
            text = text.replace(f"{{{number}}}", escape_filter_chars(value))
        connection.search(base, text, attributes=[wanted] if wanted else None, size_limit=GROUPS_MAX)
        result = connection.result
        if result["result"] not in (0, NO_SUCH_OBJECT):
            raise RealmUnavailable(f"the search {text} below {base} failed: {result['description']}")
        return [entry for entry in connection.response or () if entry["type"] == "searchResEntry"]

    def _searching(self, server: Address) -> Connection:
        """A connection for searches: one that is kept, or a new one."""
        while True:
            try:
                connection = self._idle.pop()  # others take from it, too
            except IndexError:
                break
            if (
                not connection.closed
                and (connection.server.host, connection.server.port) == server[:2]
                and not _is_over(connection)
            ):
                return connection
            _end(connection)
        made = self._connect(server, self._bind_dn, self._properties.get("bindPassword", ""))
        if made is None:
            raise RealmUnavailable(f"the server refuses {self.name}.bindDn or its password")
        return made

    def _keep(self, connection: Connection | None) -> None:
        if connection is not None and len(self._idle) < IDLE_MAX:
            self._idle.append(connection)
        elif connection is not None:
            _end(connection)

    def _connect(self, server: Address, dn: str, password: str) -> Connection | None:
        """A connection that is bound; None if the server refuses these credentials."""
        from ldap3 import Connection  # noqa: PLC0415 - likewise

        connection = Connection(
            self._server(server),
            user=dn or None,
            password=password if dn else None,
            authentication="SIMPLE" if dn else "ANONYMOUS",
            receive_timeout=math.ceil(self._timeout_s),  # whole seconds, or it fails
            auto_referrals=False,
            read_only=True,
        )
        try:
            connection.open()
            if self._starts_tls and not connection.start_tls():
                raise RealmUnavailable("the server does not begin TLS")
            if connection.bind():
                return connection
        except BaseException:
            _end(connection)
            raise
        result = connection.result
        _end(connection)
        if result["result"] in REFUSALS:
            return None
        raise RealmUnavailable(f"the bind failed: {result['description']} {result['message']}"[:300])

    def _address(self, url: str) -> Address:
        parts = urlsplit(url)
        if parts.scheme not in ("ldap", "ldaps") or not parts.hostname:
            raise RealmInvalid(f"{self.name}.url {url!r} is no ldap:// or ldaps:// address.")
        encrypted = parts.scheme == "ldaps"
        if not encrypted and not self._starts_tls and not is_loopback(parts.hostname):
            self.notice = (
                f"the realm {self.name} sends passwords to {parts.hostname} without TLS: "
                f"use ldaps://, or {self.name}.startTls = true"
            )
        return Address(parts.hostname, parts.port or (636 if encrypted else 389), encrypted)

    def _server(self, address: Address) -> Server:
        """A new one for each connection: ldap3 avoids for minutes what was away for a moment."""
        from ldap3 import Server, Tls  # noqa: PLC0415 - likewise

        trusted = self._properties.get("trustStore", "").strip() or None
        return Server(
            address.host,
            port=address.port,
            use_ssl=address.is_encrypted,
            tls=Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=trusted),
            connect_timeout=self._timeout_s,
            get_info="NO_INFO",
        )


def _end(connection: Connection) -> None:
    """Close a connection, whatever state it is in."""
    from ldap3.core.exceptions import LDAPExceptionError  # noqa: PLC0415 - likewise

    with contextlib.suppress(LDAPExceptionError, OSError):
        connection.unbind()
    if connection.socket is not None:
        connection.socket.close()


def _is_over(connection: Connection) -> bool:
    """Whether the server has closed a connection that waits for its next search."""
    return connection.closed or bool(select.select([connection.socket], [], [], 0)[0])


def make(name: str, properties: Mapping[str, str]) -> LdapRealm:
    """Make a realm. Raises `RealmInvalid`."""
    return LdapRealm(name, properties)
