"""STOMP 1.2 for `perf.lines`: persistent messages with a receipt each, acknowledged one by one."""

from __future__ import annotations

import re

from perf.lines import RING_WINDOWS, Address, Consumer, LoadFailed, Producer, Ring

_RECEIPT = b"RECEIPT\n"
_ACK = re.compile(rb"\nack:([^\r\n]*)")


def _connect(address: Address) -> bytes:
    user, password = address.user
    login = f"login:{user}\npasscode:{password}"
    return f"CONNECT\naccept-version:1.2\nhost:/\n{login}\nheart-beat:0,0\n\n\0".encode()


class StompProducer(Producer):
    """Counts receipts; each message asks for one of its own, as clients do."""

    def __init__(self, address: Address, queue: str, window: int, body: bytes) -> None:
        super().__init__(address, window)
        self.ask(_connect(address), b"CONNECTED")
        headers = f"destination:{address.queue.format(queue)}\npersistent:true\ncontent-length:{len(body)}"
        self._ring = Ring(
            [
                f"SEND\n{headers}\nreceipt:{number}\n\n".encode() + body + b"\0"
                for number in range(window * RING_WINDOWS)
            ]
        )
        self._tail = b""

    def frames(self, count: int) -> bytes:
        """The bytes of the next messages."""
        return self._ring.take(count)

    def take(self, data: bytes) -> int:
        """Count receipts; one that is cut is counted with what follows."""
        data = self._tail + data
        count = data.count(_RECEIPT)
        self._tail = data[1 - len(_RECEIPT) :]
        if not count and b"ERROR\n" in data:
            raise LoadFailed(data[:1000].decode("utf-8", "replace"))
        return self.acknowledge(count)


class StompConsumer(Consumer):
    """Acknowledges each message (`ack:client-individual`)."""

    def __init__(self, address: Address, queue: str, body: bytes) -> None:
        super().__init__(address)
        del body
        self.ask(_connect(address), b"CONNECTED")
        headers = f"id:0\ndestination:{address.queue.format(queue)}\nack:client-individual\nreceipt:s"
        self.ask(f"SUBSCRIBE\n{headers}\n\n\0".encode(), _RECEIPT)
        self._rest = b""

    def take(self, data: bytes) -> int:
        """Count the messages that are whole and acknowledge them."""
        data = self._rest + data
        end = data.rfind(b"\0") + 1
        self._rest = data[end:]
        names = _ACK.findall(data, 0, end)
        if names:
            self.send(b"".join([b"ACK\nid:%b\n\n\0" % name for name in names]))
        elif b"ERROR\n" in data:
            raise LoadFailed(data[:1000].decode("utf-8", "replace"))
        self.received += len(names)
        return len(names)


class Stomp:
    """Makes pairs."""

    def producer(self, address: Address, queue: str, window: int, body: bytes) -> StompProducer:
        """A producer that has logged in."""
        return StompProducer(address, queue, window, body)

    def consumer(self, address: Address, queue: str, body: bytes) -> StompConsumer:
        """A consumer that has subscribed."""
        return StompConsumer(address, queue, body)
