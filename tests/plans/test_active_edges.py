"""Row 46: plans of active mode at each limit of specs/13-active-parameters.md P2 to P6, and one
number beyond it, as specs/vectors has them."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from secagg.errors import ParameterError
from secagg.fields import Integer
from secagg.plans.plan import Plan
from secagg.schema import Schema
from secagg.suite import SUITE_2
from secagg.threat import Threat
from secagg_protocols.secagg.active.params import ActiveParams

_FILE = Path(__file__).parents[2] / "specs" / "vectors" / "v1" / "active-plans.json"
CASES: list[dict[str, Any]] = [
    one for one in json.loads(_FILE.read_text())["operations"] if one["operation"] == "judge_plan"
]


def accepted(case: dict[str, Any]) -> bool:
    threat = Threat(
        case["clients"],
        Fraction(*case["corrupt"]),
        Fraction(*case["dropout"]),
        "active",
        min_clients=case["min_clients"] or None,
        roster=case.get("roster"),
        liars=case.get("liars", 0),
    )
    schema = Schema.of({"u": Integer(1, 1)}, case["clients"])
    try:
        params = ActiveParams(*case["parameters"])
        Plan(threat, schema, case["protocol"], params, suite=SUITE_2)
    except ParameterError:
        return False
    return True


def name_of(case: dict[str, Any]) -> str:
    told = ("corrupt", "dropout", "min_clients", "roster", "liars")
    return f"{case['protocol']} {case['parameters']} {[case.get(name) for name in told]}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_plan_at_the_edge_is_judged_as_the_vectors_have_it(case: dict[str, Any]) -> None:
    assert accepted(case) is case["outputs"]["accepted"]


def test_the_largest_degree_and_committee_are_among_them() -> None:
    """Else the limits of what is summed could move, and no verdict would."""
    found = {
        (case["parameters"][place], case["outputs"]["accepted"])
        for case in CASES
        for place in (1, 5)
    }
    for largest, step in ((1 << 14, 1), (1 << 14, 2)):
        assert (largest, True) in found and (largest + step, False) in found
