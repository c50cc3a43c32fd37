"""What a plan promises about any one unit's data, made and judged (specs/40-privacy.md §5, §7).

Made: a claim and the fields give the least noise that keeps it, whatever happens in the round that
the plan says may happen. Judged: whoever reads a plan computes what its noise is good for, and
refuses one that says more.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TypeVar

from secagg.dp.calibration import Shape, noises, possible
from secagg.dp.mechanisms import Block
from secagg.dp.release import Claim, require
from secagg.errors import ParameterError
from secagg.fields import MAX_VECTOR_BITS, MIN_BITS, Field, FixedPoint, Vector, joined
from secagg.kinds import check_bits, check_bounded, grouped
from secagg.noise import Noise, Share
from secagg.privacy import Privacy, PrivacyTerms
from secagg.protocol import OneServer, Params, ProtocolInfo, SeveralServers
from secagg.schema import Schema
from secagg.threat import Threat
from secagg.types import MIN_COHORT

_P = TypeVar("_P", bound=Params)


def agreed(
    fields: Sequence[tuple[str, Field]], max_weight: int, asked: Privacy, threat: Threat
) -> PrivacyTerms:
    """The terms of a plan with the least noise that keeps what is asked for.

    Raises ParameterError, with what would do, where there is none.
    """
    _refuse_active(threat)
    if asked.mechanism == "response":
        check_bits(fields)
    if asked.joint:
        _check_joint(fields)
    check_bounded(fields, max_weight)
    honest = _honest(threat) if asked.trust == "distributed" else 1
    claim = Claim(asked.epsilon, asked.delta, asked.rounds)
    return PrivacyTerms(
        trust=asked.trust,
        unit=asked.unit,
        examples=asked.examples or 1,
        epsilon=asked.epsilon,
        delta=asked.delta,
        rounds=asked.rounds,
        honest=honest,
        noises=_shares(fields, asked, claim, honest),
    )


def _shares(
    fields: Sequence[tuple[str, Field]], asked: Privacy, claim: Claim, honest: int
) -> tuple[Share, ...]:
    groups = grouped(fields, joint=asked.joint)
    if asked.split is None:
        parts = [Fraction(1, len(groups))] * len(groups)
    else:
        names = tuple(name for name, _ in fields)
        each = dict(zip(names, asked.parts(names), strict=True))
        parts = [sum((each[name] for name in group), Fraction(0)) for group in groups]
    if asked.mechanism == "noise":
        return _least(_together(fields, groups), parts, claim, honest)
    from secagg.dp.responses import flips  # it computes with arrays

    return flips(parts, claim)


def _check_joint(fields: Sequence[tuple[str, Field]]) -> None:
    vectors = [field for _, field in fields if isinstance(field, Vector)]
    if len(vectors) < 2:
        raise ParameterError(
            f"joint=True makes one vector of several, and the plan has {len(vectors)} Vectors: "
            "without joint= the norm of one is its own"
        )
    joined(vectors)


def _together(
    fields: Sequence[tuple[str, Field]], groups: Sequence[tuple[str, ...]]
) -> list[Field]:
    """What each group is, which has noise together."""
    named = dict(fields)
    found = []
    for names in groups:
        members = [named[name] for name in names]
        vectors = [member for member in members if isinstance(member, Vector)]
        found.append(joined(vectors) if len(members) > 1 else members[0])
    return found


def _least(
    fields: Sequence[Field], parts: Sequence[Fraction], claim: Claim, honest: int
) -> tuple[Noise, ...]:
    """A vector of fewer bits is shorter in integers, and so is the noise that it takes."""

    def shapes(bits: int) -> list[Shape]:
        return [_shape(field, part, bits) for field, part in zip(fields, parts, strict=True)]

    try:
        return noises(shapes(MAX_VECTOR_BITS), claim, honest)
    except ParameterError as refused:
        most = max((f.bits for f in fields if isinstance(f, Vector)), default=MIN_BITS)
        fewer = range(most - 1, MIN_BITS - 1, -1)
        at = bisect_left(fewer, True, key=lambda bits: possible(shapes(bits), claim, honest))
        also = f"; Vectors of {fewer[at]} bits would do" if at < len(fewer) else ""
        raise ParameterError(f"{refused}{also}") from None


def survivors(threat: Threat) -> int:
    """The fewest inputs that a sum with distributed noise is of: as many as are there when all drop
    that may, since each brings noise; fewer where a round may begin with fewer."""
    planned = threat.clients - threat.dropped
    return min(planned, threat.min_clients or planned)


def with_survivors(params: _P, threat: Threat) -> _P:
    """With as many survivors in every sum: the complete graph needs fewer for itself."""
    fewest = survivors(threat)
    if params.min_survivors >= fewest:
        return params
    changed = {"min_survivors": fewest, "min_clients": max(params.min_clients, fewest)}
    return replace(params, **changed)  # type: ignore[type-var]


def check(info: ProtocolInfo, threat: Threat, params: Params, schema: Schema) -> None:
    """Raises ParameterError with the rule of §7 that a plan breaks."""
    terms = schema.privacy
    if terms is None:
        return
    _refuse_active(threat)
    if terms.trust == "central":
        _refuse_several(info)
    if terms.trust == "distributed":
        if not info.threat_models:
            raise ParameterError(
                f"{info.name} shows the server every input by itself, and one share of noise hides "
                "none: trust='central' or trust='local' says so"
            )
        most = params.min_survivors - threat.corrupted
        if terms.honest > most:
            raise ParameterError(
                f"honest={terms.honest} shares of noise are more than the {params.min_survivors} "
                f"inputs of the smallest sum less {threat.corrupted} corrupt: at most {most} would "
                "do"
            )
    require(blocks(schema, terms.honest), Claim(terms.epsilon, terms.delta, terms.rounds))


def blocks(schema: Schema, honest: int) -> list[Block]:
    """What a sum with so many shares of noise is accounted by; none without privacy."""
    if schema.privacy is None:
        return []
    groups = grouped(schema.fields, joint=bool(schema.joint))
    fields = _together(schema.fields, groups)
    return [
        Block(noise, field.length, _norm_squared(field), honest)
        for field, noise in zip(fields, schema.privacy.noises, strict=True)
    ]


def _honest(threat: Threat) -> int:
    honest = survivors(threat) - threat.corrupted
    if honest < 1:
        raise ParameterError(
            f"no honest share of noise is sure to be in a sum: {survivors(threat)} inputs survive, "
            f"and {threat.corrupted} may be corrupt; plan for {' or '.join(_more_honest(threat))}"
        )
    return honest


def _more_honest(threat: Threat) -> Iterator[str]:
    """Each a change that leaves an honest share by itself."""
    if threat.clients < MIN_COHORT:
        yield f"{MIN_COHORT} clients or more with none corrupt: fewer have no sum"
        return
    yield f"at most {survivors(threat) - 1} corrupt"
    asked, needed = threat.min_clients, threat.corrupted + 1
    begin = f"a min_clients of at least {needed}" if asked and asked < needed else ""
    if threat.clients - threat.dropped >= needed:
        yield begin
    elif threat.clients >= needed:
        fewer = f"at most {threat.clients - needed} that drop"
        yield f"{fewer} and {begin}" if begin else fewer


def _shape(field: Field, part: Fraction, bits: int) -> Shape:
    """bits: that a Vector may have at most."""
    if isinstance(field, Vector):
        field = replace(field, bits=min(field.bits, bits))
    return Shape(field.length, _norm_squared(field), isinstance(field, Vector), part)


def _norm_squared(field: Field) -> int:
    if isinstance(field, FixedPoint):  # impossible after check_bounded
        raise ParameterError("a FixedPoint bounds each element, and no norm")
    return field.norm_squared


def _refuse_active(threat: Threat) -> None:
    if threat.adversary == "active":
        raise ParameterError(
            "privacy= is for semi-honest plans: a server that lies could have sums of fewer shares "
            "of noise than are counted on; adversary='semi-honest' would do, against a server that "
            "does as it should, and adversary='active' without privacy= against one that lies"
        )


def _refuse_several(info: ProtocolInfo) -> None:
    match info.family:
        case OneServer():
            pass
        case SeveralServers():
            raise ParameterError(
                f"central noise is added by the one that has the sum, and no server of {info.name} "
                "has it: trust='distributed' would do"
            )
