"""Fields and the place of each in a vector: specs/02-quantization.md §3 to §5."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import HeadroomError, ParameterError
from secagg.fields import ROUNDINGS, Field, FixedPoint, Integer, Rounding
from secagg.mask import MAX_BLOCKS
from secagg.quantize import dequantize
from secagg.ring import Ring
from secagg.schema import COUNT_BITS, MAX_STREAM, Schema
from secagg.types import MAX_CLIENTS

fixed = st.builds(FixedPoint, length=st.integers(1, 50), clip=st.just(1.0), bits=st.integers(2, 32))
integer = st.builds(Integer, length=st.integers(1, 50), max=st.integers(1, 2**40))
schemas = st.builds(
    lambda first, others, clients, weight: Schema.of(
        {"first": first, **{f"f{i}": f for i, f in enumerate(others)}}, clients, weight
    ),
    fixed,
    st.lists(fixed | integer, max_size=8),
    st.integers(1, 2**14),
    st.sampled_from([1, 2, 100]),
)


@settings(max_examples=200, deadline=None)
@given(schemas)
def test_every_element_has_one_place(schema: Schema) -> None:
    """§5.1, §5.2, §5.4: slots tile the segments: data, then the weight, then the counts."""
    layout = schema.layout
    weight = [schema.weight_slot] if schema.weight_slot else []
    for number, segment in enumerate(layout.segments):
        slots = [s for s in [*schema.slots, *weight, *schema.count_slots] if s.segment == number]
        at = 0
        for slot in slots:
            assert slot.start == at
            at += slot.length
        assert at == segment.length
        assert slots[-1].name == "count"
        assert slots[-1].length == math.ceil(COUNT_BITS / segment.group.width)
    widths = [segment.group.width for segment in layout.segments]
    assert widths == sorted(set(widths))


@settings(max_examples=200, deadline=None)
@given(schemas)
def test_every_field_lies_in_a_ring_that_holds_its_sum(schema: Schema) -> None:
    """§3: row 83. And the counts of all clients fit every ring, the weights the widest."""
    for (_, field), slot in zip(schema.fields, schema.slots, strict=True):
        each = field.max if isinstance(field, Integer) else field.levels * schema.max_weight
        width = schema.layout.segments[slot.segment].group.width
        assert 2 ** (width - 1) > schema.clients * each >= 2 ** (width - 2)
    for segment in schema.layout.segments:
        assert schema.clients < 2 ** (segment.group.width - 1)
    assert schema.clients * schema.max_weight < 2 ** (schema.layout.ring_bits - 1)


def test_the_weight_lane_is_there_iff_weights_are() -> None:
    field = FixedPoint(4, 1.0, 8)
    assert Schema.of({"u": field}, 5, 1).weight_slot is None
    slot = Schema.of({"u": field, "h": Integer(2, 1)}, 5, 2).weight_slot
    assert slot is not None
    assert (slot.segment, slot.start, slot.length) == (1, 4, 1)


def test_fields_of_one_width_share_a_segment_in_plan_order() -> None:
    schema = Schema.of({"b": Integer(2, 3), "x": FixedPoint(3, 1.0, 9), "a": Integer(4, 3)}, 4)
    assert [(s.name, s.segment, s.start) for s in schema.slots] == [
        ("b", 0, 0),
        ("x", 1, 0),
        ("a", 0, 2),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        (0, 1.0, 8), (-1, 1.0, 8), (1 << 32, 1.0, 8), (True, 1.0, 8), (1.0, 1.0, 8),
        (1, 0.0, 8), (1, -1.0, 8), (1, math.nan, 8), (1, math.inf, 8), (1, 5e-324, 8),
        (1, 1.0, 1), (1, 1.0, 33),
        (1, 1.0, 8, "down"), (1, 1.0, 8, "nearest", "ignore"),
    ],
)  # fmt: skip
def test_fixed_points_that_cannot_be(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ParameterError):
        FixedPoint(*arguments)


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (1, -1), (1, True), (1, 1.5), (1, 2**63)])
def test_integers_that_cannot_be(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ParameterError):
        Integer(*arguments)


def test_levels_and_steps() -> None:
    """§4.1: symmetric, so that every level has its negation."""
    field = FixedPoint(1, 2.54, 8)
    assert field.levels == 127
    assert field.step == pytest.approx(0.02)
    assert field.step / 2 < field.max_error < field.step / 2 * 1.001
    assert FixedPoint(1, 2.54, 8, "stochastic").max_error > field.step


@pytest.mark.parametrize(
    ("fields", "clients", "max_weight"),
    [
        ({}, 5, 1),
        ({"": Integer(1, 1)}, 5, 1),
        ({"é": Integer(1, 1)}, 5, 1),
        ({"a\n": Integer(1, 1)}, 5, 1),
        ({"a\u202e": Integer(1, 1)}, 5, 1),
        ({"a" * 256: Integer(1, 1)}, 5, 1),
        ({"a": Integer(1, 1)}, 0, 1),
        ({"a": Integer(1, 1)}, MAX_CLIENTS + 1, 1),
        ({"a": FixedPoint(1, 1.0, 8)}, 5, 0),
        ({"a": FixedPoint(1, 1.0, 8)}, 5, 1 << 32),
        ({"a": Integer(1, 1)}, 5, 2),
    ],
)
def test_schemas_that_cannot_be(fields: dict[str, Field], clients: int, max_weight: int) -> None:
    """Row 18: names are safe in logs."""
    with pytest.raises(ParameterError):
        Schema.of(fields, clients, max_weight)


@pytest.mark.parametrize(
    "fields",
    [
        {"clipped": FixedPoint(3, 1.0, 8)},
        {"clipped": Integer(1, 3)},
        {"clipped": Integer(1, 3), "u": FixedPoint(3, 1.0, 8)},
        {"u": FixedPoint(3, 1.0, 8), "clipped": Integer(1, 4)},
        {"u": FixedPoint(3, 1.0, 8), "clipped": Integer(2, 3)},
        {"u": Integer(3, 3), "clipped": Integer(1, 3)},
    ],
)
def test_the_name_of_the_clipped_lane_is_its_own(fields: dict[str, Field]) -> None:
    """specs/02-quantization.md §5.8: also in a plan that was received."""
    with pytest.raises(ParameterError, match="'clipped' is kept for the lane"):
        Schema.of(fields, 5)


def test_the_clipped_lane_comes_last_and_bounds_what_can_be_clipped() -> None:
    u, v = FixedPoint(3, 1.0, 8), FixedPoint(4, 1.0, 12)
    made = Schema.of({"u": u, "h": Integer(9, 2), "v": v}, 5, clipped=True)
    assert made.fields[-1] == ("clipped", Integer(1, 7))
    assert made == Schema.of({"u": u, "h": Integer(9, 2), "v": v, "clipped": Integer(1, 7)}, 5)
    assert made.counts_clipped and not Schema.of({"u": u}, 5).counts_clipped
    with pytest.raises(ParameterError, match="is kept for the lane"):
        Schema.of({"u": u, "clipped": Integer(1, 3)}, 5, clipped=True)
    with pytest.raises(ParameterError, match="clipped needs a fixed-point field"):
        Schema.of({"h": Integer(1, 1)}, 5, clipped=True)


def test_repeated_names_are_refused() -> None:
    """Row 9."""
    with pytest.raises(ParameterError, match="distinct"):
        Schema((("a", Integer(1, 1)), ("a", Integer(2, 1))), 5)


def test_head_room_is_refused_with_its_proof() -> None:
    """Row 83: 2^20 clients * 2^12 * (2^31 - 1) is below 2^63; one more of weight is not."""
    field = FixedPoint(1, 1.0, 32)
    assert Schema.of({"u": field}, 2**20, 2**12).layout.ring_bits == 64
    with pytest.raises(HeadroomError, match=r"field 'u': the sum of 1048576 clients \* 4097"):
        Schema.of({"u": field}, 2**20, 2**12 + 1)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(2, 32),
    st.integers(1, MAX_CLIENTS),
    st.integers(1, 2**32 - 1),
    st.floats(0.4, 1.2),
    st.sampled_from(ROUNDINGS),
)
def test_every_sum_of_an_accepted_schema_is_a_float(
    bits: int, clients: int, weight: int, share: float, rounding: Rounding
) -> None:
    """specs/02-quantization.md §3.4: with a clip around where sums leave float64, a schema is
    refused, or whatever its ring holds is read back as numbers, and so are all bounds."""
    clip = share * (sys.float_info.max / 2 / (clients * weight))
    try:
        field = FixedPoint(1, clip, bits, rounding)
        schema = Schema.of({"u": field}, clients, weight)
    except HeadroomError as error:
        _possible(error, clients, weight, bits)
        return
    ring = schema.ring_of(schema.slots[0])
    ends = np.array([ring.modulus // 2, ring.modulus // 2 - 1], ring.dtype)
    with np.errstate(all="raise"):
        [low], [high] = (dequantize(_as_levels(end, ring), field.step) for end in ends)
    assert low < 0 < high and math.isfinite(low)
    assert math.isfinite(2 * clients * weight * field.levels * field.step)
    assert math.isfinite(clients * weight * field.max_error)


def _as_levels(residue: np.unsignedinteger[Any], ring: Ring) -> npt.NDArray[np.int64]:
    level = int(residue) - (ring.modulus if int(residue) >= ring.modulus // 2 else 0)
    return np.array([level], np.int64)


def _possible(error: HeadroomError, clients: int, weight: int, bits: int) -> None:
    """The clip that a refusal calls possible is, unless the ring is what was too small."""
    if (told := re.search(r"a clip of (\S+) is possible", str(error))) is None:
        assert clients * weight * ((1 << bits - 1) - 1) >= 1 << 63 or clients * weight == 1
        return
    Schema.of({"u": FixedPoint(1, float(told[1]), bits)}, clients, weight)


@pytest.mark.parametrize("clip", [1e308, 8.99e307, 1.7e308])
def test_a_clip_that_no_sum_can_have_is_refused_with_what_would_do(clip: float) -> None:
    with pytest.raises(HeadroomError, match="too large: from -clip to clip .* a larger unit"):
        FixedPoint(1, clip, 16)


def test_a_sum_beyond_float64_is_refused_for_clients_and_for_weights() -> None:
    """Each alone would be a sum of `inf` that nobody is told of."""
    Schema.of({"u": FixedPoint(1, 8.98e306, 16)}, 10)
    with pytest.raises(
        HeadroomError, match=r"'u': sums of 10 clients of clip 9e\+306 .* 8\.98e\+306"
    ):
        Schema.of({"u": FixedPoint(1, 9e306, 16)}, 10)
    with pytest.raises(HeadroomError, match=r"10 clients \* 100 \(max_weight\) .* 8\.98e\+304"):
        Schema.of({"u": FixedPoint(1, 1e307, 16)}, 10, 100)


def test_no_segment_is_longer_than_a_keys_stream() -> None:
    """specs/02-quantization.md §5.9: 2^33 elements of eight bytes, a count element among them."""
    most = {"a": Integer(2**32 - 1, 2**40), "b": Integer(2**32 - 1, 2**40), "c": Integer(1, 2**40)}
    [segment] = Schema.of(most, 3).layout.segments
    assert 8 * segment.length == MAX_STREAM == 16 * MAX_BLOCKS
    with pytest.raises(ParameterError, match=f"43 bits have {2**36 + 8} bytes .* several rounds"):
        Schema.of({**most, "c": Integer(2, 2**40)}, 3)
    Schema.of({**most, "c": Integer(2**32 - 1, 1)}, 3)  # in a segment of its own
