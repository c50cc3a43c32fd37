"""The four probabilities that decide about parameters of active mode, and what they leave room for
(specs/13-active-parameters.md)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from secagg.threat import Threat
from secagg.types import smallest_sum
from secagg_protocols.secagg.active.params import ALL_SIGN, ActiveParams, majority
from secagg_protocols.secagg.tails import Law

# A server that lies picks U1 and with it the session id, of which the graph and the committee
# follow, and may try 2^64 of them: so both of its bounds are 2^-40 after as many tries, and half of
# that each. Who drops and who lies is fixed before the id, so liveness is not tried for.

SIGMA, ETA, TRIES = 40, 20, 64


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a threat. s = n - D: how many are left where as many drop as it says, and |U1| at least
    where a probability is counted; above 0, and above A."""

    threat: Threat

    @property
    def survivors(self) -> int:
        return self.threat.clients - self.threat.dropped

    def fewest(self) -> int:
        """Of the complete graph: the survivors that a sum needs."""
        return max(self.complete_threshold(), smallest_sum(self.threat.corrupted))

    def complete_threshold(self) -> int:
        return majority(self.threat.clients, self.threat.corrupted)

    def corrupt_holders(self, k: int) -> int:
        """a: of one client's k neighbours, in any of the graphs tried, but for 2^-41; k < s."""
        s = self.survivors
        law = Law(s - 1, self.threat.corrupted, k, self.threat.clients)
        return law.seldom_above(Fraction(1, s << SIGMA + TRIES + 1))

    def corrupt_signers(self, m: int) -> int:
        """a': of a committee of m, in any of those tried, but for 2^-41; m <= s."""
        law = Law(self.survivors, self.threat.corrupted, m, self.threat.clients)
        return law.seldom_above(Fraction(1, 1 << SIGMA + TRIES + 1))

    def truthful_neighbours(self, k: int, liars: int) -> int:
        """The largest t that everybody's neighbours reach without liars and dropped, but for
        2^-21."""
        n = self.threat.clients
        return self.of_neighbours(k, liars).seldom_below(Fraction(1, n << ETA + 1))

    def truthful_signers(self, m: int, liars: int) -> int:
        """The largest q that a committee of m reaches without them, but for 2^-21."""
        return self.of_committee(m, liars).seldom_below(Fraction(1, 1 << ETA + 1))

    def of_neighbours(self, k: int, liars: int) -> Law:
        n = self.threat.clients
        # of the n - 1 others; with no dropouts and no liars they all are
        return Law(n - 1, min(n - 1, self.survivors - liars), k, n)

    def of_committee(self, m: int, liars: int) -> Law:
        return Law(self.threat.clients, self.survivors - liars, m, self.threat.clients)

    def everybody_signs(self) -> bool:
        return self.threat.clients <= ALL_SIGN


def holds(threat: Threat, params: ActiveParams, liars: int) -> bool:
    """Whether so many liars, fixed before the session id, stop a round with a chance of 2^-20 at
    most where D drop. liars: any number from 0 on."""
    bounds = Bounds(threat)
    left = bounds.survivors - liars
    if left < 0:
        return False
    if params.complete:
        shares = params.min_survivors <= left
    else:
        shares = params.threshold <= bounds.truthful_neighbours(params.degree, liars)
    if params.all_sign:
        return shares and params.quorum <= left
    return shares and params.quorum <= bounds.truthful_signers(params.signers, liars)


def most_liars(threat: Threat, params: ActiveParams) -> int:
    """L, by bisection: with more liars every tail is larger. params: safe for the threat."""
    # at s + 1 there is nobody left to be one, so the upper end never holds
    low, high = threat.liars, threat.clients - threat.dropped + 1
    while high - low > 1:
        middle = (low + high) // 2
        if holds(threat, params, middle):
            low = middle
        else:
            high = middle
    return low


def most_adaptive(threat: Threat, params: ActiveParams, liars: int) -> int:
    """Of `liars`, L, how many may look at graph and committee before they are chosen (rule P8)."""
    # with everybody a holder and a signer there is nothing to look at, and L >= A counts all who
    # could be chosen
    if liars >= threat.corrupted or (params.complete and params.all_sign):
        return liars
    bounds = Bounds(threat)
    shares, signers = bounds.survivors - params.min_survivors, bounds.survivors - params.quorum
    if not params.complete:
        shares = bounds.truthful_neighbours(params.degree, 0) - params.threshold
    if not params.all_sign:
        signers = bounds.truthful_signers(params.signers, 0) - params.quorum
    return max(0, min(liars, shares, signers))


def chance_of_stopping(threat: Threat, params: ActiveParams, liars: int) -> float:
    """A bound on the chance that so many liars, fixed before the session id, stop a round in which
    D drop; 1 where nothing is known. liars: from 0 on. For words, and for no verdict."""
    bounds = Bounds(threat)
    left = bounds.survivors - liars
    if left < 0:
        return 1.0
    if params.complete:
        shares = float(params.min_survivors > left)
    else:
        law = bounds.of_neighbours(params.degree, liars)
        # by the union over clients: one whose secrets nobody can open is enough to end a round
        shares = threat.clients * law.chance_below(params.threshold)
    if params.all_sign:
        signers = float(params.quorum > left)
    else:
        signers = bounds.of_committee(params.signers, liars).chance_below(params.quorum)
    return min(1.0, shares + signers)


def group(threat: Threat, params: ActiveParams) -> int:
    """Of how many honest inputs each sum is that a lying server can have. params: safe."""
    # of the complete graph one sum opens, and U3 is no smaller than every client has asked for
    if params.complete:
        return params.min_survivors - threat.corrupted
    return params.threshold - Bounds(threat).corrupt_holders(params.degree)
