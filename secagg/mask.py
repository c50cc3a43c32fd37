"""Keys -> mask streams, added into an accumulator block by block (specs/10-secagg.md §5).

stream(key), for a lane of L bits, is the AES-256-CTR keystream of the key, with a 128-bit
big-endian counter that starts at 0, read as little-endian integers of L bits. Element i depends
on the key, L and i only: never on how the work was cut, nor on whose AES did it.

The AES is the fastest of `backends()`, or the one that the environment variable SECAGG_AES names,
which is read once. kernels.aes holds those that use the CPU's vector instructions; OpenSSL's,
which needs none and no compiler, is here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from threading import Thread

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from secagg.errors import InputError, InvalidKey, ParameterError
from secagg.kernels import aes
from secagg.kernels.aes import AES_BLOCK, BATCH, Bytes, Kernel
from secagg.layout import Expander, Lane
from secagg.ring import LANES
from secagg.shown import short
from secagg.types import Seed

KEY_SIZE = Seed.SIZE
MAX_BLOCKS = 1 << 32
"""AES blocks of one key, 64 GiB: far below the 2^64 at which CTR mode becomes distinguishable,
and the bar that other implementations set."""

CHUNK = 1 << 18
"""Bytes of OpenSSL's keystream at a time: they stay in the L2 cache with their share of the
accumulator, and are long enough to make little of the time that a new cipher object takes."""

SHARE = 1 << 18
"""Bytes of accumulator that a thread takes at a time: a thread that starts late takes fewer, which
on two threads and 64 keys is worth a twentieth."""

_OPENSSL = "openssl"
_ZEROS = memoryview(bytes(CHUNK))


def add_streams(
    accumulator: Lane,
    keys: bytes,
    signs: bytes,
    /,
    *,
    first: int = 0,
    threads: int = 1,
    backend: str | None = None,
) -> None:
    """accumulator[i] ± stream(key)[first + i] for every key, modulo the lane: a layout.Expander.

    Blocks of the accumulator outside, keys inside: one call with many keys is faster than many
    calls, and holds no buffer that grows with either.

    accumulator: contiguous, writable, one dimension, dtype u1, u2, u4 or u8. keys: 32 bytes each,
    concatenated. signs: one byte a key, 1 for + and 0 for -. first: the index, in elements, of
    the accumulator within the streams. threads: among which the accumulator is split, the
    caller's and others that are started for this call, with the GIL released. backend: one of
    `backends()`, by default the process's.

    Raises InputError for another accumulator, InvalidKey for keys of another length,
    ParameterError for other signs, for a range outside the 2^32 blocks of a key, for fewer
    threads than one and for a backend that cannot run here; nothing is then written.
    """
    _check_accumulator(accumulator)
    _check_keys(keys, signs)
    _check_range(first, accumulator.size, accumulator.itemsize)
    if threads < 1:
        raise ParameterError(f"masks are made by at least one thread, not {threads}")
    kernel = _kernel(backend)
    streams = _Streams(kernel, np.frombuffer(keys, np.uint8), np.frombuffer(signs, np.uint8))

    if threads == 1:
        streams.add(accumulator, first)
    else:
        _among(threads, streams, accumulator, first)


def _among(threads: int, streams: _Streams, accumulator: Lane, first: int) -> None:
    """Plain threads: a pool takes so long to start and to stop that it costs a twentieth."""
    step = SHARE // accumulator.itemsize
    starts = iter(range(0, accumulator.size, step))  # shared: whoever is free takes the next
    failures: list[BaseException] = []

    def add_shares() -> None:
        try:
            for at in starts:
                streams.add(accumulator[at : at + step], first + at)
        except BaseException as error:  # noqa: BLE001  it is raised below, in the caller's thread
            failures.append(error)

    others = [Thread(target=add_shares) for _ in range(1, threads)]
    for other in others:
        other.start()
    add_shares()
    for other in others:
        other.join()
    if failures:
        raise failures[0]


def add_stream(accumulator: Lane, key: bytes, sign: int, /, first: int = 0) -> None:
    """add_streams of a single key. sign: +1 or -1."""
    if sign not in (1, -1):
        raise ParameterError(f"the sign of a mask is +1 or -1, not {sign!r}")
    add_streams(accumulator, key, b"\1" if sign == 1 else b"\0", first=first)


def backends() -> tuple[str, ...]:
    """Whose AES can make streams here, fastest first: kernels.aes.UNITS, and always "openssl"."""
    return (*aes.available(), _OPENSSL)


@cache
def chosen_backend() -> str:
    """What this process uses unless a call names another: $SECAGG_AES, or else the fastest."""
    return os.environ.get("SECAGG_AES") or backends()[0]


@cache
def _kernel(backend: str | None) -> Kernel:
    name = backend or chosen_backend()
    if name not in backends():
        raise ParameterError(
            f"no AES named {name!r} runs here; let backend and SECAGG_AES name one of {backends()}"
        )
    return _openssl if name == _OPENSSL else aes.KERNELS[name]


def _check_accumulator(accumulator: Lane) -> None:
    if accumulator.dtype not in [np.dtype(f"u{bits // 8}") for bits in LANES]:
        raise InputError(f"a mask is added to lanes of u1, u2, u4 or u8, not {accumulator.dtype}")
    flags = accumulator.flags
    if accumulator.ndim != 1 or not (flags.c_contiguous and flags.writeable):
        raise InputError("a mask is added to a writable, contiguous array of one dimension")


def _check_keys(keys: bytes, signs: bytes) -> None:
    if len(keys) != KEY_SIZE * len(signs):
        raise InvalidKey(
            f"{len(signs)} mask keys of {KEY_SIZE} bytes are {KEY_SIZE * len(signs)} bytes, "
            f"not {len(keys)}"
        )
    if max(signs, default=0) > 1:
        raise ParameterError(f"the signs of masks are bytes of 0 or 1, not {max(signs)}")


def _check_range(first: int, count: int, itemsize: int) -> None:
    if first < 0 or (first + count) * itemsize > MAX_BLOCKS * AES_BLOCK:
        raise ParameterError(
            f"elements {first} to {first + count} of {itemsize} bytes are outside the "
            f"{MAX_BLOCKS} AES blocks of one mask key; use a shorter vector or a narrower ring"
        )


@dataclass(frozen=True, slots=True)
class _Streams:
    """Signed streams that are added by a kernel, which knows whole batches only."""

    kernel: Kernel
    keys: Bytes
    signs: Bytes

    def add(self, lanes: Lane, first: int) -> None:
        """Batches are counted from element 0 of the stream; what is less than one, at either end
        of the lanes, takes its place in a scratch batch."""
        per_batch = BATCH // lanes.itemsize
        head = min(-first % per_batch, lanes.size)
        tail = head + (lanes.size - head) // per_batch * per_batch
        if head:
            self._add_part(lanes[:head], first)
        if tail > head:
            self._add_whole(lanes[head:tail], (first + head) // per_batch)
        if tail < lanes.size:
            self._add_part(lanes[tail:], first + tail)

    def _add_part(self, lanes: Lane, first: int) -> None:
        batch, skipped = divmod(first, BATCH // lanes.itemsize)
        scratch: Lane = np.zeros(BATCH // lanes.itemsize, lanes.dtype)
        place = scratch[skipped : skipped + lanes.size]
        place[:] = lanes
        self._add_whole(scratch, batch)
        lanes[:] = place

    def _add_whole(self, lanes: Lane, batch: int) -> None:
        counter = np.uint64(batch * (BATCH // AES_BLOCK))
        self.kernel(lanes, self.keys, self.signs, counter)


def _openssl(lanes: Lane, keys: Bytes, signs: Bytes, counter: np.uint64) -> None:
    """A kernel with the arguments and the meaning of those in kernels.aes."""
    buffer = np.empty(min(lanes.nbytes, CHUNK), np.uint8)
    for start in range(0, lanes.nbytes, CHUNK):
        part = lanes[start // lanes.itemsize :][: CHUNK // lanes.itemsize]
        stream = buffer[: part.nbytes]
        first = (int(counter) + start // AES_BLOCK).to_bytes(AES_BLOCK)
        for key, positive in zip(keys.reshape(-1, KEY_SIZE), signs, strict=True):
            encryptor = Cipher(algorithms.AES256(key.tobytes()), modes.CTR(first)).encryptor()
            encryptor.update_into(_ZEROS[: stream.size], stream.data)
            apply = np.add if positive else np.subtract
            apply(part, stream.view(lanes.dtype.newbyteorder("<")), out=part)


@dataclass(frozen=True, slots=True)
class MaskJob:
    """The sum of signed streams over elements [first, first + count): a sansio.Job.

    keys, signs: as of add_streams. Sums of ranges concatenate, and sums of keys add modulo the
    lane, so a server cuts its work either way.
    """

    lane_bits: int
    first: int
    count: int
    keys: bytes = field(repr=False)
    signs: bytes
    expander: Expander = add_streams

    __repr__ = short

    def __post_init__(self) -> None:
        if self.lane_bits not in LANES:
            raise ParameterError(f"a lane has one of {LANES} bits, not {self.lane_bits}")
        _check_keys(self.keys, self.signs)
        _check_range(self.first, self.count, self.lane_bits // 8)

    def __call__(self) -> Lane:
        """`count` elements of u{lane_bits}, modulo the lane."""
        total: Lane = np.zeros(self.count, f"u{self.lane_bits // 8}")
        self.expander(total, self.keys, self.signs, first=self.first)
        return total
