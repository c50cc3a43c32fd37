"""Which fields a plan may have together, and what has noise together (specs/40-privacy.md §7, §10,
§11)."""

from __future__ import annotations

from collections.abc import Sequence

from secagg.dp.calibration import kind
from secagg.errors import ParameterError
from secagg.fields import MAX_VECTOR, Field, FixedPoint, Integer, Vector
from secagg.noise import Response
from secagg.privacy import PrivacyTerms

Named = Sequence[tuple[str, Field]]


def check_exact(fields: Named, max_weight: int) -> None:
    """Of a plan without privacy: nobody would be promised what a norm or a sensitivity is for."""
    if max_weight > 1 and not any(isinstance(field, FixedPoint) for _, field in fields):
        raise ParameterError("max_weight > 1 needs a fixed-point field: integers are unweighted")
    for name, field in fields:
        if isinstance(field, Vector):
            raise ParameterError(
                f"field {name!r} is a Vector, which is for plans with privacy=: use a FixedPoint"
            )
        if isinstance(field, Integer) and field.sensitivity is not None:
            raise ParameterError(
                f"field {name!r} has a sensitivity, which is for plans with privacy=: leave it out"
            )


def check_bounded(fields: Named, max_weight: int) -> None:
    """specs/40-privacy.md §7: of all that a plan with privacy releases, what one unit may change is
    bounded. Raises ParameterError."""
    if max_weight > 1:
        raise ParameterError(
            "a plan with privacy has no weights: the total weight would be an exact output; clip "
            "each client's update instead, or count in an Integer field with a sensitivity"
        )
    for name, field in fields:
        if isinstance(field, FixedPoint):
            raise ParameterError(
                f"field {name!r} is a FixedPoint, which bounds each element and no norm: with "
                "privacy= it is a Vector, or an Integer with a sensitivity"
            )
        if isinstance(field, Integer) and field.sensitivity is None:
            raise ParameterError(
                f"field {name!r} needs a sensitivity: the largest Euclidean norm of one unit's "
                "integers"
            )


def check_bits(fields: Named) -> None:
    """specs/40-privacy.md §10.1: what is told by randomised response. Raises ParameterError."""
    for name, field in fields:
        if not isinstance(field, Integer) or (field.length, field.max) != (1, 1):
            raise ParameterError(
                f"field {name!r} is no single bit, and with mechanism='response' a client tells "
                "one: Integer(1, max=1, sensitivity=1) would do, a field for each question, or "
                "mechanism='noise'"
            )


def grouped(fields: Named, *, joint: bool) -> list[tuple[str, ...]]:
    """What has noise together: each field by itself, or, where the first of them is, all Vectors
    (specs/40-privacy.md §11)."""
    vectors = tuple(name for name, field in fields if isinstance(field, Vector))
    if not joint:
        return [(name,) for name, _ in fields]
    return [
        vectors if name in vectors else (name,) for name, _ in fields if name not in vectors[1:]
    ]


def check_noisy(fields: Named, privacy: PrivacyTerms, joint: bool) -> None:
    """All has noise, of the kind that it needs."""
    groups = grouped(fields, joint=joint)
    if len(privacy.noises) != len(groups):
        raise ParameterError(f"{len(privacy.noises)} kinds of noise for {len(fields)} fields")
    if privacy.responds:
        check_bits(fields)
        if not all(isinstance(noise, Response) for noise in privacy.noises):
            raise ParameterError("some fields of the plan have noise, and others responses")
    named = dict(fields)
    for (name, *_), noise in zip(groups, privacy.noises, strict=True):
        field = named[name]
        if field.length > MAX_VECTOR:
            raise ParameterError(
                f"field {name!r} has {field.length} elements, and one key draws the noise of "
                f"{MAX_VECTOR}: make several fields of it"
            )
        if isinstance(noise, Response):
            continue
        right = kind(isinstance(field, Vector), noise.variance)
        if noise.kind is not right:
            raise ParameterError(
                f"field {name!r}: noise of variance {noise.variance!r} is {right.name.lower()} "
                "there, by specs/40-privacy.md §3.1"
            )
