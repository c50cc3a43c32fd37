"""Numbers at the public boundary (threats 12, 81): taken for what they say, or refused by name."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import arguments
from secagg.errors import ParameterError

INTEGERS = [int, np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64]
FLOATS = [float, np.float16, np.float32, np.float64]


@pytest.mark.parametrize("kind", INTEGERS)
def test_every_integer_type_is_the_int_that_it_says(kind: Any) -> None:
    number = arguments.integer("clients", kind(100), 1, 100)
    assert (type(number), number) == (int, 100)


@pytest.mark.parametrize("kind", FLOATS)
@given(value=st.floats(-1000, 1000, width=16))
def test_every_float_type_is_the_float_that_it_says(kind: Any, value: float) -> None:
    number = arguments.real("clip", kind(value))
    assert (type(number), number) == (float, value)


def test_a_float32_is_not_the_decimal_that_it_was_written_as() -> None:
    assert arguments.real("clip", np.float32(0.1)) == float(np.float32(0.1)) != 0.1


@pytest.mark.parametrize("value", [Fraction(1, 4), Decimal("0.25"), np.int64(3), 7])
def test_exact_numbers_are_reals_too(value: Any) -> None:
    assert arguments.real("low", value) == float(value)


@pytest.mark.parametrize(
    "value",
    [True, np.True_, 16.0, np.float64(16), "16", b"16", None, [16], np.array([16]), 1j]
    + [np.timedelta64(16, "s")],
)
def test_what_is_no_integer_is_refused_by_name_and_type(value: Any) -> None:
    with pytest.raises(ParameterError, match=rf"^bits must .* not a {type(value).__name__}$"):
        arguments.integer("bits", value, 2, 32)


@pytest.mark.parametrize(
    "value",
    [True, np.True_, "0.5", b"1", None, [0.5], np.array([0.5]), 1j, np.timedelta64(1, "s")],
)
def test_what_is_no_real_is_refused_by_name_and_type(value: Any) -> None:
    with pytest.raises(ParameterError, match=rf"^clip must .* not a {type(value).__name__}$"):
        arguments.real("clip", value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("-inf"), 10**400])
def test_a_real_is_finite(value: Any) -> None:
    with pytest.raises(ParameterError, match="^clip must be a finite number$"):
        arguments.real("clip", value)


@pytest.mark.parametrize("value", [1, 33, -1, 2**80])
def test_both_ends_of_a_range_are_kept(value: int) -> None:
    assert arguments.integer("bits", 2, 2, 32) == 2
    assert arguments.integer("bits", 32, 2, 32) == 32
    with pytest.raises(ParameterError, match=f"^bits must be an integer from 2 to 32, not {value}"):
        arguments.integer("bits", value, 2, 32)


@pytest.mark.parametrize("bits", [257, 20_000, 1_000_000])
def test_an_integer_that_python_does_not_write_is_refused_like_others(bits: int) -> None:
    """Of more than 4,300 digits its text would be a ValueError of the interpreter's."""
    for number in (1 << bits - 1, -(1 << bits - 1)):
        with pytest.raises(ParameterError, match=f"n must be .* to 9, not one of {bits} bits$"):
            arguments.integer("n", number, 1, 9)
    with pytest.raises(ParameterError, match=f"to 9, not {2**256 - 1}$"):
        arguments.integer("n", 2**256 - 1, 1, 9)
