"""A vector's bytes: specs/02-quantization.md §2."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import InputError, TrailingBytes, Truncated, WireError
from secagg.kernels import reference
from secagg.layout import Layout, RingVector, Segment
from secagg.ring import Ring
from secagg.wire.codec import Reader, Writer
from secagg.wire.vector import read_vector, write_vector


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    widths = sorted(draw(st.sets(st.integers(1, 64), min_size=1, max_size=4)))
    return Layout(tuple(Segment(Ring(w), draw(st.integers(1, 40))) for w in widths))


def filled(layout: Layout, seed: int) -> RingVector:
    """Elements below 2^w."""
    rng = np.random.default_rng(seed)
    vector = layout.zeros()
    for lane, segment in zip(vector, layout.segments, strict=True):
        raw = rng.integers(0, 2**64, segment.length, np.uint64)
        lane[:] = raw & np.uint64(segment.group.mask)
    return vector


def encoded(layout: Layout, vector: RingVector) -> bytes:
    return write_vector(Writer(), layout, vector).finish()


def lists(vector: RingVector) -> list[list[int]]:
    return [lane.tolist() for lane in vector]


@settings(max_examples=100, deadline=None)
@given(layouts(), st.integers(0, 99))
def test_a_vector_is_its_packed_segments(layout: Layout, seed: int) -> None:
    vector = filled(layout, seed)
    data = encoded(layout, vector)
    expected = [
        reference.pack(lane.tolist(), segment.group.width)
        for lane, segment in zip(vector, layout.segments, strict=True)
    ]
    assert data == b"".join(expected)
    assert len(data) == layout.packed_size
    reader = Reader(data)
    packed = read_vector(reader, layout)
    reader.finish()
    assert lists(packed.unpack()) == lists(vector)


@settings(max_examples=100, deadline=None)
@given(layouts(), st.data())
def test_accepted_bytes_encode_back_to_themselves(layout: Layout, data: st.DataObject) -> None:
    """Row 23: no malleability. Row 20: an element at or past its modulus cannot be written."""
    size = layout.packed_size
    raw = data.draw(st.binary(min_size=size, max_size=size))
    try:
        vector = read_vector(Reader(raw), layout).unpack()
    except WireError:
        return
    layout.check(vector)
    assert encoded(layout, vector) == raw


@settings(max_examples=50, deadline=None)
@given(layouts(), st.permutations(range(4)))
def test_order_of_arrival_changes_nothing(layout: Layout, order: list[int]) -> None:
    """Row 88: sums modulo the lane commute, and reduce to the sum modulo the ring."""
    messages = [encoded(layout, filled(layout, seed)) for seed in range(4)]
    accumulators = layout.zeros()
    for i in order:
        read_vector(Reader(messages[i]), layout).add_to(accumulators)
    for k, segment in enumerate(layout.segments):
        columns = zip(*(filled(layout, seed)[k].tolist() for seed in range(4)), strict=True)
        expected = [sum(column) % segment.group.modulus for column in columns]
        assert [int(e) & segment.group.mask for e in accumulators[k]] == expected


LAYOUT = Layout((Segment(Ring(3), 3), Segment(Ring(8), 2), Segment(Ring(20), 3)))


def test_set_padding_is_refused() -> None:
    """Row 23: 3 elements of 3 bits leave 7 bits of padding, 3 of 20 leave 4, 2 of 8 leave none."""
    data = encoded(LAYOUT, filled(LAYOUT, 1))
    padding = [(0, 1, range(1, 8)), (2, 11, range(4, 8))]
    for segment, byte, bits in padding:
        for bit in bits:
            bad = bytearray(data)
            bad[byte] |= 1 << bit
            with pytest.raises(WireError, match=f"segment {segment}: a bit of the padding"):
                read_vector(Reader(bad), LAYOUT)


def test_every_truncation_and_extension_is_refused() -> None:
    """Rows 2, 3, 19."""
    data = encoded(LAYOUT, filled(LAYOUT, 1))
    for size in range(len(data)):
        with pytest.raises(Truncated, match="segment"):
            read_vector(Reader(data[:size]), LAYOUT)
    reader = Reader(data + b"\0")
    read_vector(reader, LAYOUT)
    with pytest.raises(TrailingBytes):
        reader.finish()


def test_a_packed_vector_is_a_view_into_its_message() -> None:
    message = bytearray(encoded(LAYOUT, LAYOUT.zeros()))
    packed = read_vector(Reader(message), LAYOUT)
    message[2] = 9
    assert lists(packed.unpack())[1] == [9, 0]
    assert "memory" not in repr(packed)


def test_other_layouts_are_refused() -> None:
    other = Layout((Segment(Ring(3), 3), Segment(Ring(8), 2), Segment(Ring(20), 4)))
    with pytest.raises(InputError, match="segment 2"):
        encoded(LAYOUT, other.zeros())
    packed = read_vector(Reader(encoded(LAYOUT, filled(LAYOUT, 1))), LAYOUT)
    accumulators = other.zeros()
    with pytest.raises(InputError, match="segment 2"):
        packed.add_to(accumulators)
    assert not any(lane.any() for lane in accumulators)
    with pytest.raises(InputError, match="3 segments expected, 2 given"):
        encoded(LAYOUT, LAYOUT.zeros()[:2])


def test_unreduced_lanes_are_reduced_when_written() -> None:
    """§1.3: accumulators run modulo the lane."""
    lane = np.array([0xFF, 0x09, 0x08], np.uint8)
    layout = Layout((Segment(Ring(3), 3),))
    assert encoded(layout, (lane,)) == reference.pack([7, 1, 0], 3)
