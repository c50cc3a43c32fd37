"""specs/02-quantization.md §4 against the oracle, value by value."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from secagg.fields import FixedPoint
from secagg.kernels import quantize as kernels
from secagg.kernels import reference
from secagg.ring import Ring
from tests.kernels.sampling import examples

fields = st.builds(
    FixedPoint,
    length=st.just(1),
    clip=st.floats(1e-290, 1e300) | st.sampled_from([0.1, 1.0, 3.0]),
    bits=st.integers(2, 32),
)
COUNTS = np.zeros(2, np.int64)
PLAIN = np.uint64(1), np.uint64(2**64 - 1)
"""No weight and all bits of a lane of 64: elements are levels, read as int64."""
fractions = st.floats(-1.5, 1.5) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, -0.5])


@settings(max_examples=examples(300), deadline=None)
@given(fields, st.lists(fractions, max_size=20))
def test_nearest_is_the_oracle(field: FixedPoint, parts: list[float]) -> None:
    values = np.array([part * field.clip for part in parts])
    out = np.empty(values.size, np.uint64)
    kernels.nearest(out, COUNTS, values, field.clip, field.step, field.levels, *PLAIN)
    expected = [reference.nearest(x, field.clip, field.step, field.levels) for x in values.tolist()]
    assert out.view(np.int64).tolist() == expected


@settings(max_examples=examples(300), deadline=None)
@given(fields, st.lists(st.tuples(fractions, st.integers(0, 2**32 - 1)), max_size=20))
@example(FixedPoint(1, 1.0, 2), [(-1e-20, 2**32 - 1)])  # its fraction rounds to 1
def test_stochastic_is_the_oracle(field: FixedPoint, cases: list[tuple[float, int]]) -> None:
    values = np.array([part * field.clip for part, _ in cases])
    uniform = np.array([u for _, u in cases], np.uint32)
    out = np.empty(values.size, np.uint64)
    kernels.stochastic(out, COUNTS, values, uniform, field.clip, field.step, field.levels, *PLAIN)
    expected = [
        reference.stochastic(x, u, field.clip, field.step, field.levels)
        for x, u in zip(values.tolist(), uniform.tolist(), strict=True)
    ]
    assert out.view(np.int64).tolist() == expected


@settings(max_examples=examples(300), deadline=None)
@given(
    fields,
    st.integers(1, 64),
    st.integers(1, 2**32 - 1) | st.sampled_from([1, 2**32 - 1]),
    st.lists(st.tuples(fractions, st.integers(0, 2**32 - 1)), max_size=20),
    st.sampled_from([np.float32, np.float64]),
)
def test_an_element_is_level_times_weight_in_its_ring(
    field: FixedPoint,
    width: int,
    weight: int,
    cases: list[tuple[float, int]],
    kind: type,
) -> None:
    """§5: of every width, in its own lane, also where the product wraps."""
    with np.errstate(over="ignore"):
        values = np.array([part * field.clip for part, _ in cases]).astype(kind)
    finite = np.isfinite(values)  # a clip beyond float32
    values, uniform = values[finite], np.array([u for _, u in cases], np.uint32)[finite]
    ring, scale = Ring(width), (field.clip, field.step, field.levels)
    to, out = (np.uint64(weight), np.uint64(ring.mask)), np.empty(values.size, ring.dtype)

    kernels.nearest(out, COUNTS.copy(), values, *scale, *to)
    levels = [reference.nearest(x, *scale) for x in values.tolist()]
    assert out.tolist() == [reference.element(level, weight, width) for level in levels]

    kernels.stochastic(out, COUNTS.copy(), values, uniform, *scale, *to)
    drawn = zip(values.tolist(), uniform.tolist(), strict=True)
    levels = [reference.stochastic(x, u, *scale) for x, u in drawn]
    assert out.tolist() == [reference.element(level, weight, width) for level in levels]


def test_ties_go_to_even() -> None:
    field = FixedPoint(1, 7.0, 4)  # a step of exactly 1
    values = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    out = np.empty(6, np.uint64)
    kernels.nearest(out, COUNTS, values, field.clip, field.step, field.levels, *PLAIN)
    assert out.view(np.int64).tolist() == [-2, -2, 0, 0, 2, 2]


def test_a_quarter_goes_up_for_a_quarter_of_the_draws() -> None:
    field = FixedPoint(1, 7.0, 4)
    uniform = np.array([0, 2**30 - 1, 2**30, 2**32 - 1], np.uint32)
    for value, expected in [(2.25, [3, 3, 2, 2]), (-1.75, [-1, -1, -2, -2])]:
        out = np.empty(4, np.uint64)
        values = np.full(4, value)
        kernels.stochastic(
            out, COUNTS, values, uniform, field.clip, field.step, field.levels, *PLAIN
        )
        assert out.view(np.int64).tolist() == expected


def test_just_inside_clip_stays_within_the_levels() -> None:
    """Here the step is denormal, and x / step exceeds the 2^31 - 1 levels by 2^-21."""
    field = FixedPoint(2, 1.388994055834487e-299, 32, "stochastic")
    x = 1.3889940558344866e-299
    assert x < field.clip and x / field.step > field.levels
    out = np.empty(2, np.uint64)
    uniform = np.array([0, 2**32 - 1], np.uint32)
    kernels.stochastic(
        out, COUNTS, np.array([x, -x]), uniform, field.clip, field.step, field.levels, *PLAIN
    )
    assert out.view(np.int64).tolist() == [field.levels, -field.levels]


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.floats(width=32), max_size=40),
    st.sampled_from([np.float32, np.float64]),
    st.booleans(),
)
def test_counts_of_what_is_not_finite_and_of_what_is_beyond(
    numbers: list[float], kind: type, nearest: bool
) -> None:
    """Rows 80, 82: every NaN and infinity is seen, and |x| > clip is exact; counts accumulate."""
    values, counts = np.array(numbers, kind), np.array([5, 7])
    out, uniform = np.empty(values.size, np.uint64), np.zeros(values.size, np.uint32)
    if nearest:
        kernels.nearest(out, counts, values, 1.5, 1.5 / 127, 127, *PLAIN)
    else:
        kernels.stochastic(out, counts, values, uniform, 1.5, 1.5 / 127, 127, *PLAIN)
    infinite = sum(not math.isfinite(x) for x in numbers)
    beyond = sum(abs(x) > 1.5 for x in numbers)  # a NaN is not
    assert counts.tolist() == [5 + infinite, 7 + beyond]
