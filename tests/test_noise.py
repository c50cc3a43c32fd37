"""Noise as a value of a plan."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from secagg.errors import ParameterError
from secagg.noise import MAX_VARIANCE, MIN_VARIANCE, Kind, Noise


def test_a_variance_is_the_fraction_that_it_is() -> None:
    assert Noise(Kind.SKELLAM, 0.1).exact == Fraction(0.1) != Fraction(1, 10)
    assert type(Noise(Kind.SKELLAM, np.float32(0.5)).variance) is float


@pytest.mark.parametrize("variance", [MIN_VARIANCE, 1, MAX_VARIANCE])
def test_the_first_and_the_last_that_are_possible(variance: float) -> None:
    assert Noise(Kind.GAUSSIAN, variance).variance == variance


@pytest.mark.parametrize(
    "variance",
    [
        0,
        -1.0,
        5e-324,
        math.nextafter(MIN_VARIANCE, 0),
        math.nextafter(MAX_VARIANCE, math.inf),
        math.inf,
        math.nan,
        "1",
        None,
        True,
    ],
)
def test_what_is_no_variance(variance: Any) -> None:
    with pytest.raises(ParameterError, match="variance"):
        Noise(Kind.GAUSSIAN, variance)


def test_a_kind_is_one_of_two() -> None:
    with pytest.raises(ParameterError, match="kind"):
        Noise(1, 1.0)  # type: ignore[arg-type]


def test_it_is_a_value() -> None:
    noise = Noise(Kind.GAUSSIAN, 6.25)
    assert noise == Noise(Kind.GAUSSIAN, 6.25) and hash(noise) == hash(Noise(Kind.GAUSSIAN, 6.25))
    with pytest.raises(dataclasses.FrozenInstanceError):
        noise.variance = 1.0  # type: ignore[misc]
