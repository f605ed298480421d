"""AMQP 1.0 for `perf.lines`: durable messages, unsettled; a receiver that settles what it has got by ranges.

Whoever sends accepts dispositions of any range, and keeps the broker's link credit and session window.
"""

from __future__ import annotations

import os
import struct

from perf import amqp_frames as amqp
from perf.lines import RECEIVE_BYTES, Address, Consumer, Line, LoadFailed, Producer

FRAME_BYTES_MAX = 64 * 1024
CREDIT = 1_000
"""Messages that a broker may send ahead: what ActiveMQ's clients ask for as prefetch of a queue."""
WINDOW = 0x7FFFFFFF
"""A session's window that never matters."""

_INT = struct.Struct(">I")
_ACCEPTED = amqp.described(amqp.ACCEPTED)


def transfer_head(number: int) -> bytes:
    """The performative of one message; only its number differs from message to message."""
    packed = _INT.pack(number)
    fields = (amqp.uint(0), amqp.uint(number), amqp.binary(packed), amqp.uint(0), b"\x42", b"\x42")
    return amqp.described(amqp.TRANSFER, *fields)


def message(body: bytes) -> bytes:
    """A durable message: a header and a data section."""
    return amqp.described(0x70, b"\x41") + b"\0\x53\x75" + amqp.binary(body)


def flow(next_id: int, *link: bytes) -> bytes:
    """A flow of the session, or of its link: handle, delivery count, credit."""
    session = (amqp.uint(next_id), amqp.uint(WINDOW), amqp.uint(0), amqp.uint(WINDOW))
    return amqp.frame(amqp.described(amqp.FLOW, *session, *link))


class _Amqp(Line):
    """One connection with one session and one link; collects what came before the load in `early`."""

    def log_in(self, address: Address) -> None:
        """Authenticate, open, begin."""
        self.rest = b""
        self.ask_frames(amqp.SASL_HEADER, amqp.SASL_MECHANISMS, header=True)
        user, password = address.user
        fields = (amqp.symbol("PLAIN"), amqp.binary(f"\0{user}\0{password}".encode()))
        told = self.ask_frames(
            amqp.frame(amqp.described(amqp.SASL_INIT, *fields), sasl=True), amqp.SASL_OUTCOME
        )
        if told.number(0) != 0:
            raise LoadFailed(f"login refused: {told}")
        name = f"load-{os.getpid()}-{self.socket.getsockname()[1]}"
        opening = (
            *(amqp.string(name), amqp.string("127.0.0.1")),
            *(amqp.uint(FRAME_BYTES_MAX), amqp.ushort(255)),
        )
        self.ask_frames(amqp.HEADER + amqp.frame(amqp.described(amqp.OPEN, *opening)), amqp.OPEN, header=True)
        beginning = (amqp.NULL, amqp.uint(0), amqp.uint(WINDOW), amqp.uint(WINDOW))
        begun = self.ask_frames(amqp.frame(amqp.described(amqp.BEGIN, *beginning)), amqp.BEGIN)
        self.session_window = begun.number(2)

    def attach(self, address: Address, queue: str, *, receives: bool) -> None:
        """Open the link."""
        place = address.queue.format(queue)
        source = amqp.described(amqp.SOURCE, amqp.string(place) if receives else amqp.NULL)
        target = amqp.described(amqp.TARGET, amqp.NULL if receives else amqp.string(place))
        fields = (amqp.string(f"link-{queue}"), amqp.uint(0), amqp.boolean(receives), amqp.ubyte(0))
        count = () if receives else (amqp.NULL, amqp.NULL, amqp.uint(0))
        self.ask_frames(
            amqp.frame(amqp.described(amqp.ATTACH, *fields, amqp.ubyte(0), source, target, *count)),
            amqp.ATTACH,
        )

    def ask_frames(self, request: bytes, expected: int, *, header: bool = False) -> amqp.Described:
        """Before the load: send something, and read until one frame is there; what follows it is kept.

        Raises:
            LoadFailed: the broker refuses, or is silent.
        """
        self.socket.sendall(request)
        data, self.rest = self.rest, b""
        while True:
            begin = 8 if header and len(data) >= 8 else 0
            frames, _ = amqp.whole_frames(data[begin:]) if begin or not header else ([], 0)
            for at in frames:
                told = amqp.performative(data, begin + at)
                if told is not None and told.code == expected:
                    end = begin + at + _INT.unpack_from(data, begin + at)[0]
                    self.rest = data[end:]
                    return told
                if told is not None and told.code in (amqp.DETACH, amqp.END, amqp.CLOSE):
                    raise LoadFailed(str(told))
            try:
                more = self.socket.recv(RECEIVE_BYTES)
            except TimeoutError:
                more = b""
            if not more:
                self.socket.close()
                raise LoadFailed(f"performative {expected:#x} was expected; there came {data[:1000]!r}")
            data += more

    def close(self) -> None:
        """Close in good order."""
        self.socket.sendall(amqp.frame(amqp.described(amqp.CLOSE)))
        self.socket.close()


class AmqpProducer(_Amqp, Producer):
    """Sends unsettled transfers and counts what is accepted."""

    def __init__(self, address: Address, queue: str, window: int, body: bytes) -> None:
        super().__init__(address, window)
        self.log_in(address)
        self.attach(address, queue, receives=False)
        self._payload = message(body)
        self._link_limit = 0
        head = transfer_head(0x01020304)
        marks = head.split(_INT.pack(0x01020304))
        size = _INT.pack(8 + len(head) + len(self._payload)) + b"\2\0\0\0"
        self._parts = (size + marks[0], marks[1], marks[2] + self._payload)
        self._session_limit = self.session_window
        self._settled = 0
        early, self.rest = self.rest, b""
        if early:
            self.take(early)

    def frames(self, count: int) -> bytes:
        """The bytes of the next messages; `sent` counts them already."""
        first, middle, last = self._parts
        pack = _INT.pack
        return b"".join(
            [
                b"%b%b%b%b%b" % (first, number, middle, number, last)
                for number in map(pack, range(self.sent - count, self.sent))
            ]
        )

    def allowed(self) -> int:
        """What link and session have room for."""
        return min(self._link_limit, self._session_limit) - self.sent

    def take(self, data: bytes) -> int:
        """Count what is accepted."""
        data = self.rest + data
        frames, end = amqp.whole_frames(data)
        self.rest = data[end:]
        count = 0
        for at in frames:
            told = amqp.performative(data, at)
            if told is None:
                continue
            if told.code == amqp.DISPOSITION:
                state = told.field(4)
                if not (isinstance(state, amqp.Described) and state.code == amqp.ACCEPTED):
                    raise LoadFailed(f"not accepted: {told}")
                first = told.number(1)
                last = first if told.field(2) is None else told.number(2)
                count += last - first + 1
            elif told.code == amqp.FLOW:
                self._flow(told)
            else:
                raise LoadFailed(str(told))
        return self.acknowledge(count)

    def _flow(self, told: amqp.Described) -> None:
        self._session_limit = told.number(0) + told.number(1)
        if told.field(4) is not None:
            self._link_limit = told.number(5) + told.number(6)


class AmqpConsumer(_Amqp, Consumer):
    """Takes transfers, and accepts and settles what came in one reading by one disposition."""

    def __init__(self, address: Address, queue: str, body: bytes) -> None:
        super().__init__(address)
        del body
        self.log_in(address)
        self.attach(address, queue, receives=True)
        self.socket.sendall(flow(0, amqp.uint(0), amqp.uint(0), amqp.uint(CREDIT)))
        self._credited = CREDIT

    def take(self, data: bytes) -> int:
        """Count the messages that are whole and accept them."""
        data = self.rest + data
        frames, end = amqp.whole_frames(data)
        self.rest = data[end:]
        code_at = amqp.CODE_AT
        transfers = [at for at in frames if data[at + code_at] == amqp.TRANSFER]
        if len(transfers) < len(frames):
            self._look_at(data, [at for at in frames if data[at + code_at] != amqp.TRANSFER])
        count = len(transfers)
        if count:
            self._accept(self._number(data, transfers[0]), self._number(data, transfers[-1]), count)
        return count

    def _number(self, data: bytes, at: int) -> int:
        told = amqp.performative(data, at)
        if told is None or told.field(5) is True:
            raise LoadFailed(f"a message in several transfers: {told}")
        return told.number(1)

    def _accept(self, first: int, last: int, count: int) -> None:
        if (last - first + 1) & 0xFFFFFFFF != count:
            raise LoadFailed(f"{count} messages with the numbers {first} to {last}")
        self.received += count
        fields = (amqp.boolean(True), amqp.uint(first), amqp.uint(last), amqp.boolean(True), _ACCEPTED)
        answer = amqp.frame(amqp.described(amqp.DISPOSITION, *fields))
        if self.received + CREDIT // 2 >= self._credited:
            self._credited = self.received + CREDIT
            answer += flow(
                last + 1, amqp.uint(0), amqp.uint(self.received), amqp.uint(self._credited - self.received)
            )
        self.send(answer)

    def _look_at(self, data: bytes, frames: list[int]) -> None:
        for at in frames:
            told = amqp.performative(data, at)
            if told is not None and told.code not in (amqp.FLOW, amqp.DISPOSITION):
                raise LoadFailed(str(told))


class Amqp:
    """Makes pairs."""

    def producer(self, address: Address, queue: str, window: int, body: bytes) -> AmqpProducer:
        """A producer that has logged in."""
        return AmqpProducer(address, queue, window, body)

    def consumer(self, address: Address, queue: str, body: bytes) -> AmqpConsumer:
        """A consumer that has subscribed."""
        return AmqpConsumer(address, queue, body)
