"""Layouts: specs/02-quantization.md §1, and that a group need not be a ring of 2^w."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from secagg.errors import InputError, ParameterError, WireError
from secagg.layout import Fresh, Lane, Layout, RingVector, Segment
from secagg.ring import Ring
from secagg.wire.codec import Reader, Writer
from secagg.wire.vector import read_vector, write_vector


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


def test_a_vector_that_is_handed_over_is_checked_and_not_copied() -> None:
    fresh = Fresh(layout().zeros())
    checked = layout().check(fresh)
    assert all(one is other for one, other in zip(checked, fresh, strict=True))
    fresh[0][0] = 32
    with pytest.raises(InputError, match="segment 0: an element is not below 2.5"):
        layout().check(fresh)


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


@dataclass(frozen=True)
class Clock:
    """The integers modulo 97: a group whose lanes do not wrap where it does."""

    width: int = 7
    modulus: int = 97
    lane_bits: int = 8

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype("u1")

    def packed_size(self, length: int) -> int:
        return (length * self.width + 7) // 8

    def reduce(self, total: Lane, /) -> Lane:
        return total % self.dtype.type(self.modulus)

    def add(self, total: Lane, elements: Lane, /) -> None:
        total[:] = (total.astype(int) + elements) % self.modulus


CLOCK = Layout((Segment(Ring(3), 2), Segment(Clock(), 3)))


def _written(vector: RingVector) -> bytes:
    return write_vector(Writer(), CLOCK, vector).finish()


def test_a_layout_over_another_group_is_carried_checked_and_summed() -> None:
    vector = (np.array([1, 7], "u1"), np.array([96, 0, 50], "u1"))
    total = CLOCK.zeros()
    for _ in range(5):
        read_vector(Reader(_written(vector)), CLOCK).add_to(total)
    assert [lane.tolist() for lane in CLOCK.reduce(total)] == [
        [5, 35 % 8],
        [5 * 96 % 97, 0, 250 % 97],
    ]
    with pytest.raises(InputError, match="segment 1: an element is not below 97"):
        CLOCK.check((vector[0], np.array([97, 0, 0], "u1")))


def test_a_number_that_is_no_element_of_the_group_is_refused_on_the_wire() -> None:
    written = _written((np.zeros(2, "u1"), np.array([97, 0, 0], "u1")))
    with pytest.raises(WireError, match="segment 1: a number is not below 97"):
        read_vector(Reader(written), CLOCK)
