"""Rings and layouts: specs/02-quantization.md §1 and §3."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import HeadroomError, InputError, ParameterError
from secagg.ring import Layout, Ring, Segment


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


@settings(max_examples=200)
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


def layout() -> Layout:
    return Layout((Segment(Ring(5), 3), Segment(Ring(17), 4)))


def test_a_layout_adds_up() -> None:
    assert layout().packed_size == 2 + 9
    assert layout().length == 7
    assert layout().ring_bits == 17
    assert [(z.dtype, z.tolist()) for z in layout().zeros()] == [
        (np.dtype("u1"), [0] * 3),
        (np.dtype("u4"), [0] * 4),
    ]


@pytest.mark.parametrize("widths", [[], [8, 8], [9, 8], [1, 3, 2]])
def test_segments_ascend(widths: list[int]) -> None:
    """§1.2."""
    with pytest.raises(ParameterError, match="ascending"):
        Layout(tuple(Segment(Ring(w), 1) for w in widths))


def test_check_copies() -> None:
    vector = layout().zeros()
    vector[1][:] = 2**17 - 1
    strided = np.zeros(6, np.uint8)[::2]
    checked = layout().check((strided, vector[1]))
    vector[1][0] = 0
    assert checked[1].tolist() == [2**17 - 1] * 4
    assert all(lane.flags.c_contiguous for lane in checked)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ((np.zeros(3, "u1"),), "2 segments expected, 1 given"),
        ((np.zeros(3, "u1"), np.zeros(5, "u4")), "segment 1: expected uint32.4., got uint32.5."),
        ((np.zeros(3, "u1"), np.zeros(4, "u8")), "segment 1: expected uint32.4., got uint64"),
        ((np.zeros(3, "u1"), np.zeros(4, ">u4")), "segment 1"),
        ((np.zeros((3, 1), "u1"), np.zeros(4, "u4")), "segment 0"),
        ((np.full(3, 32, "u1"), np.zeros(4, "u4")), "segment 0: an element is not below 2.5"),
    ],
)
def test_check_refuses(vector: tuple[np.ndarray, ...], message: str) -> None:
    """Rows 19, 20, 21: length, modulus, width and byte order."""
    with pytest.raises(InputError, match=message):
        layout().check(vector)
