"""Keys -> mask streams, added into an accumulator block by block (specs/10-secagg.md §5).

stream(key), for a lane of L bits, is the AES-256-CTR keystream of the key, with a 128-bit
big-endian counter that starts at 0, read as little-endian integers of L bits. Element i depends
on the key, L and i only, never on how the work was cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from secagg.errors import InputError, InvalidKey, ParameterError
from secagg.kernels import mask as kernels
from secagg.ring import LANES, Expander, Lane
from secagg.types import Seed

KEY_SIZE = Seed.SIZE
AES_BLOCK = 16
MAX_BLOCKS = 1 << 32
"""AES blocks of one key, 64 GiB: far below the 2^64 at which CTR mode becomes distinguishable,
and the bar that other implementations set."""

CHUNK = 1 << 16
"""Bytes of keystream at a time: with the accumulator's share it stays in the L2 cache."""

_ZEROS = bytes(CHUNK)


def add_stream(accumulator: Lane, key: bytes, sign: int, /, first: int = 0) -> None:
    """accumulator[i] += sign * stream(key)[first + i], modulo the lane: the sansio.Expander.

    accumulator: contiguous, writable, one dimension, dtype u1, u2, u4 or u8. key: 32 bytes.
    sign: +1 or -1. first: the index, in elements, of the accumulator within the stream.

    Raises InputError for another accumulator, InvalidKey for another key length, ParameterError
    for another sign or a range outside the key's 2^32 blocks; nothing is then written.
    """
    _check_accumulator(accumulator)
    if len(key) != KEY_SIZE:
        raise InvalidKey(f"a mask key is {KEY_SIZE} bytes long, not {len(key)}")
    if sign not in (1, -1):
        raise ParameterError(f"the sign of a mask is +1 or -1, not {sign!r}")
    _check_range(first, accumulator.size, accumulator.itemsize)

    apply = kernels.add if sign == 1 else kernels.subtract
    start = 0
    for block in _keystream(key, first * accumulator.itemsize, accumulator.nbytes):
        # "<": where lanes are big-endian numba refuses the view instead of adding it wrongly
        stream = block.view(accumulator.dtype.newbyteorder("<"))
        apply(accumulator[start : start + stream.size], stream)
        start += stream.size


def _check_accumulator(accumulator: Lane) -> None:
    if accumulator.dtype not in [np.dtype(f"u{bits // 8}") for bits in LANES]:
        raise InputError(f"a mask is added to lanes of u1, u2, u4 or u8, not {accumulator.dtype}")
    flags = accumulator.flags
    if accumulator.ndim != 1 or not (flags.c_contiguous and flags.writeable):
        raise InputError("a mask is added to a writable, contiguous array of one dimension")


def _check_range(first: int, count: int, itemsize: int) -> None:
    if first < 0 or (first + count) * itemsize > MAX_BLOCKS * AES_BLOCK:
        raise ParameterError(
            f"elements {first} to {first + count} of {itemsize} bytes are outside the "
            f"{MAX_BLOCKS} AES blocks of one mask key; use a shorter vector or a narrower ring"
        )


def _keystream(key: bytes, first: int, size: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Bytes [first, first + size) of the key's stream, as views of one buffer that is reused.

    The seam to a faster AES: whatever replaces it yields blocks of whole lanes.
    """
    counter, skipped = divmod(first, AES_BLOCK)
    cipher = Cipher(algorithms.AES256(key), modes.CTR(counter.to_bytes(AES_BLOCK)))
    encryptor = cipher.encryptor()
    encryptor.update(_ZEROS[:skipped])
    buffer = np.empty(min(size, CHUNK), np.uint8)
    for start in range(0, size, CHUNK):
        block = buffer[: size - start]
        encryptor.update_into(_ZEROS[: block.size], block.data)
        yield block


@dataclass(frozen=True, slots=True)
class MaskJob:
    """The sum of signed streams over elements [first, first + count): a sansio.Job.

    keys: 32 bytes each, concatenated. signs: one byte a key, 1 for + and 0 for -. Sums of ranges
    concatenate, and sums of keys add modulo the lane, so a server cuts its work either way.
    """

    lane_bits: int
    first: int
    count: int
    keys: bytes = field(repr=False)
    signs: bytes
    expander: Expander = add_stream

    def __post_init__(self) -> None:
        if self.lane_bits not in LANES:
            raise ParameterError(f"a lane has one of {LANES} bits, not {self.lane_bits}")
        if len(self.keys) != KEY_SIZE * len(self.signs) or max(self.signs, default=0) > 1:
            raise ParameterError(
                f"{len(self.signs)} signs of 0 or 1 need {KEY_SIZE} bytes of key each, "
                f"not {len(self.keys)} bytes in all"
            )
        _check_range(self.first, self.count, self.lane_bits // 8)

    def __call__(self) -> Lane:
        """`count` elements of u{lane_bits}, modulo the lane."""
        total: Lane = np.zeros(self.count, f"u{self.lane_bits // 8}")
        for i, positive in enumerate(self.signs):
            key = self.keys[KEY_SIZE * i : KEY_SIZE * (i + 1)]
            self.expander(total, key, 1 if positive else -1, first=self.first)
        return total
