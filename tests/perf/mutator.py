"""Changes valid streams of bytes into ones that no honest client would send; the same seed, the same ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

CHANGES_MAX = 8
"""Changes of one stream; few, so that much of it is still understood."""
INPUT_BYTES_MAX = 1 << 17
"""Longer ones would only cost time."""
_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1)


class Mutator:
    """Makes one input after the other.

    Args:
        seed: of all that happens by chance.
        tokens: what the parser looks for.
        others: further valid streams to take pieces from.
    """

    def __init__(self, seed: int | str, tokens: Sequence[bytes], others: Sequence[bytes]) -> None:
        self._chance = random.Random(seed)
        self._tokens = tokens
        self._others = others
        self._changes: tuple[Callable[[bytearray], None], ...] = (
            self._flip,
            self._set,
            self._insert,
            self._delete,
            self._repeat,
            self._number,
            self._token,
            self._splice,
            self._swap,
            self._cut,
        )

    def mutate(self, stream: bytes) -> bytes:
        """A changed stream."""
        data = bytearray(stream)
        count = 1 + min(int(self._chance.expovariate(0.7)), CHANGES_MAX - 1)
        for _ in range(count):
            self._chance.choice(self._changes)(data)
        return bytes(data[:INPUT_BYTES_MAX])

    def cuts(self, length: int) -> list[int]:
        """Where to cut it: often nowhere, sometimes everywhere."""
        kind = self._chance.random()
        if kind < 0.5 or length < 2:
            return []
        if kind < 0.97 or length > 2_000:
            return [self._chance.randrange(1, length) for _ in range(self._chance.randrange(1, 6))]
        return list(range(1, length))

    def _at(self, data: bytearray) -> int:
        return self._chance.randrange(len(data)) if data else 0

    def _span(self, data: bytearray) -> tuple[int, int]:
        start = self._at(data)
        return start, min(len(data), start + 1 + int(self._chance.expovariate(1 / 24)))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._at(data)] ^= 1 << self._chance.randrange(8)

    def _set(self, data: bytearray) -> None:
        if data:
            data[self._at(data)] = self._chance.choice((0, 1, 10, 13, 58, 127, 128, 192, 255))

    def _insert(self, data: bytearray) -> None:
        at = self._at(data)
        data[at:at] = self._chance.randbytes(1 + int(self._chance.expovariate(1 / 8)))

    def _delete(self, data: bytearray) -> None:
        start, end = self._span(data)
        del data[start:end]

    def _repeat(self, data: bytearray) -> None:
        start, end = self._span(data)
        times = 2 if self._chance.random() < 0.9 else 2 ** self._chance.randrange(2, 11)
        piece = bytes(data[start:end])
        data[start:end] = piece * min(times, INPUT_BYTES_MAX // max(len(piece), 1))

    def _number(self, data: bytearray) -> None:
        size = self._chance.choice((1, 2, 4, 8))
        start = self._at(data)
        number = self._chance.choice(_NUMBERS) + self._chance.choice((0, 0, 0, 1, -1))
        data[start : start + size] = (number % (1 << 8 * size)).to_bytes(size, "big")

    def _token(self, data: bytearray) -> None:
        at = self._at(data)
        end = at + self._chance.choice((0, 0, 1, 4))
        data[at:end] = self._chance.choice(self._tokens)

    def _splice(self, data: bytearray) -> None:
        other = bytearray(self._chance.choice(self._others))
        start, end = self._span(other)
        at = self._at(data)
        data[at:at] = other[start : end + self._chance.choice((0, 50, 500))]

    def _swap(self, data: bytearray) -> None:
        (a, b), (c, d) = sorted((self._span(data), self._span(data)))
        if b <= c:
            data[a:d] = data[c:d] + data[b:c] + data[a:b]

    def _cut(self, data: bytearray) -> None:
        if self._chance.random() < 0.3:
            del data[self._at(data) :]
