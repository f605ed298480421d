"""What no broker can undercut: a server that only receives a message, writes it, syncs, and answers.

The difference between the disk's rate and this one's is the way of a request and its answer through two
sockets; the difference between this one's and a broker's is the broker's own work. Pure Python at both ends.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ZEROS_BYTES = 64 * 1024 * 1024
"""Written before, as the journal does: overwriting them changes none of the file's metadata."""
ANSWER_BYTES = 14
"""As many as OpenWire's answer to a send has."""
TIMEOUT_S = 30.0


def serve(path: Path, size: int) -> None:
    """Say the port, then store and answer one client's messages until it leaves."""
    listener = socket.create_server(("127.0.0.1", 0))
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    os.pwrite(descriptor, bytes(ZEROS_BYTES), 0)
    os.fsync(descriptor)
    print(listener.getsockname()[1], flush=True)
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answer = bytes(ANSWER_BYTES)
    offset = 0
    while data := connection.recv(size, socket.MSG_WAITALL):
        os.pwrite(descriptor, data, offset)
        os.fdatasync(descriptor)
        connection.send(answer)
        offset = (offset + size) % (ZEROS_BYTES - size)


def floor_rate(folder: Path, size: int, seconds: float) -> float:
    """Messages a second of one client that waits for each answer.

    Args:
        folder: where the file lies, removed afterwards.
        size: bytes of a message and of what is written for it.
        seconds: how long it is measured.
    """
    path = folder / "floor"
    command = [sys.executable, __file__, str(path), str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        with socket.create_connection(("127.0.0.1", int(server.stdout.readline())), TIMEOUT_S) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = os.urandom(size)
            count = 0
            began = time.perf_counter()
            while time.perf_counter() - began < seconds:
                client.sendall(data)
                client.recv(ANSWER_BYTES, socket.MSG_WAITALL)
                count += 1
            took = time.perf_counter() - began
    path.unlink()
    return count / took


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
