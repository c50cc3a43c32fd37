"""A ring vector's bytes: each segment packed, back to back (specs/02-quantization.md §2, §5).

There is no length on the wire: the layout of the plan says everything, so a vector has one
encoding only. The kernels are imported on first use: the sizes of messages, and so plans, are
known without them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from secagg.errors import WireError
from secagg.ring import Layout, RingVector, Segment
from secagg.wire.codec import Reader, Writer


def write_vector(writer: Writer, layout: Layout, vector: RingVector) -> Writer:
    """Appends exactly layout.packed_size bytes; elements are reduced modulo their ring.

    Raises InputError for a vector of another layout.
    """
    from secagg.kernels.pack import SLACK, pack_into

    layout.require(vector)
    for segment, lane in zip(layout.segments, vector, strict=True):
        fill = partial(pack_into, lane, segment.ring.width)
        writer.room(segment.ring.packed_size(segment.length), SLACK, fill)
    return writer


def read_vector(reader: Reader, layout: Layout) -> PackedVector:
    """Takes exactly layout.packed_size bytes, as views; the vector is then valid as a whole.

    Raises Truncated, or WireError for a padding bit that is set. Every other bit pattern is an
    element of its ring, so nothing can fail once the adding has begun.
    """
    segments = tuple(
        _read_segment(reader, number, segment) for number, segment in enumerate(layout.segments)
    )
    return PackedVector(layout, segments)


def _read_segment(reader: Reader, number: int, segment: Segment) -> memoryview:
    size = segment.ring.packed_size(segment.length)
    data = reader.take(size, f"segment {number}")
    padding = 8 * size - segment.ring.width * segment.length
    if padding and data[-1] >> (8 - padding):
        raise WireError(f"segment {number}: a bit of the padding is set")
    return data


@dataclass(frozen=True, slots=True)
class PackedVector:
    """A checked vector that is still packed: views into the message, one per segment.

    Made by read_vector only.
    """

    layout: Layout
    segments: tuple[memoryview, ...] = field(repr=False)

    def add_to(self, accumulators: RingVector) -> None:
        """Adds to lanes of this layout, modulo the lane and not the ring: reduce at the end."""
        from secagg.kernels.pack import unpack_add

        self.layout.require(accumulators)
        for segment, data, lane in zip(
            self.layout.segments, self.segments, accumulators, strict=True
        ):
            unpack_add(data, segment.ring.width, lane)

    def unpack(self) -> RingVector:
        from secagg.kernels.pack import unpack

        return tuple(
            unpack(data, segment.ring.width, segment.length)
            for segment, data in zip(self.layout.segments, self.segments, strict=True)
        )
