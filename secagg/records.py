"""Named fields <-> ring vectors (specs/02-quantization.md §5).

What a client contributes is encoded here, and what comes out is decoded here; between the two
there are ring elements only. The weight and the count travel inside the vector, never in clear.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from secagg.arguments import is_duration, kind_of
from secagg.bounded import SEED_SIZE, unrotate
from secagg.errors import BelowThreshold, InputError, IntegrityError, ParameterError, RangeError
from secagg.fields import Field, FixedPoint, Integer, Vector
from secagg.layout import Lane, RingVector
from secagg.noise import Response
from secagg.noisy import Unit, add_share, apart, check_bit, debiased, encode_joint, encode_units
from secagg.quantize import CHUNK, dequantize, flatten, quantize_parts
from secagg.ring import Ring
from secagg.schema import CLIPPED, Schema, Slot
from secagg.shown import short
from secagg.structure import check_same, checked, real, shown
from secagg.tensors import Tensor, is_row_of_arrays, read
from secagg.types import Randomness, Seed

Values: TypeAlias = npt.ArrayLike | Mapping[str, npt.ArrayLike]
"""One field: an array of any shape, a list of arrays, or a mapping of arrays, in the order of the
plan's structure."""

Int64s: TypeAlias = npt.NDArray[np.int64]
Float64s: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Encoded:
    """clipped: per fixed-point field, how many values lay beyond its clip. It stays here, but for
    its sum in a plan with the lane `clipped`."""

    vector: RingVector = dataclasses.field(repr=False)
    clipped: dict[str, int]

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the sum of `contributors` vectors says, per field and flat.

    levels: the exact integer sums, of level * weight for a fixed-point field. sum: levels * step
    as float64, or the integers, or of randomised response the debiased number of ones. mean: by
    total weight for a fixed-point field, by contributors for an integer one. weight: the total
    weight; the number of contributors if weights are off.
    """

    levels: dict[str, Int64s] = dataclasses.field(repr=False)
    sum: dict[str, Int64s | Float64s] = dataclasses.field(repr=False)
    mean: dict[str, Float64s] = dataclasses.field(repr=False)
    weight: int = dataclasses.field(repr=False)


def encode(
    schema: Schema,
    values: Mapping[str, Values],
    weight: int,
    randomness: Randomness,
    structure: Sequence[bytes] = (),
    seed: bytes = bytes(SEED_SIZE),
) -> Encoded:
    """A client's ring vector: every field, its weight if the schema has weights, its counts.

    values: exactly the fields of schema.given: the lane `clipped` is filled in here. A fixed-point
    field takes what `quantize` takes and is multiplied by the weight after rounding; an integer
    field takes integer dtypes only and is not weighted. weight: an integer from 0 to
    schema.max_weight, and 1 where that is 1: with 0, nothing of a fixed-point field is in the sum.
    structure: the plan's; the fields that it is of, and no others, are given as mappings.

    With privacy each field is encoded by specs/40-privacy.md §2: units, then a share of noise from
    the randomness. Where the unit is an example, an array has a row for each, of any number up to
    the plan's, and the same in each field. seed: of the rotation, of whoever has the sum too.

    Raises InputError for missing or extra fields, wrong kinds or sizes, and entries that are not
    those of the structure; RangeError for a value or weight outside its range; all before anything
    is sent.
    """
    if schema.counts_clipped and CLIPPED in values:
        raise InputError(f"leave out {CLIPPED!r}: what is clipped is counted here")
    _check_names([name for name, _ in schema.given], values, structure)
    weight = _check_weight(weight, schema)
    values = checked(schema.given, values, structure)
    units = _units(schema, values)
    vector = schema.layout.zeros()
    clipped: dict[str, int] = {}
    for (name, field), slot in zip(schema.given, schema.slots, strict=False):
        if name in schema.joint and name not in clipped:
            clipped |= _joint(schema, units, vector, seed, randomness)
        ring, part = schema.ring_of(slot), _part(vector, slot)
        if isinstance(field, FixedPoint):
            parts = _parts(values[name], field, name)
            clipped[name] = quantize_parts(part, parts, field, randomness, ring=ring, weight=weight)
        elif name in schema.joint:
            continue
        elif name in units:
            clipped[name] = encode_units(part, units[name], field, ring, seed, randomness)
            if isinstance(schema.noises[name], Response):
                check_bit(part, f"field {name!r}")
        elif isinstance(field, Integer):
            _store(part, _integers(values[name], field, name), ring)
    if schema.shared_noise:
        _add_noise(schema, vector, Seed(randomness(Seed.SIZE)))
    if schema.counts_clipped:
        _part(vector, schema.slots[-1])[:] = sum(clipped.values())
    if schema.weight_slot is not None:
        _part(vector, schema.weight_slot)[:] = weight
    for slot in schema.count_slots:
        _part(vector, slot)[:] = 1
    return Encoded(vector, clipped)


def _joint(
    schema: Schema,
    units: Mapping[str, Sequence[Unit]],
    vector: RingVector,
    seed: bytes,
    randomness: Randomness,
) -> dict[str, int]:
    """All Vectors at once, where the first of them is: by name how many were made shorter."""
    names, fields = tuple(schema.joint), tuple(schema.joint.values())
    slots = [slot for slot in schema.slots if slot.name in schema.joint]
    parts, ring = [_part(vector, slot) for slot in slots], schema.ring_of(slots[0])
    long = encode_joint(parts, [units[n] for n in names], fields, ring, seed, randomness)
    return dict.fromkeys(names, long)


def _check_names(fields: Sequence[str], values: Any, structure: Sequence[bytes]) -> None:
    """InputError for other fields than the plan's. A model in the place of the input is the usual
    mistake where a plan is like one."""
    try:
        check_same("fields", fields, values)
    except InputError as refused:
        if structure and not (hasattr(values, "keys") and set(fields) & set(values.keys())):
            raise InputError(
                f"{refused}; where this is a model, plan.input_of(model) makes the input of it"
            ) from None
        raise


def check_counts(schema: Schema, vector: RingVector, contributors: int) -> None:
    """IntegrityError unless every count element of the sum equals the number of contributors.

    A mask that is missing from or extra in a segment passes with probability 2^-32. The message
    names the segment only: by how much the count is off depends on masks.
    """
    schema.layout.require(vector)
    for slot in schema.count_slots:
        ring = schema.ring_of(slot)
        if any(int(count) & ring.mask != contributors for count in _part(vector, slot)):
            raise IntegrityError(
                f"segment {slot.segment}: the count lane disagrees with the set of contributors; "
                "a mask is missing or extra, and the sum is withheld"
            )


def with_noise(schema: Schema, vector: RingVector, key: Seed) -> RingVector:
    """A sum with the noise that whoever has it adds: a copy. key: the same for as
    often as one sum is asked for, since two noises on it could be averaged."""
    noisy = tuple(segment.copy() for segment in vector)
    _add_noise(schema, noisy, key)
    return noisy


def _add_noise(schema: Schema, vector: RingVector, secret: Seed) -> None:
    for place, (slot, noise) in enumerate(zip(schema.slots, schema.noises.values(), strict=True)):
        add_share(_part(vector, slot), noise, schema.ring_of(slot), secret, place)


def decode(
    schema: Schema, vector: RingVector, contributors: int, seed: bytes = bytes(SEED_SIZE)
) -> Decoded:
    """The sums and means of a vector that check_counts accepted.

    seed: of the rotation of a plan with privacy, as its clients had it. contributors: 1 to
    schema.clients, for more of which head-room was not proved. Elements are read modulo their ring.
    Raises BelowThreshold for an empty aggregate and for a total weight of 0, IntegrityError for one
    that no set of `contributors` clients can have.
    """
    schema.layout.require(vector)
    if contributors == 0:
        raise BelowThreshold("empty aggregate: nobody contributed")
    if not 1 <= contributors <= schema.clients:
        raise ParameterError(f"{contributors} contributors, and the schema is for {schema.clients}")
    weight = _total_weight(schema, vector, contributors)
    decoded = Decoded({}, {}, {}, weight)
    for (name, field), slot in zip(schema.fields, schema.slots, strict=True):
        ring = schema.ring_of(slot)
        part = _part(vector, slot)
        if isinstance(field, FixedPoint):
            levels, sums, means = _reals(part, ring, field.step, weight)
            decoded.levels[name], decoded.sum[name], decoded.mean[name] = levels, sums, means
        else:
            levels = np.empty(part.size, np.int64)
            _signed(part, ring, levels)
            total: Any = levels.copy()
            noise = schema.noises.get(name)
            if name in schema.joint:
                pass  # with the others: below
            elif isinstance(field, Vector):
                total = unrotate(levels, field, seed)
            elif isinstance(noise, Response):
                total = debiased(levels, noise, contributors)
            decoded.levels[name], decoded.sum[name] = levels, total
            decoded.mean[name] = total / np.float64(contributors)
    if schema.joint:
        parts = [decoded.levels[name] for name in schema.joint]
        totals = apart(parts, tuple(schema.joint.values()), seed)
        for name, total in zip(schema.joint, totals, strict=True):
            decoded.sum[name], decoded.mean[name] = total, total / np.float64(contributors)
    return decoded


def _reals(part: Lane, ring: Ring, step: float, weight: int) -> tuple[Int64s, Float64s, Float64s]:
    """Levels, sums and means, a chunk at a time: what the next line reads is still in the cache."""
    levels = np.empty(part.size, np.int64)
    sums, means = np.empty(part.size), np.empty(part.size)
    for start in range(0, part.size, CHUNK):
        end = start + CHUNK
        some, mean = levels[start:end], means[start:end]
        _signed(part[start:end], ring, some)
        sums[start:end] = dequantize(some, step)
        np.divide(some, np.float64(weight), out=mean)
        mean *= step
    return levels, sums, means


def _check_weight(weight: int, schema: Schema) -> int:
    limit = schema.max_weight
    # bool is an int to Python, and a timedelta64 to numpy; either as a weight is a slip
    whole = isinstance(weight, int | np.integer) and not isinstance(weight, bool)
    if not whole or is_duration(weight):
        raise RangeError(f"a weight is an integer from 0 to {limit}, not {kind_of(weight)}")
    if weight != 1 and schema.privacy is not None:
        raise RangeError(
            "a plan with privacy has no weights, since their total would be an exact output: each "
            "input counts as 1, and a client without data declines the round, or gives zeros"
        )
    if weight == 0 and limit == 1:
        raise RangeError(
            "the plan has no weights, and so none of 0: a client without examples declines the "
            "round, or the plan is made with a max_weight above 1"
        )
    if not 0 <= weight <= limit:
        raise RangeError(f"a weight is 0 to {limit}, the plan's max_weight: make a plan with more")
    return int(weight)


def _units(schema: Schema, values: Mapping[str, Any]) -> Mapping[str, Sequence[Unit]]:
    """By field, what a client has of each unit; all read before any is encoded."""
    if schema.privacy is None:
        return {}
    if schema.privacy.unit == "client":
        return {
            name: [(f"field {name!r}", flat_input(values[name], field, name))]
            for name, field in schema.given
        }
    most = schema.privacy.examples
    rows = {name: _examples(values[name], field, name, most) for name, field in schema.given}
    if len({number for number, _ in rows.values()}) > 1:
        numbers = ", ".join(f"{name!r} of {number}" for name, (number, _) in rows.items())
        raise InputError(f"fields have rows of the same examples, and these are {numbers}")
    return {name: units for name, (_, units) in rows.items()}


def flat_input(values: Any, field: Field, name: str) -> npt.NDArray[Any]:
    """What a client gives for a field, one array or several entries, flat and of its length. Raises
    InputError, RangeError."""
    if isinstance(field, Integer):
        return _integers(values, field, name)
    entries = _entries(values, name)
    if entries is None:
        return flatten(values, field.length, f"field {name!r}")
    parts = [real(tensor, what).array.reshape(-1) for what, tensor in entries]
    for (what, _), part in zip(entries, parts, strict=True):
        if not np.isfinite(part).all():
            at = np.isfinite(part).argmin()
            raise RangeError(f"{what}: NaN or infinite at index {at}; replace such values")
    joined = np.concatenate([part.astype(np.float64) for part in parts] or [np.empty(0)])
    return flatten(joined, field.length, f"field {name!r}")


def _examples(values: Any, field: Field, name: str, most: int) -> tuple[int, list[Unit]]:
    """How many, and each by itself; of integers all as one."""
    what = f"field {name!r}"
    array = read(values, what).array
    if array.ndim == 0 or array.size != len(array) * field.length:
        raise InputError(
            f"{what} has a row of {field.length} elements for each example: an array of shape "
            f"(examples, {field.length}) is needed, and not {array.shape}"
        )
    if len(array) > most:
        raise InputError(
            f"{what} has {len(array)} examples, and the plan is for {most} of a client"
        )
    rows = array.reshape(len(array), field.length)
    if not isinstance(field, Integer):
        return len(rows), [(f"{what}, example {i}", row) for i, row in enumerate(rows)]
    # a judgement of each row by itself is for the one that is named
    whole = rows.dtype.kind in "iu" and not ((rows > field.max) | (rows < -field.max)).any()
    for i, row in enumerate(() if whole else rows):
        _bounded(row, field, f"{what}, example {i}")
    return len(rows), [(what, rows)]


def _parts(values: Any, field: FixedPoint, name: str) -> list[tuple[str, Tensor]]:
    """§5.7: one entry after the other, and what each is called; as many elements as the field."""
    what, entries = f"field {name!r}", _entries(values, name)
    if entries is None:
        tensor = read(values, what)
        return [(what, Tensor(flatten(tensor, field.length, what), tensor.type))]
    if isinstance(values, Mapping):
        entries = [(what, real(tensor, what)) for what, tensor in entries]
    if (size := sum(tensor.array.size for _, tensor in entries)) != field.length:
        raise InputError(f"{what} takes {field.length} elements, and {size} were given")
    return entries


def _entries(values: Any, name: str) -> list[tuple[str, Tensor]] | None:
    """With what an error calls each: those of a mapping were compared with the plan's, so that
    their names are everybody's. None for one array."""
    if isinstance(values, Mapping):
        return [(f"entry {shown(n)} of field {name!r}", tensor) for n, tensor in values.items()]
    if not is_row_of_arrays(values):
        return None
    named = ((f"array {place} of field {name!r}", one) for place, one in enumerate(values))
    return [(what, read(one, what)) for what, one in named]


def _integers(values: Any, field: Integer, name: str) -> Int64s:
    entries = _entries(values, name)
    if entries is None:
        values = flatten(values, field.length, f"field {name!r}")
        return _bounded(values, field, f"field {name!r}")
    parts = [_bounded(tensor.array.reshape(-1), field, what) for what, tensor in entries]
    joined = np.concatenate(parts or [np.empty(0, np.int64)])
    return flatten(joined, field.length, f"field {name!r}")


def _bounded(flat: npt.NDArray[Any], field: Integer, what: str) -> Int64s:
    if flat.dtype.kind not in "iu":
        raise InputError(f"{what} takes integer dtypes only, not {flat.dtype.name}")
    # compared as it came: in int64 a large uint64 would look small, and abs(-2^63) is negative
    beyond = (flat > field.max) | (flat < -field.max)
    if beyond.any():
        raise RangeError(
            f"{what}: beyond ±{field.max} at index {beyond.argmax()}; an integer "
            "is never clipped: mend it, or agree on a plan with a larger max"
        )
    return flat.astype(np.int64)


def _part(vector: RingVector, slot: Slot) -> Lane:
    return vector[slot.segment][slot.start : slot.start + slot.length]


def _store(part: Lane, integers: Int64s, ring: Ring) -> None:
    """Two's complement modulo the ring."""
    bits = integers.view(np.uint64)
    bits &= np.uint64(ring.mask)
    part[:] = bits


def _signed(lane: Lane, ring: Ring, out: Int64s) -> None:
    """The ring's top bit becomes its lane's sign, and comes back with it."""
    shift = ring.lane_bits - ring.width
    signed = (lane << lane.dtype.type(shift)).view(f"i{lane.itemsize}")
    np.right_shift(signed, signed.dtype.type(shift), out=out)


def _total_weight(schema: Schema, vector: RingVector, contributors: int) -> int:
    slot = schema.weight_slot
    if slot is None:
        return contributors
    total = int(_part(vector, slot)[0]) & schema.ring_of(slot).mask
    if total > contributors * schema.max_weight:
        raise IntegrityError(
            f"the total weight is not one that {contributors} clients of weight 0 to "
            f"{schema.max_weight} can have; the sum is withheld"
        )
    if total == 0:
        raise BelowThreshold("every weight is 0: nobody had anything to average")
    return total
