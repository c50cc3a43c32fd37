"""Sums with real noise and no protocol: what a round of these clients would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import secagg
from secagg import records
from secagg.party import Aggregate, aggregated
from secagg.sansio import RingTotal
from secagg.types import PartyId, Seed


def tape(seed: int) -> Any:
    """Bytes that are the same in every run."""
    return np.random.default_rng(seed).bytes


def released(
    plan: secagg.Plan,
    inputs: Sequence[Mapping[str, Any]],
    randomness: Any,
    gone: frozenset[int] = frozenset(),
) -> Aggregate:
    """Of all but those that are gone."""
    schema, seed = plan.schema, randomness(32)
    total = schema.layout.zeros()
    here = [i for i in range(len(inputs)) if i not in gone]
    for i in here:
        encoded = records.encode(schema, inputs[i], 1, randomness, (), seed)
        total = tuple(a + b for a, b in zip(total, encoded.vector, strict=True))
    contributors = frozenset(map(PartyId, here))
    ring = RingTotal(schema.layout.reduce(total), contributors, frozenset(map(PartyId, gone)))
    noise = Seed(randomness(Seed.SIZE)) if schema.central_noise else None
    return aggregated(plan, ring, [], seed, noise)
