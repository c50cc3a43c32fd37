"""Rows of a batch at a server, beside those of its reports (specs/20-additive.md §9)."""

from __future__ import annotations

import numpy as np

from secagg.errors import StorageError
from secagg.ring import Layout, RingVector
from secagg_protocols.additive.states import Stage

SUM, BATCH, AGREEMENT = b"s", b"b", b"a"
"""Before the number of the batch; a report's row begins with r."""


def write_sum(total: RingVector) -> bytes:
    """Lane by lane, little-endian, not reduced."""
    return b"".join(lane.astype(lane.dtype.newbyteorder("<")).tobytes() for lane in total)


def read_sum(layout: Layout, value: bytes) -> RingVector:
    """Raises StorageError for a sum of another length."""
    total = layout.zeros()
    if len(value) != sum(lane.nbytes for lane in total):
        raise StorageError("the stored sum has another length: use the store of this plan")
    at = 0
    for lane in total:
        lane[:] = np.frombuffer(value, lane.dtype.newbyteorder("<"), lane.size, at)
        at += lane.nbytes
    return total


def read_stage(value: bytes) -> Stage:
    """Raises StorageError for a stage that is none, or an abort without its reason."""
    stage = Stage.from_code(value[0]) if value else None
    if stage is None or (stage is Stage.ABORTED and len(value) != 2):
        raise StorageError("the stored batch is in no stage that is known")
    return stage
