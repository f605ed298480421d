"""One STOMP connection without its socket: bytes to frames, frames to bytes, heart-beats.

::

    reading ─ what is no frame, too long a silence ─▶ closed

A frame is `COMMAND`, headers, an empty line, a body and a zero byte; between frames there may be any number
of line feeds, which are heart-beats. Where a frame ends does not depend on the version: what its headers mean
is read later, by :mod:`broker.stomp.headers`.

Source: the STOMP specifications, "STOMP Frames", "Body" and "Heart-beating".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from broker.stomp.errors import FrameInvalid
from broker.stomp.headers import Version, lines, plain_lines
from broker.stomp.limits import (
    ANONYMOUS_BYTES_MAX,
    COMMAND_BYTES_MAX,
    ERROR_CHARACTERS_MAX,
    HEAD_BYTES_MAX,
)

COMMANDS: Final = {
    each.encode(): each
    for each in (
        "ABORT",
        "ACK",
        "BEGIN",
        "COMMIT",
        "CONNECT",
        "DISCONNECT",
        "NACK",
        "SEND",
        "STOMP",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
    )
} | {b"SUB": "SUBSCRIBE", b"UNSUB": "UNSUBSCRIBE"}
"""What clients say; the two short ones are ActiveMQ's own."""

SWEEP_S: Final = 1.0
"""How late `handle_deadline` may be called."""

_ACKS: Final = re.compile(rb"(?:ACK\nid:[0-9-]{3,40}\n\n\0\n*)+")
"""Acknowledgements as 1.2 writes them, one behind the other; together each takes 0.3 instead of 1.3 µs."""
_ACK_ID: Final = re.compile(rb"\nid:[0-9-]+")
_BETWEEN: Final = frozenset(b"\n\r\0")
_LENGTH: Final = b"\ncontent-length:"
_DIGITS_MAX: Final = 18

FrameReceived = tuple[bytes, bytes, bytes, bool]
"""A frame: its command, its headers but for the content-length (a line feed before each, none behind), its
body, and whether it had a content-length. A bare tuple, which takes a third of the time of a named one."""


@dataclass(frozen=True, slots=True)
class ProtocolViolation:
    """The client did what it must not, or was silent for too long; an ERROR frame is in what is to be sent.

    Attributes:
        reason: what it was told.
    """

    reason: str


Event = FrameReceived | ProtocolViolation


class StompConnection:
    """The bytes of one client.

    Attributes:
        version: what is spoken; 1.0 until CONNECT has said otherwise.
        send: adds bytes to what is to be sent.

    Args:
        data_bytes_max: of one body.
        frame_bytes_max: of one frame.
        now_s: monotonic seconds.
    """

    def __init__(self, data_bytes_max: int, frame_bytes_max: int, now_s: float) -> None:
        self.version = Version.V1_0
        self._data_max = min(data_bytes_max, ANONYMOUS_BYTES_MAX)
        self._head_max = ANONYMOUS_BYTES_MAX
        self._limits = data_bytes_max, frame_bytes_max
        self._frame_max = frame_bytes_max
        self._easy_max = 0
        self._rest = bytearray()
        self._at = 0
        self._needed = 0
        self._ends: tuple[bytes, ...] = ()
        self._looked_at = 0
        self._looked_at_max = 0
        self._out: list[bytes] = []
        self.send = self._out.append
        self._now_s = self._heard_s = self._written_s = now_s
        self._silence_s_max = 0.0
        self._pause_s_max = 0.0
        self.is_closed = False

    # ---- what arrives

    def receive_data(self, data: bytes, now_s: float) -> list[Event]:
        """Takes what arrived."""
        self._now_s = self._heard_s = now_s
        if self.is_closed:
            return []
        rest = self._rest
        if rest:
            rest += data
            if not self._is_worth_a_look(rest):
                return []
            data = bytes(rest)
            self._rest = bytearray()
        return self._frames(data)

    def receive_eof(self) -> list[Event]:
        """The client sends no more; a frame that has begun is none."""
        self._rest = bytearray()
        return []

    def _is_worth_a_look(self, rest: bytearray) -> bool:
        """Whether the frame that has begun can be whole, or too long, by now: each byte is looked at once."""
        if self._needed:
            return len(rest) >= self._needed
        if any(rest.find(end, self._looked_at) >= 0 for end in self._ends):
            return True
        self._looked_at = max(len(rest) - 2, 0)
        return len(rest) > self._looked_at_max

    def _frames(self, data: bytes) -> list[Event]:
        """The frames in some bytes; what is left of the last one is kept."""
        events: list[Event] = []
        at, size = 0, len(data)
        try:
            while True:
                while at < size and data[at] in _BETWEEN:
                    at += 1
                if at == size:
                    break
                if acks := _ACKS.match(data, at):
                    events += [(b"ACK", ack_id, b"", False) for ack_id in _ACK_ID.findall(acks[0])]
                    at = acks.end()
                    continue
                frame = self._frame(data, at)
                if frame is None:
                    self._rest = bytearray(data[at:])
                    self._looked_at = max(size - at - 2, 0)
                    break
                events.append(frame)
                at = self._at
        except FrameInvalid as error:
            self.send_error(str(error))
            self.close()
            events.append(ProtocolViolation(str(error)))
        return events

    def _frame(self, data: bytes, at: int) -> FrameReceived | None:
        """The frame that begins here; None: it is not whole."""
        head_at = data.find(b"\n", at)
        command = data[at:head_at]
        if head_at < 0 or command not in COMMANDS:
            command = command.removesuffix(b"\r")
            if head_at < 0 and len(data) - at <= COMMAND_BYTES_MAX:
                self._wait(b"\n", limit=COMMAND_BYTES_MAX)
                return None
            if head_at < 0 or command not in COMMANDS:
                raise FrameInvalid(_no_command(data[at : at + COMMAND_BYTES_MAX]))
        farthest = at + self._head_max + 3
        head_end = data.find(b"\n\n", head_at, farthest)
        body_at = head_end + 2
        if data.find(b"\r", head_at, body_at if head_end >= 0 else farthest) >= 0:
            other = data.find(b"\n\r\n", head_at, body_at if head_end >= 0 else farthest)
            if other >= 0:
                head_end, body_at = other, other + 3
        if (len(data) if head_end < 0 else head_end) - at > self._head_max:
            raise FrameInvalid("The maximum frame size was exceeded while processing headers.")
        if head_end < 0:
            self._wait(b"\n\n", b"\n\r\n", limit=self._head_max)
            return None
        head = data[head_at:head_end]
        length_at = head.find(_LENGTH)
        length = -1
        if length_at >= 0:
            length, head = _cut_length(head, length_at)
        end = self._end(data, at, body_at, head, length)
        if end < 0:
            return None
        self._at = end + 1
        return command, head, data[body_at:end], length >= 0

    def _end(self, data: bytes, at: int, body_at: int, head: bytes, length: int) -> int:
        """Where the zero byte behind a body is; -1: it has not come."""
        size = len(data)
        if length >= 0:
            if length > self._easy_max:
                self._check_size(length, head)
            end = body_at + length
            if end >= size:
                self._wait(needed=end + 1 - at)
                return -1
            if data[end]:
                raise FrameInvalid("Behind as many bytes as content-length says there is no zero byte.")
            return end
        end = data.find(b"\0", body_at)
        length = (size if end < 0 else end) - body_at
        if length > self._easy_max:
            self._check_size(length, head)
        if end < 0:
            self._wait(b"\0", limit=body_at - at + self._body_max(head))
        return end

    def _body_max(self, head: bytes) -> int:
        """Bytes that a body behind these headers may have."""
        return min(self._data_max, max(self._frame_max - len(head), 0))

    def _check_size(self, length: int, head: bytes) -> None:
        """Refuses a body, or with it a frame, that is too long."""
        length_max = self._body_max(head)
        if length > length_max:
            what = "data length" if length_max == self._data_max else "frame size"
            raise FrameInvalid(f"The maximum {what} was exceeded.")

    def _wait(self, *ends: bytes, needed: int = 0, limit: int = 0) -> None:
        """What a frame that is not whole waits for."""
        self._needed, self._ends, self._looked_at_max = needed, ends, limit

    # ---- what is to be said

    def send_frame(self, command: str, headers: dict[str, str], body: str = "") -> None:
        """Sends a frame; the headers of CONNECTED are not escaped."""
        is_plain = self.version is Version.V1_0 or command == "CONNECTED"
        head = plain_lines(headers) if is_plain else lines(headers, self.version)
        self.send(f"{command}\n{head}\n{body}\0\n".encode("utf-8", "replace"))

    def send_error(self, message: str, receipt_id: str | None = None, **headers: str) -> None:
        """Sends an ERROR frame; a connection ends with it."""
        message = message[:ERROR_CHARACTERS_MAX]
        told = {"message": message, "content-type": "text/plain", **headers}
        if receipt_id is not None:
            told["receipt-id"] = receipt_id
        self.send_frame("ERROR", told, message.replace("\0", " "))

    def data_to_send(self) -> bytes:
        """Takes all bytes to be written."""
        out = self._out
        if not out:
            return b""
        data = b"".join(out)
        out.clear()
        self._written_s = self._now_s
        return data

    # ---- the dialogue

    def open(self) -> None:
        """The client has logged in: it may say more."""
        self._head_max = HEAD_BYTES_MAX
        self._data_max, self._frame_max = self._limits
        self._easy_max = self._body_max(b"x" * HEAD_BYTES_MAX)

    def close(self) -> None:
        """Nothing more is read."""
        self.is_closed = True
        self._rest = bytearray()
        self._silence_s_max = self._pause_s_max = 0.0

    def beat(self, silence_s_max: float, pause_s_max: float) -> None:
        """Agrees on heart-beats.

        Args:
            silence_s_max: the client is given up when it has been silent for longer; 0: never.
            pause_s_max: this side lets no more time pass without sending; 0: any.
        """
        self._silence_s_max = silence_s_max
        self._pause_s_max = pause_s_max

    def excuse(self, now_s: float) -> None:
        """The client was not read from, so that its silence says nothing."""
        self._heard_s = now_s

    @property
    def deadline_s(self) -> float | None:
        """When :meth:`handle_deadline` must be called, monotonic seconds; None never."""
        deadlines = []
        if self._silence_s_max:
            deadlines.append(self._heard_s + self._silence_s_max)
        if self._pause_s_max:
            deadlines.append(self._written_s + self._pause_s_max - SWEEP_S)
        return min(deadlines, default=None)

    def handle_deadline(self, now_s: float) -> list[Event]:
        """Sends a heart-beat if this side was silent, and tells whether the client was."""
        self._now_s = now_s
        if self._silence_s_max and now_s >= self._heard_s + self._silence_s_max:
            reason = f"Nothing was heard of the client for {now_s - self._heard_s:.1f} s."
            self.send_error(reason)
            self.close()
            return [ProtocolViolation(reason)]
        if self._pause_s_max and now_s >= self._written_s + self._pause_s_max - SWEEP_S:
            self._written_s = now_s
            self.send(b"\n")
        return []


def _no_command(start: bytes) -> str:
    text = start.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    return f"Unknown STOMP action: {text[:100]}"


def _cut_length(head: bytes, at: int) -> tuple[int, bytes]:
    """The content-length of a frame, and its headers without it."""
    line_end = head.find(b"\n", at + len(_LENGTH))
    if line_end < 0:
        line_end = len(head)
    digits = head[at + len(_LENGTH) : line_end].strip()
    if not digits.isdigit() or len(digits) > _DIGITS_MAX:
        raise FrameInvalid("The content-length is not a whole number.")
    return int(digits), head[:at] + head[line_end:]
