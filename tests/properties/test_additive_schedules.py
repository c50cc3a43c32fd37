"""Additive sums under any schedule: the sum over exactly the contributors, or a typed abort.

Threats T10 and T18; rows 1-3, 25, 26, 37, 39, 40, 72, 86, 88. SECAGG_SOAK=1 runs 45 times as
many.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secagg.errors import BelowThreshold
from secagg.testing import Act, Schedule
from secagg.types import PartyId
from secagg_protocols.additive.params import AdditiveParams
from tests.ensembles import Outcome, Setting, outcome
from tests.properties.strategies import HEADER_BITS, layouts, runs

LOSES = {Act.GONE, Act.SILENT, Act.LATE, Act.CORRUPT}
"""A report that does not arrive whole and in time; of all other acts it does."""

quick = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)


@st.composite
def any_params(draw: st.DrawFn) -> AdditiveParams:
    clients = draw(st.integers(3, 7))
    smallest = draw(st.integers(3, clients))
    return AdditiveParams(clients, draw(st.integers(2, 5)), smallest, draw(st.booleans()))


@st.composite
def schedules(
    draw: st.DrawFn, params: AdditiveParams, *, early: bool = True, acts: tuple[Act, ...] = ()
) -> Schedule:
    """A bit flips anywhere in a message: here, unlike under masks, none goes unnoticed."""
    parties = st.integers(0, params.clients - 1).map(PartyId)
    some = st.dictionaries(parties, st.sampled_from(acts or tuple(Act)), max_size=params.clients)
    chosen = draw(some)
    order = draw(st.permutations(range(params.clients)))
    limit = params.clients * (params.servers if params.direct else 1)
    close = draw(st.none() | st.integers(0, limit)) if early else None
    return Schedule(
        {("upload", party): act for party, act in chosen.items()},
        {"upload": [PartyId(p) for p in order]},
        {} if close is None else {"upload": close},
        draw(st.integers(0, 8 * 400)),
    )


def check(setting: Setting, schedule: Schedule) -> Outcome:
    """Runs to the end; `outcome` compares with the plain sum."""
    end = outcome(setting.network(schedule), setting)
    assert end.total is not None or isinstance(end.failure, BelowThreshold)
    return end


def contributors(params: AdditiveParams, schedule: Schedule) -> set[int]:
    """Who is in the sum if no deadline strikes early: whose message arrives whole and in time."""
    acts = schedule.acts
    return {p for p in range(params.clients) if acts.get(("upload", PartyId(p))) not in LOSES}


@settings(quick, max_examples=runs(80))
@given(st.data())
def test_any_schedule(data: st.DataObject) -> None:
    params, layout = data.draw(any_params()), data.draw(layouts())
    check(Setting(params, layout), data.draw(schedules(params)))


@settings(quick, max_examples=runs(45))
@given(st.data())
def test_who_contributes_is_whose_report_arrived(data: st.DataObject) -> None:
    """Row 40: exactly the minimum batch is enough, and one fewer is named (row 39)."""
    params, layout = data.draw(any_params()), data.draw(layouts())
    schedule = data.draw(schedules(params, early=False))
    end, expected = check(Setting(params, layout), schedule), contributors(params, schedule)
    if len(expected) < params.min_survivors:
        assert isinstance(end.failure, BelowThreshold)
        reports = "1 report," if len(expected) == 1 else f"{len(expected)} reports,"
        assert f" {reports} and the smallest batch has {params.min_survivors}" in str(end.failure)
    else:
        assert end.total is not None
        assert end.total.contributors == expected


@settings(quick, max_examples=runs(40))
@given(st.data())
def test_order_and_repetition_are_irrelevant(data: st.DataObject) -> None:
    """Rows 25, 72 and 88: the same bits whatever the order, duplicates and echoes."""
    params, layout = data.draw(any_params()), data.draw(layouts())
    harmless = tuple(set(Act) - LOSES)
    first = check(Setting(params, layout), data.draw(schedules(params, early=False, acts=harmless)))
    second = check(Setting(params, layout), Schedule())
    assert first.total is not None and second.total is not None
    for ours, theirs in zip(first.total.vector, second.total.vector, strict=True):
        assert ours.tolist() == theirs.tolist()
    assert first.kind == second.kind == "exact"


@settings(quick, max_examples=runs(30))
@given(st.data())
def test_a_flipped_bit_loses_one_report_at_most(data: st.DataObject) -> None:
    """Row 3 and T1: any single bit of a report, in either mode."""
    params = AdditiveParams(4, data.draw(st.integers(2, 4)), 3, data.draw(st.booleans()))
    flip = data.draw(st.integers(HEADER_BITS, 8 * 600))
    victim = PartyId(data.draw(st.integers(0, 3)))
    setting = Setting(params, data.draw(layouts()))
    end = check(setting, Schedule({("upload", victim): Act.CORRUPT}, flip=flip))
    assert end.total is not None
    assert end.total.dropped == {victim}


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("act", sorted(LOSES, key=lambda act: act.name))
@pytest.mark.parametrize("missing", range(4))
def test_both_ends_are_reached(act: Act, missing: int, direct: bool) -> None:
    """What the random schedules above must meet, whatever Hypothesis draws: sums and aborts."""
    setting = Setting(AdditiveParams(5, 3, 3, direct))
    end = check(setting, Schedule({("upload", PartyId(p)): act for p in range(missing)}))
    assert (end.total is None) == (missing > 2)
