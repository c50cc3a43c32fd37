"""What an operator's sums have told, in a budget that refuses nothing (40 §9.17)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from secagg.budget import Budget, verify
from secagg.budget import accounts as counted
from secagg.budget.entries import Charged, Chosen, Left, Row, Summed
from secagg.dp import loss
from secagg.errors import BudgetSpent, ParameterError, PolicyRefused
from secagg.plans.privacy import blocks
from secagg.store.memory import MemoryLedger
from tests.budget import budget_plans as plans
from tests.budget.budget_plans import DELTA, key
from tests.budget.test_budget_sums import rows


def opened(path: Path, epsilon: float = 2.0, **more: Any) -> Budget:
    return Budget(path, epsilon=epsilon, delta=DELTA, **more)


def test_sums_add_up_by_the_clients_that_are_in_them(tmp_path: Path) -> None:
    """Each with the noise of its contributors, less the corrupt: 20 clients, of whom 2 are."""
    plan = plans.vector()
    with opened(tmp_path / "told.db") as budget:
        one = budget.record(plan, 20)
        assert one.spent == loss(blocks(plan.schema, 18), DELTA).epsilon
        two = budget.record(plan, 16)
        assert (two.charged, budget.charged(plan), two.refunded) == (2, 2, 0)
        assert one.spent < two.spent == budget.spending().spent
        assert two.spent == pytest.approx(loss(blocks(plan.schema, 16), DELTA, 2).epsilon, rel=0.05)
    kinds = [type(row.entry) for row in rows(tmp_path / "told.db")]
    assert kinds[1:] == [Chosen, Charged, Left, Charged, Left]


def test_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its epsilon too, of whatever noise, opened anew in between, and at rows of sums."""
    monkeypatch.setattr(counted, "EVERY", 8)
    anchor = MemoryLedger()
    path = tmp_path / "told.db"
    for number in range(12):
        with opened(path, 0.5, anchor=anchor) as budget:
            found = budget.record((plans.vector(), plans.counts())[number % 2], 20)
    assert found.spent > 1 > found.epsilon and found.used > 1 and found.charged == 12
    assert any(isinstance(row.entry, Summed) for row in rows(path))
    checked = verify(path, anchor)
    assert checked.note == "" and checked.spending == found
    with opened(path, 0.5, anchor=anchor) as budget, pytest.raises(BudgetSpent, match="0.00% is"):
        budget.charge(key(1), budget.counting.disclosure(plans.vector()))


def test_it_is_of_the_observer_that_it_counts(tmp_path: Path) -> None:
    """A server that adds the noise tells readers, and itself without bound."""
    central = plans.vector(trust="central")
    with opened(tmp_path / "server.db") as budget:
        for plan, match in ((central, "the server add the noise"), (plans.exact(), "no noise")):
            with pytest.raises(PolicyRefused, match=match):
                budget.record(plan, 20)
        assert budget.spending().rows == 1
    with opened(tmp_path / "readers.db", against="readers") as budget:
        found = budget.record(central, 20)
        assert found.spent == loss(blocks(central.schema, 1), DELTA).epsilon


def test_what_a_first_charge_has_chosen_stays(tmp_path: Path) -> None:
    """A client's file that counts Gaussian noise alone cannot take a record of counts."""
    plan = plans.vector(epsilon=2.0)
    with opened(tmp_path / "client.db") as budget:
        budget.charge(key(0), budget.counting.disclosure(plan))
        way = next(row.entry for row in rows(tmp_path / "client.db") if kind(row) is Chosen)
        assert isinstance(way, Chosen) and not way.way.order
        with pytest.raises(BudgetSpent, match="a file of its own"):
            budget.record(plans.counts(), 20)
        assert budget.spending().charged == 1


def kind(row: Row) -> type:
    return type(row.entry)


def test_what_cannot_be_recorded(tmp_path: Path) -> None:
    with opened(tmp_path / "told.db") as budget:
        for plan, inputs in ((plans.vector(), 0), (plans.vector(), True), ("plan", 3)):
            with pytest.raises(ParameterError):
                budget.record(plan, inputs)  # type: ignore[arg-type]
