"""A schema's bytes: part of a plan's encoding, and so of its digest (specs/01-wire.md §4)."""

from __future__ import annotations

from secagg.errors import WireError
from secagg.fields import EXCESSES, ROUNDINGS, Field, FixedPoint, Integer
from secagg.schema import MAX_FIELDS, MAX_NAME, Schema
from secagg.wire.codec import Reader, Writer

_FIXED, _INTEGER = 1, 2


def write_schema(writer: Writer, schema: Schema) -> Writer:
    """A schema as specs/01-wire.md §4 has it; the number of clients is the plan's to write."""
    writer.u32(schema.max_weight).u32(len(schema.fields))
    for name, field in schema.fields:
        writer.prefixed(name.encode("ascii"))
        if isinstance(field, FixedPoint):
            writer.u8(_FIXED).u32(field.length).f64(field.clip).u8(field.bits)
            writer.u8(ROUNDINGS.index(field.rounding)).u8(EXCESSES.index(field.excess))
        else:
            writer.u8(_INTEGER).u32(field.length).u64(field.max)
    return writer


def read_schema(reader: Reader, clients: int) -> Schema:
    """Raises WireError for bad grammar, ParameterError for a schema that cannot be."""
    max_weight = reader.u32("max_weight")
    number = reader.count(MAX_FIELDS, "number of fields")
    return Schema(tuple(_read_field(reader) for _ in range(number)), clients, max_weight)


def _read_field(reader: Reader) -> tuple[str, Field]:
    raw = reader.prefixed(MAX_NAME, "field name")
    # latin-1 never fails; what is not printable ASCII is then refused by the Schema
    name = raw.decode("latin-1")
    kind = reader.u8("field kind")
    length = reader.u32("field length")
    if kind == _INTEGER:
        return name, Integer(length, reader.u64("field max"))
    if kind != _FIXED:
        raise WireError(f"field kind {kind} is unknown")
    clip, bits = reader.f64("clip"), reader.u8("bits")
    rounding, excess = reader.u8("rounding"), reader.u8("excess")
    if rounding >= len(ROUNDINGS) or excess >= len(EXCESSES):
        raise WireError("a rounding or excess code is unknown")
    return name, FixedPoint(length, clip, bits, ROUNDINGS[rounding], EXCESSES[excess])
