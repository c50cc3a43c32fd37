"""A schema's bytes, and those of its privacy: parts of a plan's encoding, and so of its digest
(specs/01-wire.md §4)."""

from __future__ import annotations

from secagg.errors import WireError
from secagg.fields import EXCESSES, ROUNDINGS, Field, FixedPoint, Integer, Vector
from secagg.noise import Kind, Share, share
from secagg.privacy import TRUSTS, UNITS, PrivacyTerms
from secagg.schema import MAX_FIELDS, MAX_NAME, Schema
from secagg.wire.codec import Reader, Writer

_FIXED, _INTEGER, _VECTOR, _BOUNDED = 1, 2, 3, 4
"""The last is an integer with a sensitivity."""


def write_schema(writer: Writer, schema: Schema) -> Writer:
    """A schema as specs/01-wire.md §4 has it; the number of clients is the plan's to write."""
    writer.u32(schema.max_weight).u32(len(schema.fields))
    for name, field in schema.fields:
        _write_field(writer.prefixed(name.encode("ascii")), field)
    return writer


def read_fields(reader: Reader) -> tuple[int, tuple[tuple[str, Field], ...]]:
    """max_weight and the fields: all that is left.

    Raises WireError for bad grammar, ParameterError for a field that cannot be.
    """
    max_weight = reader.u32("max_weight")
    number = reader.count(MAX_FIELDS, "number of fields")
    fields = tuple(_read_field(reader) for _ in range(number))
    reader.finish()
    return max_weight, fields


def write_privacy(writer: Writer, privacy: PrivacyTerms) -> Writer:
    """specs/01-wire.md §4, section 5."""
    writer.u8(1 + TRUSTS.index(privacy.trust)).u8(1 + UNITS.index(privacy.unit))
    writer.u32(privacy.examples).f64(privacy.epsilon).f64(privacy.delta)
    writer.u32(privacy.rounds).u32(privacy.honest)
    for noise in privacy.noises:
        writer.u8(noise.kind).f64(noise.number)
    return writer


def read_privacy(reader: Reader) -> PrivacyTerms:
    """All that is left: whether there is noise for each field, the schema sees.

    Raises WireError for bad grammar, ParameterError for numbers that no plan has.
    """
    trust, unit = reader.u8("trust"), reader.u8("unit")
    if not (1 <= trust <= len(TRUSTS) and 1 <= unit <= len(UNITS)):
        raise WireError("a trust or unit code is unknown")
    examples, epsilon, delta = reader.u32("examples"), reader.f64("epsilon"), reader.f64("delta")
    rounds, honest = reader.u32("rounds"), reader.u32("honest")
    noises = []
    while reader.remaining:
        noises.append(_read_noise(reader))
    return PrivacyTerms(
        TRUSTS[trust - 1], UNITS[unit - 1], examples, epsilon, delta, rounds, honest, tuple(noises)
    )


def _write_field(writer: Writer, field: Field) -> None:
    match field:
        case FixedPoint():
            writer.u8(_FIXED).u32(field.length).f64(field.clip).u8(field.bits)
            writer.u8(ROUNDINGS.index(field.rounding)).u8(EXCESSES.index(field.excess))
        case Vector():
            writer.u8(_VECTOR).u32(field.length).f64(field.norm).u8(field.bits)
        case Integer(sensitivity=None):
            writer.u8(_INTEGER).u32(field.length).u64(field.max)
        case Integer(sensitivity=float(bound)):
            writer.u8(_BOUNDED).u32(field.length).u64(field.max).f64(bound)


def _read_field(reader: Reader) -> tuple[str, Field]:
    raw = reader.prefixed(MAX_NAME, "field name")
    # latin-1 never fails; what is not printable ASCII is then refused by the Schema
    name = raw.decode("latin-1")
    kind = reader.u8("field kind")
    length = reader.u32("field length")
    match kind:
        case 1:
            return name, _read_fixed(reader, length)
        case 2:
            return name, Integer(length, reader.u64("field max"))
        case 3:
            return name, Vector(length, reader.f64("norm"), reader.u8("bits"))
        case 4:
            return name, Integer(length, reader.u64("field max"), reader.f64("sensitivity"))
        case _:
            raise WireError(f"field kind {kind} is unknown")


def _read_fixed(reader: Reader, length: int) -> FixedPoint:
    clip, bits = reader.f64("clip"), reader.u8("bits")
    rounding, excess = reader.u8("rounding"), reader.u8("excess")
    if rounding >= len(ROUNDINGS) or excess >= len(EXCESSES):
        raise WireError("a rounding or excess code is unknown")
    return FixedPoint(length, clip, bits, ROUNDINGS[rounding], EXCESSES[excess])


def _read_noise(reader: Reader) -> Share:
    kind, number = reader.u8("kind of noise"), reader.f64("variance")
    if kind not in list(Kind):
        raise WireError(f"noise of kind {kind} is unknown")
    return share(Kind(kind), number)
