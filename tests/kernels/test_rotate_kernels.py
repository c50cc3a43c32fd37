"""Kernels of the rotation and of rounding, to the last bit (specs/40-privacy.md §2.8-§2.10)."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import config, float64, int64, njit, uint8, uint32

from secagg.kernels import rotate
from tests.kernels.sampling import examples

Reals = npt.NDArray[np.float64]
FAN = 1024


def in_order(numbers: Reals) -> Reals:
    """Sums of 1024 successive numbers each, one addition after the other."""
    ends = np.zeros(-(-numbers.size // FAN) * FAN)  # an addition of 0.0 changes no bit
    ends[: numbers.size] = numbers
    return np.add.accumulate(ends.reshape(-1, FAN), axis=1)[:, -1].copy()


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, FAN * 3 + 7, FAN**2 + 1])
def test_squares_are_added_in_sums_of_1024(size: int) -> None:
    size = min(size, 5000) if config.DISABLE_JIT else size  # type: ignore[attr-defined]
    values = np.random.default_rng(size).normal(size=size)
    scaled = values * 0.125
    expected = in_order(in_order(in_order(scaled * scaled))) if size else np.zeros(1)
    assert rotate.squared_norm(values, 0.125) == expected[0]


def stage_after_stage(values: Reals) -> Reals:
    done, distance = values.copy(), 1
    while distance < done.size:
        pairs = done.reshape(-1, 2, distance)
        pairs[:] = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1)
        distance *= 2
    return done


@pytest.mark.parametrize("power", [*range(10), 12, 13, 14, 15, 17, 18])
def test_butterflies_are_those_of_one_stage_after_the_other(power: int) -> None:
    """Within pieces and beyond, and for one, two or no stages that three do not divide."""
    power = min(power, 10) if config.DISABLE_JIT else power  # type: ignore[attr-defined]
    values = np.random.default_rng(power).normal(size=1 << power)
    values *= 2.0 ** np.random.default_rng(power).integers(-40, 40, values.size)
    turned = values.copy()
    rotate.hadamard(turned)
    assert turned.tobytes() == stage_after_stage(values).tobytes()


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.floats(-1e9, 1e9), max_size=70), st.binary(min_size=9, max_size=9))
def test_a_sign_is_a_bit_from_the_lowest_of_each_byte(values: list[float], bits: bytes) -> None:
    changed, factor = np.array(values, float), 0.3
    rotate.multiply_signed(changed, factor, np.frombuffer(bits, np.uint8))
    expected = [
        value * (-factor if bits[i // 8] >> i % 8 & 1 else factor) for i, value in enumerate(values)
    ]
    assert changed.tolist() == expected
    assert [math.copysign(1, x) for x in changed] == [math.copysign(1, x) for x in expected]


REALS = st.one_of(
    st.floats(-(2.0**29), 2.0**29),
    st.integers(-(2**29), 2**29).map(float),
    st.sampled_from([-0.0, 5e-324, -5e-324, 0.5, 1 - 2.0**-53, -(2.0**-53), 1e300, -1e300]),
)


@settings(max_examples=examples(200), deadline=None)
@given(st.data(), st.lists(REALS, max_size=9), st.integers(0, 2**40))
def test_rounding_and_its_limit(data: st.DataObject, reals: list[float], spent: int) -> None:
    """In exact integers; and at the limit, one below it and one above."""
    words = st.sampled_from([0, 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
    uniform = data.draw(st.lists(words, min_size=len(reals), max_size=len(reals)))
    expected = [
        math.floor(y) + (u < math.floor((y - math.floor(y)) * 2**32))
        for y, u in zip(reals, uniform, strict=True)
    ]
    total = spent + sum(q * q for q in expected)
    for limit in (total - 1, total, total + 1):
        if not 0 < limit < 2**61:
            continue
        out = np.zeros(len(reals), np.int64)
        lane = np.array(uniform, np.uint32)
        root = math.isqrt(limit)
        found = rotate.round_within(out, np.array(reals, float), lane, spent, root, limit)
        # no element that fits the limit is above its root
        if total > limit:
            assert found == -1 or not reals
        else:
            assert found == total and out.tolist() == expected


@example(math.nan, 2**29)
@example(math.inf, 2**29)
@example(2.0**32, 2**29)  # whose square wraps around to 0
@example(2.0**63, 2**29)
@example(-(2.0**63), 2**29)
@example(-(2.0**32) - 2, 2**31)
@settings(max_examples=examples(100), deadline=None)
@given(st.floats(2.0**31 + 2, 1e308), st.integers(1, 2**31))
def test_what_no_int64_holds_is_too_long(real: float, root: int) -> None:
    out, uniform = np.zeros(1, np.int64), np.zeros(1, np.uint32)
    reals = np.array([real])
    assert rotate.round_within(out, reals, uniform, 0, root, root * root) == -1


@pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")  # type: ignore[attr-defined]
@pytest.mark.parametrize(
    ("kernel", "types"),
    [
        (rotate.squared_norm, (float64[::1], float64)),
        (rotate.multiply_signed, (float64[::1], float64, uint8[::1])),
        (rotate._stage, (float64[::1], int64)),
        (rotate._three_stages, (float64[::1], int64)),
        (rotate.round_within, (int64[::1], float64[::1], uint32[::1], int64, int64, int64)),
    ],
)
def test_nothing_is_fused_in_assembly(kernel: Any, types: Any) -> None:
    """A fused product is rounded once where another machine rounds twice."""
    made = njit(types)(kernel.py_func)
    (code,), (assembly,) = made.inspect_llvm().values(), made.inspect_asm().values()
    assert re.search(r"\bf(add|sub|mul)\b|llvm.floor", code)
    assert not re.search(r"\bv?fn?m(add|sub)|\bfmla\b|\bfmls\b", assembly)
    assert not re.search(r"\b(fast|contract|reassoc|nnan)\b", code)
