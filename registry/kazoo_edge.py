"""What of kazoo is used, and what becomes of it: its client, its errors, its states, its stats.

kazoo has no types; `Any` ends here and in the two modules of the session.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kazoo import exceptions as kazoo_errors
from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.connection import AUTH_XID
from kazoo.protocol.serialization import Auth
from kazoo.protocol.states import EventType, KazooState
from kazoo.retry import KazooRetry
from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl

from registry.address import FORM, check_url
from registry.channel import PLAIN, ChannelSettings
from registry.encryption import check_files
from registry.errors import (
    AuthenticationFailed,
    LoginFailed,
    NodeExists,
    NodeNotEmpty,
    NoPermission,
    NoSuchNode,
    RegistryError,
    RegistryUnavailable,
    SessionExpired,
    VersionConflict,
)
from registry.kazoo_channel import SecuredThreads, secure
from registry.login import MECHANISM
from registry.watches import NodeEvent

DIGEST_USER = "fabric"
"""The one user of the ``digest`` scheme; the ensemble's password is its password. Source: fabric8."""

RECONNECT_DELAY_S = 0.05
RECONNECT_BACK_OFF = 1.5
RECONNECT_DELAY_MAX_S = 0.25
"""How soon a returned ZooKeeper is found.

Must stay below the delay of slaves that join again: a master that lost its session has to be back first.
"""

FIRST_REPLY_TIMEOUT_S = 0.5
"""How long the first attempt to open a session waits for the server's answer; each next one twice as long.

A server that is just starting may accept a connection and never answer on it. kazoo would wait for the whole
session timeout, and the session of a master would have expired by then.
"""

# kazoo reports every failed attempt to connect, several a second in an outage. The session logs what matters.
_kazoo_log = logging.getLogger("registry.kazoo")
_kazoo_log.setLevel(logging.ERROR)
for _logger in (_kazoo_log, logging.getLogger("kazoo")):
    _logger.addHandler(logging.NullHandler())


class SessionState(Enum):
    """What a session may hope for."""

    CONNECTED = "connected"
    SUSPENDED = "suspended"
    """No server can be reached. The session and its ephemeral znodes may or may not live on."""
    LOST = "lost"
    """The session is gone with its ephemeral znodes. A new one follows by itself, except after ``close``."""


@dataclass(frozen=True, slots=True)
class Node:
    """A znode as read."""

    data: bytes
    version: int
    """Counts the changes of the data, from 0."""
    ephemeral_owner: int
    """Session id, or 0 for a persistent znode."""
    czxid: int
    mzxid: int
    ctime_ms: int
    mtime_ms: int
    children_count: int


def make_client(
    url: str, password: str | None, session_timeout_s: float, channel: ChannelSettings = PLAIN
) -> Any:  # noqa: ANN401 - kazoo's
    """Make a kazoo client that gives every znode to the ensemble's password, and tries for ever to connect.

    Its attribute ``on_end`` is called with an error or None when the thread of its connection ends, in it.

    Raises:
        RegistryUnavailable: `url` is not an address.
        ChannelNotSecured: a file of `channel` cannot be used.
    """
    check_files(channel)
    threads = None if channel == PLAIN else SecuredThreads(channel)
    retry = KazooRetry(
        max_tries=-1,
        delay=RECONNECT_DELAY_S,
        backoff=RECONNECT_BACK_OFF,
        max_jitter=0.2,
        max_delay=RECONNECT_DELAY_MAX_S,
    )
    try:
        client = KazooClient(
            hosts=check_url(url),
            timeout=session_timeout_s,
            auth_data=[credentials(password)] if password else None,
            default_acl=own_access(password) if password else None,
            connection_retry=retry,
            handler=threads,
            sasl_options={"mechanism": MECHANISM} if channel.sasl_user else None,
            logger=_kazoo_log,
        )
    except ValueError as error:
        raise RegistryUnavailable(f"{url!r} is not a ZooKeeper address ({FORM}).") from error
    _limit_replies(client._connection)
    match_proofs(client)
    if threads is not None:
        secure(client._connection, threads, channel)
    _tell_of_end(client)
    return client


def make_path(
    url: str, path: str, password: str | None, timeout_s: float, channel: ChannelSettings = PLAIN
) -> None:
    """Make a path for a fabric in an ensemble, if it is not there. Blocks.

    What lies above it stays everybody's, as ZooKeeper's root is: it may hold other fabrics, too.

    Args:
        url: Of the ensemble, without a path: a session with one cannot look above it.
        path: What is to be there.
        password: What is made is given to it.
        timeout_s: For all of it.
        channel: How the ensemble is talked to.

    Raises:
        NoPermission: the ensemble does not let us.
        RegistryUnavailable: no server answered in time, or `url` is not an address.
    """
    client = make_client(url, password, timeout_s, channel)
    try:
        client.start(timeout_s)
        client.ensure_path(path.rpartition("/")[0] or "/", acl=OPEN_ACL_UNSAFE)
        client.ensure_path(path)
    except FAILURES as error:
        raise converted(error, url, path) from error
    finally:
        client.stop()
        client.close()


def own_access(*passwords: str) -> list[Any]:
    """The access list that gives everything to who knows one of the passwords, nothing to anybody else."""
    return [make_digest_acl(DIGEST_USER, password, all=True) for password in passwords]


def is_own(access: list[Any]) -> bool:
    """Whether an access list gives something to who knows a password of the ensemble."""
    return any(_is_own_entry(entry) for entry in access)


def access_for(access: list[Any], passwords: Sequence[str]) -> list[Any]:
    """Return the access list with these passwords in the place of all others; what else it gives stays."""
    return [*own_access(*passwords), *(entry for entry in access if not _is_own_entry(entry))]


def _is_own_entry(entry: Any) -> bool:  # noqa: ANN401 - kazoo is not typed
    return bool(entry.id.scheme == "digest" and entry.id.id.startswith(f"{DIGEST_USER}:"))


def credentials(password: str) -> tuple[str, str]:
    """What a session says to prove that it knows the password: a scheme, and what that asks for."""
    return "digest", f"{DIGEST_USER}:{password}"


def _limit_replies(connection: Any) -> None:  # noqa: ANN401 - kazoo is not typed
    """Make a connection give up early on a server that does not answer its first requests.

    kazoo 2.10 and 2.11 have no option for this. ``_invoke`` makes the requests that open a session, no
    others.
    """
    invoke = connection._invoke
    limit_s = FIRST_REPLY_TIMEOUT_S

    # kazoo is not typed.
    def invoke_impatiently(timeout_s: float, request: Any, xid: int | None = None) -> Any:  # noqa: ANN401
        nonlocal limit_s
        try:
            answer = invoke(min(timeout_s, limit_s), request, xid)
        except KazooTimeoutError:
            limit_s *= 2
            raise
        limit_s = FIRST_REPLY_TIMEOUT_S
        return answer

    connection._invoke = invoke_impatiently


def match_proofs(client: Any) -> None:  # noqa: ANN401 - kazoo is not typed
    """Give the answer to a proof of a password to that, also if requests from before it still wait.

    ZooKeeper answers a proof as soon as it has read it. kazoo 2.10 and 2.11 take the answer for that to the
    oldest request, find the next one out of order, and give up the session.
    """
    read, pending = client._connection._read_header, client._pending

    # kazoo is not typed.
    def read_matching(timeout_s: float) -> Any:  # noqa: ANN401
        header, buffer, offset = read(timeout_s)
        if header.xid == AUTH_XID:
            proof = next((one for one in pending if one[0].type == Auth.type), None)
            if proof is not None:
                pending.remove(proof)
                pending.appendleft(proof)
        return header, buffer, offset

    client._connection._read_header = read_matching


def _tell_of_end(client: Any) -> None:  # noqa: ANN401 - kazoo is not typed
    """Make a client tell that its connection's thread has ended.

    kazoo 2.10 and 2.11 tell of it as of a lost session, and not at all if the session was lost before.
    """
    run = client._connection.zk_loop

    def run_and_tell() -> None:
        error = None
        try:
            run()
        except Exception as failure:  # noqa: BLE001 - whatever it is, this thread is at its end
            error = failure
        client.on_end(error)

    client.on_end = lambda error: None
    client._connection.zk_loop = run_and_tell


def session_state(kazoo_state: str) -> SessionState:
    """Translate a state."""
    if kazoo_state == KazooState.CONNECTED:
        return SessionState.CONNECTED
    return SessionState.SUSPENDED if kazoo_state == KazooState.SUSPENDED else SessionState.LOST


def watch_function(listener: Callable[[NodeEvent], None] | None) -> Callable[[Any], None] | None:
    """Make kazoo's kind of watch. It also hears of lost connections; a session's states tell of those."""
    if listener is None:
        return None
    on_event = listener

    def on_kazoo_event(event: Any) -> None:  # noqa: ANN401 - kazoo is not typed
        if event.type != EventType.NONE:
            on_event(NodeEvent.DELETED if event.type == EventType.DELETED else NodeEvent.CHANGED)

    return on_kazoo_event


def node_of(answer: Any) -> Node:  # noqa: ANN401 - kazoo is not typed
    """Translate a znode."""
    data, stat = answer
    return Node(
        data=data or b"",
        version=stat.version,
        ephemeral_owner=stat.ephemeralOwner,
        czxid=stat.czxid,
        mzxid=stat.mzxid,
        ctime_ms=stat.ctime,
        mtime_ms=stat.mtime,
        children_count=stat.numChildren,
    )


REPEATABLE = (kazoo_errors.ConnectionLoss, kazoo_errors.SessionExpiredError)
"""A request that ended so may be made again when the session is back. It may have been carried out."""

FAILURES = (kazoo_errors.KazooException, KazooTimeoutError)
"""Everything that kazoo raises for a request."""

_ERRORS: tuple[tuple[type[Exception], type[RegistryError]], ...] = (
    (kazoo_errors.NoNodeError, NoSuchNode),
    (kazoo_errors.NodeExistsError, NodeExists),
    (kazoo_errors.NotEmptyError, NodeNotEmpty),
    (kazoo_errors.BadVersionError, VersionConflict),
    (kazoo_errors.NoAuthError, NoPermission),
    (kazoo_errors.AuthFailedError, AuthenticationFailed),
    (kazoo_errors.SessionExpiredError, SessionExpired),
    (kazoo_errors.ConnectionLoss, RegistryUnavailable),
    (kazoo_errors.ConnectionClosedError, RegistryUnavailable),
    (kazoo_errors.OperationTimeoutError, RegistryUnavailable),
    (KazooTimeoutError, RegistryUnavailable),
)

_ERROR_TEXTS: dict[type[RegistryError], str] = {
    NoSuchNode: "No such znode:",
    NodeExists: "The znode exists already:",
    NodeNotEmpty: "The znode has children:",
    VersionConflict: "The znode was changed by somebody else:",
    NoPermission: "No permission for the znode",
    AuthenticationFailed: "ZooKeeper did not accept the password for",
}


def converted(error: Exception, url: str, path: str) -> RegistryError:
    """Translate an error."""
    if isinstance(error, kazoo_errors.SessionClosedRequireSaslError):
        return LoginFailed(f"ZooKeeper at {url} asks for a login (SASL): name a user of it and his password.")
    kind = next((kind for known, kind in _ERRORS if isinstance(error, known)), RegistryError)
    if issubclass(kind, RegistryUnavailable):
        return kind(f"ZooKeeper at {url} did not answer a request for {path} ({type(error).__name__}).")
    return kind(f"{_ERROR_TEXTS.get(kind, 'ZooKeeper refuses the request for')} {path}.")
