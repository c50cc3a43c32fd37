"""What property tests draw: parameters, layouts, schedules."""

from __future__ import annotations

from hypothesis import strategies as st

from secagg.layout import Layout, Segment
from secagg.ring import Ring
from secagg.testing import Act, Schedule
from secagg.types import MIN_COHORT, PartyId
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.secagg.params import SecAggParams
from tests.networks import PHASES
from tests.soak import SOAK

HEADER_BITS = 8 * HEADER_SIZE


def runs(some: int) -> int:
    """Of a schedule: thirty times as many in a soak, and two fifths in a suite that gates."""
    return 30 * some if SOAK else 2 * some // 5


@st.composite
def complete_params(draw: st.DrawFn) -> SecAggParams:
    n = draw(st.integers(MIN_COHORT, 8))
    t = draw(st.integers(1, n))
    survivors = draw(st.integers(max(t, MIN_COHORT), n))
    return SecAggParams(n, n - 1, t, draw(st.integers(survivors, n)), survivors)


@st.composite
def regular_params(draw: st.DrawFn) -> SecAggParams:
    n = draw(st.integers(4, 8))
    k = 2 * draw(st.integers(1, (n - 2) // 2))
    t = draw(st.integers(1, k + 1))
    survivors = draw(st.integers(max(t, MIN_COHORT), n))
    return SecAggParams(n, k, t, draw(st.integers(max(survivors, k + 1), n)), survivors)


any_params = st.one_of(complete_params(), regular_params())


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    widths = sorted(draw(st.sets(st.integers(1, 64), min_size=1, max_size=3)))
    return Layout(tuple(Segment(Ring(w), draw(st.integers(1, 4))) for w in widths))


@st.composite
def schedules(
    draw: st.DrawFn,
    params: SecAggParams,
    *,
    acts: tuple[Act, ...] = tuple(Act),
    phases: tuple[str, ...] = PHASES,
    flips: tuple[int, int] = (0, HEADER_BITS - 1),
    early: bool = True,
) -> Schedule:
    """By default a bit flips in the header only: what it hits there must always be noticed."""
    parties = st.integers(0, params.clients - 1).map(PartyId)
    chosen = draw(
        st.dictionaries(
            st.tuples(st.sampled_from(phases), parties), st.sampled_from(acts), max_size=5
        )
    )
    order = draw(
        st.dictionaries(st.sampled_from(PHASES), st.permutations(range(params.clients)), max_size=2)
    )
    close_after = {}
    if early:
        close_after = draw(
            st.dictionaries(st.sampled_from(PHASES), st.integers(0, params.clients), max_size=1)
        )
    return Schedule(chosen, order, close_after, draw(st.integers(*flips)))
