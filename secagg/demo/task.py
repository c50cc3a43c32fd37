"""The task of a round: its number and the global model.

It travels as the round's payload, so every session is bound to its digest: clients that were sent
different models never share a session (threats T7).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from secagg.demo.model import LENGTH, Flat
from secagg.errors import InputError
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import DigestOnly


@dataclass(frozen=True)
class Task:
    """round: from 1. model: float64[LENGTH], 8 bytes each on the wire, little-endian."""

    round: int
    model: Flat = field(repr=False)

    def encode(self) -> bytes:
        return Writer().u32(self.round).raw(self.model.astype("<f8").tobytes()).finish()

    @classmethod
    def decode(cls, payload: bytes | DigestOnly | None) -> Task:
        """Raises InputError where the announcement had no task, WireError where it has another."""
        if not isinstance(payload, bytes):
            raise InputError("the demo's tasks come with the announcement, not by digest")
        reader = Reader(payload)
        round = reader.u32("round")
        model = np.frombuffer(reader.fixed(8 * LENGTH, "model"), "<f8").astype(np.float64)
        reader.finish()
        return cls(round, model)
