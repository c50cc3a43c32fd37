"""Reader and Writer: fixed-width integers, length-prefixed bytes, bitmaps, hard limits.

A decoder is straight-line code over a Reader that ends in `finish()`. Lengths and counts come from
the parameters wherever they can; where the wire states one, it is checked against a limit before
anything is allocated. encode(decode(b)) == b for every b that is accepted (specs/01-wire.md §1).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np

from secagg.errors import TooLarge, TrailingBytes, Truncated, WireError
from secagg.types import Buffer


class Reader:
    """Consumes one message; every method raises a WireError that says what and where."""

    def __init__(self, data: Buffer) -> None:
        self._data = memoryview(data).cast("B")
        self._at = 0

    @property
    def remaining(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int, what: str) -> memoryview:
        """The next `size` bytes, not copied."""
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise Truncated(
                f"{what}: {size} bytes expected at offset {self._at}, {self.remaining} left"
            )
        self._at += size
        return taken

    def fixed(self, size: int, what: str) -> bytes:
        return bytes(self.take(size, what))

    def u8(self, what: str) -> int:
        return self.take(1, what)[0]

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what))

    def u64(self, what: str) -> int:
        return int.from_bytes(self.take(8, what))

    def f64(self, what: str) -> float:
        return float(struct.unpack(">d", self.take(8, what))[0])

    def count(self, limit: int, what: str) -> int:
        """A u32 count of at most `limit`."""
        number = self.u32(what)
        if number > limit:
            raise TooLarge(f"{what}: {number}, and the limit is {limit}")
        return number

    def prefixed(self, limit: int, what: str) -> bytes:
        """Bytes behind a u32 length of at most `limit`."""
        return self.fixed(self.count(limit, f"length of {what}"), what)

    def within(self, limit: int, what: str) -> Reader:
        """The same as a reader of its own, to be finished by itself; its offsets go on counting
        from the beginning of the whole."""
        size = self.count(limit, f"length of {what}")
        start = self._at
        self.take(size, what)
        inner = Reader(self._data[: self._at])
        inner._at = start
        return inner

    def rest(self) -> bytes:
        """All that is left."""
        return self.fixed(self.remaining, "rest")

    def bitmap(self, size: int, what: str) -> frozenset[int]:
        """A set of integers below `size`: ceil(size/8) bytes, least significant bit first."""
        raw = self.take((size + 7) // 8, what)
        number = int.from_bytes(raw, "little")
        if number >> size:
            raise WireError(f"{what}: a bit at or past {size} is set")
        if not number:  # whose shares did not open: almost always nobody's
            return frozenset()
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
        return frozenset(np.flatnonzero(bits).tolist())

    def finish(self) -> None:
        if self.remaining:
            raise TrailingBytes(f"{self.remaining} bytes follow the end at offset {self._at}")


class Writer:
    """Builds one message; the mirror of Reader. Each method returns self, to be chained."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()

    def raw(self, data: Buffer) -> Writer:
        self._buffer.write(data)
        return self

    def room(self, size: int, slack: int, fill: Callable[[memoryview], None]) -> Writer:
        """`size` bytes that `fill` writes in place, into a view that has `slack` bytes more."""
        start = self._buffer.tell()
        self._buffer.truncate(start)
        self._buffer.seek(start + size + slack)
        self._buffer.write(b"\0")
        with self._buffer.getbuffer() as all_of_it, all_of_it[start:-1] as view:
            fill(view)
        self._buffer.truncate(start + size)
        self._buffer.seek(start + size)
        return self

    def u8(self, value: int) -> Writer:
        return self.raw(value.to_bytes(1))

    def u32(self, value: int) -> Writer:
        return self.raw(value.to_bytes(4))

    def u64(self, value: int) -> Writer:
        return self.raw(value.to_bytes(8))

    def f64(self, value: float) -> Writer:
        return self.raw(struct.pack(">d", value))

    def prefixed(self, data: Buffer) -> Writer:
        return self.u32(len(data)).raw(data)

    def bitmap(self, members: Iterable[int], size: int) -> Writer:
        return self.raw(_bitmap(frozenset(members), size))

    def finish(self) -> bytes:
        return self._buffer.getvalue()


@lru_cache(maxsize=2)
def _bitmap(members: frozenset[int], size: int) -> bytes:
    """A server writes one set to each of its clients, and a set knows its own hash."""
    return encode_bitmap(members, size)


def encode_bitmap(members: Iterable[int], size: int) -> bytes:
    """A set of integers below `size`; bit i is bit i % 8 of byte i // 8 (specs/01-wire.md §2)."""
    bits = np.zeros((size + 7) // 8 * 8, np.uint8)
    bits[list(members)] = 1
    return np.packbits(bits, bitorder="little").tobytes()
