"""How the far end of a client's connection is written: ``tcp://host:port``, as ActiveMQ shows it."""

from __future__ import annotations

from typing import Final

_SCHEME: Final = "tcp://"


def remote_of(host: str, port: int) -> str:
    """Write it.

    >>> remote_of("192.0.2.7", 50123)
    'tcp://192.0.2.7:50123'
    """
    return f"{_SCHEME}{host}:{port}"


def host_of(remote: str) -> str:
    """Return the address in what `remote_of` has written.

    >>> host_of("tcp://192.0.2.7:50123")
    '192.0.2.7'
    """
    return remote.removeprefix(_SCHEME).rpartition(":")[0]
