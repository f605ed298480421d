"""The beginning of a connection, before AMQP itself: who is there.

::

    header ─AMQP 3─▶ mechanisms ─init─▶ [challenge ─response─▶] checking ─accept─▶ done
      │                                                             │ refuse
      └─AMQP 0: done, if nobody has to say who he is                └──────▶ refused

Proton's own SASL would ask Cyrus's library for the users; ours are checked elsewhere, and the answer takes a
while.

Source: AMQP 1.0, part 2, 2.2 and part 5, 5.3; RFC 4616 for PLAIN; Google's "XOAUTH2 mechanism" for that, as
Qpid's clients and rhea have it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from broker.amqp.limits import SASL_FRAME_BYTES_MAX
from broker.amqp.sections import plain
from broker.amqp.types import Array, Described, Symbol, UByte, decode, described, encode_list
from broker.errors import CodecError
from broker.serving import WAITING_BYTES_MAX

AMQP_HEADER: Final = b"AMQP\0\1\0\0"
SASL_HEADER: Final = b"AMQP\3\1\0\0"
HEADER_BYTES: Final = 8
_FRAME: Final = struct.Struct(">IBBH")
assert _FRAME.size == 8
_SASL: Final = 1
_MECHANISMS, _INIT, _CHALLENGE, _RESPONSE, _OUTCOME = range(0x40, 0x45)

ANONYMOUS: Final = "ANONYMOUS"
EXTERNAL: Final = "EXTERNAL"
PLAIN: Final = "PLAIN"
XOAUTH2: Final = "XOAUTH2"
_BEARER: Final = "bearer "


class Outcome(IntEnum):
    """What the client is told of its login."""

    OK = 0
    AUTH = 1
    """These credentials are wrong."""
    SYS_TEMP = 4
    """Nobody can say now."""


@dataclass(frozen=True, slots=True)
class LoginAsked:
    """Somebody says who he is.

    Attributes:
        mechanism: how.
        user: None: nobody in particular.
        password: or a token; None: the mechanism has none.
    """

    mechanism: str
    user: str | None
    password: str | None


@dataclass(frozen=True, slots=True)
class ProtocolViolation:
    """The peer's fault; the connection ends."""

    reason: str


class _State(Enum):
    HEADER = "header"
    MECHANISMS = "mechanisms"
    CHALLENGE = "challenge"
    CHECKING = "checking"
    DONE = "done"
    ENDED = "ended"


Event = LoginAsked | ProtocolViolation


class Handshake:
    """The broker's side of it.

    Args:
        mechanisms: what is offered, the best first.
        bare: whether a client may leave it out.
    """

    def __init__(self, mechanisms: Sequence[str], *, bare: bool = False) -> None:
        self._mechanisms = mechanisms
        self._bare = bare
        self._state = _State.HEADER
        self._mechanism = ""
        self._in = bytearray()
        self._out = bytearray()

    @property
    def is_done(self) -> bool:
        """What comes now is AMQP."""
        return self._state is _State.DONE

    def receive_data(self, data: bytes) -> list[Event]:
        """Takes what arrived."""
        if self._state is _State.ENDED:
            return []
        self._in += data
        if len(self._in) > WAITING_BYTES_MAX:
            return [self._end(f"more than {WAITING_BYTES_MAX} bytes came before the login was answered")]
        try:
            return self._read()
        except CodecError as error:
            return [self._end(str(error))]

    def rest(self) -> bytes:
        """Takes what has come behind it."""
        rest = bytes(self._in)
        self._in.clear()
        return rest

    def data_to_send(self) -> bytes:
        """Takes all bytes to be written."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def accept(self) -> None:
        """The login is right."""
        self._say(_OUTCOME, UByte(Outcome.OK))
        self._state = _State.DONE

    def refuse(self, outcome: Outcome) -> None:
        """The login is wrong."""
        self._say(_OUTCOME, UByte(outcome))
        self._state = _State.ENDED

    # ---- reading

    def _read(self) -> list[Event]:
        if self._state is _State.HEADER:
            violation = self._read_header()
            if violation is not None:
                return [violation]
        while self._state in (_State.MECHANISMS, _State.CHALLENGE):
            frame = self._frame()
            if frame is None:
                break
            code, fields = frame
            if self._state is _State.MECHANISMS and code == _INIT:
                asked = self._init(fields)
            elif self._state is _State.CHALLENGE and code == _RESPONSE:
                asked = self._credentials(fields[0] if fields else None)
            else:
                raise CodecError(f"SASL frame {code:#x} comes out of order")
            if asked is not None:
                self._state = _State.CHECKING
                return [asked]
        return []

    def _read_header(self) -> ProtocolViolation | None:
        given = bytes(self._in[:HEADER_BYTES])
        if given == AMQP_HEADER and self._bare:
            self._state = _State.DONE
        elif given == SASL_HEADER:
            del self._in[:HEADER_BYTES]
            self._out += SASL_HEADER
            self._say(_MECHANISMS, Array(Symbol(name) for name in self._mechanisms))
            self._state = _State.MECHANISMS
        elif not (SASL_HEADER.startswith(given) or AMQP_HEADER.startswith(given)) or given == AMQP_HEADER:
            self._out += SASL_HEADER  # 2.2: what we would have understood
            wanted = "it has to log in first" if given == AMQP_HEADER else "this is not AMQP 1.0"
            return self._end(f"the connection begins with {given!r}: {wanted}")
        return None

    def _frame(self) -> tuple[int, list[object]] | None:
        """The next frame's performative and its fields; None if it has not come whole."""
        if len(self._in) < _FRAME.size:
            return None
        size, offset, kind, _ = _FRAME.unpack_from(self._in)
        if size > SASL_FRAME_BYTES_MAX:
            raise CodecError(f"a SASL frame has {size} bytes; the limit is {SASL_FRAME_BYTES_MAX}")
        if kind != _SASL or offset < 2 or size < 4 * offset:
            raise CodecError("this is no SASL frame")
        if len(self._in) < size:
            return None
        content = bytes(self._in[4 * offset : size])
        del self._in[:size]
        performative, _ = decode(content)
        if not isinstance(performative, Described) or not isinstance(performative.value, list):
            raise CodecError("a SASL frame holds nothing that is one")
        code = performative.descriptor
        return (code if isinstance(code, int) else 0), performative.value

    def _init(self, fields: list[object]) -> LoginAsked | None:
        mechanism = str(fields[0]) if fields else ""
        response = fields[1] if len(fields) > 1 else None
        if mechanism not in self._mechanisms:
            self._say(_OUTCOME, UByte(Outcome.AUTH))  # 5.3.3.2
            raise CodecError(f"the mechanism {mechanism[:40]!r} is not offered")
        self._mechanism = mechanism
        if mechanism in (PLAIN, XOAUTH2):
            return self._credentials(response)
        return LoginAsked(mechanism, None, None)

    def _credentials(self, response: object) -> LoginAsked | None:
        """What the client says of itself; None if it waits to be asked for it."""
        response = plain(response)
        if response is None and self._state is _State.MECHANISMS:
            self._say(_CHALLENGE, b"")
            self._state = _State.CHALLENGE
            return None
        read = _plain if self._mechanism == PLAIN else _xoauth2
        try:
            found = read(response.decode()) if isinstance(response, bytes) else None
        except UnicodeDecodeError:
            raise CodecError("the credentials are no UTF-8") from None
        if found is None:
            raise CodecError(f"the credentials are not in the form of {self._mechanism}")
        return LoginAsked(self._mechanism, *found)

    # ---- writing

    def _say(self, code: int, value: object) -> None:
        body = described(code, encode_list([value]))
        self._out += _FRAME.pack(_FRAME.size + len(body), 2, _SASL, 0) + body

    def _end(self, reason: str) -> ProtocolViolation:
        self._state = _State.ENDED
        self._in.clear()
        return ProtocolViolation(reason)


def _plain(text: str) -> tuple[str, str] | None:
    """RFC 4616: whom to act for, who it is, the password; None if it is something else."""
    parts = text.split("\0")
    return (parts[1], parts[2]) if len(parts) == 3 else None


def _xoauth2(text: str) -> tuple[str, str] | None:
    """User and token of `user=ann^Aauth=Bearer TOKEN^A^A`, where ^A is the byte 1; None likewise."""
    said = {key: value for key, _, value in (part.partition("=") for part in text.split("\1"))}
    scheme, token = said.get("auth", "")[: len(_BEARER)], said.get("auth", "")[len(_BEARER) :].strip()
    if not text.endswith("\1\1") or scheme.lower() != _BEARER or not token:
        return None
    return said.get("user", ""), token
