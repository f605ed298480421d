"""``${zk:…}`` in what other members publish.

fabric8 writes ``tcp://${zk:root/ip}:61616`` and leaves it to the reader to look up the address, since a
container's address may change. ``root/ip`` is a place below the containers' settings; a path that begins
with a slash is taken as it is. What is found may hold placeholders again: ``ip`` names the address that the
container's resolver chose.

Source: fabric8 ``ZooKeeperUtils.getSubstitutedData``, ``ZkPath.loadURL``.
"""

import re
from collections.abc import Callable

from registry import paths
from registry.errors import RegistryError
from registry.kazoo_edge import Node
from registry.nonblocking import NonblockingSession

PLACEHOLDER = re.compile(r"\$\{zk:([^{}]+)\}")

LOOKUPS_MAX = 8
"""For one text: ``ip`` and what it points at are two; more than this is a circle."""


def has_placeholder(text: str) -> bool:
    """Whether there is anything to look up."""
    return PLACEHOLDER.search(text) is not None


def resolve_later(
    session: NonblockingSession, text: str, done: Callable[[str | None], None], lookups: int = 0
) -> None:
    """Replace all placeholders of `text`; `done` gets the text, or None if one cannot be looked up.

    Called in the owner's thread, and so is `done`.
    """
    if (match := PLACEHOLDER.search(text)) is None:
        done(text)
        return
    if lookups >= LOOKUPS_MAX:
        done(None)
        return
    place = match[1].split("#")[0]
    path = place if place.startswith("/") else f"{paths.containers_config()}/{place}"

    def on_value(answer: Node | RegistryError) -> None:
        if isinstance(answer, RegistryError):
            done(None)
        else:
            value = answer.data.decode(errors="replace").strip()
            resolve_later(session, text[: match.start()] + value + text[match.end() :], done, lookups + 1)

    session.get_later(path, on_value)
