"""Rings: specs/02-quantization.md §1 and §3."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import HeadroomError, ParameterError
from secagg.ring import Ring
from tests.soak import examples


@pytest.mark.parametrize("width", range(1, 65))
def test_the_lane_is_the_smallest_that_holds(width: int) -> None:
    """§1.1. Row 86."""
    ring = Ring(width)
    assert ring.lane_bits == next(bits for bits in (8, 16, 32, 64) if bits >= width)
    assert ring.dtype.itemsize * 8 == ring.lane_bits
    assert ring.dtype.kind == "u"
    assert ring.modulus == ring.mask + 1 == 2**width


@pytest.mark.parametrize("width", [0, -1, 65])
def test_other_widths_are_refused(width: int) -> None:
    with pytest.raises(ParameterError, match=f"not {width}"):
        Ring(width)


@given(st.integers(1, 64), st.integers(0, 2**34))
def test_packed_size_is_exact(width: int, length: int) -> None:
    """§2.1: the least number of bytes."""
    size = Ring(width).packed_size(length)
    assert Fraction(length * width, 8) <= size < Fraction(length * width, 8) + 1


@settings(max_examples=examples(200))
@given(st.integers(0, 2**63 - 1) | st.integers(0, 62).map(lambda k: 2**k))
def test_head_room_is_minimal(bound: int) -> None:
    """§3.2: all of -M..M are distinct at w bits, and not at w - 1. Row 83."""
    width = Ring.holding(bound).width
    assert 2**width >= 2 * bound + 1
    assert width == 1 or 2 ** (width - 1) < 2 * bound + 1


def test_past_64_bits_the_proof_is_printed() -> None:
    """Row 83: one below the limit fits, the limit does not."""
    assert Ring.holding(2**63 - 1).width == 64
    with pytest.raises(HeadroomError, match=r"the count can reach ±9223372036854775808.* 65 bits"):
        Ring.holding(2**63, "the count")
