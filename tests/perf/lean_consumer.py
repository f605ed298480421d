"""A consumer that costs next to nothing: it counts what is dispatched, and acknowledges it by the hundred."""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque

from perf.lean_client import RECEIVE_BYTES, AnswerUnexpected, LeanProducer

from broker.openwire.codec import Codec
from broker.openwire.commands import (
    ActiveMQQueue,
    ConsumerId,
    ConsumerInfo,
    MessageAck,
    MessageDispatch,
    MessageId,
)
from broker.openwire.constants import AckType

PREFETCH = 30_000
ACKNOWLEDGED = 100
"""Messages in an acknowledgement: as clients do with `optimizeAcknowledge`."""

_INT = struct.Struct(">i")


class LeanConsumer(LeanProducer):
    """One connection with one consumer of a queue, in a thread of its own until `close`.

    Args:
        port: of the broker on this host.
        queue: what it consumes.
        name: differs from those of all other connections.
        lag: so many messages stay unacknowledged, the youngest; less than `PREFETCH`.
    """

    def __init__(self, port: int, queue: str, name: str, lag: int = 0) -> None:
        super().__init__(port, queue, b"", name)
        self.received = 0
        self._lag = lag
        self._queue = ActiveMQQueue(queue)
        self._consumer_id = ConsumerId(f"ID:{name}", 1, 1)
        self._unacknowledged: deque[MessageId] = deque()  # the last of each hundred
        self._codec = Codec(12)
        info = ConsumerInfo(
            consumer_id=self._consumer_id,
            destination=self._queue,
            prefetch_size=PREFETCH,
            dispatch_async=True,
        )
        self._request(info)
        self._thread = threading.Thread(target=self._consume, daemon=True)
        self._thread.start()

    def _consume(self) -> None:
        rest = b""
        while True:
            try:
                data = self.socket.recv(RECEIVE_BYTES)
            except OSError:
                return  # closed by us
            if not data:
                return
            rest = self._take(rest + data)

    def _take(self, data: bytes) -> bytes:
        """Counts the frames in some bytes; what is left of them."""
        at = 0
        while len(data) - at >= 5:
            (size,) = _INT.unpack_from(data, at)
            if len(data) - at < 4 + size:
                break
            if data[at + 4] == MessageDispatch.TYPE_CODE:
                self.received += 1
                if self.received % ACKNOWLEDGED == 0:
                    self._acknowledge(data[at : at + 4 + size])
            at += 4 + size
        return data[at:]

    def _acknowledge(self, frame: bytes) -> None:
        dispatch = self._codec.decode(frame[4:])
        if not isinstance(dispatch, MessageDispatch) or dispatch.message is None:
            raise AnswerUnexpected(str(dispatch))
        assert dispatch.message.message_id is not None
        self._unacknowledged.append(dispatch.message.message_id)
        while len(self._unacknowledged) * ACKNOWLEDGED > self._lag:
            self._command_id += 1
            command = MessageAck(
                destination=self._queue,
                consumer_id=self._consumer_id,
                ack_type=AckType.STANDARD,
                last_message_id=self._unacknowledged.popleft(),
                message_count=ACKNOWLEDGED,
            )
            command.command_id = self._command_id
            self.socket.sendall(self._codec.encode(command))

    def close(self) -> None:
        """Ends it."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        super().close()
