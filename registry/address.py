"""The connection string of an ensemble: ``host:port[,host:port…][/path]``.

The path, ZooKeeper's *chroot*, is where a fabric's znodes lie in an ensemble that is others' too. It
stands once, behind the last server.

Source: ZooKeeper programmer's guide, "ZooKeeper Sessions".
"""

from __future__ import annotations

import re

from registry.errors import RegistryUnavailable

FORM = "host:port[,host:port…][/path]"
PORT_MAX = 65535
LOOPBACK = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::")  # nosec B104  # noqa: S104 - compared, not bound
"""How it is said that something listens on all addresses of its host."""

ZOOKEEPERS_OWN = "zookeeper"
"""What ZooKeeper itself keeps at its root."""

_SERVER = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+)(?::(?P<port>\d{1,5}))?")


def normal_url(url: str) -> str:
    """Write a connection string in the one way it is compared and kept in.

    >>> normal_url(" zk1:2181,zk2:2181//fabrics/a/ ")
    'zk1:2181,zk2:2181/fabrics/a'
    """
    servers, _, path = url.strip().partition("/")
    return "/".join([servers, *(name for name in path.split("/") if name)])


def reached_here(bind_address: str) -> str:
    """Return where this host reaches what listens there.

    >>> reached_here("::"), reached_here("10.0.0.7")
    ('127.0.0.1', '10.0.0.7')
    """
    return LOOPBACK if bind_address in (*EVERYWHERE, "") else bind_address


def path_of(url: str) -> str:
    """Return the path of a connection string, empty if it has none.

    >>> path_of("zk1:2181/fabrics/a")
    '/fabrics/a'
    """
    _, slash, path = normal_url(url).partition("/")
    return slash + path


def check_url(url: str) -> str:
    """Return a connection string as `normal_url` writes it.

    Raises:
        RegistryUnavailable: it is not one.
    """
    if "://" in url:
        raise RegistryUnavailable(f"{url!r} is not a ZooKeeper address ({FORM}): leave out the scheme.")
    normal = normal_url(url)
    servers, _, path = normal.partition("/")
    for server in servers.split(","):
        match = _SERVER.fullmatch(server.strip())
        if match is None or not 0 < int(match["port"] or 1) <= PORT_MAX or not _can_be_looked_up(match[1]):
            raise RegistryUnavailable(
                f"{url!r} is not a ZooKeeper address ({FORM}): {server.strip()!r} is not host:port."
            )
    names = path.split("/") if path else []
    if "," in path:
        raise RegistryUnavailable(
            f"{url!r} is not a ZooKeeper address ({FORM}): the path stands once, behind the last server."
        )
    if any(name in (".", "..") or not name.isprintable() for name in names):
        raise RegistryUnavailable(f"{url!r} is not a ZooKeeper address ({FORM}): its path is no znode's.")
    if names and names[0] == ZOOKEEPERS_OWN:
        raise RegistryUnavailable(f"{url!r} names a path that ZooKeeper keeps for itself: choose another.")
    return normal


def _can_be_looked_up(host: str) -> bool:
    """Whether a host's name is one that may be asked for: its parts are neither empty nor too long."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True
