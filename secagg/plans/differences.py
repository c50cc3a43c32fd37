"""In what two plans differ: names of settings and their numbers, for whoever has pinned one and was
told another. Two digests say that they differ, and help nobody to find out which side to change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from fractions import Fraction
from typing import Any

from secagg.plans.plan import Plan
from secagg.protocol import Params
from secagg.suite import Suite

_FEW = 4
"""How many are named: where protocols differ nearly everything does."""
_LONGEST = 60
_SHOWN = (int, float, str, Fraction, type(None))
"""What is said with both values; of all else that it differs."""


def differences(announced: Plan, pinned: Plan) -> str:
    """The first few, as in "dropout (announced 1/5, pinned 1/10), clip of field 'update' (..)"."""
    there, here = dict(_settings(announced)), dict(_settings(pinned))
    found = [
        name + _values(there, here, name)
        for name in {**there, **here}
        if name not in there or name not in here or there[name] != here[name]
    ]
    more = f" and {len(found) - _FEW} more" if found[_FEW:] else ""
    return ", ".join(found[:_FEW]) + more


def _values(there: dict[str, Any], here: dict[str, Any], name: str) -> str:
    for one, other, who in ((there, here, "pinned"), (here, there, "announced")):
        if name not in one:
            return f" (only {who})" if name in other else ""
    if not isinstance(there[name], _SHOWN) or not isinstance(here[name], _SHOWN):
        return ""
    return f" (announced {there[name]}, pinned {here[name]})"


def _settings(plan: Plan) -> Iterator[tuple[str, Any]]:
    """Names are told apart by what they are of; what was asked for comes before what follows from
    it. A part of a plan that is none of these is compared whole."""
    yield "protocol", plan.protocol
    for part in fields(plan.threat):
        yield part.name, getattr(plan.threat, part.name)
    yield "max_weight", plan.schema.max_weight
    yield from _privacy(plan)
    yield from _fields(plan)
    yield from _entries(plan)
    for part in fields(plan):
        value = getattr(plan, part.name)
        if isinstance(value, Suite):
            yield "suite", value.number
        elif part.name not in ("protocol", "threat", "schema", "params", "structure"):
            yield part.name, value
    yield from _parameters(plan.params)


def _parameters(params: Params) -> Iterator[tuple[str, Any]]:
    """A protocol of somebody else's may have them in a class of another kind."""
    if not is_dataclass(params):
        yield "the parameters of the protocol", params.encode()
        return
    for part in fields(params):
        yield f"{part.name} of the protocol", getattr(params, part.name)


def _privacy(plan: Plan) -> Iterator[tuple[str, Any]]:
    yield "privacy", "none" if plan.privacy is None else "noise"
    if plan.privacy is not None:
        for part in fields(plan.privacy):
            yield f"{part.name} of the privacy", getattr(plan.privacy, part.name)


def _fields(plan: Plan) -> Iterator[tuple[str, Any]]:
    for name, field in plan.schema.fields:
        called = f"field {name[:_LONGEST]!r}"
        yield called, type(field).__name__
        for part in fields(field):
            yield f"{part.name} of {called}", getattr(field, part.name)
    yield "the order of the fields", tuple(name for name, _ in plan.schema.fields)


def _entries(plan: Plan) -> Iterator[tuple[str, Any]]:
    """Of a model's entries there are digests only: of another name, shape, type or place."""
    yield "the number of the model's entries", len(plan.structure)
    for place, digest in enumerate(plan.structure):
        yield f"the model's entry {place}", digest
