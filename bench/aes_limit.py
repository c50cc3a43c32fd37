"""What the AES unit can do: the rounds of kernels.aes on states that never leave their registers.

No counters, no memory, no addition: as many states in flight as the kernel has, each encrypted
again and again. It takes its parts from kernels.aes, private as they are, because the limit that
counts is that of the very instructions, and in the very order, that the kernel gives the CPU.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from secagg.kernels import aes
from secagg.kernels.aes import AES_BLOCK, IN_FLIGHT, KEY_SIZE, UNITS, Bytes

STEPS = 20_000


def spin(unit: str) -> None:
    """One go of some 10 ms, on this thread. unit: one of kernels.aes.available()."""
    chained(unit, bytes(KEY_SIZE), STEPS)


def spun(unit: str) -> int:
    """Bytes that a go encrypts."""
    return STEPS * IN_FLIGHT * UNITS[unit].blocks * AES_BLOCK


def chained(unit: str, key: bytes, steps: int) -> bytes:
    """The exclusive or of the states i = 0, 1, ..., each block i encrypted `steps` times.

    It proves that the loop does the AES that its speed is claimed for.
    """
    out = np.empty(UNITS[unit].blocks * AES_BLOCK, np.uint8)
    _kernel(unit)(out, np.frombuffer(key, np.uint8), np.uint64(steps))
    return out.tobytes()


@cache
def _kernel(unit: str) -> Any:
    rounds = _intrinsic(unit)

    @njit(nogil=True)
    def loop(out: Bytes, key: Bytes, steps: np.uint64) -> None:
        rounds(out, key, steps)

    return loop


def _intrinsic(unit: str) -> Any:
    @intrinsic
    def rounds(typing: Any, out: Any, key: Any, steps: Any) -> Any:
        def lower(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            out, key = (
                context.make_array(kind)(context, builder, value).data
                for kind, value in zip(signature.args[:2], args[:2], strict=True)
            )
            _emit(builder, unit, out, key, args[2])
            return context.get_dummy_value()

        return types.void(out, key, types.uint64), lower

    return rounds


def _emit(builder: ir.IRBuilder, name: str, out: ir.Value, key: ir.Value, steps: ir.Value) -> None:
    unit = UNITS[name]
    keys = [aes._broadcast(builder, unit, k) for k in aes._schedule(builder, unit, key)]
    stream = aes._Stream(builder, unit, 8, keys, ir.IntType(64)(0))
    # as memory to begin with; LLVM keeps them in registers
    white = stream._white(keys[0])
    blocks = stream._counters(ir.IntType(64)(0), white.type(None))
    states = [cgutils.alloca_once_value(builder, s) for s in blocks]  # type: ignore[no-untyped-call]
    with cgutils.for_range(builder, steps, intp=ir.IntType(64)):
        after = stream._encrypt(keys, [builder.xor(builder.load(s), white) for s in states])
        for state, value in zip(states, after, strict=True):
            builder.store(value, state)
    total = builder.load(states[0])
    for state in states[1:]:
        total = builder.xor(total, builder.load(state))
    builder.store(total, builder.bitcast(out, ir.PointerType(unit.vector)), align=1)
