"""Simulations of active mode: exact sums, drops in its own phase, bytes as they were promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from secagg.errors import BelowThreshold, ParameterError
from secagg.fields import Integer
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.sim import drop_at, run, simulate
from secagg.types import PartyId

LENGTH = 5


def active(clients: int = 8, **options: Any) -> Plan:
    given: dict[str, Any] = {"corrupt": 0.1, "dropout": 0.25, "protocol": "secagg"}
    return plan(
        clients=clients,
        fields={"update": Integer(LENGTH, 1000)},
        adversary="active",
        **given | options,
    )


def vector(me: int) -> list[int]:
    return [(17 * me + 3 * i) % 2001 - 1000 for i in range(LENGTH)]


def inputs(me: PartyId) -> dict[str, Any]:
    return {"update": np.array(vector(me))}


def summed(parties: frozenset[PartyId]) -> list[int]:
    """In Python's integers."""
    return [sum(column) for column in zip(*(vector(me) for me in parties), strict=True)]


@pytest.mark.parametrize(
    "made",
    [
        active(),
        active(12, roster=20, corrupt=0.05),
        active(16, protocol="secagg+", corrupt=0, dropout=0.125),
        active(24, protocol="secagg+", corrupt=0, dropout=0.04, roster=40),
    ],
    ids=["complete", "of a larger roster", "regular", "regular, of a larger roster"],
)
def test_sums_are_exact_and_bytes_are_as_planned(made: Plan) -> None:
    done = run(made, inputs)
    everybody = frozenset(map(PartyId, range(made.threat.clients)))
    assert done.exact and done.aggregate.contributors == everybody
    assert done.aggregate.levels["update"].tolist() == summed(everybody)
    assert (done.bytes_up, done.bytes_down) == (made.upload_bytes, made.cost.download_bytes)
    assert [*done.phases] == [*made.phase_names] and "consistency" in done.phases


@pytest.mark.parametrize("phase", active().phase_names)
def test_clients_drop_in_every_phase(phase: str) -> None:
    """Two of eight may; whoever gave its input is in the sum."""
    total = simulate(active(), inputs, drop=drop_at(phase, 0.25))
    late = phase in ("consistency", "unmask")
    assert len(total.contributors) == (8 if late else 6)
    assert total.levels["update"].tolist() == summed(total.contributors)


def test_below_the_quorum_there_is_no_sum() -> None:
    """Rule R4: fewer than q signatures, and nobody is asked for a share."""
    made = active()
    with pytest.raises(BelowThreshold, match="signers agreed"):
        simulate(made, inputs, drop=drop_at("consistency", count=8 - made.params.threshold + 1))


def test_suite_1_has_no_such_phase() -> None:
    fields = {"update": Integer(LENGTH, 1000)}
    made = plan(clients=8, fields=fields, corrupt=0, protocol="secagg")
    with pytest.raises(ParameterError, match="no phase 'consistency'"):
        simulate(made, inputs, drop=drop_at("consistency", 0.1))
