"""The broker's side of one STOMP connection, without its socket.

::

    anonymous ─CONNECT─▶ logging in ─accepted─▶ open ─DISCONNECT─▶ leaving ─what it did is durable─▶ closing
        │                    │ refused            │ fault
        └────────────────────┴──────▶ closing ◀───┘

What its client may do once it has logged in is said in :mod:`broker.stomp.opened`. A receipt waits here until
the journal has made durable what it is for. What a client does wrong is answered with an ERROR frame, and
ends the connection, as the specifications have it.

Source: the STOMP specifications 1.0, 1.1 and 1.2; ActiveMQ's `ProtocolConverter`, for headers and texts.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from broker.errors import ClientError, MessageInvalid
from broker.serving import ServerContext, ServerSide
from broker.stomp.connection import COMMANDS, Event, FrameReceived, ProtocolViolation, StompConnection
from broker.stomp.errors import FrameInvalid
from broker.stomp.headers import VERSIONS, Version, read_headers
from broker.stomp.limits import HEART_BEAT_MS_MAX, HEART_BEAT_MS_MIN
from broker.stomp.opened import OpenedConnection

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.consumer import Consumer

SERVER: Final = "ActiveMQ/5.17.2 (Fabric)"
"""What CONNECTED says of this side. Clients look for ActiveMQ to know which headers they may use."""

_log: Final = logging.getLogger("broker.stomp")

_numbers: Final = itertools.count(1)


class StompServer(ServerSide[bytes, FrameReceived]):
    """Serves one client; an answer is a RECEIPT frame.

    Args:
        context: see `ServerContext`.
        remote: the client's address, for the log.
        now_s: monotonic seconds.
        wake: called when there is something to send that no call of the owner's brought about.
    """

    def __init__(self, context: ServerContext, remote: str, now_s: float, wake: Callable[[], None]) -> None:
        super().__init__(context, remote, wake)
        config = context.config
        self._wire = StompConnection(config.data_bytes_max, config.frame_bytes_max, now_s)
        self._opened: OpenedConnection | None = None
        self._goodbye: bytes | None = None

    # ---- the socket's owner

    @property
    def deadline_s(self) -> float | None:
        """When :meth:`handle_deadline` must be called, monotonic seconds."""
        return None if self.closing else self._wire.deadline_s

    def receive_data(self, data: bytes, now_s: float) -> None:
        """Takes what arrived."""
        if self.closing:
            return
        if self.is_logging_in and (excess := self.overflow(data)):
            self.fail(excess)
            return
        self._take(self._wire.receive_data(data, now_s))

    def receive_eof(self) -> None:
        """The client sends no more."""
        self._take(self._wire.receive_eof())
        if not self.closing:
            self.close("")

    def let_go(self, answer: bytes) -> None:
        """Sends a receipt that had to wait; behind the last one the connection ends."""
        self._wire.send(answer)
        if answer is self._goodbye:
            self.close("")

    def data_to_send(self) -> bytes:
        """Takes all bytes to be written; what subscriptions in the mode `auto` are sent is acknowledged."""
        opened = self._opened
        if opened is not None and opened.delivered and not self.closing:
            opened.acknowledge_delivered()
            self.wake()  # there may be room for more messages, or for sends that wait
        return self._wire.data_to_send()

    def handle_deadline(self, now_s: float) -> None:
        """Sends a heart-beat, or gives a silent client up; one that is not read from cannot be heard."""
        if self.reading_paused:
            self._wire.excuse(now_s)
        self._take(self._wire.handle_deadline(now_s))

    # ---- the region

    def dispatch(self, consumer: Consumer, message: Message, ref: int, redelivery_counter: int) -> None:
        """Sends a message to a consumer."""
        assert self._opened is not None
        try:
            self._opened.dispatch(consumer.key, message, ref, redelivery_counter)
        except MessageInvalid as error:
            _log.error("Message %s cannot be sent to %s: %s", ref, self.remote, error)

    def dispatch_none(self, consumer: Consumer) -> None:
        """Tells a browser that it has seen all."""
        assert self._opened is not None
        self._opened.dispatch_end(consumer.key)

    def set_prefetch(self, consumer: Consumer, prefetch_size: int) -> None:
        """Its destination's policy has another prefetch; STOMP has no word for it, and none for a pull."""
        if not prefetch_size:
            consumer.prefetch_size = 1

    def close_consumer(self, consumer: Consumer) -> None:
        """The broker has ended a subscription; STOMP can only say so with the connection's end."""
        assert self._opened is not None
        self._opened.subscriptions.forget(consumer.key)
        self.fail(f"The subscription to {consumer.destination} was too slow, and is closed.")

    def disconnect(self, reason: str) -> None:
        """Ends the connection for the region's reasons."""
        if not self.closing:
            self._wire.send_error(reason)
        super().disconnect(reason)

    # ---- frames

    def resume(self) -> None:
        """Goes on with what came while the login was checked."""
        self._take(self.kept())

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            if self.closing:
                return
            if isinstance(event, ProtocolViolation):
                self._finish()
                self.close(event.reason)
            elif self.is_logging_in:
                self.keep(event)
            elif event[0] == b"ACK" and self._opened is not None:
                self._acknowledge(self._opened, event[1])
            else:
                self._take_frame(event)
        self._finish()

    def _acknowledge(self, opened: OpenedConnection, head: bytes) -> None:
        try:
            if self._goodbye is None:
                opened.acknowledge(head)
        except ClientError as error:
            self._refuse(error, head)

    def _refuse(self, error: ClientError, head: bytes) -> None:
        """A frame asked for what cannot be done; what came before it still counts."""
        self._finish()
        self.fail(str(error), _receipt_of(head, self._wire.version))

    def _finish(self) -> None:
        """The ACKs that came one behind the other go to the journal together."""
        opened = self._opened
        if opened is not None and opened.is_gathering:
            opened.finish()

    def _take_frame(self, frame: FrameReceived) -> None:
        command, head, body, has_length = frame
        opened = self._opened
        try:
            if opened is None:
                self._begin(COMMANDS[command], head)
            elif self._goodbye is not None:
                pass  # what comes behind DISCONNECT is none of a client's requests
            else:
                if opened.is_gathering:
                    opened.finish()
                if command == b"SEND":
                    opened.send(head, body, has_length)
                else:
                    opened.carry_out(COMMANDS[command], head)
        except ClientError as error:
            self._refuse(error, head)

    def fail(self, reason: str, receipt_id: str | None = None, **headers: str) -> None:
        """Tells the client what is wrong, and ends the connection."""
        if not self.closing:
            self._wire.send_error(reason, receipt_id, **headers)
            self.close(reason)

    # ---- the login

    def _begin(self, command: str, head: bytes) -> None:
        if command not in ("CONNECT", "STOMP"):
            raise FrameInvalid("Not connected.")
        headers = read_headers(head, Version.V1_0, escapes=False)
        accepted = headers.get("accept-version", Version.V1_0.text)
        versions = [VERSIONS[each] for text in accepted.split(",") if (each := text.strip()) in VERSIONS]
        if not versions:
            known = ", ".join(reversed(VERSIONS))
            self.fail(
                f"Invalid Protocol version[{accepted[:100]}], supported versions are: [{known}]",
                version=",".join(VERSIONS),
            )
            return
        version = max(versions)
        beats = self._heart_beats(headers.get("heart-beat", self.context.config.heart_beat))
        self._wire.version = version
        self.log_in(
            headers.get("login"),
            headers.get("passcode"),
            lambda verdict: self._finish_login(headers, version, beats, verdict),
        )

    def _heart_beats(self, text: str) -> tuple[int, int]:
        """What the client can send and wants to get, ms; 0: nothing."""
        given = [each.strip() for each in text.split(",")]
        if len(given) != 2 or not all(each.isascii() and each.isdigit() and len(each) < 19 for each in given):
            raise FrameInvalid(f"Invalid heart-beat header: {text[:100]}")
        sends_ms, wants_ms = (min(int(each), HEART_BEAT_MS_MAX) for each in given)
        return sends_ms, wants_ms and max(wants_ms, HEART_BEAT_MS_MIN)

    def _finish_login(
        self,
        headers: dict[str, str],
        version: Version,
        beats: tuple[int, int],
        verdict: ClientError | None,
    ) -> None:
        """Goes on after the login was checked."""
        client_id = headers.get("client-id") or None
        connection_id = f"{self.context.broker_id.rpartition('-')[0]}-stomp:{next(_numbers)}"
        try:
            if verdict is not None:
                raise verdict
            self.connection = self.region.connect(
                self, connection_id, client_id, user=self.user, remote=self.remote
            )
        except ClientError as error:
            self._wire.send_error(str(error), headers.get("receipt"))
            self.close(f"login of {self.user!r} refused: {error}")
            return
        self._opened = OpenedConnection(self, self.connection, self._wire)
        self._wire.open()
        sends_ms, wants_ms = beats
        grace = self.context.config.heart_beat_grace
        self._wire.beat(sends_ms * grace / 1000, wants_ms / 1000)
        answer = {"version": version.text, "session": client_id or connection_id, "server": SERVER}
        request = headers.get("request-id") or headers.get("receipt")
        if request is not None:
            answer |= {"response-id": request, "receipt-id": request}
        self._wire.send_frame("CONNECTED", {**answer, "heart-beat": f"{wants_ms},{sends_ms}"})

    # ---- the end

    def leave(self, batch: int, receipt: bytes) -> None:
        """The client goes, once this batch is durable; it may want a receipt for that."""
        self._goodbye = receipt
        self.answer(batch, receipt)

    def ended(self) -> None:
        """Nothing more is read."""
        self._wire.close()


def _receipt_of(head: bytes, version: Version) -> str | None:
    try:
        return read_headers(head, version).get("receipt")
    except FrameInvalid:
        return None
