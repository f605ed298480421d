"""Tells systemd how a container is doing. Source: sd_notify(3): datagrams of lines to the socket it names."""

from __future__ import annotations

import socket
from typing import Final

SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"
READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


class Notifier:
    """Sends states to whoever started this process; to nobody if nobody wants to know.

    Args:
        address: of the socket, `@` at its beginning for an abstract one; empty: nobody is told.
    """

    def __init__(self, address: str = "") -> None:
        self.address = address

    def tell(self, *lines: str) -> None:
        """Send states such as `READY=1` or `STATUS=…`; a listener that is gone is not missed."""
        if not self.address:
            return
        place = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            try:
                sender.sendto("\n".join(lines).encode(), place)
            except OSError:
                return
