"""The sections of a plan's bytes, version 2 (specs/01-wire.md §4).

    u8 2 | u8 suite | prefixed protocol | sections: u8 number, prefixed body

A later kind of plan is a section more, and whoever does not know it refuses the plan: there is no
section that may be skipped, because what is in it may be the very thing that protects somebody.
Sections ascend, and one that says nothing is not written, so each plan has one encoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from secagg.errors import BadTag, Truncated, WireError
from secagg.schema import MAX_FIELDS, MAX_TENSORS, TENSOR_SIZE, Schema
from secagg.shown import short
from secagg.threat import Threat
from secagg.types import ADVERSARIES
from secagg.wire.codec import Reader, Writer
from secagg.wire.schema import read_fields, read_privacy, write_privacy, write_schema

THREAT, LIVENESS, SCHEMA, PARAMETERS, PRIVACY, STRUCTURE = range(1, 7)

_EVERY_PLAN = (THREAT, LIVENESS, SCHEMA, PARAMETERS)
_NAMES = {
    THREAT: "threat",
    LIVENESS: "liveness",
    SCHEMA: "schema",
    PARAMETERS: "parameters",
    PRIVACY: "privacy",
    STRUCTURE: "structure",
}
_LIMITS = {
    THREAT: 17,
    LIVENESS: 16,
    SCHEMA: 1 << 19,
    PARAMETERS: 1 << 10,
    PRIVACY: 30 + 9 * MAX_FIELDS,
    STRUCTURE: MAX_TENSORS * TENSOR_SIZE,
}


@dataclass(frozen=True, slots=True)
class Sections:
    """What they hold. Of the threat, servers and direct are in the parameters, and not here."""

    threat: Threat
    schema: Schema
    parameters: bytes
    structure: tuple[bytes, ...]

    __repr__ = short

    def write(self, writer: Writer) -> Writer:
        for number, body in self._bodies().items():
            writer.u8(number).prefixed(body)
        return writer

    def _bodies(self) -> dict[int, bytes]:
        bodies = {
            THREAT: _threat(self.threat),
            LIVENESS: _liveness(self.threat),
            SCHEMA: write_schema(Writer(), self.schema).finish(),
            PARAMETERS: self.parameters,
        }
        if self.schema.privacy is not None:
            bodies[PRIVACY] = write_privacy(Writer(), self.schema.privacy).finish()
        if self.structure:
            bodies[STRUCTURE] = b"".join(self.structure)
        return bodies

    @classmethod
    def read(cls, reader: Reader) -> Sections:
        """All that is left of the plan. First where each section begins and ends, then the bodies,
        ascending. Raises WireError, or ParameterError for numbers that no plan can have."""
        bodies = _split(reader)
        threat = _read_threat(bodies[THREAT], bodies[LIVENESS])
        max_weight, fields = read_fields(bodies[SCHEMA])
        parameters = bodies[PARAMETERS].rest()
        privacy = read_privacy(bodies[PRIVACY]) if PRIVACY in bodies else None
        schema = Schema(fields, threat.clients, max_weight, privacy)
        structure = _read_structure(bodies)
        return cls(threat, schema, parameters, structure)


def _threat(threat: Threat) -> bytes:
    writer = write_fraction(Writer().u32(threat.clients), threat.corrupt)
    return writer.u8(ADVERSARIES.index(threat.adversary)).u32(threat.population).finish()


def _liveness(threat: Threat) -> bytes:
    return write_fraction(Writer(), threat.dropout).u32(threat.liars).u32(threat.asked).finish()


def write_fraction(writer: Writer, fraction: Fraction) -> Writer:
    """Two u32, as corrupt and dropout are; a Fraction is in lowest terms."""
    return writer.u32(fraction.numerator).u32(fraction.denominator)


def _split(reader: Reader) -> dict[int, Reader]:
    bodies: dict[int, Reader] = {}
    while reader.remaining or PARAMETERS not in bodies:
        due = next((number for number in _EVERY_PLAN if number not in bodies), None)
        if due is not None and not reader.remaining:
            raise Truncated(f"the plan ends before section {due}, {_NAMES[due]}")
        after = _appended(reader.remaining) if due is None else ""
        number = reader.u8("section number")
        if number not in _NAMES:
            raise BadTag(f"section {number} is unknown; known are {sorted(_NAMES)}{after}")
        last = max(bodies, default=0)
        if number <= last:
            raise WireError(f"section {number} comes after section {last}: they ascend{after}")
        if due is not None and number != due:
            raise WireError(f"section {number} comes where {due}, {_NAMES[due]}, is due")
        bodies[number] = reader.within(_LIMITS[number], f"section {number}, {_NAMES[number]}")
    return bodies


def _appended(size: int) -> str:
    """What follows a whole plan is nearly always no section of a later release."""
    return (
        f". {size} bytes follow a complete plan: either it is of a later release, or they were "
        "appended to it, as an editor does with the end of a line"
    )


def _read_threat(threat: Reader, liveness: Reader) -> Threat:
    clients, corrupt = threat.u32("clients"), read_fraction(threat, "corrupt")
    adversary, roster = threat.u8("adversary"), threat.u32("roster")
    threat.finish()
    if adversary >= len(ADVERSARIES):
        raise WireError(f"adversary {adversary} is unknown")
    dropout = read_fraction(liveness, "dropout")
    liars, asked = liveness.u32("liars"), liveness.u32("min_clients")
    liveness.finish()
    return Threat(
        clients,
        corrupt,
        dropout,
        ADVERSARIES[adversary],
        asked or None,
        liars=liars,
        roster=roster,
    )


def read_fraction(reader: Reader, what: str) -> Fraction:
    """WireError for the denominator 0, and for one that is not in lowest terms."""
    numerator, denominator = reader.u32(what), reader.u32(what)
    if denominator == 0:
        raise WireError(f"{what} has the denominator 0")
    fraction = Fraction(numerator, denominator)
    if fraction.denominator != denominator:
        raise WireError(f"{what} is not in lowest terms")
    return fraction


def _read_structure(bodies: Mapping[int, Reader]) -> tuple[bytes, ...]:
    if STRUCTURE not in bodies:
        return ()
    body = bodies[STRUCTURE]
    if not body.remaining:
        raise WireError("section 6, structure, is empty: a plan without one leaves it out")
    return tuple(
        body.fixed(TENSOR_SIZE, "digest of a tensor")
        for _ in range(-(-body.remaining // TENSOR_SIZE))
    )
