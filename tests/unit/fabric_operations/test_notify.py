"""What systemd is told."""

import socket
from pathlib import Path

from fabric.notify import READY, Notifier


def test_states_arrive(tmp_path: Path) -> None:
    """As lines of one datagram, to a path or an abstract name."""
    for address, place in (
        (str(tmp_path / "s"), str(tmp_path / "s")),
        ("@fabric-tests-notify", "\0fabric-tests-notify"),
    ):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(place)
            Notifier(address).tell(READY, "STATUS=here")
            assert listener.recv(100) == b"READY=1\nSTATUS=here"


def test_nobody_listens(tmp_path: Path) -> None:
    """Neither without a socket nor with one that is gone is anything missed."""
    Notifier().tell(READY)
    Notifier(str(tmp_path / "gone")).tell(READY)
