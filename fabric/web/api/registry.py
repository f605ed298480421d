"""`/api/v1/registry`: the znodes as they are, the servers that keep them, the sessions of containers."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from fabric.ensemble_health import look_at
from fabric.web.errors import Refused, RequestInvalid
from fabric.web.roles import Role
from fabric.web.routes import API, Call, Done, Request, Route
from fabric.web.secret_znodes import is_secret, without_secrets
from registry import paths
from registry.errors import NoSuchNode, RegistryError, VersionConflict

if TYPE_CHECKING:
    from registry.session import Session

PATH_CHARACTERS_MAX: Final = 1_000
CHILDREN_MAX: Final = 1_000
"""Names of children in one answer."""
SHOWN_BYTES_MAX: Final = 256 * 1024
"""Of a znode's data; more is read with `fabric zk-get`."""
HEX_BYTES_MAX: Final = 16 * 1024

ZnodePath = Annotated[str, msgspec.Meta(min_length=1, max_length=PATH_CHARACTERS_MAX)]
Version = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Znode(msgspec.Struct, frozen=True):
    """A znode.

    Attributes:
        data: as text, or in hexadecimal; empty if it is hidden.
        encoding: `text`, `hex`, or `hidden` for what is secret.
        masked: secret values in it are masked; then it cannot be written here.
        truncated: there is more data, or there are more children, than are shown.
        version: counts the changes of the data.
        ephemeral_owner: the session it lasts as long as, in hexadecimal; empty if it stays.
        created, modified: seconds since 1970.
        children: their names.
    """

    path: str
    data: str
    encoding: str
    bytes: int
    masked: bool
    truncated: bool
    version: int
    ephemeral_owner: str
    created: float
    modified: float
    children: list[str]
    children_count: int


class Server(msgspec.Struct, frozen=True):
    """A server of the ensemble.

    Attributes:
        mode: `leader`, `follower`, `standalone`, …; empty if it does not say.
        latency_ms: least / mean / greatest.
        connections, znodes, outstanding: -1 if it does not say.
        problem: empty if there is none.
    """

    address: str
    mode: str
    latency_ms: str
    connections: int
    znodes: int
    outstanding: int
    version: str
    problem: str


class ContainerSession(msgspec.Struct, frozen=True):
    """A container's session with the registry.

    Attributes:
        session: its id, in hexadecimal.
        since: when the container registered, seconds since 1970.
    """

    container: str
    session: str
    pid: int | None
    host: str
    since: float


class ZnodeQuery(Request):
    """Which znode."""

    path: ZnodePath = "/"


class SetBody(Request):
    """Data to write.

    Attributes:
        version: what it was when it was read: written is only if nobody has changed it since.
    """

    path: ZnodePath
    data: str
    version: Version


class CreateBody(Request):
    """A znode to make below one that exists."""

    path: ZnodePath
    data: str = ""


class DeleteBody(Request):
    """A znode to delete, which has no children; `version` as of `SetBody`."""

    path: ZnodePath
    version: Version


def znode_path(text: str) -> str:
    """A znode's path, normalised. Raises `RequestInvalid`."""
    path = "/" + text.strip("/")
    names = path[1:].split("/") if path != "/" else []
    if any(not name or name in (".", "..") or not name.isprintable() for name in names):
        raise RequestInvalid("This is not the path of a znode, such as /fabric/configs.")
    return path


def read_znode(session: Session, path: str) -> Znode:
    """A znode without its secrets (blocking)."""
    node = session.get(path)
    names = session.children(path) if node.children_count else []
    data, encoding, masked = shown_data(path, node.data)
    return Znode(
        path=path,
        data=data,
        encoding=encoding,
        bytes=len(node.data),
        masked=masked,
        truncated=len(node.data) > (HEX_BYTES_MAX if encoding == "hex" else SHOWN_BYTES_MAX)
        or len(names) > CHILDREN_MAX,
        version=node.version,
        ephemeral_owner=f"0x{node.ephemeral_owner:x}" if node.ephemeral_owner else "",
        created=node.ctime_ms / 1000,
        modified=node.mtime_ms / 1000,
        children=names[:CHILDREN_MAX],
        children_count=len(names),
    )


def shown_data(path: str, data: bytes) -> tuple[str, str, bool]:
    """Data as it may be shown, how it is written, and whether something in it is masked."""
    if is_secret(path):
        return "", "hidden", True
    try:
        text = data[:SHOWN_BYTES_MAX].decode("utf-8", "strict" if len(data) <= SHOWN_BYTES_MAX else "ignore")
        if all(character.isprintable() or character in "\t\n\r" for character in text):
            shown = without_secrets(text)
            return shown, "text", shown != text
    except UnicodeDecodeError:
        pass
    return data[:HEX_BYTES_MAX].hex(" "), "hex", False


async def get_znode(call: Call) -> Znode:
    """One znode."""
    return await call.console.blocking(read_znode, call.console.session, znode_path(call.query.path))


async def set_znode(call: Call) -> Done:
    """Write a znode's data."""
    body = call.body
    path = _writable(body.path)
    await call.console.blocking(_set, call.console.session, path, body.data.encode(), body.version)
    return Done(f"{path} is written.")


async def create_znode(call: Call) -> Done:
    """Make a znode."""
    path = _writable(call.body.path)
    create = call.console.session.create
    await call.console.blocking(create, path, call.body.data.encode(), make_parents=False)
    return Done(f"{path} was made.")


async def delete_znode(call: Call) -> Done:
    """Delete a znode."""
    path = _writable(call.body.path)
    await call.console.blocking(_delete, call.console.session, path, call.body.version)
    return Done(f"{path} is deleted.")


async def ensemble(call: Call) -> list[Server]:
    """The servers of the ensemble, as each of them says."""
    found = await call.console.blocking(look_at, call.console.session.url, call.console.session.channel)
    return [
        Server(
            each.address,
            each.mode,
            each.latency_ms,
            each.connections,
            each.znodes,
            each.outstanding,
            each.version,
            each.problem,
        )
        for each in found
    ]


async def sessions(call: Call) -> list[ContainerSession]:
    """The sessions of all containers that are connected."""
    return await call.console.blocking(read_sessions, call.console.session)


def read_sessions(session: Session) -> list[ContainerSession]:
    """The sessions of containers, by the containers' names (blocking)."""
    found = []
    for name in session.children(paths.alive()) if session.exists(paths.alive()) else []:
        node = session.get_or_none(paths.container_alive(name))
        if node is not None:
            try:
                content = msgspec.json.decode(node.data)
                content = content if isinstance(content, dict) else {}
            except msgspec.DecodeError:
                content = {}
            pid, host = content.get("pid"), content.get("host")
            found.append(
                ContainerSession(
                    name,
                    f"0x{node.ephemeral_owner:x}",
                    pid if isinstance(pid, int) else None,
                    host if isinstance(host, str) else "",
                    node.ctime_ms / 1000,
                )
            )
    return found


def moment(time_s: float) -> str:
    """A time as pages show it."""
    return f"{datetime.datetime.fromtimestamp(time_s, datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _writable(text: str) -> str:
    """The path of a znode that may be changed here. Raises `Refused`, `RequestInvalid`."""
    path = znode_path(text)
    if path in {"/", "/zookeeper"} or path.startswith("/zookeeper/"):
        raise Refused(403, f"{path} belongs to ZooKeeper.")
    if is_secret(path):
        raise Refused(403, f"{path} is secret, and is not changed here.", "`fabric zk-set` does it.")
    return path


def _set(session: Session, path: str, data: bytes, version: int) -> None:
    """Write over what was seen, unless not all of it was seen (blocking)."""
    before = session.get(path)
    if shown_data(path, before.data)[2]:
        raise Refused(403, f"{path} holds secrets, and is not changed here.", "`fabric zk-set` does it.")
    if len(before.data) > SHOWN_BYTES_MAX:
        raise Refused(403, f"{path} is too long to be changed here.", "`fabric zk-set` does it.")
    if b"\r" not in before.data:  # forms may send lines in their own way
        data = data.replace(b"\r\n", b"\n")
    session.set(path, data, version)


def _delete(session: Session, path: str, version: int) -> None:
    """Delete what was seen (blocking)."""
    node = session.get(path)
    if node.version != version:
        raise VersionConflict(f"The znode {path} has version {node.version}, not {version}.")
    session.delete(path)


def branch_of(session: Session, path: str) -> list[tuple[str, list[str]]]:
    """The way from the root to a znode, each step with the names of its children (blocking)."""
    steps = [path]
    while steps[0] != "/":
        steps.insert(0, steps[0].rpartition("/")[0] or "/")
    found = []
    for step in steps:
        try:
            found.append((step, session.children(step)[:CHILDREN_MAX]))
        except NoSuchNode:
            break
        except RegistryError:
            found.append((step, []))
    return found


_ZNODE: Final = f"{API}/registry/znode"

ROUTES: Final = (
    Route("GET", _ZNODE, get_znode, "One znode, without its secrets.", query=ZnodeQuery, answer=Znode),
    Route("POST", f"{_ZNODE}/set", set_znode, "Write a znode.", Role.ADMIN, body=SetBody, answer=Done),
    Route(
        "POST", f"{_ZNODE}/create", create_znode, "Make a znode.", Role.ADMIN, body=CreateBody, answer=Done
    ),
    Route(
        "POST", f"{_ZNODE}/delete", delete_znode, "Delete a znode.", Role.ADMIN, body=DeleteBody, answer=Done
    ),
    Route("GET", f"{API}/registry/ensemble", ensemble, "The servers of ZooKeeper.", answer=list[Server]),
    Route(
        "GET",
        f"{API}/registry/sessions",
        sessions,
        "The sessions of containers.",
        answer=list[ContainerSession],
    ),
)
