"""Elements of w bits, packed without gaps, 1 <= w <= 64 (specs/02-quantization.md §2).

Element i is bits [i w, (i + 1) w) of a stream whose bit j is bit j % 8 of byte j // 8. Eight
elements are w whole bytes, so the eight places within a group, a byte and a shift each, are the
same in every group: the kernels work them out once, and one compiled kernel a lane serves every
width at the speed that a width known to the compiler would give. An element is read and written as
the 64 bits that begin at its first byte; those of more than 57 bits can reach into a ninth byte,
and have kernels of their own.

Numba reads and writes at multiples of an element's size only, so the two instructions that do it
at any byte are LLVM's. It runs on little-endian machines only, as do they.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from secagg.errors import InputError
from secagg.kernels.jit import kernel
from secagg.layout import Lane
from secagg.ring import Ring
from secagg.types import Buffer

# Theory of operation.
#
# A ring of w bits is what a plan needs and no more, and lanes are u1 to u8 because processors are.
# Between the two are these loops: on the wire each element has w bits, so that 20 bits cost 20 and
# not 32. numpy has packbits, for single bits: a detour through eight times the memory.
#
# An element is handled as the 64-bit word that begins at its first byte. Within that byte it begins
# at one of eight bits, so up to NARROW = 57 bits always end within the word: 7 + 57 = 64. To pack,
# the loop keeps what it has written of the present word, shifts it to the next element's first
# byte, ors the element in, and stores all 8 bytes; the stores overlap, and the last one of each
# byte is right. That is one store an element, no read of memory that was written, and no branch. To
# unpack, one load, one shift and one mask an element.
#
# Wider elements may reach into a ninth byte and have two words. They are rare, so their loops are
# plain.
#
# Why no loop is compiled for one width alone: with eight elements a group is w whole bytes, and the
# byte and the shift of each of the eight places depend on w and j only. LLVM takes them out of the
# outer loop, and the speed is that of a constant width, with 4 kernels in the place of 4 x 64.
#
# The price is touching memory past an element: up to SLACK bytes. A writer gives that room, and the
# codec cuts it off. A reader's message ends where it ends, so `unpack_add` takes the last few
# groups from a copy that is padded: nothing outside a peer's bytes is ever read, though nothing of
# it would reach a sum either.
#
# Impossible: a width of 0 or above 64 (Ring refuses), a lane narrower than its ring (_ring), bits
# of padding that are set (secagg.wire.vector has refused them before anything is added).

Bytes = npt.NDArray[np.uint8]

NARROW = 57
"""Bits of the widest element that ends in the 64 bits from its first byte on, wherever in that byte
it begins, and after which the next begins within them."""

SLACK = 16
"""Bytes past the first of an element that a kernel may touch, whatever the width."""

_ZERO, _ONE, _THREE, _SEVEN, _EIGHT = (np.uint64(i) for i in (0, 1, 3, 7, 8))
_IN_WORD, _WORD = np.uint64(63), np.uint64(64)


def pack(lane: Lane, width: int) -> bytes:
    """The elements modulo 2^width, at `width` bits each, padded with zero bits to a whole byte.

    lane: one dimension, dtype u1, u2, u4 or u8 of at least `width` bits. InputError otherwise.
    """
    size = _ring(lane, width).packed_size(lane.size)
    out = memoryview(bytearray(size + SLACK))
    pack_into(lane, width, out)
    return bytes(out[:size])


def pack_into(lane: Lane, width: int, out: memoryview) -> None:
    """As `pack`, into memory that has SLACK bytes more; what those hold then has no meaning."""
    ring = _ring(lane, width)
    if len(out) != ring.packed_size(lane.size) + SLACK:
        raise InputError(f"{lane.size} elements of {width} bits do not fit {len(out)} bytes")
    pack_all = pack_groups if width <= NARROW else pack_wide
    place = np.frombuffer(out, np.uint8)
    pack_all(place, np.ascontiguousarray(lane), np.uint64(width), np.uint64(ring.mask))


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
    packed.flags.writeable = False  # one kind of array, so one specialisation a lane
    # what the kernel may touch past an element's first byte must be the message's own
    inside = max(0, packed.size - SLACK) * 8 // width // 8 * 8
    at = inside * width // 8
    last = np.zeros(packed.size - at + SLACK, np.uint8)
    last[: packed.size - at] = packed[at:]
    last.flags.writeable = False
    add_all = add_groups if width <= NARROW else add_wide
    for part, source in ((accumulator[:inside], packed), (accumulator[inside:], last)):
        add_all(part, source, np.uint64(width), np.uint64(ring.mask))


def _ring(lane: Lane, width: int) -> Ring:
    ring = Ring(width)
    if lane.ndim != 1 or lane.dtype not in (np.uint8, np.uint16, np.uint32, np.uint64):
        raise InputError(f"a lane is u1, u2, u4 or u8 in one dimension, not {lane.dtype}")
    if 8 * lane.itemsize < width:
        raise InputError(f"elements of {width} bits do not fit a lane of {lane.dtype}")
    return ring


def _address(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    first = builder.gep(builder.bitcast(data, ir.PointerType(ir.IntType(8))), [at])
    return builder.bitcast(first, ir.PointerType(ir.IntType(64)))


def _emit_load(typing: Any, data: Any, at: Any) -> Any:
    def lower(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        address = _address(context, builder, signature.args[0], given[0], given[1])
        return builder.load(address, align=1)

    return types.uint64(data, types.uint64), lower


def _emit_store(typing: Any, out: Any, at: Any, word: Any) -> Any:
    def lower(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        address = _address(context, builder, signature.args[0], given[0], given[1])
        builder.store(given[2], address, align=1)
        return context.get_dummy_value()

    return types.void(out, types.uint64, types.uint64), lower


def _plain_load(data: Bytes, at: np.uint64) -> np.uint64:
    return np.uint64(data[int(at) : int(at) + 8].view("<u8")[0])


def _plain_store(out: Bytes, at: np.uint64, word: np.uint64) -> None:
    out[int(at) : int(at) + 8].view("<u8")[0] = word


_load: Any = _plain_load  # _load(data, at): the 64 bits that begin at a byte
_store: Any = _plain_store
if not config.DISABLE_JIT:  # type: ignore[attr-defined]
    _load, _store = intrinsic(_emit_load), intrinsic(_emit_store)


@kernel
def pack_groups(out: Bytes, lane: Lane, width: np.uint64, mask: np.uint64) -> None:
    """out = the packed bytes of lane, elements reduced by `mask`; it has SLACK bytes more.

    word: what stands from the first byte of an element on, the end of the element before included.
    """
    i, at = _ZERO, _ZERO
    # a group begins at a byte of its own, and with an empty word: nothing is carried over
    for _ in range(lane.size // 8):
        word, before = _ZERO, _ZERO
        for j in range(8):
            bit = np.uint64(j) * width
            byte = bit >> _THREE
            word = word >> ((byte - before) << _THREE) | (np.uint64(lane[i]) & mask) << (
                bit & _SEVEN
            )
            _store(out, at + byte, word)
            before = byte
            i += _ONE
        at += width
    word, before = _ZERO, at
    for k in range(lane.size // 8 * 8, lane.size):
        bit = np.uint64(k) * width
        byte = bit >> _THREE
        word = word >> ((byte - before) << _THREE) | (np.uint64(lane[k]) & mask) << (bit & _SEVEN)
        _store(out, byte, word)
        before = byte


@kernel
def pack_wide(out: Bytes, lane: Lane, width: np.uint64, mask: np.uint64) -> None:
    """pack_groups for more than NARROW bits: word and high are 128 bits from the first byte on."""
    carried = _ZERO
    for i in range(lane.size):
        bit = np.uint64(i) * width
        byte, shift = bit >> _THREE, bit & _SEVEN
        element = np.uint64(lane[i]) & mask
        # two shifts instead of one by 64 - shift, which is undefined for shift = 0
        word, high = carried | element << shift, (element >> (_IN_WORD - shift)) >> _ONE
        _store(out, byte, word)
        _store(out, byte + _EIGHT, high)
        skipped = (((bit + width) >> _THREE) - byte) << _THREE  # 56 or 64: of what was written
        carried = (word >> (skipped - _ONE)) >> _ONE | high << (_WORD - skipped)


@kernel
def add_groups(out: Lane, data: Bytes, width: np.uint64, mask: np.uint64) -> None:
    """out[i] += element i modulo the lane; data has SLACK bytes past any element's first."""
    kind = out.dtype.type
    i, at = _ZERO, _ZERO
    for _ in range(out.size // 8):
        for j in range(8):
            bit = np.uint64(j) * width
            out[i] += kind((_load(data, at + (bit >> _THREE)) >> (bit & _SEVEN)) & mask)
            i += _ONE
        at += width
    for k in range(out.size // 8 * 8, out.size):
        bit = np.uint64(k) * width
        out[k] += kind((_load(data, bit >> _THREE) >> (bit & _SEVEN)) & mask)


@kernel
def add_wide(out: Lane, data: Bytes, width: np.uint64, mask: np.uint64) -> None:
    """add_groups for more than NARROW bits."""
    for i in range(out.size):
        bit = np.uint64(i) * width
        byte, shift = bit >> _THREE, bit & _SEVEN
        high = (_load(data, byte + _EIGHT) << (_IN_WORD - shift)) << _ONE
        out[i] += out.dtype.type((_load(data, byte) >> shift | high) & mask)
