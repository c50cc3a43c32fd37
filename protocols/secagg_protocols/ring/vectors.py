"""Arithmetic of ring vectors: a lane wraps, and the width is cut out of it."""

from __future__ import annotations

import numpy as np

from secagg.ring import Layout, RingVector
from secagg.types import Randomness


def plus(layout: Layout, a: RingVector, b: RingVector) -> RingVector:
    return _reduced(layout, tuple(x + y for x, y in zip(a, b, strict=True)))


def minus(layout: Layout, a: RingVector, b: RingVector) -> RingVector:
    return _reduced(layout, tuple(x - y for x, y in zip(a, b, strict=True)))


def uniform(layout: Layout, randomness: Randomness) -> RingVector:
    """One draw a segment, of a little-endian lane an element: uniform mod 2^lane and so mod 2^w."""
    drawn = tuple(
        np.frombuffer(randomness(s.length * s.ring.dtype.itemsize), s.ring.dtype.newbyteorder("<"))
        for s in layout.segments
    )
    return _reduced(layout, drawn)


def _reduced(layout: Layout, vector: RingVector) -> RingVector:
    return tuple(
        (lane & segment.ring.mask).astype(segment.ring.dtype)
        for lane, segment in zip(vector, layout.segments, strict=True)
    )
