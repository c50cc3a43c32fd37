"""What is said of values that are cut, or made shorter, to fit a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from secagg.bounded import norm_of
from secagg.fields import Field, FixedPoint, Vector
from secagg.records import Values, flat_input
from secagg.schema import Schema
from secagg.structure import checked


def clipping(schema: Schema, clipped: Mapping[str, int], clients: int = 1) -> str:
    """What to tell a person of values that were clipped; nothing where none was.

    clipped: by field, of `clients` inputs together.
    """
    fields = dict(schema.given)
    long = {name: number for name, number in clipped.items() if number}
    said = [_clipping(n, fields[n], k, clients) for n, k in long.items() if n not in schema.joint]
    if together := [name for name in long if name in schema.joint]:
        said.append(
            f"{long[together[0]]} vectors of the fields {', '.join(map(repr, together))} together, "
            "each in units of its norm, were longer than 1 and made as short"
        )
    return "; ".join(said)


def _clipping(name: str, field: Field, number: int, clients: int) -> str:
    if isinstance(field, FixedPoint):
        return (
            f"{number} of {clients * field.length} elements of field {name!r} lay beyond "
            f"±{field.clip!r} and were clipped"
        )
    norm = field.norm if isinstance(field, Vector) else field.sensitivity
    return f"{number} vectors of field {name!r} were longer than {norm!r} and made as short"


def within(schema: Schema, values: Mapping[str, Values], structure: Sequence[bytes] = ()) -> bool:
    """Whether a client's Vectors, all together where they are joint, are no longer than they may
    be, as rounding finds (specs/40-privacy.md §12.1). values: of every field. Raises
    InputError as `encode` does."""
    values = checked(schema.given, values, structure)
    vectors = [(name, field) for name, field in schema.given if isinstance(field, Vector)]
    parts, norm = [], 1.0 if schema.joint else vectors[0][1].norm
    for name, field in vectors:
        with np.errstate(over="ignore", invalid="ignore"):
            reals = np.array(flat_input(values[name], field, name), np.float64)
            parts.append(reals / field.norm if schema.joint else reals)
    found, exponent = norm_of(np.concatenate(parts))
    return found <= math.ldexp(norm, -exponent)
