"""Which parameters a plan may have, whoever made it (specs/10-secagg.md §10)."""

from __future__ import annotations

from secagg.protocol import Params
from secagg.threat import Threat
from secagg.types import smallest_sum
from secagg_protocols.secagg.params import (
    MAX_DEGREE,
    NO_LIARS,
    SecAggParams,
    beyond_table,
    no_cohort,
    too_small,
)
from secagg_protocols.secagg.tails import ETA, SIGMA, Tails

# At one degree only and after every comparison of whole numbers, so that a client judges an
# announced plan cheaply, however large the numbers in it are.
#
# What is accepted is wider than what is chosen (specs/10-secagg.md §10.1, §10.2): a plan may come
# from another finder, with more neighbours or a larger threshold than it needs. Nothing is
# repaired: a receiver that moved a number would have another plan digest than its peers. It makes
# no difference who asks: a plan that breaks one of these cannot be made at home either.


def check_complete(threat: Threat, params: Params) -> str | None:
    """The rule that parameters of `secagg` break under this threat, or None.

    t <= n - D needs no line of its own: t <= min_survivors, and that is at most n - D.
    """
    if type(params) is not SecAggParams:  # those of active mode are more, and other rules'
        return _STRANGE
    n, k, t = params.clients, params.degree, params.threshold
    if not params.complete:
        return f"secagg is the complete graph, and {k} neighbours of {n - 1} are secagg+"
    broken = _common(threat, params)
    if broken is not None:
        return broken
    # with fewer, honest clients could be had to give both: see `params.threshold_of`
    if 2 * t <= n + threat.corrupted:
        return (
            f"2t > n + c does not hold for t = {t}, n = {n}, c = {threat.corrupted}: "
            "both secrets of one client could be collected"
        )
    answers = n - threat.dropped
    if t + 2 * threat.liars > answers:
        return (
            f"t + 2L <= n - D does not hold for t = {t}: {threat.liars} wrong answers among "
            f"{answers} could leave a secret unknown"
        )
    return None


def check_regular(threat: Threat, params: Params) -> str | None:
    """The rule that parameters of `secagg+` break under this threat, or None."""
    if type(params) is not SecAggParams:
        return _STRANGE
    if params.complete:
        return f"secagg+ is a k-regular graph, and all {params.degree} neighbours are secagg"
    # The tails come last: they are sums of as many terms as k has units, and k is a number of
    # whoever has announced the plan until _sizes has bounded it.
    return (
        _common(threat, params)
        or (NO_LIARS if threat.liars else None)
        or beyond_table(threat)
        or _sizes(threat, params)
        or _tails(threat, params)
    )


_STRANGE = "these are not parameters of SecAgg"


def _common(threat: Threat, params: SecAggParams) -> str | None:
    """Of either graph: that plan and parameters are of one cohort, and its sums of enough
    inputs."""
    if params.clients != threat.clients:
        return f"parameters for {params.clients} clients in a plan for {threat.clients}"
    if threat.min_clients not in (None, params.min_clients):
        return f"min_clients is {params.min_clients}, and the plan's {threat.min_clients}"
    # not unsafe: such a plan would only end, below the threshold, whenever as many drop as it says
    # that it survives
    if params.min_survivors > threat.clients - threat.dropped:
        return (
            f"min_survivors {params.min_survivors} leaves no room for {threat.dropped} dropouts "
            f"of {threat.clients}"
        )
    if params.min_survivors < smallest_sum(threat.corrupted):
        return too_small(params.min_survivors, threat)
    return no_cohort(threat)


def _sizes(threat: Threat, params: SecAggParams) -> str | None:
    """Of a k-regular graph, in whole numbers: what must hold before a tail is summed."""
    if params.min_survivors != threat.clients - threat.dropped:
        return f"min_survivors must be n - D = {threat.clients - threat.dropped}"
    # of the complete graph 2t > n + A says it already, as n is 3 or more
    if params.threshold < 2:
        return "t >= 2 does not hold: one holder alone would have the secret"
    if params.degree > MAX_DEGREE:
        return f"{params.degree} neighbours are more than the {MAX_DEGREE} of any k-regular plan"
    return None


def _tails(threat: Threat, params: SecAggParams) -> str | None:
    """The tails at min_clients hold at every larger |U1| too: see `Tails.smallest_cohort`."""
    k, t, smallest = params.degree, params.threshold, params.min_clients
    tails = Tails.of(threat)
    if not tails.connected(k):
        return f"k = {k}: the graph could fall apart with probability above 2^-{SIGMA + 1:g}"
    if tails.corrupt_neighbours(k, smallest) >= t:
        return (
            f"t > a does not hold for k = {k}, t = {t} at {smallest} clients in U1: more than "
            f"{t - 1} neighbours could be corrupt"
        )
    most = tails.surviving_neighbours(k)
    if t > most:
        return (
            f"k = {k}: fewer than t = {t} neighbours could survive, with probability above "
            f"2^-{ETA:g} for some client; the most is t = {most}"
        )
    return None
