"""Reals to levels: specs/02-quantization.md §4."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import quantize as module
from secagg import tensors
from secagg.errors import CryptoError, InputError, RangeError
from secagg.fields import FixedPoint, Integer
from secagg.quantize import CHUNK, dequantize, quantize, quantize_parts
from secagg.records import encode
from secagg.ring import Ring
from secagg.schema import Schema
from tests.soak import examples

ROUNDINGS = ["nearest", "stochastic"]


def levels_of(values: Any, field: FixedPoint) -> list[int]:
    return quantize(values, field, os.urandom)[0].tolist()


@settings(max_examples=examples(300), deadline=None)
@given(
    st.floats(1e-290, 1e300) | st.sampled_from([0.1, 1.0, 10.0]),
    st.integers(2, 32),
    st.sampled_from(ROUNDINGS),
    st.lists(st.floats(-1, 1), min_size=1, max_size=20),
)
def test_the_error_bound_holds_exactly(
    clip: float, bits: int, rounding: Any, parts: list[float]
) -> None:
    """|x - q * step| <= max_error, in exact arithmetic, from denormals to 1e300. Row 81."""
    field = FixedPoint(len(parts), clip, bits, rounding)
    values = [max(-clip, min(clip, part * clip)) for part in parts]
    levels, clipped = quantize(values, field, os.urandom)
    assert clipped == 0
    assert max(abs(levels)) <= field.levels
    for x, decoded in zip(values, dequantize(levels, field.step).tolist(), strict=True):
        assert abs(Fraction(x) - Fraction(decoded)) <= Fraction(field.max_error)


@settings(max_examples=examples(200), deadline=None)
@given(
    st.floats(1e-290, 1e300) | st.sampled_from([0.1, 0.3, 1 / 3]),
    st.integers(2, 32),
    st.sampled_from(ROUNDINGS),
)
def test_the_ends_are_exact(clip: float, bits: int, rounding: Any) -> None:
    """Rows 81, 84: ±clip and whatever lies beyond is ±levels; -0.0 and denormals are zeros."""
    field = FixedPoint(4, clip, bits, rounding)
    assert levels_of([clip, -clip, -0.0, 0.0], field) == [field.levels, -field.levels, 0, 0]
    top = np.finfo(np.float64).max
    levels, clipped = quantize([top, -top, clip, -clip], field, os.urandom)
    assert levels.tolist() == [field.levels, -field.levels] * 2
    assert clipped == 2


def test_negation_is_exact() -> None:
    field = FixedPoint(1001, 1.0, 16)
    values = np.linspace(-1, 1, 1001)
    assert levels_of(-values, field) == [-q for q in levels_of(values, field)]


def test_denormals_round_to_zero() -> None:
    assert levels_of([5e-324, -5e-324], FixedPoint(2, 1.0, 16)) == [0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("index", [0, 5, module.CHUNK, module.CHUNK + 7])
def test_nan_and_infinity_are_refused(bad: float, rounding: Any, index: int) -> None:
    """Row 80: with field and index, before anything is masked."""
    values = np.zeros(module.CHUNK + 8)
    values[index] = bad
    with pytest.raises(RangeError, match=f"'update': NaN or infinite at index {index};"):
        quantize(values, FixedPoint(values.size, 1.0, 8, rounding), os.urandom, name="update")


def test_the_index_is_flat_in_c_order() -> None:
    values = np.zeros((3, 4), order="F")
    values[1, 2] = np.nan
    with pytest.raises(RangeError, match="index 6"):
        quantize(values, FixedPoint(12, 1.0, 8), os.urandom)


@pytest.mark.parametrize(
    "dtype",
    ["f2", "f4", "f8", ">f4", ">f8", "g", "i1", "i8", ">i4", "u1", "u8"],
)
def test_real_types_are_read_exactly(dtype: str) -> None:
    """Row 81: any float or integer, in any byte order."""
    values = np.array([0, 1, 2, 3, 7], dtype)
    assert levels_of(values, FixedPoint(5, 7.0, 4)) == [0, 1, 2, 3, 7]


def test_layouts_of_memory_do_not_matter() -> None:
    """Row 81: strided, reversed, Fortran order, read-only, lists, several dimensions."""
    base = np.arange(-6.0, 6.0)
    frozen = base.copy()
    frozen.setflags(write=False)
    field, expected = FixedPoint(12, 7.0, 4), list(range(-6, 6))
    square = base.reshape(3, 4)
    for values in (base[::-1][::-1], np.repeat(base, 3)[::3], frozen, base.tolist(), square):
        assert levels_of(values, field) == expected
    assert levels_of(np.asfortranarray(square), field) == expected
    assert levels_of(base[::-1], field) == expected[::-1]
    assert frozen.tolist() == base.tolist()


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(2, complex),
        np.zeros(2, bool),
        [True, False],
        np.zeros(2, object),
        [10**30, 1],
        ["1", "2"],
        np.zeros(2, "M8[s]"),
        np.ma.MaskedArray([1.0, 2.0]),
        np.ma.MaskedArray([1.0, np.nan], mask=[False, True]),
        [[1.0], [2.0, 3.0]],
        None,
        {"a": 1.0},
    ],
)
def test_types_that_are_not_real_numbers(values: Any) -> None:
    """Row 81: a typed error that names the field, never a warning only."""
    with pytest.raises(InputError, match="'update'"):
        quantize(values, FixedPoint(2, 1.0, 8), os.urandom, name="update")


@pytest.mark.parametrize(
    "values",
    [{1.0, 2.0}, {"a": 1.0, "b": 2.0}.values(), iter([1.0, 2.0]), (x for x in (1.0, 2.0)), None]
    + [np.array({"w": [1.0, 2.0]}, object), np.array(None, object), object()],
    ids=lambda value: type(value).__name__,
)
def test_what_numpy_takes_for_one_object(values: Any) -> None:
    """Row 81: it says what would do, and nothing of what the object holds."""
    with pytest.raises(InputError, match=r"as one object.*list\(.*\.item\(\)") as caught:
        quantize(values, FixedPoint(2, 1.0, 8), os.urandom, name="update")
    assert "'update'" in str(caught.value) and "1.0" not in str(caught.value)


@pytest.mark.parametrize("values", [1.0, np.float32(1), np.array(1.0)])
def test_scalars_are_refused(values: Any) -> None:
    """Row 81: 0-d."""
    with pytest.raises(InputError, match="wrap it"):
        quantize(values, FixedPoint(1, 1.0, 8), os.urandom)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_another_number_of_elements(size: int) -> None:
    """Rows 81, 87: empty, short and long."""
    with pytest.raises(InputError, match=f"takes 2 elements, and {size} were given"):
        quantize(np.zeros(size), FixedPoint(2, 1.0, 8), os.urandom)


def test_a_longdouble_beyond_float64_is_refused_without_a_warning() -> None:
    """Row 81."""
    values = np.array([np.finfo(np.longdouble).max, 0], np.longdouble)
    if np.finfo(np.longdouble).max == np.finfo(np.float64).max:
        pytest.skip("longdouble is float64 on this platform")
    with pytest.raises(RangeError, match="index 0"):
        quantize(values, FixedPoint(2, 1.0, 8), os.urandom)


class Tensor:
    """What a framework's tensor looks like: it must be detached and moved before it is read."""

    def __init__(self, values: Any, ready: bool = False) -> None:
        self.values, self.ready = np.asarray(values), ready

    def detach(self) -> Tensor:
        return Tensor(self.values)

    def cpu(self) -> Tensor:
        return Tensor(self.values, ready=True)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if not self.ready:
            raise RuntimeError("call detach() and cpu() first")
        return self.values


def test_tensors_are_detached() -> None:
    assert levels_of(Tensor([1.0, 2.0]), FixedPoint(2, 7.0, 4)) == [1, 2]


def test_what_lies_beyond_clip_is_counted() -> None:
    """Row 82, T12: policy `clip`; the comparison is exact."""
    values = [1.0, np.nextafter(1.0, 2), -1.0, -2.0, 0.5]
    levels, clipped = quantize(values, FixedPoint(5, 1.0, 3), os.urandom)
    assert levels.tolist() == [3, 3, -3, -3, 2]
    assert clipped == 2


def test_what_lies_beyond_clip_is_an_error_if_asked_for() -> None:
    """Row 82: policy `error`."""
    field = FixedPoint(3, 1.0, 8, excess="error")
    with pytest.raises(RangeError, match="'update': beyond ±1.0 at index 2"):
        quantize([1.0, -1.0, 1.5], field, os.urandom, name="update")
    assert levels_of([1.0, -1.0, 0.0], field) == [127, -127, 0]


def test_nearest_needs_no_randomness() -> None:
    def refuse(size: int) -> bytes:
        raise AssertionError(size)

    quantize([0.3], FixedPoint(1, 1.0, 8), refuse)


def test_stochastic_rounding_is_fixed_by_its_one_draw() -> None:
    """Row 88: and by nothing else, the size of a chunk included."""
    field = FixedPoint(1000, 1.0, 4, "stochastic")
    values = np.linspace(-1, 1, 1000)
    sizes: list[int] = []

    def randomness(size: int) -> bytes:
        sizes.append(size)
        return b"k" * size

    first, _ = quantize(values, field, randomness)
    second, _ = quantize(values, field, randomness)
    assert first.tolist() == second.tolist()
    assert sizes == [32, 32]
    assert first.tolist() != quantize(values, field, lambda size: b"l" * size)[0].tolist()


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 88."""
    field = FixedPoint(1000, 1.0, 4, "stochastic")
    values = np.linspace(-1.2, 1.2, 1000)
    whole, clipped = quantize(values, field, bytes)
    monkeypatch.setattr(module, "CHUNK", 96)
    parts, clipped_parts = quantize(values, field, bytes)
    assert parts.tolist() == whole.tolist()
    assert clipped_parts == clipped == int((abs(values) > 1.0).sum())


def test_stochastic_rounding_is_unbiased() -> None:
    """The mean of 200,000 levels for y = 2.25: within 5 standard deviations, of 0.25 exactly."""
    n = 200_000
    levels, _ = quantize(np.full(n, 2.25), FixedPoint(n, 7.0, 4, "stochastic"), bytes)
    assert set(levels.tolist()) == {2, 3}
    assert abs(levels.mean() - 2.25) < 5 * (0.25 * 0.75 / n) ** 0.5


def test_a_short_read_of_randomness_is_refused() -> None:
    """Row 62."""
    field = FixedPoint(1, 1.0, 8, "stochastic")
    with pytest.raises(CryptoError, match="31 of 32"):
        quantize([0.5], field, lambda size: bytes(size - 1))


TYPES = [np.float16, np.float32, np.float64, np.longdouble]


@settings(max_examples=examples(300), deadline=None)
@given(
    st.floats(1e-4, 1e4) | st.sampled_from([0.1, 0.3, 0.7, 1.0]),
    st.integers(2, 32),
    st.sampled_from(ROUNDINGS),
    st.sampled_from(TYPES),
)
def test_the_bound_in_the_datas_own_type_is_within_it(
    clip: float, bits: int, rounding: Any, dtype: Any
) -> None:
    """§4.3: dtype(clip) is ±levels and neither clipped nor refused; the next number is. Every
    level is within the error of its value, the clip standing for what is at or beyond it."""
    bound = dtype(clip)
    values = np.array([bound, -bound, np.nextafter(bound, dtype(0))])
    field = FixedPoint(3, clip, bits, rounding, excess="error")
    levels, clipped = quantize(values, field, os.urandom)
    assert clipped == 0
    for x, decoded in zip(values, dequantize(levels, field.step).tolist(), strict=True):
        meant = max(-Fraction(clip), min(Fraction(clip), Fraction(float(x))))
        assert abs(meant - Fraction(decoded)) <= Fraction(field.max_error)
    if float(bound) >= clip:
        assert levels[:2].tolist() == [field.levels, -field.levels]
    further = np.nextafter(max(dtype(clip), dtype(bound)), dtype(np.inf))
    if float(further) > max(clip, float(bound)):  # a longdouble between two float64 is one of them
        with pytest.raises(RangeError, match=f"beyond ±{clip} at index 0; .* larger clip"):
            quantize(np.full(3, further), field, os.urandom)
        counting = FixedPoint(3, clip, bits, rounding)
        assert quantize(np.array([further, bound, -further]), counting, os.urandom)[1] == 2


def test_a_bound_beyond_a_type_is_the_bound() -> None:
    """float16 ends at 65504: all of it lies within a clip of 1e6, and it has no infinity there."""
    field = FixedPoint(1, 1e6, 16, excess="error")
    assert quantize(np.array([65504], np.float16), field, os.urandom)[1] == 0
    with pytest.raises(RangeError, match="NaN or infinite"):
        quantize(np.array([np.inf], np.float16), field, os.urandom)


@pytest.mark.parametrize(
    "values", [[True, 1.0], [1, False], [np.int8(1), np.True_], [[0.5], [True]]]
)
def test_a_boolean_among_numbers_is_refused_as_one_alone(values: Any) -> None:
    """numpy makes it 1 and 0 where it stands beside a number."""
    with pytest.raises(InputError, match="bool is not a real number type"):
        quantize(values, FixedPoint(2, 1.0, 8), os.urandom)
    with pytest.raises(InputError, match="bool is not a real number type"):
        encode(Schema.of({"i": Integer(2, 5)}, 3), {"i": values}, 1, os.urandom)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_parts_become_what_one_array_of_them_becomes(rounding: Any) -> None:
    """§5.7: one after the other, from one stream of randomness, wherever one ends and whatever the
    order of its memory is."""
    draw = np.random.default_rng(1)
    sizes = [5, 2 * (CHUNK // 2 + 3), 1, 0, 12]
    arrays = [draw.uniform(-2, 2, size).astype(np.float32) for size in sizes]
    columns = np.asfortranarray(arrays[1].reshape(2, -1))
    parts = [("", tensors.Tensor(a, "float32")) for a in (arrays[0], columns, *arrays[2:])]
    field = FixedPoint(sum(sizes), 1.0, 20, rounding)
    made = np.zeros(field.length, np.uint32)
    clipped = quantize_parts(made, parts, field, lambda n: bytes(n), ring=Ring(27), weight=3)
    levels, beyond = quantize(np.concatenate(arrays), field, lambda n: bytes(n))
    assert clipped == beyond > 0
    assert np.array_equal(made, (3 * levels) % (1 << 27))
