"""Who listens where on this machine, as the kernel says.

Reading Linux's `/proc/net/tcp` takes 15 ms, since all connections are walked, and whoever waits for a broker
asks twenty times a second. Its netlink `sock_diag` tells who listens in a tenth of a millisecond.
"""

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

NETLINK_SOCK_DIAG = 4
"""Source: linux/netlink.h."""
SOCK_DIAG_BY_FAMILY = 20
"""Source: linux/sock_diag.h."""
DUMP = 0x301
"""NLM_F_REQUEST and NLM_F_DUMP: all there are."""
ERROR, DONE = 2, 3
"""Types of messages."""
LISTENING = 1 << 10
"""The state TCP_LISTEN, as a bit."""

HEADER = struct.Struct("=IHHII")
"""nlmsghdr: size with it, type, flags, sequence, port."""
REQUEST = struct.Struct("=BBBxI48x")
"""inet_diag_req_v2: family, protocol, extensions, states, and whose socket: any."""
ANSWER = struct.Struct("=4x2s62xI")
"""inet_diag_msg: the port in network order, and at its end the inode. Source: linux/inet_diag.h."""
assert (HEADER.size, REQUEST.size, ANSWER.size) == (16, 56, 72)
RECEIVE_BYTES = 1 << 16


def listening_ports(pid: int) -> set[int]:
    """Return the TCP ports on which a process listens."""
    sockets = set()
    with contextlib.suppress(FileNotFoundError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                sockets.add(str(descriptor.readlink()))
    return {port for inode, port in listeners().items() if f"socket:[{inode}]" in sockets}


def listeners() -> dict[int, int]:
    """Return the port of each socket that listens, by its inode.

    Raises:
        OSError: the kernel does not say.
    """
    found: dict[int, int] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as asked:
        for family in (socket.AF_INET, socket.AF_INET6):
            request = REQUEST.pack(family, socket.IPPROTO_TCP, 0, LISTENING)
            asked.send(HEADER.pack(HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, DUMP, 1, 0) + request)
            for body in _answers(asked):
                port, inode = ANSWER.unpack_from(body)
                found[inode] = int.from_bytes(port, "big")
    return found


def _answers(asked: socket.socket) -> Iterator[bytes]:
    while True:
        data = asked.recv(RECEIVE_BYTES)
        while data:
            size, kind, *_ = HEADER.unpack_from(data)
            body, data = data[HEADER.size : size], data[(size + 3) & ~3 :]
            if kind == DONE:
                return
            if kind == ERROR:
                number = -int.from_bytes(body[:4], "little", signed=True)
                raise OSError(number, "the kernel does not say who listens")
            yield body
