"""Holds back the packets of a queue of netfilter's: ``python -m faults.delay QUEUE MILLISECONDS``.

Every packet that a rule sends to the queue waits for its time and then goes on, in order. It is what ``tc``'s
netem does, for kernels that lack it; it needs the right to administer the network (namespace) it runs in.

Source: linux/netfilter/nfnetlink.h and nfnetlink_queue.h.
"""

import contextlib
import heapq
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence

NETLINK_NETFILTER = 12
SUBSYSTEM_QUEUE = 3
MESSAGE_PACKET, MESSAGE_VERDICT, MESSAGE_CONFIG = 0, 1, 2
NLMSG_ERROR = 2
NLM_F_REQUEST, NLM_F_ACK = 1, 4

CONFIG_COMMAND, CONFIG_PARAMETERS, CONFIG_LENGTH_MAX = 1, 2, 3
COMMAND_BIND = 1
COPY_META = 1
ATTRIBUTE_PACKET_HEADER, ATTRIBUTE_VERDICT_HEADER = 1, 2
ACCEPT = 1

MESSAGE_HEADER = struct.Struct("=IHHII")
FAMILY_HEADER = struct.Struct("!BBH")
ATTRIBUTE_HEADER = struct.Struct("=HH")
PACKET_HEADER = struct.Struct("!IHB")
VERDICT = struct.Struct("!II")

PACKETS_MAX = 65536
"""Held at a time; the kernel drops what is above it, as a router would."""
RECEIVE_BYTES = 1024 * 1024


class QueueUnusable(Exception):
    """The kernel does not give us the queue."""


def message(kind: int, queue: int, attributes: Sequence[tuple[int, bytes]], flags: int) -> bytes:
    """A netlink message to the queue's subsystem."""
    body = FAMILY_HEADER.pack(socket.AF_UNSPEC, 0, queue)
    for number, value in attributes:
        padded = value + bytes(-len(value) % 4)
        body += ATTRIBUTE_HEADER.pack(ATTRIBUTE_HEADER.size + len(value), number) + padded
    length = MESSAGE_HEADER.size + len(body)
    return MESSAGE_HEADER.pack(length, SUBSYSTEM_QUEUE << 8 | kind, NLM_F_REQUEST | flags, 0, 0) + body


def messages_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each netlink message in what was received."""
    while len(data) >= MESSAGE_HEADER.size:
        length, kind, *_ = MESSAGE_HEADER.unpack_from(data)
        if length < MESSAGE_HEADER.size:
            return
        yield kind, data[MESSAGE_HEADER.size : length]
        data = data[length + -length % 4 :]


def packet_number(body: bytes) -> int | None:
    """The number of a packet that waits for a verdict; None: the message is about something else."""
    offset = FAMILY_HEADER.size
    while offset + ATTRIBUTE_HEADER.size <= len(body):
        length, number = ATTRIBUTE_HEADER.unpack_from(body, offset)
        if length < ATTRIBUTE_HEADER.size:
            return None
        if number & 0x3FFF == ATTRIBUTE_PACKET_HEADER:
            return int(PACKET_HEADER.unpack_from(body, offset + ATTRIBUTE_HEADER.size)[0])
        offset += length + -length % 4
    return None


class Queue:
    """A queue of the network namespace that this process runs in."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * RECEIVE_BYTES)
        self._socket.bind((0, 0))
        self._configure(CONFIG_COMMAND, struct.pack("!BBH", COMMAND_BIND, 0, 0))
        self._configure(CONFIG_PARAMETERS, struct.pack("!IB", 0, COPY_META))
        self._configure(CONFIG_LENGTH_MAX, struct.pack("!I", PACKETS_MAX))

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def _configure(self, attribute: int, value: bytes) -> None:
        self._socket.send(message(MESSAGE_CONFIG, self._number, [(attribute, value)], NLM_F_ACK))
        for kind, body in messages_of(self._socket.recv(RECEIVE_BYTES)):
            if kind == NLMSG_ERROR and (code := struct.unpack_from("=i", body)[0]) != 0:
                raise QueueUnusable(f"queue {self._number}: error {-code}")

    def packets(self) -> list[int]:
        """The numbers of the packets that have come."""
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except OSError:  # ENOBUFS: some were lost, as on a bad line
            return []
        numbers = (packet_number(body) for kind, body in messages_of(data) if kind & 0xFF == MESSAGE_PACKET)
        return [number for number in numbers if number is not None]

    def let_go(self, number: int) -> None:
        """Let a packet go on."""
        verdict = (ATTRIBUTE_VERDICT_HEADER, VERDICT.pack(ACCEPT, number))
        with contextlib.suppress(OSError):
            self._socket.send(message(MESSAGE_VERDICT, self._number, [verdict], 0))


def hold_back(queue: Queue, delay_s: float) -> None:
    """Hold every packet for so long, for ever."""
    due: list[tuple[float, int]] = []
    while True:
        wait_s = max(due[0][0] - time.monotonic(), 0.0) if due else None
        ready, _, _ = select.select([queue], [], [], wait_s)
        now = time.monotonic()
        for number in queue.packets() if ready else ():
            heapq.heappush(due, (now + delay_s, number))
        while due and due[0][0] <= time.monotonic():
            queue.let_go(heapq.heappop(due)[1])


def main(arguments: Sequence[str]) -> int:
    """Run until the process is ended."""
    number, milliseconds = int(arguments[0]), float(arguments[1])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        queue = Queue(number)
    except (OSError, QueueUnusable) as error:
        print(f"delay: {error}", file=sys.stderr)
        return 1
    print("ready", flush=True)
    hold_back(queue, milliseconds / 1000)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
