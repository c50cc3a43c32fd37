"""A client that has pinned terms takes part in the plans that follow from them, and in no other
(specs/50-service.md §1.7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from secagg.errors import ParameterError, PolicyRefused
from secagg.fields import FixedPoint, Integer
from secagg.plans.choose import plan as make
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.plans.terms import Terms
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent
from secagg.types import PartyId
from secagg.wire.frame import Announce
from tests.rounds.world import SERVER, nonce

FIELDS: dict[str, Any] = {"votes": Integer(3, 7), "update": FixedPoint(5, 1.0, 16)}
TERMS = Terms.of(FIELDS, (7, 12), population=20, corrupt="1/20", clipped=True, max_weight=3)
SAME = {"corrupt": "1/20", "clipped": True, "max_weight": 3}


def announce(plan: Plan) -> Announce:
    deadlines = (1500,) * len(plan.phase_names)
    return Announce(nonce(1), PartyId(0), deadlines, plan.encode(), b"task")


def test_the_plan_of_every_size_and_population_is_taken() -> None:
    consent = Consent(terms=TERMS)
    for clients, population in ((7, 7), (7, 20), (9, 14), (12, 12), (12, 20)):
        theirs = make(clients=clients, fields=FIELDS, roster=population, **SAME)
        assert consent.judge(announce(theirs), 1).plan == theirs


def test_sizes_and_populations_that_terms_do_not_have() -> None:
    consent = Consent(terms=TERMS)
    for clients, population in ((6, 6), (13, 13), (12, 21)):
        theirs = make(clients=clients, fields=FIELDS, roster=population, **SAME)
        with pytest.raises(PolicyRefused, match=f"of {clients} clients, chosen from {population}"):
            consent.judge(announce(theirs), 1)


@pytest.mark.parametrize(
    "changed",
    [
        {"corrupt": "1/21"},
        {"dropout": "1/6"},
        {"max_weight": 4},
        {"clipped": False},
        {"protocol": "secagg+", "corrupt": 0},
        {"min_clients": 10},
        {"adversary": "active"},
        {"liars": 1},
        {"fields": {**FIELDS, "votes": Integer(3, 8)}},
        {"fields": {**FIELDS, "votes": Integer(4, 7)}},
        {"fields": dict(reversed(FIELDS.items()))},
    ],
    ids=str,
)
def test_whatever_else_differs_is_refused_and_named(changed: dict[str, Any]) -> None:
    theirs = make(**{"clients": 12, "fields": FIELDS, "roster": 12, **SAME, **changed})
    with pytest.raises(PolicyRefused, match="by the pinned terms the one of 12 .* they differ in"):
        Consent(terms=TERMS).judge(announce(theirs), 1)


def test_one_number_of_the_parameters_is_enough() -> None:
    """A plan that is safe, and that this planner would not have made."""
    ours = TERMS.plan(12, 12)
    theirs = replace(ours, params=replace(ours.params, min_clients=ours.params.min_clients + 1))
    with pytest.raises(PolicyRefused, match="min_clients of the protocol"):
        Consent(terms=TERMS).judge(announce(theirs), 1)


def test_rounds_are_begun_by_what_the_terms_say() -> None:
    rounds = ClientRounds(Consent(terms=TERMS))
    rounds.joined(SERVER, 0.0)
    rounds.received(SERVER, announce(TERMS.plan(9, 20)).encode(), 0.0)
    assert [offer.plan for offer in rounds.asked()] == [TERMS.plan(9, 20)]
    other = replace(announce(make(clients=9, fields=FIELDS)), nonce=nonce(2))
    with pytest.raises(PolicyRefused, match="they differ in"):
        rounds.received(SERVER, other.encode(), 0.0)


def test_terms_stand_alone_and_floors_hold_besides() -> None:
    plan = TERMS.plan(9, 9)
    for more in ({"plan": plan}, {"plan_digest": plan.digest()}, {"task": Task(plan)}):
        with pytest.raises(ParameterError, match="give the terms, or a plan, its digest or a task"):
            Consent(terms=TERMS, **more)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="terms must be a Terms"):
        Consent(terms=plan)  # type: ignore[arg-type]
    with pytest.raises(PolicyRefused, match="the plan has no noise"):
        Consent(terms=TERMS, max_epsilon=1.0)
    assert Consent(terms=TERMS).pinned == TERMS.digest()
    with pytest.raises(PolicyRefused, match="agreed to are no fewer than 12"):
        Consent(terms=TERMS, min_clients=12).judge(announce(TERMS.plan(12, 12)), 1)
