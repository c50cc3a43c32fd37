"""Elements of w bits, packed without gaps, 1 <= w <= 64 (specs/02-quantization.md §2).

Element i is bits [i w, (i + 1) w) of a stream whose bit j is bit j % 8 of byte j // 8. Read as
little-endian words of 64 bits, bit j is bit j % 64 of word j // 64: the kernels move whole words.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from secagg.errors import InputError
from secagg.kernels.jit import kernel
from secagg.ring import Lane, Ring
from secagg.types import Buffer

Words = npt.NDArray[np.uint64]

CHUNK = 1 << 15
"""Elements copied to an aligned buffer at a time: at most 256 KiB, and a whole number of words."""

_WORD = np.uint64(64)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_LOG_WORD = np.uint64(6)
_IN_WORD = np.uint64(63)


def pack(lane: Lane, width: int) -> bytes:
    """The elements modulo 2^width, at `width` bits each, padded with zero bits to a whole byte.

    lane: one dimension, dtype u1, u2, u4 or u8 of at least `width` bits. InputError otherwise.
    """
    ring = _ring(lane, width)
    words = np.empty((lane.size * width + 63) // 64, "<u8")
    pack_words(words, np.ascontiguousarray(lane), np.uint64(width), np.uint64(ring.mask))
    return words.view(np.uint8)[: ring.packed_size(lane.size)].tobytes()


def unpack(data: Buffer, width: int, length: int) -> Lane:
    """`length` elements from exactly their packed size of bytes; InputError otherwise."""
    lane: Lane = np.zeros(length, Ring(width).dtype)
    unpack_add(data, width, lane)
    return lane


def unpack_add(data: Buffer, width: int, accumulator: Lane) -> None:
    """accumulator[i] += element i of the packed data, modulo the lane; no unpacked copy is made.

    data: exactly the packed size of accumulator.size elements; its padding is ignored, and
    checked by wire.vector. accumulator: contiguous, writable, of at least `width` bits.
    InputError otherwise, before anything is added.
    """
    ring = _ring(accumulator, width)
    if not (accumulator.flags.c_contiguous and accumulator.flags.writeable):
        raise InputError("packed elements are added to a writable, contiguous array")
    if len(data) != ring.packed_size(accumulator.size):
        raise InputError(
            f"{accumulator.size} elements of {width} bits are "
            f"{ring.packed_size(accumulator.size)} bytes, not {len(data)}"
        )
    packed = np.frombuffer(data, np.uint8)
    # a message's bytes start anywhere; the last element may reach into one word more
    words = np.zeros(min(accumulator.size, CHUNK) * width // 64 + 2, "<u8")
    for start in range(0, accumulator.size, CHUNK):
        part = accumulator[start : start + CHUNK]
        at, size = ring.packed_size(start), ring.packed_size(part.size)
        words.view(np.uint8)[:size] = packed[at : at + size]
        add_words(part, words, np.uint64(width), np.uint64(ring.mask))


def _ring(lane: Lane, width: int) -> Ring:
    ring = Ring(width)
    if lane.ndim != 1 or lane.dtype not in (np.uint8, np.uint16, np.uint32, np.uint64):
        raise InputError(f"a lane is u1, u2, u4 or u8 in one dimension, not {lane.dtype}")
    if 8 * lane.itemsize < width:
        raise InputError(f"elements of {width} bits do not fit a lane of {lane.dtype}")
    return ring


@kernel
def pack_words(out: Words, lane: Lane, width: np.uint64, mask: np.uint64) -> None:
    """out = the packed words of lane, elements reduced by `mask`; out holds ceil(n width / 64)."""
    word, filled, k = _ZERO, _ZERO, 0
    for i in range(lane.size):
        element = np.uint64(lane[i]) & mask
        word |= element << filled
        filled += width
        if filled >= _WORD:
            out[k] = word
            k += 1
            filled -= _WORD
            # width - filled bits of the element are out; a shift by 64 would be undefined
            word = element >> (width - filled) if filled else _ZERO
    if filled:
        out[k] = word


@kernel
def add_words(out: Lane, words: Words, width: np.uint64, mask: np.uint64) -> None:
    """out[i] += element i modulo the lane; words holds one word past the last element's start."""
    for i in range(out.size):
        bit = np.uint64(i) * width
        k, shift = bit >> _LOG_WORD, bit & _IN_WORD
        # two shifts instead of one by 64 - shift, which is undefined for shift = 0
        high = (words[k + _ONE] << (_IN_WORD - shift)) << _ONE
        element = ((words[k] >> shift) | high) & mask
        out[i] += out.dtype.type(element)
