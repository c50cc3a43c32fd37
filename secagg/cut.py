"""What a person is told of values that were cut, or made shorter, to fit a plan."""

from __future__ import annotations

from collections.abc import Mapping

from secagg.fields import Field, FixedPoint, Vector
from secagg.schema import Schema


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
