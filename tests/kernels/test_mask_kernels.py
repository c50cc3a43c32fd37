"""specs/10-secagg.md §5: addition modulo the lane."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.kernels import mask as kernels
from secagg.kernels import reference


@st.composite
def lanes(draw: st.DrawFn) -> tuple[int, list[int], list[int]]:
    bits = draw(st.sampled_from([8, 16, 32, 64]))
    top = 2**bits - 1
    pairs = draw(st.lists(st.tuples(*[st.sampled_from([0, top]) | st.integers(0, top)] * 2)))
    return bits, [a for a, _ in pairs], [b for _, b in pairs]


@settings(max_examples=200, deadline=None)
@given(lanes(), st.booleans())
def test_add_and_subtract_are_the_oracle(
    case: tuple[int, list[int], list[int]], read_only: bool
) -> None:
    bits, start, elements = case
    stream = np.array(elements, f"u{bits // 8}")
    stream.setflags(write=not read_only)
    out = np.array(start, stream.dtype)
    kernels.add(out, stream)
    assert out.tolist() == reference.add(start, elements, bits)
    kernels.subtract(out, stream)
    assert out.tolist() == start
    kernels.subtract(out, stream)
    assert out.tolist() == reference.subtract(start, elements, bits)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8"])
def test_every_lane_wraps(dtype: str) -> None:
    top = np.iinfo(dtype).max
    out = np.array([top, 0], dtype)
    kernels.add(out, np.array([1, top], dtype))
    assert out.tolist() == [0, top]
    kernels.subtract(out, np.array([1, top], dtype))
    assert out.tolist() == [top, 0]
