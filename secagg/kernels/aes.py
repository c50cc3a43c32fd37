"""AES-256-CTR as LLVM vector instructions, added straight into the lanes (specs/10-secagg.md §5).

Numba compiles no AES instruction of its own accord, so this module writes the LLVM code: one
kernel for each kind of AES unit, all with the same meaning, `(lanes, keys, signs, counter)`:

    for every key k: lanes += or -= the stream of key k from AES block `counter` on

lanes: contiguous, unsigned, a whole number of BATCH bytes. keys: 32 bytes each, concatenated.
signs: a byte a key, 1 to add and 0 to subtract. keys and signs are read-only arrays of u1: one
kind of array, so one specialisation a lane. The stream's first byte is that of AES block
`counter`, which is a whole number of batches; counter + the blocks of the lanes stay below 2^64.

The oracle is OpenSSL with NIST's vectors, not kernels.reference. A compiled kernel is specific to
what numba compiles for, and so is its file in numba's disk cache, which is found by the CPU's
name and features: two kinds of machine that share a cache directory do not share kernels.
All of the emitted code is in this file, because that cache notices changes to no other file.

No secret chooses an address or a branch: what varies with a key is data in vector registers. A
sign, which is public, is data too; whether any of them is negative is a branch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from secagg.kernels.jit import kernel
from secagg.layout import Lane

Bytes = npt.NDArray[np.uint8]
Kernel = Callable[[Lane, Bytes, Bytes, np.uint64], None]

# Theory of operation.
#
# A client of a large session expands a key for each neighbour into a stream as long as its vector,
# and adds it: nearly all that it computes. Two things keep that from the AES unit's speed. One is
# memory: so encryption and addition are one loop, with the stream in registers only, where OpenSSL
# would need three passes (zeros, encrypt, add). The other is waiting for a round to end: so
# IN_FLIGHT vectors go through each round abreast, the fewest that keep the unit busy. Gueron and
# Krasnov interleave AES-GCM in the same way, for one key and a long message; here keys are many, so
# the schedule counts too, and is made by the AES unit, without a table whose addresses tell keys.
#
# Blocks of lanes are the outer loop: the other way round every key would drag the whole vector
# through memory. Subtracting is adding the complement and one: the complement is a part of the last
# round key, the ones of all keys are one number, and the inner loop has no branch on a sign.
#
# What cannot happen, and is nowhere checked: a counter that wraps (secagg.mask refuses streams of
# 2^32 blocks), lanes that end within a batch (secagg.mask adds those through a batch of its own),
# and a unit that this CPU lacks (`available` asks before one of these is compiled).

AES_BLOCK = 16
KEY_SIZE = 32
IN_FLIGHT = 8
"""Vectors under way at once. A round takes about four cycles and up to two start in each; more
than eight would not fit 32 registers beside the 15 round keys."""

BATCH = IN_FLIGHT * 64
"""Bytes of one step of the widest unit; the steps of all others divide it."""

CACHED = 1 << 16
"""Bytes of lanes that every key passes over before the next: they stay in the L2 cache, and the
key schedule, which is repeated for each of these blocks, is 1 or 2 % of the work on one."""

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_WORDS = ir.VectorType(_I32, 4)


@dataclass(frozen=True)
class Unit:
    """A kind of AES instruction. features: LLVM's names, all needed. blocks: in one vector."""

    arch: str
    features: frozenset[str]
    blocks: int

    @property
    def vector(self) -> ir.VectorType:
        """The operand of its instructions."""
        if self.arch == "aarch64":
            return ir.VectorType(_I8, AES_BLOCK)
        return ir.VectorType(_I64, 2 * self.blocks)


UNITS = {
    "vaes512": Unit("x86_64", frozenset(["vaes", "avx512f", "avx512bw"]), 4),
    "vaes256": Unit("x86_64", frozenset(["vaes", "avx2"]), 2),
    "aesni": Unit("x86_64", frozenset(["aes", "ssse3"]), 1),
    "neon": Unit("aarch64", frozenset(["aes", "neon"]), 1),
}
"""Fastest first."""


def supported(target: tuple[str, str, str]) -> tuple[str, ...]:
    """The names in UNITS that a target (triple, CPU, features as LLVM writes them) has."""
    triple, _, features = target
    arch = triple.split("-")[0]
    present = {name[1:] for name in features.split(",") if name.startswith("+")}
    return tuple(
        name for name, unit in UNITS.items() if unit.arch == arch and unit.features <= present
    )


def available() -> tuple[str, ...]:
    """The names in KERNELS that run here, fastest first; without the JIT, none.

    Asked of numba and not of the CPU: NUMBA_CPU_NAME and NUMBA_CPU_FEATURES can name a lesser
    CPU than this one, and an instruction that the compiler does not know of ends the process.
    """
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return ()
    return supported(cpu_target.target_context.codegen().magic_tuple())


@dataclass(frozen=True)
class Arguments:
    """lanes, keys, signs: pointers to bytes. batches: how many of BATCH bytes. count: of keys."""

    lanes: ir.Value
    batches: ir.Value
    keys: ir.Value
    signs: ir.Value
    count: ir.Value
    counter: ir.Value


def emit(builder: ir.IRBuilder, unit: Unit, lane_bits: int, given: Arguments) -> None:
    """The loops of a kernel: blocks of lanes outside, keys inside.

    -s = ~s + 1: to subtract, the stream is inverted, and the ones are added to the block once, for
    all keys, which saves an instruction for each vector of each key.
    """
    # slices of a range, because the last one may be shorter: lanes are whole batches, not blocks
    step, ones = _I64(CACHED // BATCH), cgutils.alloca_once(builder, _I64)  # type: ignore[no-untyped-call]
    with cgutils.for_range_slice(builder, _I64(0), given.batches, step, _I64) as (first, _):
        end = builder.add(first, step)
        inside = builder.icmp_unsigned("<", end, given.batches)
        end = builder.select(inside, end, given.batches)
        builder.store(_I64(0), ones)
        with cgutils.for_range(builder, given.count, intp=_I64) as loop:
            key = builder.gep(given.keys, [builder.mul(loop.index, _I64(KEY_SIZE))])
            # all ones or all zeros: a mask and not a condition, so that there is one loop for both
            positive = builder.load(builder.gep(given.signs, [loop.index]))
            flip = builder.sext(builder.icmp_unsigned("==", positive, _I8(0)), _I64)
            builder.store(builder.sub(builder.load(ones), flip), ones)
            round_keys = [_broadcast(builder, unit, k) for k in _schedule(builder, unit, key)]
            stream = _Stream(builder, unit, lane_bits, round_keys, flip)
            stream.add(given.lanes, first, end, given.counter)
        number = builder.load(ones)
        with builder.if_then(builder.icmp_unsigned("!=", number, _I64(0))):
            _increase(builder, unit, lane_bits, given.lanes, first, end, number)


def _increase(
    builder: ir.IRBuilder,
    unit: Unit,
    lane_bits: int,
    lanes: ir.Value,
    first: ir.Value,
    end: ir.Value,
    number: ir.Value,
) -> None:
    """Every lane of batches [first, end) by the number, modulo the lane."""
    size = unit.blocks * AES_BLOCK
    lane = ir.IntType(lane_bits)
    vector = ir.VectorType(lane, 8 * size // lane_bits)
    one = number if lane_bits == 64 else builder.trunc(number, lane)
    single = builder.insert_element(vector(ir.Undefined), one, _I32(0))
    added = builder.shuffle_vector(single, single, _constant(_I32, [0] * vector.count))
    ratio = _I64(BATCH // size)
    first, end = builder.mul(first, ratio), builder.mul(end, ratio)
    with cgutils.for_range_slice(builder, first, end, _I64(1), _I64) as (index, _):
        at = builder.gep(lanes, [builder.mul(index, _I64(size))])
        pointer = builder.bitcast(at, ir.PointerType(vector))
        total = builder.add(builder.load(pointer, align=1), added)
        builder.store(total, pointer, align=1)


def _schedule(builder: ir.IRBuilder, unit: Unit, key: ir.Value) -> list[ir.Value]:
    """The 15 round keys of FIPS 197 §5.2, of four words each, without a table.

    SubWord is the last round of the AES unit with a zero key: in a state of four equal columns
    its ShiftRows changes nothing.
    """
    halves = builder.bitcast(key, ir.PointerType(_WORDS))
    one = builder.load(halves, align=1)
    two = builder.load(builder.gep(halves, [_I32(1)]), align=1)
    found = [one, two]
    for i in range(13):
        word = builder.shuffle_vector(two, two, _constant(_I32, [3] * 4))
        word = _substitute(builder, unit, word)
        # AES-256 rotates before every other round key only; between them it substitutes alone
        if i % 2 == 0:
            word = _rotate(builder, word)
            word = builder.xor(word, _constant(_I32, [1 << i // 2] * 4))
        # each word becomes the sum of itself and those before it
        for distance in (1, 2):
            shifted = [4 + j - distance if j >= distance else 0 for j in range(4)]
            moved = builder.shuffle_vector(_WORDS(None), one, _constant(_I32, shifted))
            one = builder.xor(one, moved)
        one, two = two, builder.xor(one, word)
        found.append(two)
    return found


def _rotate(builder: ir.IRBuilder, words: ir.Value) -> ir.Value:
    """RotWord; the first byte of a word is its lowest here."""
    low = builder.lshr(words, _constant(_I32, [8] * 4))
    return builder.or_(low, builder.shl(words, _constant(_I32, [24] * 4)))


def _substitute(builder: ir.IRBuilder, unit: Unit, words: ir.Value) -> ir.Value:
    """SubBytes, then ShiftRows, of one block."""
    one = Unit(unit.arch, unit.features, 1)
    name = "llvm.aarch64.crypto.aese" if unit.arch == "aarch64" else "llvm.x86.aesni.aesenclast"
    state = builder.bitcast(words, one.vector)
    return builder.bitcast(_call(builder, name, state, one.vector(None)), _WORDS)


def _broadcast(builder: ir.IRBuilder, unit: Unit, words: ir.Value) -> ir.Value:
    wide = builder.shuffle_vector(words, words, _constant(_I32, [0, 1, 2, 3] * unit.blocks))
    return builder.bitcast(wide, unit.vector)


@dataclass(frozen=True)
class _Stream:
    """The code that adds one key's stream.

    flip: an i64 of zeros to add, of ones to add the inverted stream, which the last round key
    does: no branch.
    """

    builder: ir.IRBuilder
    unit: Unit
    lane_bits: int
    round_keys: list[ir.Value]
    flip: ir.Value

    def add(self, lanes: ir.Value, first: ir.Value, end: ir.Value, counter: ir.Value) -> None:
        """Into batches [first, end) of the lanes, of which batch 0 is AES block `counter`."""
        builder, size = self.builder, self.unit.blocks * AES_BLOCK
        step = IN_FLIGHT * size
        ratio = _I64(BATCH // step)
        flip = builder.bitcast(self._splat(_I64, self.flip), self.unit.vector)
        last = builder.xor(self.round_keys[-1], flip)
        keys = [*self.round_keys[:-1], last]
        first, end = builder.mul(first, ratio), builder.mul(end, ratio)
        with cgutils.for_range_slice(builder, first, end, _I64(1), _I64) as (index, _):
            at = builder.gep(lanes, [builder.mul(index, _I64(step))])
            blocks = builder.mul(index, _I64(step // AES_BLOCK))
            counters = self._counters(builder.add(counter, blocks), self._white(keys[0]))
            streams = self._encrypt(keys, counters)
            for i, stream in enumerate(streams):
                self._accumulate(builder.gep(at, [_I64(i * size)]), stream)

    def _white(self, key: ir.Value) -> ir.Value:
        """What goes into a state before its rounds: ARM's instruction begins with it by itself."""
        return key.type(None) if self.unit.arch == "aarch64" else key

    def _counters(self, first: ir.Value, white: ir.Value) -> list[ir.Value]:
        """Counters are 128 bits, big-endian: zeros, then 64 bits with their bytes reversed.

        first is a multiple of their number, so they differ from it in bits that are zero there:
        all but one exclusive or is done once for all of them, that with `white` too.
        """
        builder, width = self.builder, self.unit.blocks
        vector = ir.VectorType(_I64, 2 * width)
        # the upper 64 bits are zero for ever: no stream is long enough to carry into them
        first = builder.and_(self._splat(_I64, first), ir.Constant(vector, [0, -1] * width))
        base = _call(builder, f"llvm.bswap.v{2 * width}i64", first)
        base = builder.xor(base, builder.bitcast(white, vector))
        found = []
        for i in range(IN_FLIGHT):
            offsets = [o << 56 for j in range(width) for o in (0, i * width + j)]
            found.append(builder.xor(base, ir.Constant(vector, offsets)))
        return [builder.bitcast(state, self.unit.vector) for state in found]

    def _encrypt(self, keys: Sequence[ir.Value], states: list[ir.Value]) -> list[ir.Value]:
        """All states, with `_white` in them, round by round: their instructions stand next to each
        other."""
        builder = self.builder
        if self.unit.arch == "aarch64":
            aese, mix = "llvm.aarch64.crypto.aese", "llvm.aarch64.crypto.aesmc"
            for key in keys[:-2]:
                states = [_call(builder, mix, _call(builder, aese, s, key)) for s in states]
                states = self._abreast(states)
            return [builder.xor(_call(builder, aese, s, keys[-2]), keys[-1]) for s in states]
        suffix = "" if self.unit.blocks == 1 else f".{128 * self.unit.blocks}"
        for key in keys[1:-1]:
            states = [_call(builder, f"llvm.x86.aesni.aesenc{suffix}", s, key) for s in states]
            states = self._abreast(states)
        return [_call(builder, f"llvm.x86.aesni.aesenclast{suffix}", s, keys[-1]) for s in states]

    def _abreast(self, states: list[ir.Value]) -> list[ir.Value]:
        """The states as they are, through an empty piece of assembly that wants all at once.

        LLVM would otherwise finish one state after the other, to save registers, and the CPU does
        not look far enough ahead to make up for it: that cost a fifth of the speed.
        """
        vector, count = self.unit.vector, len(states)
        kind = ir.FunctionType(ir.LiteralStructType([vector] * count), [vector] * count)
        register = "w" if self.unit.arch == "aarch64" else "v"
        constraints = [f"={register}"] * count + [str(i) for i in range(count)]
        out = self.builder.asm(kind, "", ",".join(constraints), states, side_effect=False)
        return [self.builder.extract_value(out, i) for i in range(count)]

    def _accumulate(self, at: ir.Value, stream: ir.Value) -> None:
        builder, lane = self.builder, ir.IntType(self.lane_bits)
        lanes = ir.VectorType(lane, self.unit.blocks * 128 // self.lane_bits)
        pointer = builder.bitcast(at, ir.PointerType(lanes))
        old = builder.load(pointer, align=1)  # numpy promises the alignment of a lane at most
        builder.store(builder.add(old, builder.bitcast(stream, lanes)), pointer, align=1)

    def _splat(self, element: ir.Type, value: ir.Value) -> ir.Value:
        builder, count = self.builder, 2 * self.unit.blocks
        vector = ir.VectorType(element, count)
        single = builder.insert_element(vector(ir.Undefined), value, _I32(0))
        return builder.shuffle_vector(single, single, _constant(_I32, [0] * count))


def _constant(element: ir.Type, values: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(element, len(values)), values)


def _call(builder: ir.IRBuilder, name: str, *args: ir.Value) -> ir.Value:
    """An LLVM intrinsic whose arguments and result are of one type."""
    kind = ir.FunctionType(args[0].type, [arg.type for arg in args])
    declared = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(declared, args)


def _intrinsic(name: str) -> Any:
    @intrinsic
    def add_streams(typing: Any, lanes: Any, keys: Any, signs: Any, counter: Any) -> Any:
        def lower(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            arrays = [
                context.make_array(kind)(context, builder, value)
                for kind, value in zip(signature.args[:3], args[:3], strict=True)
            ]
            size = builder.mul(arrays[0].nitems, arrays[0].itemsize)
            data = [builder.bitcast(array.data, ir.PointerType(_I8)) for array in arrays]
            batches, count = builder.udiv(size, _I64(BATCH)), arrays[2].nitems
            given = Arguments(data[0], batches, data[1], data[2], count, args[3])
            emit(builder, UNITS[name], lanes.dtype.bitwidth, given)
            return context.get_dummy_value()

        return types.void(lanes, keys, signs, types.uint64), lower

    return add_streams


_vaes512 = _intrinsic("vaes512")
_vaes256 = _intrinsic("vaes256")
_aesni = _intrinsic("aesni")
_neon = _intrinsic("neon")


# One function a unit: numba's disk cache tells functions apart, not the values they close over.
@kernel
def vaes512(lanes: Lane, keys: Bytes, signs: Bytes, counter: np.uint64) -> None:
    """Rounds on x86-64 with VAES and AVX-512: four blocks an instruction. As `add_counter_mode`."""
    _vaes512(lanes, keys, signs, counter)


@kernel
def vaes256(lanes: Lane, keys: Bytes, signs: Bytes, counter: np.uint64) -> None:
    """Rounds on x86-64 with VAES and AVX2: two blocks an instruction."""
    _vaes256(lanes, keys, signs, counter)


@kernel
def aesni(lanes: Lane, keys: Bytes, signs: Bytes, counter: np.uint64) -> None:
    """Rounds on x86-64 with AES-NI: a block an instruction."""
    _aesni(lanes, keys, signs, counter)


@kernel
def neon(lanes: Lane, keys: Bytes, signs: Bytes, counter: np.uint64) -> None:
    """Rounds on AArch64 with the cryptography extension; its two halves of a round are one here."""
    _neon(lanes, keys, signs, counter)


KERNELS: dict[str, Kernel] = {
    "vaes512": vaes512,
    "vaes256": vaes256,
    "aesni": aesni,
    "neon": neon,
}
