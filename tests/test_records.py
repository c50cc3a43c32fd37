"""Named fields to ring vectors and back: specs/02-quantization.md §3 to §5."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.cut import clipping
from secagg.errors import (
    BelowThreshold,
    HeadroomError,
    InputError,
    IntegrityError,
    ParameterError,
    RangeError,
)
from secagg.fields import Field, FixedPoint, Integer
from secagg.layout import RingVector
from secagg.records import Decoded, Encoded, check_counts, decode, encode
from secagg.schema import Schema
from secagg.structure import Structure
from tests.soak import examples


def total_of(schema: Schema, vectors: list[RingVector]) -> RingVector:
    """What a protocol returns: the sum modulo each ring."""
    total = schema.layout.zeros()
    for vector in vectors:
        for accumulator, lane in zip(total, vector, strict=True):
            accumulator += lane
    for accumulator, segment in zip(total, schema.layout.segments, strict=True):
        accumulator &= accumulator.dtype.type(segment.group.mask)
    return total


def aggregate(schema: Schema, inputs: list[tuple[dict[str, Any], int]]) -> Decoded:
    vectors = [encode(schema, values, weight, os.urandom).vector for values, weight in inputs]
    for vector in vectors:
        schema.layout.check(vector)
    total = total_of(schema, vectors)
    check_counts(schema, total, len(inputs))
    return decode(schema, total, len(inputs))


@st.composite
def rounds(draw: st.DrawFn) -> tuple[Schema, list[tuple[dict[str, Any], int]]]:
    """A schema of mixed widths, at most 6 clients, and their inputs."""
    max_weight = draw(st.sampled_from([1, 1, 2, 1000, 2**20]))
    fixed = st.builds(
        FixedPoint, length=st.integers(1, 5), clip=st.sampled_from([0.1, 1.0, 50.0]),
        bits=st.integers(2, 24), rounding=st.sampled_from(["nearest", "stochastic"]),
    )  # fmt: skip
    integer = st.builds(
        Integer, length=st.integers(1, 5), max=st.sampled_from([1, 7, 255, 2**31, 2**50])
    )
    fields: dict[str, Field] = {"first": draw(fixed)}
    for name in draw(st.sets(st.sampled_from("abcd"))):
        fields[name] = draw(fixed | integer)
    clients = draw(st.integers(1, 6))
    inputs = [  # of which the first has examples
        ({name: draw(inputs_of(field)) for name, field in fields.items()},
         draw(st.integers(int(one == 0 or max_weight == 1), max_weight)))
        for one in range(clients)
    ]  # fmt: skip
    return Schema.of(fields, clients, max_weight), inputs


def inputs_of(field: Field) -> st.SearchStrategy[list[float] | list[int]]:
    one: st.SearchStrategy[Any]
    if isinstance(field, FixedPoint):
        edges = st.sampled_from([field.clip, -field.clip, 0.0])
        one = st.floats(-field.clip, field.clip) | edges
    else:
        one = st.integers(-field.max, field.max) | st.sampled_from([field.max, -field.max])
    return st.lists(one, min_size=field.length, max_size=field.length)


@settings(max_examples=examples(150), deadline=None)
@given(rounds())
def test_sums_are_exact_and_means_within_the_bound(
    case: tuple[Schema, list[tuple[dict[str, Any], int]]],
) -> None:
    schema, inputs = case
    result = aggregate(schema, inputs)
    weight = sum(w for _, w in inputs)
    assert result.weight == (weight if schema.weighted else len(inputs))
    for name, field in schema.fields:
        columns = [[Fraction(x) for x in values[name]] for values, _ in inputs]
        if isinstance(field, Integer):
            exact = [sum(column) for column in zip(*columns, strict=True)]
            assert result.sum[name].tolist() == result.levels[name].tolist() == exact
            assert result.mean[name].tolist() == pytest.approx([s / len(inputs) for s in exact])
            continue
        weights = [w for _, w in inputs]
        for i, mean in enumerate(result.mean[name].tolist()):
            exact_mean = sum(w * c[i] for w, c in zip(weights, columns, strict=True)) / weight
            assert abs(Fraction(mean) - exact_mean) <= Fraction(field.max_error)
            assert result.sum[name][i] == result.levels[name][i] * field.step


@settings(max_examples=examples(100), deadline=None)
@given(
    st.integers(1, 2**20),
    st.integers(2, 32),
    st.sampled_from([1, 2, 1000, 2**12]),
    st.sampled_from([1, -1]),
)
def test_extremes_are_exact_at_the_head_room_limit(
    clients: int, bits: int, max_weight: int, sign: int
) -> None:
    """Rows 83, 84: every client at ±clip with the largest weight; the sum of n equal vectors is
    n times one, modulo the ring, so no n need be encoded."""
    field = FixedPoint(2, 1.0, bits)
    try:
        schema = Schema.of({"u": field}, clients, max_weight)
    except HeadroomError:
        assert 2 * clients * max_weight * field.levels + 1 > 2**64
        return
    vector = encode(schema, {"u": [sign * 1.0, -sign * 1.0]}, max_weight, os.urandom).vector
    [segment] = schema.layout.segments
    total = (
        np.array(
            [int(e) * clients % segment.group.modulus for e in vector[0]], segment.group.dtype
        ),
    )
    check_counts(schema, total, clients)
    result = decode(schema, total, clients)
    extreme = clients * max_weight * field.levels
    assert result.levels["u"].tolist() == [sign * extreme, -sign * extreme]
    assert result.weight == clients * max_weight


def test_one_client_more_gets_a_wider_ring() -> None:
    """Row 83: at M = 127 the width is 8 and -127..127 are all used; M = 128 takes 9."""
    field = Integer(1, 1)
    assert Schema.of({"h": field}, 127).layout.ring_bits == 8
    assert Schema.of({"h": field}, 128).layout.ring_bits == 9
    schema = Schema.of({"h": field}, 127)
    for sign in (1, -1):
        result = aggregate(schema, [({"h": [sign]}, 1)] * 127)
        assert result.sum["h"].tolist() == [127 * sign]


def test_the_whole_of_64_bits_is_used() -> None:
    """Rows 83, 84: M = 2^63 - 1 is exact, and the sum's sign is recovered."""
    schema = Schema.of({"h": Integer(2, 2**63 - 1)}, 1)
    result = aggregate(schema, [({"h": [2**63 - 1, -(2**63) + 1]}, 1)])
    assert result.sum["h"].tolist() == [2**63 - 1, -(2**63) + 1]
    with pytest.raises(HeadroomError):
        Schema.of({"h": Integer(2, 2**63 - 1)}, 2)


SCHEMA = Schema.of(
    {"u": FixedPoint(3, 1.0, 16), "h": Integer(2, 9), "v": FixedPoint(1, 2.0, 4)}, 10, 7
)
VALUES: dict[str, Any] = {"u": [0.5, -1.0, 2.0], "h": [9, -9], "v": np.array([2.0])}


def encoded(weight: Any = 1, **changes: Any) -> Encoded:
    """In a plan whose structure is that of the mappings among the changes, if there are any."""
    return bound(SCHEMA, {**VALUES, **changes}, weight)


def bound(schema: Schema, values: dict[str, Any], weight: Any = 1) -> Encoded:
    digests: list[bytes] = []
    for name, field in schema.given:
        if isinstance(values[name], dict):
            of = Structure.of(values[name], integers=isinstance(field, Integer))
            digests += of.digests(name, field, len(digests))
    return encode(schema, values, weight, os.urandom, digests)


def test_the_encoding_is_as_specified() -> None:
    """§5: v has width 10, h 8, u 23; each at its slot, weight and counts after it."""
    assert [s.group.width for s in SCHEMA.layout.segments] == [8, 10, 23]
    h, v, u = encoded(weight=3).vector
    assert h.tolist() == [9, 2**8 - 9] + [1] * 4
    assert v.tolist() == [21] + [1] * 4
    assert u.tolist() == [3 * 16384, 2**23 - 3 * 32767, 3 * 32767, 3, 1, 1]


def test_clipped_values_are_counted_per_field() -> None:
    """Row 82."""
    assert encoded().clipped == {"u": 1, "v": 0}
    assert repr(encoded()) == "Encoded(clipped={'u': 1, 'v': 0})"


@pytest.mark.parametrize("weight", [-1, 8, 2**64, 1.0, 2.5, float("nan"), "1", None, True])
def test_bad_weights(weight: Any) -> None:
    """Row 85: negative, too large, NaN and what is no integer."""
    with pytest.raises(RangeError, match="weight"):
        encoded(weight=weight)


def test_numpy_integers_are_weights() -> None:
    assert encoded(weight=np.int64(7)).vector[2][3] == 7


def test_fields_must_be_all_there_and_no_others() -> None:
    with pytest.raises(InputError, match="missing fields: 'h'; unknown fields: 1 of .* 'u', 'v'$"):
        encode(SCHEMA, {"u": [0] * 3, "v": [0], "x": [0]}, 1, os.urandom)


@pytest.mark.parametrize("values", [[1.0, 2.0], np.zeros(2, bool), [10**30, 0], ["1", "2"]])
def test_integer_fields_take_integers_only(values: Any) -> None:
    """Row 81."""
    with pytest.raises(InputError, match="'h'"):
        encoded(h=values)


@pytest.mark.parametrize(
    ("values", "index"),
    [
        ([0, 10], 1),
        ([-10, 0], 0),
        (np.array([0, 2**64 - 1], np.uint64), 1),
        (np.array([-(2**63), 0]), 0),
        ({"a": [9], "b": [10]}, 0),
    ],
)
def test_integers_beyond_max_are_refused(values: Any, index: int) -> None:
    """Rows 82, 83: they would void the proof of head-room."""
    where = "entry 'b' of field 'h'" if isinstance(values, dict) else "field 'h'"
    with pytest.raises(RangeError, match=f"^{where}: beyond ±9 at index {index}"):
        encoded(h=values)


@pytest.mark.parametrize("dtype", ["i1", "u1", ">i4", "u8", "i8"])
def test_every_integer_type_is_taken(dtype: str) -> None:
    assert encoded(h=np.array([9, 0], dtype)).vector[0][:2].tolist() == [9, 0]


def test_nan_is_refused_with_field_and_index() -> None:
    """Row 80."""
    with pytest.raises(RangeError, match="'u': NaN or infinite at index 2"):
        encoded(u=[0, 0, np.nan])


def test_a_mapping_is_flattened_in_its_own_order() -> None:
    """specs/02-quantization.md §5.7."""
    mapping = {"w": np.array([[0.5], [-1.0]], np.float32), "b": np.array(2.0)}
    assert encoded(u=mapping).vector[2].tolist() == encoded().vector[2].tolist()
    assert encoded(h={"b": [9], "a": np.array([[-9]])}).vector[0].tolist() == (
        encoded().vector[0].tolist()
    )
    with pytest.raises(ParameterError, match="'u' has 2 elements, and the field 3"):
        encoded(u={"w": [0.5], "b": [1.0]})
    with pytest.raises(ParameterError, match="'h' has 0 elements, and the field 2"):
        encoded(h={})


def sum_of_three() -> RingVector:
    return total_of(SCHEMA, [encoded(weight=w).vector for w in (1, 2, 3)])


def test_counts_are_checked_in_every_segment() -> None:
    """Row 59: the sum is withheld; the message names the segment and no number."""
    check_counts(SCHEMA, sum_of_three(), 3)
    for slot in SCHEMA.count_slots:
        for k in range(slot.length):
            bad = sum_of_three()
            bad[slot.segment][slot.start + k] += 1
            with pytest.raises(IntegrityError, match=f"^segment {slot.segment}: the count lane"):
                check_counts(SCHEMA, bad, 3)
    for contributors in (2, 4, 3 + 2**8):
        with pytest.raises(IntegrityError):
            check_counts(SCHEMA, sum_of_three(), contributors)


def test_lanes_are_read_modulo_their_ring() -> None:
    """§1.3: a sum that was not reduced yet decodes to the same."""
    plain = sum_of_three()
    unreduced = tuple(
        lane + lane.dtype.type(s.group.modulus) if s.group.width < s.group.lane_bits else lane
        for lane, s in zip(plain, SCHEMA.layout.segments, strict=True)
    )
    check_counts(SCHEMA, unreduced, 3)
    expected, result = decode(SCHEMA, plain, 3), decode(SCHEMA, unreduced, 3)
    assert result.weight == expected.weight == 6
    assert {n: v.tolist() for n, v in result.levels.items()} == {
        n: v.tolist() for n, v in expected.levels.items()
    }


@pytest.mark.parametrize("weight", [22, 2**23 - 1])
def test_an_impossible_total_weight_withholds_the_sum(weight: int) -> None:
    """§5.6: three clients of weight 0 to 7 have at most 21 in all."""
    total = sum_of_three()
    slot = SCHEMA.weight_slot
    assert slot is not None
    total[slot.segment][slot.start] = weight
    with pytest.raises(IntegrityError, match="total weight"):
        decode(SCHEMA, total, 3)


def test_a_total_weight_of_0_is_an_abort() -> None:
    """Row 85, §5.6: never a division."""
    total = sum_of_three()
    slot = SCHEMA.weight_slot
    assert slot is not None
    total[slot.segment][slot.start] = 0
    with pytest.raises(BelowThreshold, match="every weight is 0"):
        decode(SCHEMA, total, 3)


def test_weight_0_adds_nothing_but_to_integers() -> None:
    """§4.6. A plan without weights has none of 0, and says what its client does instead."""
    slot = SCHEMA.weight_slot
    assert slot is not None
    vector = encoded(weight=0).vector
    assert vector[slot.segment][slot.start] == 0
    for (_, field), at in zip(SCHEMA.fields, SCHEMA.slots, strict=True):
        part = vector[at.segment][at.start : at.start + at.length]
        assert not part.any() == isinstance(field, FixedPoint)
    with pytest.raises(RangeError, match="declines the round, or .* a max_weight above 1"):
        encode(Schema.of({"u": FixedPoint(1, 1.0, 8)}, 3), {"u": [0.5]}, 0, os.urandom)


def test_an_empty_aggregate_is_an_abort() -> None:
    """Row 85: never a ZeroDivisionError."""
    with pytest.raises(BelowThreshold, match="empty aggregate"):
        decode(SCHEMA, SCHEMA.layout.zeros(), 0)


@pytest.mark.parametrize("contributors", [-1, 11])
def test_more_contributors_than_head_room(contributors: int) -> None:
    with pytest.raises(ParameterError, match="the schema is for 10"):
        decode(SCHEMA, sum_of_three(), contributors)


def test_a_vector_of_another_layout_is_refused() -> None:
    with pytest.raises(InputError, match="3 segments expected"):
        decode(SCHEMA, sum_of_three()[:2], 3)
    short = (*sum_of_three()[:2], sum_of_three()[2][:-1])
    with pytest.raises(InputError, match="segment 2"):
        check_counts(SCHEMA, short, 3)


@pytest.mark.parametrize("clip", [0.1, 0.3, 0.7])
def test_entries_at_the_bound_of_their_own_type_are_within_it(clip: float) -> None:
    """specs/02-quantization.md §4.3: whatever the types of the entries beside them."""
    schema = Schema.of({"u": FixedPoint(3, clip, 32, excess="error")}, 5)
    half, single = np.float16(clip), np.float32(clip)
    for mapping in (
        {"a": np.array([single, -single, 0], np.float32)},
        {"a": np.array([half]), "b": np.array([single]), "c": np.array([clip])},
        {"a": np.array([single]), "b": np.array([0.0, -clip])},
    ):
        assert bound(schema, {"u": mapping}).clipped == {"u": 0}
    beyond = np.nextafter(single, np.float32(1)) if single > clip else np.nextafter(clip, 1.0)
    with pytest.raises(RangeError, match="^entry .b. of field .u.: beyond .* at index 0;"):
        bound(schema, {"u": {"a": np.array([half]), "b": [beyond, 0.0]}})


def test_a_flat_model_keeps_the_type_that_all_entries_have() -> None:
    single = {"a": np.full((2, 2), 0.1, np.float32), "b": np.float32(-0.1)}
    flat = Structure.of(single).flatten(single)
    assert flat.dtype == np.float32
    schema = Schema.of({"u": FixedPoint(5, 0.1, 32, excess="error")}, 5)
    encode(schema, {"u": flat}, 1, os.urandom)
    mixed = {**single, "c": np.float64(0.5)}
    assert Structure.of(mixed).flatten(mixed).dtype == np.float64
    assert Structure.of({}).flatten({}).size == 0


LANE = Schema.of(
    {"u": FixedPoint(3, 1.0, 16), "h": Integer(2, 9), "v": FixedPoint(2, 2.0, 4)},
    10,
    7,
    clipped=True,
)


def test_the_clipped_lane_counts_what_encode_clips() -> None:
    """specs/02-quantization.md §5.8: unweighted, over every fixed-point field, and summed."""
    assert LANE.fields[-1] == ("clipped", Integer(1, 5))
    assert [name for name, _ in LANE.given] == ["u", "h", "v"]
    given = {"u": [9.0, -9.0, 0.5], "h": [9, -9], "v": [2.0, 2.5]}
    result = aggregate(LANE, [(given, 7), ({**given, "u": [0, 0, 0]}, 2), (given, 1)])
    assert result.sum["clipped"].tolist() == [3 + 1 + 3]
    assert result.sum["clipped"].dtype == np.int64
    every = {"u": [9, 9, 9], "h": [0, 0], "v": [9, 9]}
    assert aggregate(LANE, [(every, 7)] * 10).sum["clipped"].tolist() == [50]
    with pytest.raises(InputError, match="leave out 'clipped'"):
        encode(LANE, {**given, "clipped": [0]}, 1, os.urandom)
    with pytest.raises(InputError, match="unknown fields: 1"):
        encode(SCHEMA, {**VALUES, "clipped": [0]}, 1, os.urandom)


def test_what_was_clipped_is_told_in_words() -> None:
    schema = Schema.of({"u": FixedPoint(3, 0.25, 16), "v": FixedPoint(2, 2.0, 4)}, 10)
    assert clipping(schema, {"u": 0, "v": 0}) == clipping(schema, {}) == ""
    assert clipping(schema, {"u": 2, "v": 0}) == (
        "2 of 3 elements of field 'u' lay beyond ±0.25 and were clipped"
    )
    assert "7 of 30 elements of field 'u'" in clipping(schema, {"u": 7, "v": 1}, 10)
    assert "; 1 of 20 elements of field 'v' lay beyond ±2.0" in clipping(
        schema, {"u": 7, "v": 1}, 10
    )


def test_the_sums_that_a_caller_changes_are_its_own() -> None:
    """`levels` stay what was summed: a table may be made of them afterwards."""
    schema = Schema.of({"u": Integer(2, 5), "x": FixedPoint(1, 1.0, 8)}, 3)
    encoded = encode(schema, {"u": [1, 2], "x": [1.0]}, 1, os.urandom)
    decoded = decode(schema, encoded.vector, 1)
    for name in ("u", "x"):
        before = decoded.levels[name].tolist()
        decoded.sum[name][:] = 4
        assert decoded.levels[name].tolist() == before
