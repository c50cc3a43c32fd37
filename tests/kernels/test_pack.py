"""specs/02-quantization.md §2 against the oracle of Python ints. Row 86: widths 1 to 64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from secagg.errors import InputError, ParameterError
from secagg.kernels import pack as kernels
from secagg.kernels import reference
from secagg.ring import Ring
from tests.kernels.sampling import examples

WIDTHS = range(1, 65)


@st.composite
def packable(draw: st.DrawFn) -> tuple[int, list[int]]:
    width = draw(st.integers(1, 64))
    extremes = st.sampled_from([0, 1, 2**width - 1, 2 ** (width - 1)])
    elements = st.lists(extremes | st.integers(0, 2**width - 1), max_size=70)
    return width, draw(elements)


def random_lane(width: int, length: int) -> np.ndarray:
    raw = np.random.default_rng(width).integers(0, 2**64, length, np.uint64)
    return (raw & np.uint64(Ring(width).mask)).astype(Ring(width).dtype)


@settings(max_examples=examples(200), deadline=None)
@given(packable())
def test_pack_and_unpack_are_the_oracle(case: tuple[int, list[int]]) -> None:
    width, elements = case
    packed = kernels.pack(np.array(elements, Ring(width).dtype), width)
    assert packed == reference.pack(elements, width)
    assert kernels.unpack(packed, width, len(elements)).tolist() == elements
    assert reference.unpack(packed, width, len(elements)) == elements


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("length", [0, 1, 64, 333])
def test_every_width_round_trips(width: int, length: int) -> None:
    lane = random_lane(width, length)
    packed = kernels.pack(lane, width)
    assert len(packed) == Ring(width).packed_size(length)
    assert packed == reference.pack(lane.tolist(), width)
    assert kernels.unpack(packed, width, length).tolist() == lane.tolist()


@pytest.mark.parametrize("width", WIDTHS)
def test_around_the_bytes_that_are_copied(width: int) -> None:
    """Row 87: the last bytes of a message are read from a copy; every length at which another
    number of groups of eight is, and one element less and more."""
    inside = kernels.SLACK * 8 // width // 8 * 8
    for length in {inside + more for more in (-8, -1, 0, 1, 7, 8, 9, 16, 17)} - {-8, -1}:
        lane = random_lane(width, max(0, length))
        packed = kernels.pack(lane, width)
        assert packed == reference.pack(lane.tolist(), width)
        assert np.array_equal(kernels.unpack(packed, width, lane.size), lane)


@pytest.mark.parametrize("width", [*range(1, 65)])
def test_nothing_beside_a_message_is_read_or_written(width: int) -> None:
    """What lies before and behind it changes no element; nor does an element change it."""
    lane = random_lane(width, 100)
    packed = kernels.pack(lane, width)
    for filler in (b"\0", b"\xff"):
        around = filler * 32
        data = memoryview(around + packed + around)[32:-32]
        total = np.full(164, 7, lane.dtype)
        kernels.unpack_add(data, width, total[32:132])
        assert np.array_equal(total[32:132], lane + lane.dtype.type(7))
        assert (total[:32] == 7).all() and (total[132:] == 7).all()


def test_a_vector_is_packed_where_it_is_to_lie() -> None:
    """Within a larger memory; past it, only the slack that was asked for is touched."""
    lane, expected = random_lane(20, 33), reference.pack(random_lane(20, 33).tolist(), 20)
    memory = memoryview(bytearray(b"\x55" * 300))
    end = 7 + len(expected)
    kernels.pack_into(lane, 20, memory[7 : end + kernels.SLACK])
    assert memory[7:end] == expected
    assert memory[:7] == b"\x55" * 7
    assert set(memory[end + kernels.SLACK :]) == {0x55}
    for wrong in (-1, 1):
        with pytest.raises(InputError, match="do not fit"):
            kernels.pack_into(lane, 20, memory[7 : end + kernels.SLACK + wrong])


def test_which_elements_end_in_their_first_64_bits() -> None:
    """By its meaning: element i is bits i w to i w + w - 1, and begins in byte i w // 8."""
    for width in WIDTHS:
        ends = [i * width + width - i * width // 8 * 8 for i in range(64)]
        steps = [(i + 1) * width // 8 - i * width // 8 for i in range(64)]
        if width <= kernels.NARROW:
            assert max(ends) <= 64
            assert all(step < 8 for i, step in enumerate(steps) if i % 8 < 7)


def test_spec_examples() -> None:
    assert kernels.pack(np.array([1, 2, 3], np.uint8), 4).hex() == "2103"
    assert kernels.pack(np.array([0x12345, 0xABCDE], np.uint32), 20).hex() == "4523e1cdab"
    assert kernels.pack(np.array([1, 1, 1], np.uint8), 3).hex() == "4900"


@settings(max_examples=examples(100), deadline=None)
@given(packable(), st.data())
def test_unpack_add_adds_modulo_the_lane(case: tuple[int, list[int]], data: st.DataObject) -> None:
    width, elements = case
    lane_bits = data.draw(st.sampled_from([bits for bits in (8, 16, 32, 64) if bits >= width]))
    start = data.draw(
        st.lists(st.integers(0, 2**lane_bits - 1), min_size=len(elements), max_size=len(elements))
    )
    accumulator = np.array(start, f"u{lane_bits // 8}")
    kernels.unpack_add(reference.pack(elements, width), width, accumulator)
    assert accumulator.tolist() == reference.add(start, elements, lane_bits)


def test_elements_are_reduced_modulo_the_ring() -> None:
    lane = np.array([0xFFF5, 0x1234], np.uint16)
    assert kernels.pack(lane, 4) == reference.pack([5, 4], 4)


@given(st.integers(0, 8))
@example(1)
@settings(max_examples=9, deadline=None)
def test_data_may_start_anywhere(offset: int) -> None:
    lane = random_lane(27, 100)
    data = memoryview(bytes(offset) + kernels.pack(lane, 27))[offset:]
    assert np.array_equal(kernels.unpack(data, 27, 100), lane)


def test_read_only_and_strided_lanes_are_packed() -> None:
    lane = random_lane(20, 200)
    lane.setflags(write=False)
    assert kernels.pack(lane, 20) == reference.pack(lane.tolist(), 20)
    assert kernels.pack(lane[::-3], 20) == reference.pack(lane[::-3].tolist(), 20)


def test_what_does_not_fit_is_refused_before_anything_is_added() -> None:
    accumulator = np.zeros(10, np.uint32)
    for bad_size in (24, 26):
        with pytest.raises(InputError, match="10 elements of 20 bits are 25 bytes"):
            kernels.unpack_add(b"\xff" * bad_size, 20, accumulator)
    assert not accumulator.any()
    with pytest.raises(InputError, match="do not fit"):
        kernels.pack(np.zeros(3, np.uint16), 17)
    with pytest.raises(InputError, match="not int32"):
        kernels.pack(np.zeros(3, np.int32), 17)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="contiguous"):
        kernels.unpack_add(b"\xff" * 25, 20, np.zeros(20, np.uint32)[::2])
    for width in (0, 65):
        with pytest.raises(ParameterError):
            kernels.pack(np.zeros(3, np.uint64), width)
