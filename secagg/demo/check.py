"""The judge of a round: the secure sum against the true updates, which the server never saw.

The exact sum is recomputed in plain Python integers, by the definitions of kernels.reference,
which shares no code with what is judged; the mean in float64, by numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from secagg.demo.client import FIELD
from secagg.demo.model import Flat
from secagg.fields import FixedPoint
from secagg.kernels import reference
from secagg.layout import RingVector
from secagg.party import Aggregate
from secagg.plans.plan import Plan
from secagg.wire.codec import Reader
from secagg.wire.vector import read_vector

SHOWN = 8


@dataclass(frozen=True)
class Contribution:
    """A client's true update and its weight, as it handed them to its own machine."""

    update: Flat = field(repr=False)
    weight: int


@dataclass(frozen=True)
class Verdict:
    """exact: levels and total weight equal the plain integer sums. max_abs_error: of an element of
    the mean, against the plain mean of the clipped updates. clipped: how many elements were."""

    exact: bool
    max_abs_error: float
    clipped: int


def judge(plan: Plan, total: Aggregate, given: list[Contribution]) -> Verdict:
    """given: of exactly the contributors, in any order."""
    fixed = the_field(plan)
    exact = (
        total.levels[FIELD].tolist() == exact_sum(fixed, given)
        and total.weight == sum(one.weight for one in given)
        and len(total.contributors) == len(given)
    )
    inside = [
        Contribution(np.clip(one.update, -fixed.clip, fixed.clip), one.weight) for one in given
    ]
    errors = np.abs(total.mean[FIELD] - plain_mean(inside))
    clipped = sum(int((np.abs(one.update) > fixed.clip).sum()) for one in given)
    return Verdict(exact, float(errors.max()), clipped)


def exact_sum(fixed: FixedPoint, given: list[Contribution]) -> list[int]:
    """The sum of weight * level, element by element, in Python integers."""
    weighted = [
        [level * one.weight for level in _levels(fixed, one.update.tolist())] for one in given
    ]
    return [sum(column) for column in zip(*weighted, strict=True)]


def plain_mean(given: list[Contribution]) -> Flat:
    """The weighted mean in float64, without cryptography or quantisation."""
    mean: Flat = np.average(
        [one.update for one in given], axis=0, weights=[one.weight for one in given]
    )
    return mean


@dataclass(frozen=True)
class Masked:
    """A few elements of one upload beside the truth, as signed numbers of the ring.

    first: the index of the first one shown: the first whose truth is not 0. unchanged: how many
    elements of the whole update arrived as they were, which chance makes length / 2^ring_bits.
    """

    client: int
    ring_bits: int
    first: int
    true: list[int]
    received: list[int]
    unchanged: int
    length: int


def unmask_nothing(plan: Plan, client: int, one: Contribution, message: bytes) -> Masked:
    """message: the masked input as it came over the socket; the packed vector is its end."""
    fixed, layout = the_field(plan), plan.layout
    tail = Reader(message[len(message) - layout.packed_size :])
    received = _signed(plan, read_vector(tail, layout).unpack())
    true = [level * one.weight for level in _levels(fixed, one.update.tolist())]
    first = next((i for i, level in enumerate(true) if level), 0)
    shown = slice(first, first + SHOWN)
    unchanged = sum(a == b for a, b in zip(true, received, strict=True))
    return Masked(
        client, plan.ring_bits, first, true[shown], received[shown], unchanged, fixed.length
    )


def the_field(plan: Plan) -> FixedPoint:
    """The demo's plans have one field."""
    ((_, fixed),) = plan.schema.fields
    if not isinstance(fixed, FixedPoint):
        raise TypeError("impossible: the demo plans a fixed-point field")
    return fixed


def _levels(fixed: FixedPoint, values: list[float]) -> list[int]:
    return [reference.nearest(value, fixed.clip, fixed.step, fixed.levels) for value in values]


def _signed(plan: Plan, vector: RingVector) -> list[int]:
    """The field's elements, from 0..2^w - 1 to two's complement."""
    (slot,) = plan.schema.slots
    ring = plan.layout.segments[slot.segment].group
    elements = vector[slot.segment][slot.start : slot.start + slot.length].tolist()
    return [e - ring.modulus if e >= ring.modulus // 2 else e for e in elements]
