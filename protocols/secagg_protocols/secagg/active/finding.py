"""How parameters of active mode are chosen (specs/13-active-parameters.md)."""

from __future__ import annotations

from collections.abc import Iterator

from secagg.protocol import Infeasible
from secagg.remedies import remedy
from secagg.threat import Threat
from secagg.types import smallest_sum
from secagg_protocols.secagg.active.bounds import Bounds
from secagg_protocols.secagg.active.params import ALL_SIGN, ActiveParams, majority
from secagg_protocols.secagg.params import MAX_DEGREE, no_cohort, too_small

# From the smallest k and m upwards, and each k and m anew: whether t fits is not monotone in k, as
# a and the quantile of the truthful move by whole numbers, so no bisection finds the smallest. The
# quorum is found apart from the graph. Both take the same liars: one client may be a holder of
# shares and a signer, and to be silent in both is one lie.

SMALL_COHORT = 300
"""Up to here `plan()` takes the complete graph: no probability is in its promise."""

MAX_SIGNERS = 1 << 14
"""Of a committee: bounds the sums with which a receiver judges it, as MAX_DEGREE does."""


def complete_parameters(threat: Threat) -> ActiveParams | Infeasible:
    """Everybody is everybody's neighbour; up to 1000 clients everybody signs (rules P4, P6)."""
    broken = outside(threat)
    if broken is not None:
        return Infeasible(broken, _remedy(threat))
    bounds = Bounds(threat)
    broken = too_few(threat, bounds.fewest(), "min_survivors") or not_asked(threat, bounds.fewest())
    if broken is not None:
        return Infeasible(broken, _remedy(threat))
    agreeing = _signers(threat)
    if isinstance(agreeing, Infeasible):
        return agreeing
    n, fewest = threat.clients, bounds.fewest()
    begins = threat.min_clients or (fewest if agreeing[0] == n else bounds.survivors)
    return ActiveParams(n, n - 1, bounds.complete_threshold(), begins, fewest, *agreeing)


def regular_parameters(threat: Threat) -> ActiveParams | Infeasible:
    """The k-regular graph of the smallest k with a feasible t (rules P5, P6)."""
    broken = outside(threat) or not_asked(threat, threat.clients - threat.dropped)
    if broken is not None:
        return Infeasible(broken)
    bounds = Bounds(threat)
    n, s = threat.clients, bounds.survivors
    if s < smallest_sum(threat.corrupted):
        return Infeasible(too_small(s, threat))
    agreeing = _signers(threat)
    if isinstance(agreeing, Infeasible):
        return Infeasible(agreeing.rule)  # what would do there is the complete graph's
    found = next(_degrees(bounds), None)
    if found is None:
        return Infeasible(
            f"no even degree below {min(n - 1, s, MAX_DEGREE + 1)} has 2t > k + 1 + a and t >= "
            f"a + 2 for a t that everybody's neighbours reach: {n} clients, of them "
            f"{threat.corrupted} corrupt, {threat.dropped} dropping and {threat.liars} that lie "
            "besides",
            _complete_instead(threat),
        )
    return ActiveParams(n, *found, s, s, *agreeing)


def outside(threat: Threat) -> str | None:
    """The rule that a threat breaks under which no active plan is, or None."""
    broken = no_cohort(threat)
    if broken is None and threat.corrupted >= threat.clients - threat.dropped:
        broken = (
            f"A < n - D does not hold for A = {threat.corrupted}, n = {threat.clients}, D = "
            f"{threat.dropped}: all who are left could be corrupt"
        )
    return broken


def too_few(threat: Threat, needed: int, what: str) -> str | None:
    """Why `needed`, of the parameters' `what`, and liars are more than are left; or None."""
    s = threat.clients - threat.dropped
    if needed + threat.liars <= s:
        return None
    return (
        f"{what} + liars <= n - D does not hold for {what} = {needed}, liars = {threat.liars}, n = "
        f"{threat.clients}, D = {threat.dropped}"
    )


def not_asked(threat: Threat, least: int) -> str | None:
    """Why the min_clients that is asked for is refused, or None. least: the smallest that is
    safe."""
    # a round begins with all but the dropped wherever it can: above n - D it would end before
    most = threat.clients - threat.dropped
    if threat.min_clients is None or least <= threat.min_clients <= most:
        return None
    would = f"{least}" if least == most else f"{least} to {most}"
    return f"min_clients={threat.min_clients} is refused: {would} would do"


def _degrees(bounds: Bounds) -> Iterator[tuple[int, int]]:
    """(k, t) by ascending k."""
    n, liars = bounds.threat.clients, bounds.threat.liars
    for k in range(2, min(n - 1, bounds.survivors, MAX_DEGREE + 1), 2):
        a = bounds.corrupt_holders(k)
        # with t >= a + 2 each sum has two honest inputs; where a is near k the majority has not
        t = max(majority(k + 1, a), a + 2)
        if t <= k and t <= bounds.truthful_neighbours(k, liars):
            yield k, t


def _signers(threat: Threat) -> tuple[int, int] | Infeasible:
    """(m, q); of a committee the smallest."""
    bounds = Bounds(threat)
    n, s = threat.clients, bounds.survivors
    if bounds.everybody_signs():
        quorum = majority(n, threat.corrupted)
        broken = too_few(threat, quorum, "quorum")
        return Infeasible(broken, _remedy(threat)) if broken else (n, quorum)
    if threat.liars <= s:
        for m in range(1, min(s, MAX_SIGNERS) + 1):
            quorum = majority(m, bounds.corrupt_signers(m))
            if quorum <= m and quorum <= bounds.truthful_signers(m, threat.liars):
                return m, quorum
    return Infeasible(
        f"no committee of up to {min(s, MAX_SIGNERS)} has 2q > m + a' for a q that it reaches: {n} "
        f"clients, of them {threat.corrupted} corrupt, {threat.dropped} dropping and "
        f"{threat.liars} that lie besides"
    )


def _remedy(threat: Threat) -> str:
    """Tried where a try is cheap: a committee is a search of its own."""
    return remedy(threat, _has_complete) if threat.clients <= ALL_SIGN else ""


def _has_complete(threat: Threat) -> bool:
    if threat.clients > ALL_SIGN or outside(threat) is not None:
        return False
    fewest = Bounds(threat).fewest()
    # of up to ALL_SIGN clients, which is why this is cheap enough to be asked of many cohorts:
    # q = t here, and so at most `fewest`
    return too_few(threat, fewest, "") is None and not_asked(threat, fewest) is None


def _complete_instead(threat: Threat) -> str:
    if isinstance(complete_parameters(threat), Infeasible):
        return ""
    return "the complete graph, protocol='secagg', would do"
