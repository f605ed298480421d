"""What reading and changing znodes needs beyond the session: conflicts, missing ones, references."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fabric.errors import ChangedMeanwhile
from fabric.overlay import substitute
from registry import paths
from registry.errors import NodeExists, NoSuchNode, VersionConflict

if TYPE_CHECKING:
    from registry.session import Session

UPDATE_ATTEMPTS_MAX = 20
"""How often a change is tried again when others change the same znode at the same time."""


def update_node(session: "Session", path: str, change: Callable[[bytes], bytes], thing: str) -> bytes:
    """Change the data of a znode, again if others change it at the same time; a missing one counts as empty.

    Returns:
        What lies in the znode now.

    Raises:
        ChangedMeanwhile: it did not work out in many attempts; `thing` names it.
    """
    for _ in range(UPDATE_ATTEMPTS_MAX):
        node = session.get_or_none(path)
        changed = change(node.data if node else b"")
        try:
            if node is None:
                session.create(path, changed)
            elif changed != node.data:
                session.set(path, changed, version=node.version)
        except (NodeExists, NoSuchNode, VersionConflict):
            continue
        return changed
    raise ChangedMeanwhile(thing)


def read_reference(session: "Session", reference: str) -> str | None:
    """Return the text behind `${zk:<reference>}`, None if there is none.

    Args:
        session: Where to read.
        reference: `<container>/<field>`, or an absolute path; `#a.b` behind it names a field in JSON.
    """
    path, _, pointer = reference.partition("#")
    if not path.startswith("/"):
        path = f"{paths.containers_config()}/{path}"
    if path != "/" and (path.endswith("/") or "//" in path or "/." in path):
        return None
    text = read_text(session, path)
    if text is None or not pointer:
        return text
    try:
        value: Any = json.loads(text)
        for step in pointer.split("."):
            value = value[step]
    except (ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, str) else json.dumps(value)


def with_references(session: "Session", text: str) -> str:
    """Return the text with what its references stand for; those that cannot be looked up stay as they are."""
    return substitute(text, {}, lambda reference: read_reference(session, reference))


def read_children(session: "Session", path: str) -> list[str]:
    """Return the names of a znode's children; a missing one has none."""
    try:
        return list(session.children(path))
    except NoSuchNode:
        return []


def read_text(session: "Session", path: str) -> str | None:
    """Return a znode's data as text, None if it is missing."""
    node = session.get_or_none(path)
    return node.data.decode(errors="replace") if node else None


def ensure_node(session: "Session", path: str) -> None:
    """Create an empty znode, unless it is there."""
    if not session.exists(path):
        try:
            session.create(path, b"")
        except NodeExists:
            return
