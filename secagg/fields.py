"""Named fields, and where each lies in the ring vector: the schema of a round.

Head-room is proved here, when the schema is made, and never checked again at run time
(specs/02-quantization.md §3-§5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from secagg.errors import HeadroomError, ParameterError
from secagg.ring import Layout, Ring, Segment
from secagg.types import MAX_CLIENTS

Rounding = Literal["nearest", "stochastic"]
Excess = Literal["clip", "error"]

ROUNDINGS: tuple[Rounding, ...] = ("nearest", "stochastic")
EXCESSES: tuple[Excess, ...] = ("clip", "error")

MIN_BITS, MAX_BITS = 2, 32
"""One bit has no sign. Above 32 the float64 product x * scale is no longer within half a step
of its exact value by a margin worth stating; wider data belongs into an Integer field."""

COUNT_BITS = 32
MAX_LENGTH = 1 << 32
MAX_FIELDS = 1 << 10
MAX_NAME = 255


def _check_length(length: int) -> None:
    if isinstance(length, bool) or not isinstance(length, int) or not 1 <= length < MAX_LENGTH:
        raise ParameterError(f"a field holds 1 to {MAX_LENGTH - 1} elements, not {length!r}")


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """`length` reals in [-clip, clip], each rounded to one of 2^bits - 1 evenly spaced values.

    rounding: nearest (ties to even) or stochastic (unbiased). excess: what a value beyond clip
    does: `clip` (counted in the report) or `error` (RangeError).
    """

    length: int
    clip: float
    bits: int
    rounding: Rounding = "nearest"
    excess: Excess = "clip"

    def __post_init__(self) -> None:
        _check_length(self.length)
        if not (math.isfinite(self.clip) and self.clip > 0):
            raise ParameterError(f"clip must be finite and above 0, not {self.clip!r}")
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise ParameterError(f"bits must be {MIN_BITS} to {MAX_BITS}, not {self.bits!r}")
        if self.rounding not in ROUNDINGS:
            raise ParameterError(f"rounding is one of {ROUNDINGS}, not {self.rounding!r}")
        if self.excess not in EXCESSES:
            raise ParameterError(f"excess is one of {EXCESSES}, not {self.excess!r}")
        if not (self.step > 0 and math.isfinite(1 / self.step)):
            raise ParameterError(f"clip {self.clip!r} is too small for {self.bits} bits")

    @property
    def levels(self) -> int:
        """The largest magnitude after rounding, 2^(bits-1) - 1: symmetric, so that -x is exact."""
        return (1 << (self.bits - 1)) - 1

    @property
    def step(self) -> float:
        return self.clip / self.levels

    @property
    def max_error(self) -> float:
        """Of one rounded element, and so of any weighted mean: half a step, or one if stochastic.

        The slack covers the few float64 roundings of x / step and of the mean's division.
        """
        steps = 0.5 if self.rounding == "nearest" else 1.0
        return self.step * (steps + math.ldexp(1.0, self.bits - 50))

    def bound(self, clients: int, max_weight: int) -> int:
        """M = n W (2^(bits-1) - 1)."""
        return clients * max_weight * self.levels


@dataclass(frozen=True, slots=True)
class Integer:
    """`length` integers of magnitude at most `max`; summed exactly and never weighted."""

    length: int
    max: int

    def __post_init__(self) -> None:
        _check_length(self.length)
        if isinstance(self.max, bool) or not isinstance(self.max, int) or self.max < 1:
            raise ParameterError(f"max must be a positive integer, not {self.max!r}")
        if self.max.bit_length() > 63:
            raise HeadroomError(f"max {self.max} needs {self.max.bit_length() + 1} bits of 64")

    def bound(self, clients: int, max_weight: int) -> int:
        """M = n max."""
        return clients * self.max


Field: TypeAlias = FixedPoint | Integer


@dataclass(frozen=True, slots=True)
class Slot:
    """A field's place: elements [start, start + length) of one segment."""

    name: str
    segment: int
    start: int
    length: int


@dataclass(frozen=True)
class Schema:
    """The fields of one round in plan order, for at most `clients` clients of weight 1..max_weight.

    Raises ParameterError for an impossible combination and HeadroomError, with the proof, when a
    sum could wrap.
    """

    fields: tuple[tuple[str, Field], ...]
    clients: int
    max_weight: int = 1

    def __post_init__(self) -> None:
        names = [name for name, _ in self.fields]
        if not 1 <= len(names) <= MAX_FIELDS or len(set(names)) != len(names):
            raise ParameterError(f"a plan has 1 to {MAX_FIELDS} fields of distinct names")
        for name in names:
            _check_name(name)
        if not 1 <= self.clients <= MAX_CLIENTS:
            raise ParameterError(f"clients must be 1 to {MAX_CLIENTS}, not {self.clients}")
        if not 1 <= self.max_weight < 1 << 32:
            raise ParameterError(f"max_weight must be 1 to 2^32 - 1, not {self.max_weight}")
        if self.max_weight > 1 and not any(isinstance(f, FixedPoint) for _, f in self.fields):
            raise ParameterError(
                "max_weight > 1 needs a fixed-point field: integers are unweighted"
            )
        _ = self.layout  # proves the head-room

    @classmethod
    def of(cls, fields: Mapping[str, Field], clients: int, max_weight: int = 1) -> Schema:
        return cls(tuple(fields.items()), clients, max_weight)

    def ring(self, name: str, field: Field) -> Ring:
        weight = f" * {self.max_weight} (max_weight)" if isinstance(field, FixedPoint) else ""
        each = field.levels if isinstance(field, FixedPoint) else field.max
        what = f"field {name!r}: the sum of {self.clients} clients{weight} * {each}"
        return Ring.holding(field.bound(self.clients, self.max_weight), what)

    @cached_property
    def _rings(self) -> tuple[Ring, ...]:
        return tuple(self.ring(name, field) for name, field in self.fields)

    @cached_property
    def _widths(self) -> tuple[int, ...]:
        return tuple(sorted({ring.width for ring in self._rings}))

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """In plan order. Fields of equal width share a segment, in plan order within it."""
        used = dict.fromkeys(self._widths, 0)
        slots = []
        for (name, field), ring in zip(self.fields, self._rings, strict=True):
            segment = self._widths.index(ring.width)
            slots.append(Slot(name, segment, used[ring.width], field.length))
            used[ring.width] += field.length
        return tuple(slots)

    @property
    def weighted(self) -> bool:
        """The weight lane exists iff a weight other than 1 is allowed."""
        return self.max_weight > 1

    @property
    def weight_slot(self) -> Slot | None:
        """One element, just before the count elements of the widest segment.

        It always fits: its bound n W is at most that of any fixed-point field.
        """
        if not self.weighted:
            return None
        last = len(self._widths) - 1
        return Slot("weight", last, self._data_length(last), 1)

    @property
    def count_slots(self) -> tuple[Slot, ...]:
        """ceil(32 / w) elements at the end of every segment, each 1 at every client."""
        return tuple(
            Slot("count", i, self._data_length(i) + self._weight_length(i), -(-COUNT_BITS // width))
            for i, width in enumerate(self._widths)
        )

    @cached_property
    def layout(self) -> Layout:
        return Layout(
            tuple(
                Segment(Ring(width), count.start + count.length)
                for width, count in zip(self._widths, self.count_slots, strict=True)
            )
        )

    def _data_length(self, segment: int) -> int:
        return sum(slot.length for slot in self.slots if slot.segment == segment)

    def _weight_length(self, segment: int) -> int:
        return int(self.weighted and segment == len(self._widths) - 1)


def _check_name(name: str) -> None:
    """Printable ASCII: a name ends up in logs, tables and file names of both sides."""
    if not (isinstance(name, str) and name.isascii() and name.isprintable()):
        raise ParameterError("a field's name is printable ASCII")
    if not 1 <= len(name) <= MAX_NAME:
        raise ParameterError(f"a field's name has 1 to {MAX_NAME} characters, not {len(name)}")
