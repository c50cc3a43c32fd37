"""A ring vector's bytes: each segment packed, back to back (specs/02-quantization.md §2, §5).

There is no length on the wire: the layout of the plan says everything, so a vector has one
encoding only. The kernels are imported on first use: the sizes of messages, and so plans, are
known without them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from secagg.errors import WireError
from secagg.layout import Lane, Layout, RingVector, Segment
from secagg.shown import short
from secagg.wire.codec import Reader, Writer


def write_vector(writer: Writer, layout: Layout, vector: RingVector) -> Writer:
    """Appends exactly layout.packed_size bytes; elements are reduced modulo their ring.

    Raises InputError for a vector of another layout.
    """
    from secagg.kernels.pack import SLACK, pack_into

    layout.require(vector)
    for segment, lane in zip(layout.segments, vector, strict=True):
        fill = partial(pack_into, lane, segment.group.width)
        writer.room(segment.group.packed_size(segment.length), SLACK, fill)
    return writer


def read_vector(reader: Reader, layout: Layout) -> PackedVector:
    """Takes exactly layout.packed_size bytes, as views; the vector is then valid as a whole.

    Raises Truncated, or WireError for a padding bit that is set, and for a number that is no
    element: of a ring every bit pattern is one. Nothing can fail once the adding has begun.
    """
    segments = tuple(
        _read_segment(reader, number, segment) for number, segment in enumerate(layout.segments)
    )
    return PackedVector(layout, segments)


def _read_segment(reader: Reader, number: int, segment: Segment) -> memoryview:
    size = segment.group.packed_size(segment.length)
    data = reader.take(size, f"segment {number}")
    padding = 8 * size - segment.group.width * segment.length
    if padding and data[-1] >> (8 - padding):
        raise WireError(f"segment {number}: a bit of the padding is set")
    if not _wraps(segment) and bool((_unpack(data, segment) >= segment.group.modulus).any()):
        raise WireError(f"segment {number}: a number is not below {segment.group.modulus}")
    return data


def _wraps(segment: Segment) -> bool:
    """Whether a sum is right whenever its lanes are: the modulus divides theirs."""
    return segment.group.modulus == 1 << segment.group.width


def _unpack(data: memoryview, segment: Segment) -> Lane:
    from secagg.kernels.pack import unpack

    return unpack(data, segment.group.width, segment.length)


@dataclass(frozen=True, slots=True)
class PackedVector:
    """A checked vector that is still packed: views into the message, one per segment.

    Made by read_vector only.
    """

    layout: Layout
    segments: tuple[memoryview, ...] = field(repr=False)

    __repr__ = short

    def add_to(self, accumulators: RingVector) -> None:
        """Adds to lanes of this layout; in a ring modulo the lane only: reduce at the end."""
        from secagg.kernels.pack import unpack_add

        self.layout.require(accumulators)
        for segment, data, lane in zip(
            self.layout.segments, self.segments, accumulators, strict=True
        ):
            if _wraps(segment):
                unpack_add(data, segment.group.width, lane)
            else:
                segment.group.add(lane, _unpack(data, segment))

    def unpack(self) -> RingVector:
        return tuple(
            _unpack(data, segment)
            for segment, data in zip(self.layout.segments, self.segments, strict=True)
        )
