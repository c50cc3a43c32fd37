"""Which parameters an active plan may have, whoever made it (specs/13-active-parameters.md).

As in semi-honest mode, what is accepted is wider than what is chosen, and judged at one degree and
one committee only, after every comparison of whole numbers.
"""

from __future__ import annotations

from secagg.protocol import Params
from secagg.threat import Threat
from secagg.types import smallest_sum
from secagg_protocols.secagg.active.bounds import ETA, Bounds
from secagg_protocols.secagg.active.finding import MAX_SIGNERS, not_asked, outside, too_few
from secagg_protocols.secagg.active.params import ActiveParams, majority
from secagg_protocols.secagg.params import MAX_DEGREE, too_small

# Each rule is one that privacy, or the liveness that the plan says, rests on: a number that is
# larger than it must be costs its cohort bytes or rounds, which is theirs to decide, and one that
# is smaller costs somebody an input. Whole numbers come first, since k and m are numbers of whoever
# has announced the plan, and the tails are sums of as many terms.


def check_complete(threat: Threat, params: Params) -> str | None:
    """The rule that parameters of `secagg` break under this threat, or None."""
    if not isinstance(params, ActiveParams):
        return _STRANGE
    if not params.complete:
        return (
            f"secagg is the complete graph, and {params.degree} neighbours of "
            f"{params.clients - 1} are secagg+"
        )
    return (
        _common(threat, params)
        or _threshold(params, threat.clients, threat.corrupted, "2t > n + A")
        or too_few(threat, params.min_survivors, "min_survivors")
        or not_asked(threat, params.min_survivors)
        or _signers(threat, params)
    )


def check_regular(threat: Threat, params: Params) -> str | None:
    """The rule that parameters of `secagg+` break under this threat, or None."""
    if not isinstance(params, ActiveParams):
        return _STRANGE
    if params.complete:
        return f"secagg+ is a k-regular graph, and all {params.degree} neighbours are secagg"
    return (
        _common(threat, params)
        or _sizes(threat, params)
        or _neighbours(threat, params)
        or _signers(threat, params)
    )


_STRANGE = "these are not parameters of active mode"


def _common(threat: Threat, params: ActiveParams) -> str | None:
    """Of either graph, in whole numbers."""
    if params.clients != threat.clients:
        return f"parameters for {params.clients} clients in a plan for {threat.clients}"
    if threat.min_clients not in (None, params.min_clients):
        return f"min_clients is {params.min_clients}, and the plan's {threat.min_clients}"
    if (broken := outside(threat)) is not None:
        return broken
    s = threat.clients - threat.dropped
    # above it a round would end before it begins, or before the sum, whenever as many drop
    if params.min_clients > s:
        return f"min_clients {params.min_clients} is above n - D = {s}"
    if params.min_survivors < smallest_sum(threat.corrupted):
        return too_small(params.min_survivors, threat)
    if params.all_sign:
        quorum = majority(params.clients, threat.corrupted)
        if params.quorum != quorum:
            return f"quorum is {params.quorum}, and where everybody signs it is {quorum}"
        return None
    return _committee(threat, params, s)


def _committee(threat: Threat, params: ActiveParams, s: int) -> str | None:
    if Bounds(threat).everybody_signs():
        return f"of {params.clients} clients all sign, and not a committee of {params.signers}"
    if params.signers > MAX_SIGNERS:
        return f"{params.signers} signers are more than the {MAX_SIGNERS} of any committee"
    # nothing is judged at another |U1| than s (decisions/032-committee-size.md):
    # the tail of its corrupt signers is counted at s, and a smaller U1 has a larger one
    if params.min_clients != s:
        return f"min_clients must be n - D = {s} where a committee signs"
    return None


def _threshold(params: ActiveParams, holders: int, corrupt: int, rule: str) -> str | None:
    if params.threshold >= majority(holders, corrupt):
        return None
    return (
        f"{rule} does not hold for t = {params.threshold}: of {holders} holders {corrupt} could be "
        "corrupt, and both secrets of one client be had"
    )


def _sizes(threat: Threat, params: ActiveParams) -> str | None:
    s = threat.clients - threat.dropped
    if params.min_survivors != s or params.min_clients != s:
        return f"min_clients and min_survivors must be n - D = {s}"
    if params.degree > MAX_DEGREE:
        return f"{params.degree} neighbours are more than the {MAX_DEGREE} of any k-regular plan"
    return None


def _neighbours(threat: Threat, params: ActiveParams) -> str | None:
    # a is not in the plan: whoever judges it counts it, and trusts no other's count
    bounds, k, t = Bounds(threat), params.degree, params.threshold
    a = bounds.corrupt_holders(k)
    broken = _threshold(params, k + 1, a, "2t > k + 1 + a")
    if broken is not None:
        return broken
    if t < a + 2:
        return f"t >= a + 2 does not hold for t = {t}, a = {a}: a sum could be of one honest input"
    if threat.liars > bounds.survivors:
        return f"{threat.liars} liars are more than the {bounds.survivors} who are left"
    most = bounds.truthful_neighbours(k, threat.liars)
    if t > most:
        return (
            f"k = {k}: fewer than t = {t} neighbours could be left with true shares, with "
            f"probability above 2^-{ETA + 1} for some client; the most is t = {most}"
        )
    return None


def _signers(threat: Threat, params: ActiveParams) -> str | None:
    """Comes last: of a committee its tails are sums of as many terms as it has signers."""
    if params.all_sign:
        return too_few(threat, params.quorum, "quorum")
    bounds, m, q = Bounds(threat), params.signers, params.quorum
    corrupt = bounds.corrupt_signers(m)
    if q < majority(m, corrupt):
        return (
            f"2q > m + a' does not hold for q = {q}, m = {m}: {corrupt} signers could be corrupt, "
            "and two quorums sign two survivor sets"
        )
    if threat.liars > bounds.survivors:
        return f"{threat.liars} liars are more than the {bounds.survivors} who are left"
    most = bounds.truthful_signers(m, threat.liars)
    if q > most:
        return (
            f"m = {m}: fewer than q = {q} signers could be left, with probability above "
            f"2^-{ETA + 1}; the most is q = {most}"
        )
    return None
