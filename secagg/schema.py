"""Named fields, and where each lies in the ring vector: the schema of a round.

Head-room is proved here, when the schema is made, and never checked again at run time
(specs/02-quantization.md §3-§5).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context
from functools import cached_property
from typing import Any

from secagg.arguments import flag, integer, kind_of, settle
from secagg.dp.headroom import integer_bound, vector_bound
from secagg.errors import HeadroomError, ParameterError
from secagg.fields import Field, FixedPoint, Integer, Vector, joined
from secagg.kinds import check_bounded, check_exact, check_noisy, grouped
from secagg.layout import Layout, Segment
from secagg.noise import Noise, Response, Share
from secagg.privacy import PrivacyTerms
from secagg.ring import Ring
from secagg.shown import short
from secagg.types import MAX_CLIENTS

COUNT_BITS = 32
CLIPPED = "clipped"
"""The name of the lane in which clients say how many elements they have clipped."""
_KEPT = (
    f"the name {CLIPPED!r} is kept for the lane that counts clipped elements, the last field of a "
    "plan made with clipped=True; give your own field another name"
)
MAX_STREAM = 1 << 36
"""Bytes: the 2^32 blocks of AES that one key's counter has (specs/10-secagg.md §5)."""
MAX_WEIGHT = (1 << 32) - 1
MAX_FIELDS = 1 << 10
MAX_NAME = 255
TENSOR_SIZE, MAX_TENSORS = 16, 1 << 13
"""Bytes of a digest in a plan's structure, and of how many entries it may be."""


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

    privacy: with the noise of each field; whether it is enough, the plan sees. Raises
    ParameterError for an impossible combination and HeadroomError, with the proof, when a sum
    could wrap, or is more than float64 holds.
    """

    fields: tuple[tuple[str, Field], ...]
    clients: int
    max_weight: int = 1
    privacy: PrivacyTerms | None = None

    __repr__ = short

    def __post_init__(self) -> None:
        _check_fields(self.fields)
        settle(
            self,
            clients=integer("clients", self.clients, 1, MAX_CLIENTS),
            max_weight=integer("max_weight", self.max_weight, 1, MAX_WEIGHT),
        )
        _check_lane(self.fields)
        if self.privacy is None:
            check_exact(self.fields, self.max_weight)
        else:
            check_bounded(self.fields, self.max_weight)
            check_noisy(self.fields, self.privacy, bool(self.joint))
        _ = self.layout  # proves the head-room
        for name, field in self.fields:
            self._check_spread(name, field)
        self._check_streams()

    @classmethod
    def of(
        cls,
        fields: Mapping[str, Field],
        clients: int,
        max_weight: int = 1,
        *,
        clipped: bool = False,
        privacy: PrivacyTerms | None = None,
    ) -> Schema:
        """Raises ParameterError too for fields that are no mapping, such as a field alone."""
        named = named_fields(fields)
        if flag("clipped", clipped):
            if privacy is not None:
                raise ParameterError(
                    "clipped=True with privacy=: how many were clipped would be an exact output; "
                    "count it in an Integer field with a sensitivity of 1"
                )
            if CLIPPED in fields:
                raise ParameterError(_KEPT)
            if not _elements(named):
                raise ParameterError(
                    "clipped needs a fixed-point field: integers never clip; what the measures of "
                    "a query clip is counted by analytics.Query(..., clipped=True)"
                )
            named = (*named, _lane(named))
        return cls(named, clients, max_weight, privacy)

    def ring(self, name: str, field: Field) -> Ring:
        what = f"field {name!r}: {self._summed(field)}"
        return Ring.holding(self.bound(name, field), what, self._smaller(field))

    def bound(self, name: str, field: Field) -> int:
        """What no element of a sum exceeds in magnitude; with noise, but for one chance in 2^40
        that any element of the whole sum does (specs/40-privacy.md §6)."""
        match field:
            case FixedPoint():
                return field.bound(self.clients, self.max_weight)
            case Integer() if self.privacy is None:
                return field.bound(self.clients, self.max_weight)
            case Integer() if isinstance(self.noises[name], Response):
                return field.bound(self.clients, self.max_weight)
            case Integer():
                return integer_bound(field.length, field.max, *self._summands(name))
            case Vector():
                whole = self.whole(field)
                return vector_bound(whole.length, whole.norm_squared, *self._summands(name))

    def _summands(self, name: str) -> tuple[int, Noise, int]:
        """How many inputs, or examples, a sum is of, one share of its noise, and how many."""
        shares = 1 if self.privacy is None else self.privacy.shares(self.clients)
        noise = self.noises[name]
        if not isinstance(noise, Noise):  # impossible after _check_noisy
            raise ParameterError(f"field {name!r} has no noise that is added")
        return self._units, noise, shares

    @property
    def _units(self) -> int:
        return self.clients * (1 if self.privacy is None else self.privacy.examples)

    @property
    def shared_noise(self) -> bool:
        """Whether every client adds a share of noise to its input."""
        return self.privacy is not None and self.privacy.encoded

    @property
    def central_noise(self) -> bool:
        """Whether whoever has the sum adds the noise."""
        return self.privacy is not None and not self.privacy.encoded

    @cached_property
    def noises(self) -> Mapping[str, Share]:
        """One share of each field's; none without privacy."""
        noises = () if self.privacy is None else self.privacy.noises
        groups = grouped(self.fields, joint=bool(self.joint))
        by_group = zip(groups, noises, strict=False)
        found = {name: noise for names, noise in by_group for name in names}
        return {name: found[name] for name, _ in self.fields if name in found}

    @cached_property
    def joint(self) -> Mapping[str, Vector]:
        """The Vectors that are one together, in plan order; none where each is by itself."""
        vectors = {name: field for name, field in self.fields if isinstance(field, Vector)}
        number = 0 if self.privacy is None else len(self.privacy.noises)
        fewer = len(vectors) > 1 and number == len(self.fields) - len(vectors) + 1
        return vectors if fewer else {}

    def whole(self, field: Vector) -> Vector:
        """What is rotated and rounded: the field, or all of which it is a part."""
        return joined(tuple(self.joint.values())) if self.joint else field

    @property
    def errors(self) -> Mapping[str, float]:
        """By field of reals, how far rounding may move an element of a mean; of several examples
        each is rounded, and a mean is of clients."""
        units = 1 if self.privacy is None else self.privacy.examples
        reals = {n: f for n, f in self.fields if isinstance(f, FixedPoint | Vector)}
        found = {name: units * field.max_error for name, field in reals.items()}
        for name, field in self.joint.items():
            found[name] = units * self.whole(field).max_error * field.norm
        return found

    def _summed(self, field: Field) -> str:
        if self.privacy is not None:
            return f"the sum of {self._units} inputs with its noise"
        weight = f" * {self.max_weight} (max_weight)" if isinstance(field, FixedPoint) else ""
        each = field.max if isinstance(field, Integer) else field.levels
        return f"the sum of {self.clients} clients{weight} * {each}"

    def _smaller(self, field: Field) -> str:
        """What would make a sum fit."""
        one = "a smaller max" if isinstance(field, Integer) else "fewer bits"
        if self.privacy is not None:
            units = "fewer clients" if self.privacy.unit == "client" else "fewer examples"
            return f"{one}, a larger epsilon or {units}"
        weight = ", a smaller weight" if self.weighted and isinstance(field, FixedPoint) else ""
        return f"{one}{weight} or fewer clients"

    def _check_spread(self, name: str, field: Field) -> None:
        if not isinstance(field, FixedPoint):
            return  # summed as int64, and a mean is no larger; a vector's norm is below 2^500
        if not math.isfinite(field.spread(self.clients, self.max_weight)):
            weight = f" * {self.max_weight} (max_weight)" if self.weighted else ""
            most = sys.float_info.max / 2 / (self.clients * self.max_weight)
            less = Context(prec=3, rounding=ROUND_DOWN).create_decimal(most)
            raise HeadroomError(
                f"field {name!r}: sums of {self.clients} clients{weight} of clip {field.clip!r} "
                f"can be further apart than float64 holds; a clip of {less:.3g} is possible: give "
                "the values in a larger unit"
            )

    def _check_streams(self) -> None:
        """specs/02-quantization.md §5.9: a key masks no more of one segment."""
        for segment in self.layout.segments:
            size = segment.length * segment.group.lane_bits // 8
            if size > MAX_STREAM:
                raise ParameterError(
                    f"the fields whose sums have {segment.group.width} bits have {size} bytes of "
                    f"elements together, and one key masks {MAX_STREAM}: sum them in several rounds"
                )

    @cached_property
    def _rings(self) -> tuple[Ring, ...]:
        return tuple(self.ring(name, field) for name, field in self.fields)

    @cached_property
    def _widths(self) -> tuple[int, ...]:
        return tuple(sorted({ring.width for ring in self._rings}))

    def ring_of(self, slot: Slot) -> Ring:
        return Ring(self._widths[slot.segment])

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
    def counts_clipped(self) -> bool:
        """Whether the last field is the lane `clipped`, which `encode` fills in by itself."""
        return self.fields[-1][0] == CLIPPED

    @property
    def given(self) -> tuple[tuple[str, Field], ...]:
        """The fields of a client's input: all but that lane."""
        return self.fields[: len(self.fields) - self.counts_clipped]

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


def named_fields(fields: object) -> tuple[tuple[str, Field], ...]:
    """A mapping's, in order. Raises ParameterError for anything else, such as a field alone."""
    if not isinstance(fields, Mapping):
        raise ParameterError(
            "fields must be a mapping of names to FixedPoint, Integer or Vector, such as "
            f"{{'update': FixedPoint(...)}}, not {kind_of(fields)}"
        )
    named = tuple(fields.items())
    _check_fields(named)
    return named


def _check_fields(fields: Sequence[tuple[Any, Any]]) -> None:
    for name, field in fields:
        _check_name(name)
        if not isinstance(field, FixedPoint | Integer | Vector):
            raise ParameterError(
                f"field {name!r} must be a FixedPoint or an Integer, not {kind_of(field)}"
            )
    names = {name for name, _ in fields}
    if not 1 <= len(fields) <= MAX_FIELDS or len(names) != len(fields):
        raise ParameterError(f"a plan has 1 to {MAX_FIELDS} fields of distinct names")


def _elements(fields: Sequence[tuple[str, Field]]) -> int:
    return sum(field.length for _, field in fields if isinstance(field, FixedPoint))


def _lane(fields: Sequence[tuple[str, Field]]) -> tuple[str, Field]:
    """specs/02-quantization.md §5.8: at most, every element of every fixed-point field clips."""
    return CLIPPED, Integer(1, _elements(fields))


def _check_lane(fields: Sequence[tuple[str, Field]]) -> None:
    """Also of a plan that was received: what looks like the lane must be the lane."""
    if CLIPPED not in dict(fields):
        return
    if not _elements(fields) or fields[-1] != _lane(fields):
        raise ParameterError(_KEPT)


def _check_name(name: Any) -> None:
    """Printable ASCII: a name ends up in logs, tables and file names of both sides."""
    if not (isinstance(name, str) and name.isascii() and name.isprintable()):
        raise ParameterError("a field's name is printable ASCII")
    if not 1 <= len(name) <= MAX_NAME:
        raise ParameterError(f"a field's name has 1 to {MAX_NAME} characters, not {len(name)}")
