"""A site's input: what its training returns, as the fields of the plan. Nothing else goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, MetaKey, from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable

from secagg.errors import InputError, PolicyRefused
from secagg.integrations.given import checked_weight
from secagg.integrations.model import Entries, within_numbers
from secagg.integrations.nvflare.model import model_of, moved, payload
from secagg.integrations.terms import METRIC, UPDATE
from secagg.plans.plan import Plan
from secagg.rounds.offer import Contribution, Offer
from secagg.shown import short
from secagg.wire.frame import payload_digest

WEIGHT = MetaKey.NUM_STEPS_CURRENT_ROUND


@dataclass(frozen=True, slots=True)
class Received:
    """The task as it came: the model, copied, and what the round is about. id: of the task."""

    id: str
    model: Entries
    about: bytes

    __repr__ = short

    @classmethod
    def of(cls, task: Shareable, id: str, job: str, name: str) -> Received:
        """Raises InputError for a task that has no model."""
        try:
            dxo = from_shareable(task)
        except ValueError:
            raise InputError("the task has no model") from None
        model = model_of(dxo.data)
        return cls(id, model, payload(task, model, job, name))


def contribution(
    received: Received, result: Shareable, site: str, offer: Offer
) -> Contribution | None:
    """What is summed of a result; None where there were no examples.

    Raises PolicyRefused for another model than was announced, and InputError for a result that is
    none.
    """
    if payload_digest(received.about) != offer.payload_digest:
        raise PolicyRefused(
            "the server announced another model, or another configuration, than the task brings: "
            "nothing may change either on its way, so other filters of task data come after this"
        )
    if (code := result.get_return_code()) != ReturnCode.OK:
        raise InputError(f"the task has failed, with {code}; this site's log says why")
    try:
        dxo = from_shareable(result)
    except ValueError:
        raise InputError("the result has no model") from None
    weight = _weight(offer.plan, dxo)
    if weight == 0:
        return None
    fields = _fields(offer.plan, received.model, dxo)
    # of no plan: one sum about one question, however often and among whomever it is asked
    name = site.encode() + b"\0" + received.about
    return Contribution(fields, weight=weight, payload=received.about, name=name)


def _fields(plan: Plan, model: Entries, result: DXO) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, _ in plan.schema.given:
        if name == UPDATE:
            fields[name] = moved(model, result)
        elif name.startswith(METRIC):
            fields[name] = within_numbers(np.array([_metric(result, name.removeprefix(METRIC))]))
        else:
            raise PolicyRefused(f"the plan has a field {name!r}, which no controller asks for")
    return fields


def _metric(result: DXO, name: str) -> float:
    told: Any = result.get_meta_prop(MetaKey.INITIAL_METRICS)
    found: Any = told.get(name) if isinstance(told, Mapping) else None
    try:
        return float(found)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"the result has no metric {name!r} that is a number: return it in FLModel(metrics=..),"
            " or take it out of the controller's metrics"
        ) from None


def _weight(plan: Plan, result: DXO) -> int:
    """1 of a plan without weights, in which all sites that have examples count alike, and where
    FedAvg itself takes 1: of a site that gives none."""
    given = result.get_meta_prop(WEIGHT)
    if given is None:
        return 1
    if not plan.schema.weighted:
        return int(not isinstance(given, int | float) or given != 0)
    try:
        return checked_weight(plan, float(given), WEIGHT)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"the weight {WEIGHT!r} is a number") from None
