"""Arithmetic of ring vectors: a lane wraps, and the width is cut out of it."""

from __future__ import annotations

import numpy as np

from secagg.layout import Layout, RingVector
from secagg.types import Randomness


# Plain numpy and a new vector for each operation: a lesson is to be read, and no kernel need be
# understood for it. Unsigned lanes wrap at 2^8 to 2^64 by themselves, and 2^w divides that, so
# cutting out the width afterwards is the sum modulo the ring.
def plus(layout: Layout, a: RingVector, b: RingVector) -> RingVector:
    """a + b, each element modulo its ring."""
    return _reduced(layout, tuple(x + y for x, y in zip(a, b, strict=True)))


def minus(layout: Layout, a: RingVector, b: RingVector) -> RingVector:
    """a - b, each element modulo its ring."""
    return _reduced(layout, tuple(x - y for x, y in zip(a, b, strict=True)))


def uniform(layout: Layout, randomness: Randomness) -> RingVector:
    """One draw a segment, of a little-endian lane an element: uniform mod 2^lane and so mod 2^w."""
    # the byte order is fixed, so that the same randomness is the same offset on every machine
    dtypes = (s.group.dtype.newbyteorder("<") for s in layout.segments)
    drawn = tuple(
        np.frombuffer(randomness(s.length * dtype.itemsize), dtype)
        for s, dtype in zip(layout.segments, dtypes, strict=True)
    )
    return _reduced(layout, drawn)


def _reduced(layout: Layout, vector: RingVector) -> RingVector:
    native = (lane.astype(s.group.dtype) for lane, s in zip(vector, layout.segments, strict=True))
    return layout.reduce(tuple(native))
