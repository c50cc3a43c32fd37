"""A schema's bytes: specs/01-wire.md §4."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import ParameterError, SecAggError, TooLarge, Truncated, WireError
from secagg.fields import Field, FixedPoint, Integer
from secagg.schema import CLIPPED, MAX_FIELDS, Schema
from secagg.wire.codec import Reader, Writer
from secagg.wire.schema import read_fields, write_schema
from tests.soak import examples

names = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=10).filter(
    lambda name: name != CLIPPED
)  # Hypothesis tries the words that it finds in the code
fields = st.builds(
    FixedPoint,
    length=st.integers(1, 2**32 - 1),
    clip=st.floats(1e-6, 1e6),
    bits=st.integers(2, 24),
    rounding=st.sampled_from(["nearest", "stochastic"]),
    excess=st.sampled_from(["clip", "error"]),
) | st.builds(Integer, length=st.integers(1, 2**32 - 1), max=st.integers(1, 2**50))


def encoded(schema: Schema) -> bytes:
    return write_schema(Writer(), schema).finish()


def decoded(data: bytes, clients: int) -> Schema:
    max_weight, fields = read_fields(Reader(data))
    return Schema(fields, clients, max_weight)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names, fields, min_size=1, max_size=5), st.integers(1, 1000))
def test_a_schema_round_trips(chosen: dict[str, Field], clients: int) -> None:
    """Row 23."""
    schema = Schema.of(chosen, clients)
    assert decoded(encoded(schema), clients) == schema


WEIGHTED = Schema.of({"u": FixedPoint(3, 1.0, 8), "h": Integer(2, 5)}, 10, 7)
DATA = encoded(WEIGHTED)


def test_the_bytes_are_as_specified() -> None:
    assert DATA.hex() == (
        "00000007" "00000002"
        "00000001" "75" "01" "00000003" "3ff0000000000000" "08" "00" "00"
        "00000001" "68" "02" "00000002" "0000000000000005"
    )  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(st.integers(0, 8 * len(DATA) - 1))
def test_a_flipped_bit_is_refused_or_another_schema(bit: int) -> None:
    """Row 23: whatever is accepted encodes back to the same bytes; all else is typed."""
    flipped = bytearray(DATA)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        schema = decoded(bytes(flipped), 10)
    except SecAggError:
        return
    assert schema != WEIGHTED
    assert encoded(schema) == flipped


def test_every_truncation_is_refused() -> None:
    """Row 2."""
    for size in range(len(DATA)):
        with pytest.raises(Truncated):
            decoded(DATA[:size], 10)


def test_too_many_fields_are_refused_before_they_are_read() -> None:
    """Rows 5, 11."""
    with pytest.raises(TooLarge, match="number of fields"):
        decoded(Writer().u32(1).u32(MAX_FIELDS + 1).finish(), 10)
    with pytest.raises(TooLarge, match="field name"):
        decoded(Writer().u32(1).u32(1).u32(256).finish(), 10)


def integer_field(name: bytes) -> bytes:
    return Writer().prefixed(name).u8(2).u32(1).u64(1).finish()


@pytest.mark.parametrize("name", [b"", b"\xff\xfe", "é".encode(), b"a\0b", b"a\nb", b"\x7f"])
def test_names_that_are_not_printable_ascii(name: bytes) -> None:
    """Row 18."""
    with pytest.raises(ParameterError, match="name"):
        decoded(Writer().u32(1).u32(1).raw(integer_field(name)).finish(), 10)


def test_a_repeated_name_is_refused() -> None:
    """Row 9."""
    with pytest.raises(ParameterError, match="distinct"):
        decoded(Writer().u32(1).u32(2).raw(integer_field(b"a") * 2).finish(), 10)


@pytest.mark.parametrize(
    ("kind", "rounding", "excess"), [(0, 0, 0), (5, 0, 0), (1, 2, 0), (1, 0, 2)]
)
def test_unknown_codes_are_refused(kind: int, rounding: int, excess: int) -> None:
    field = Writer().prefixed(b"a").u8(kind).u32(1).f64(1.0).u8(8).u8(rounding).u8(excess)
    with pytest.raises(WireError, match="unknown"):
        decoded(Writer().u32(1).u32(1).raw(field.finish()).finish(), 10)


@pytest.mark.parametrize("clip", [float("nan"), float("inf"), 0.0, -1.0])
def test_impossible_clips_are_refused(clip: float) -> None:
    """Row 14."""
    field = Writer().prefixed(b"a").u8(1).u32(1).f64(clip).u8(8).u8(0).u8(0)
    with pytest.raises(ParameterError, match="clip"):
        decoded(Writer().u32(1).u32(1).raw(field.finish()).finish(), 10)
