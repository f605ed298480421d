"""Commands to bytes and back, for every version, encoding, and use of the cache.

The functions that do the work are written by :mod:`broker.openwire.codec_source` and compiled once for each
(version, tight, cache) that is used; :func:`prepare` does that ahead of time.

Nothing a peer says names a class or a function: type bytes lead into tables made from the schema.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import struct
from collections.abc import Callable, Mapping
from functools import cache as memoized
from itertools import chain
from types import ModuleType

from broker.openwire import codec_parts, commands, limits
from broker.openwire.codec_parts import ReceiveCache, SendCache
from broker.openwire.codec_source import codec_source
from broker.openwire.commands import DataStructure
from broker.openwire.errors import CodecError
from broker.openwire.schema import VERSION_MAX, VERSION_MIN

_SIZE = struct.Struct(">i")
assert _SIZE.size == 4

# The eight flags of each byte, lowest first.
_FLAGS = tuple(tuple(bool(byte >> bit & 1) for bit in range(8)) for byte in range(256))
_DIGITS = bytes.maketrans(b"\0\1", b"01")

# The stream of flags begins with its length in bytes: below 64 one byte, else one of these and a longer one.
_FLAGS_LENGTH_SHORT_BELOW = 64
_FLAGS_LENGTH_BYTE = 0xC0
_FLAGS_LENGTH_INT16 = 0x80
_FLAGS_LENGTH_MAX = 32_767

# What broken bytes make the generated functions raise: a value cut short, a position behind the end, an
# unknown type byte, a flag behind the last.
_DECODING_FAULTS = (struct.error, IndexError, KeyError, StopIteration)


class _GeneratedLoader(importlib.abc.InspectLoader):
    """Makes a module of generated text, which tracebacks can show."""

    def __init__(self, source: str) -> None:
        self._source = source

    def get_source(self, fullname: str) -> str:
        return self._source

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = ModuleType(spec.name)
        for source in (codec_parts, commands):
            vars(module).update({name: value for name, value in vars(source).items() if name[0] != "_"})
        return module


@memoized
def _functions(version: int, tight: bool, cache: bool) -> ModuleType:
    name = f"broker.openwire.codec_v{version}_{'tight' if tight else 'loose'}{'_cached' if cache else ''}"
    loader = _GeneratedLoader(codec_source(version, tight=tight, cache=cache))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def prepare(version: int = VERSION_MAX, *, tight: bool = False, cache: bool = False) -> None:
    """Compiles the functions of one codec, some tens of milliseconds, before a connection waits for it."""
    _functions(version, tight, cache)


class Codec:
    """Encodes and decodes the commands of one connection; each direction has its own cache.

    Args:
        version: OpenWire version, 1 to 12.
        tight: tight encoding, otherwise loose.
        cache: whether ids and destinations are replaced by numbers once they were sent.
        cache_size: entries of the cache of each direction, as negotiated.
        stack_trace: whether exceptions carry their stack and causes.
        size_prefix: whether :meth:`encode` puts the frame's size before it.
        frame_size_max: bytes of a frame without its size; larger ones are refused both ways.
    """

    def __init__(
        self,
        version: int = VERSION_MAX,
        tight: bool = False,
        cache: bool = False,
        *,
        cache_size: int = limits.CACHE_SIZE_DEFAULT,
        stack_trace: bool = False,
        size_prefix: bool = True,
        frame_size_max: int = limits.FRAME_SIZE_MAX_DEFAULT,
    ) -> None:
        if not VERSION_MIN <= version <= VERSION_MAX:
            raise CodecError(f"OpenWire version {version} is not one of {VERSION_MIN} to {VERSION_MAX}")
        self.version = version
        self.tight = tight
        self.cache = cache
        self.stack_trace = stack_trace
        self.size_prefix = size_prefix
        self.frame_size_max = frame_size_max
        self.sent = SendCache(cache_size)
        self.received = ReceiveCache(cache_size)
        self.next_flag: Callable[[], bool] = bool
        functions = _functions(version, tight, cache)
        self._encoders: Mapping[type, Callable[..., None]] = functions.ENCODERS
        self._decoders: Mapping[int, Callable[..., tuple[DataStructure, int]]] = functions.DECODERS

    def encode(self, command: DataStructure) -> bytes:
        """The frame of a command.

        Raises:
            CodecError: a value does not fit its field; nothing was added to the cache.
            FrameTooLarge: the frame would be above the limit.
        """
        parts: list[bytes] = []
        if self.cache:
            self.sent.begin()
        try:
            encoder = self._encoders[command.__class__]
            if self.tight:
                flags: list[bool] = []
                encoder(command, parts.append, flags.append, self)
                parts.insert(0, bytes((command.TYPE_CODE,)) + _flags_to_bytes(flags))
            else:
                encoder(command, parts.append, self)
            frame = b"".join(parts)
            codec_parts.check_frame_size(len(frame), self.frame_size_max)
        except (struct.error, KeyError, TypeError) as error:
            self.sent.roll_back()
            name = type(command).__name__
            raise CodecError(
                f"{name} cannot be written in OpenWire version {self.version}: {error}"
            ) from error
        except CodecError:
            self.sent.roll_back()
            raise
        return _SIZE.pack(len(frame)) + frame if self.size_prefix else frame

    def decode(self, frame: bytes) -> DataStructure:
        """The command of one whole frame, without its size.

        Raises:
            CodecError: the bytes are not exactly one command of this version. The codec must not be used
                for further frames, for its cache may differ from the sender's.
        """
        codec_parts.check_frame_size(len(frame), self.frame_size_max)
        try:
            decoder = self._decoders[frame[0]]
        except (IndexError, KeyError):
            raise CodecError(_no_command(frame)) from None
        try:
            if self.tight:
                self.next_flag, at = _flags_from_bytes(frame)
                command, end = decoder(frame, at, 0, self)
            else:
                command, end = decoder(frame, 1, 0, self)
        except _DECODING_FAULTS as error:
            name = commands.BY_TYPE_CODE[frame[0]].__name__
            raise CodecError(f"{name} is damaged: {type(error).__name__} {error}") from error
        if end != len(frame):
            name = commands.BY_TYPE_CODE[frame[0]].__name__
            raise CodecError(f"{name} is damaged: it ends at byte {end} of a frame of {len(frame)} bytes")
        return command


def _no_command(frame: bytes) -> str:
    return f"type {frame[0]} is unknown" if frame else "a frame is empty"


def _flags_to_bytes(flags: list[bool]) -> bytes:
    length = (len(flags) + 7) // 8
    digits = bytes(reversed(flags)).translate(_DIGITS)
    data = int(digits, 2).to_bytes(length, "little") if flags else b""
    if length < _FLAGS_LENGTH_SHORT_BELOW:
        return bytes((length,)) + data
    if length < 256:
        return bytes((_FLAGS_LENGTH_BYTE, length)) + data
    if length > _FLAGS_LENGTH_MAX:
        raise CodecError("a command has more flags than tight encoding can carry")
    return bytes((_FLAGS_LENGTH_INT16,)) + length.to_bytes(2, "big") + data


def _flags_from_bytes(frame: bytes) -> tuple[Callable[[], bool], int]:
    length, at = frame[1], 2
    if length == _FLAGS_LENGTH_BYTE:
        length, at = frame[2], 3
    elif length == _FLAGS_LENGTH_INT16:
        length, at = frame[2] << 8 | frame[3], 4
        if length > _FLAGS_LENGTH_MAX:
            raise CodecError("the flags of a command have a negative length")
    end = at + length
    flags = chain.from_iterable(map(_FLAGS.__getitem__, frame[at:end]))
    return flags.__next__, end
