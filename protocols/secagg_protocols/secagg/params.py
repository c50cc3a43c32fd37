"""Parameters of SecAgg and SecAgg+: what they are, how they are found, which rules they obey."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, TypeAlias

from secagg.arguments import fraction, integer, real, take_integers
from secagg.errors import ParameterError
from secagg.protocol import Infeasible
from secagg.remedies import remedy
from secagg.threat import Threat
from secagg.types import MAX_CLIENTS, MIN_COHORT, Buffer, smallest_sum
from secagg.wire.codec import Reader, Writer
from secagg_protocols.secagg.tails import ETA, MAX_EXPONENT, SIGMA, Tails

# The graph is a parameter: degree = clients - 1 is SecAgg (Bonawitz et al., CCS 2017), a smaller
# even degree is SecAgg+ (Bell et al., CCS 2020). Names as in specs/10-secagg.md §10: n clients, of
# which A are corrupt and D drop; k neighbours; threshold t; security 2^-sigma, correctness 2^-eta.
#
# Papers and code differ in whether a client is its own neighbour. Here k does not count it and the
# k + 1 holders of its secrets do, so t is of k + 1. Whoever mixes the two is off by one in the very
# inequalities that keep both secrets of a client apart.
#
# Three things must not be mistaken for each other. What a session can run with is checked by the
# constructor, which knows no threat. What is safe for a threat is check.py's. What is chosen is the
# functions below, and they choose less than all that is safe.

MAX_LOSS = Fraction(9, 10)
"""The finder's domain: beyond it the tails say nothing that the published table confirms."""

SIZE = 20
"""Bytes of an encoding."""

MAX_DEGREE = 1 << 14
"""Of a k-regular graph in a plan, where the published table goes up to 9388: bounds the sums with
which a receiver judges it."""

SMALL_COHORT = 50
"""Up to here `plan()` takes the complete graph wherever it is feasible."""

NO_LIARS = "the tails of SecAgg+ count no clients that answer wrongly"

TableAdversary = Literal["none", "curious_server", "semi_malicious_server"]
_ThresholdRule: TypeAlias = Callable[[Tails, int, int], int | None]


@dataclass(frozen=True, slots=True)
class SecAggParams:
    """What both sides of a session must agree on; encoded into the plan, and so into its digest.

    clients: n, the largest |U1|. degree: k, itself not counted. threshold: t, of the k + 1 holders
    of a secret. min_clients, min_survivors: the smallest |U1| and |U3| that anybody accepts.
    Raises ParameterError for numbers no session can have; whether they are *safe* for a threat is
    `check_params`.
    """

    clients: int
    degree: int
    threshold: int
    min_clients: int
    min_survivors: int

    def __post_init__(self) -> None:
        take_integers(self)
        if not MIN_COHORT <= self.clients <= MAX_CLIENTS:
            raise ParameterError(
                f"clients must be {MIN_COHORT} to {MAX_CLIENTS}, not {self.clients}"
            )
        if not 1 <= self.degree < self.clients:
            raise ParameterError(f"degree must be 1 to {self.clients - 1}, not {self.degree}")
        # with t = 1 each holder has the secret: a session could run so, and no plan passes with it,
        # by 2t > n + A or by t >= 2 (validation.md row 46)
        if not 1 <= self.threshold <= self.degree + 1:
            raise ParameterError(f"threshold must be 1 to {self.degree + 1}, not {self.threshold}")
        if self.min_survivors < MIN_COHORT:
            raise ParameterError(
                f"min_survivors must be at least {MIN_COHORT}, not {self.min_survivors}: of two, "
                "either learns the other's input from the sum"
            )
        if not self.threshold <= self.min_survivors <= self.min_clients <= self.clients:
            raise ParameterError(
                f"threshold {self.threshold} <= min_survivors {self.min_survivors} <= "
                f"min_clients {self.min_clients} <= clients {self.clients} does not hold"
            )
        if not self.complete:
            self._check_regular()

    def _check_regular(self) -> None:
        # half of the neighbours lie on each side of a ring (`binding.neighbours`)
        if self.degree % 2:
            raise ParameterError(f"a k-regular graph has an even degree, not {self.degree}")
        # with |U1| <= k nobody would have k neighbours, and of the k + 1 holders, of which t was
        # chosen, some would not exist
        if self.min_clients <= self.degree:
            raise ParameterError(
                f"{self.degree} neighbours each need min_clients of at least {self.degree + 1}, "
                f"not {self.min_clients}"
            )

    @property
    def complete(self) -> bool:
        """Everybody is everybody's neighbour: SecAgg rather than SecAgg+."""
        return self.degree == self.clients - 1

    @property
    def servers(self) -> int:
        return 1

    @property
    def direct(self) -> bool:
        return False

    def encode(self) -> bytes:
        """Five u32, in the order of the fields (specs/10-secagg.md §10)."""
        writer = Writer().u32(self.clients).u32(self.degree).u32(self.threshold)
        return writer.u32(self.min_clients).u32(self.min_survivors).finish()


def decode_params(data: Buffer) -> SecAggParams:
    """Raises WireError for bad grammar and ParameterError for numbers no session can have."""
    reader = Reader(data)
    clients, degree = reader.u32("clients"), reader.u32("degree")
    threshold, min_clients = reader.u32("threshold"), reader.u32("min_clients")
    min_survivors = reader.u32("min_survivors")
    reader.finish()
    return SecAggParams(clients, degree, threshold, min_clients, min_survivors)


def secagg_parameters(threat: Threat) -> SecAggParams | Infeasible:
    """The complete graph: t = floor((n + c)/2) + 1, feasible iff max(t, A + 2, 3) <= n - D.

    Both secrets of one client can then never be collected, and two survivor quorums meet in an
    honest client (specs/10-secagg.md §10).
    """
    broken = no_cohort(threat)
    if broken is not None:
        return Infeasible(broken, remedy(threat, _has_complete))
    n, survivors, fewest = threat.clients, threat.clients - threat.dropped, _fewest(threat)
    # liars answer, so they are among the survivors: of m answers as many as (m - t)/2 may be wrong
    # and the polynomial is still found (S7)
    needed = max(fewest, threshold_of(threat) + 2 * threat.liars)
    if needed > survivors:
        lying = f" and {threat.liars} that answer wrongly" if threat.liars else ""
        return Infeasible(
            f"with {threat.corrupted} corrupt{lying} the complete graph needs {needed} survivors, "
            f"and {n} clients less {threat.dropped} dropouts are {survivors}, where "
            f"max(t{' + 2L' if lying else ''}, A + 2, 3) <= n - D must hold for t = "
            f"{threshold_of(threat)}, A = {threat.corrupted}, n = {n}, D = {threat.dropped}"
            + (f", L = {threat.liars}" if lying else ""),
            remedy(threat, _has_complete),
        )
    if threat.min_clients is not None and threat.min_clients < fewest:
        return Infeasible(
            f"min_clients={threat.min_clients} is below the {fewest} that a sum needs on the "
            "complete graph",
            f"min_clients={fewest} would do",
        )
    return SecAggParams(n, n - 1, threshold_of(threat), threat.min_clients or fewest, fewest)


def secagg_plus_parameters(threat: Threat) -> SecAggParams | Infeasible:
    """The k-regular graph of the smallest k with a feasible t (specs/10-secagg.md §10).

    t is a majority of the k + 1 holders, and no larger than it must be; the security holds for
    every |U1| from min_clients on, which is n - D where none is asked for.
    """
    broken = no_cohort(threat) or beyond_table(threat)
    if broken is not None:
        return Infeasible(broken)
    if threat.liars:
        return Infeasible(NO_LIARS, "the complete graph, protocol='secagg', may have them")
    survivors = threat.clients - threat.dropped
    if survivors < smallest_sum(threat.corrupted):
        return Infeasible(too_small(survivors, threat))
    # s is n - D here, and no smaller: with more gone than D nothing is known of whether the honest
    # survivors are still connected, and of two parts each would be a sum of its own
    if threat.min_clients is not None and threat.min_clients < survivors:
        default = secagg_plus_parameters(replace(threat, min_clients=None))
        return Infeasible(
            f"min_clients={threat.min_clients} is below n - D = {survivors}, the survivors that a "
            "sum needs on a k-regular graph",
            "" if isinstance(default, Infeasible) else f"min_clients={survivors} would do",
        )
    return _smallest_degree(threat, survivors)


def _smallest_degree(threat: Threat, survivors: int) -> SecAggParams | Infeasible:
    """survivors: n - D, the parameters' min_survivors. Infeasible where no even k will do."""
    tails, smallest = Tails.of(threat), threat.min_clients or survivors
    # from the smallest k upwards: upload, agreements and key stream all grow with it
    most = min(smallest - 1, MAX_DEGREE)
    found = next(_feasible(tails, most, smallest, _majority_threshold), None)
    if found is None:
        return Infeasible(
            f"no even degree up to {min(most, threat.clients - 2)} meets the tails of SecAgg+ for "
            f"{threat.clients} clients, {threat.corrupted} corrupt, {threat.dropped} dropping, "
            f"from {smallest} clients on"
        )
    degree, threshold = found
    return SecAggParams(threat.clients, degree, threshold, smallest, survivors)


def without_majority(threat: Threat, smallest: int) -> tuple[int, int] | None:
    """(degree, threshold) of the smallest degree at which t > a from `smallest` clients on, as the
    published table has it: what a majority is dearer than."""
    return next(_feasible(Tails.of(threat), smallest - 1, smallest, _table_threshold), None)


def find_parameters(
    n: int,
    corrupt: float | str | Fraction,
    dropout: float | str | Fraction,
    adversary: TableAdversary,
    sigma: float = SIGMA,
    eta: float = ETA,
) -> tuple[int, int] | None:
    """(degree, threshold) of the published table for a k-regular graph, or None.

    corrupt, dropout: fractions of the n clients, taken as the decimals they print as, and rounded
    *down* to whole clients as the table has it (a plan rounds them up). degree: the smallest that
    is feasible, itself not counted. "none" counts as "curious_server". sigma, eta: security
    2^-sigma and correctness 2^-eta. Raises ParameterError outside corrupt + dropout <= 0.9, or
    + 2 dropout for a semi-malicious server.
    Bell et al., CCS 2020, and the finder of Google's federated-compute; specs/10-secagg.md §10.
    """
    if adversary not in ("none", "curious_server", "semi_malicious_server"):
        raise ParameterError(f"adversary {adversary!r} is not one of the table's")
    n = integer("n", n, 2, MAX_CLIENTS)
    sigma, eta = _exponent("sigma", sigma), _exponent("eta", eta)
    corrupt, dropout = fraction("corrupt", corrupt), fraction("dropout", dropout)
    malicious = adversary == "semi_malicious_server"
    broken = _beyond(corrupt, dropout, 2 if malicious else 1)
    if broken is not None:
        raise ParameterError(broken)
    rule = _table_threshold_malicious if malicious else _table_threshold
    # Rounded down, as published: a tenth of nine clients is none. It is kept so that rows can be
    # compared with the paper's, and is why no plan is made of it.
    tails = Tails(n, math.floor(corrupt * n), math.floor(dropout * n), sigma, eta)
    return next(_feasible(tails, n - 1, n, rule), None)


def ccs17_expansion(n: int, length: int, bits: int) -> float:
    """Upload over sending `length` values of `bits` bits in clear, as CCS 2017 models it.

    A ring of ceil(log2(n(2^bits - 1) + 1)) bits, and for each of the n - 1 neighbours 224 bytes:
    2 keys and 5 shares of 32 bytes. It checks the form of our own cost model; what our codec
    really sends is `Cost.upload_bytes`.
    """
    ring_bits = (n * ((1 << bits) - 1)).bit_length()
    return (length * ring_bits / 8 + 224 * (n - 1)) / (length * bits / 8)


def threshold_of(threat: Threat) -> int:
    """The smallest t with 2t > n + A: of the complete graph."""
    # Each secret of a client takes t answers. The A corrupt holders give both, and an honest one
    # gives one of the two (C9). So 2 (t - A) honest answers would do, if there are so many: they
    # are n - A, and 2 (t - A) <= n - A is 2t <= n + A.
    return (threat.clients + threat.corrupted) // 2 + 1


def _fewest(threat: Threat) -> int:
    """The survivors that a sum over the complete graph needs."""
    return max(threshold_of(threat), smallest_sum(threat.corrupted))


def _has_complete(threat: Threat) -> bool:
    fewest = _fewest(threat)
    return (
        no_cohort(threat) is None
        and max(fewest, threshold_of(threat) + 2 * threat.liars) <= threat.clients - threat.dropped
        and (threat.min_clients is None or threat.min_clients >= fewest)
    )


def _exponent(name: str, value: float) -> float:
    exponent = real(name, value)
    if not 0 <= exponent <= MAX_EXPONENT:
        raise ParameterError(f"{name} must be from 0 to {MAX_EXPONENT:g}")
    return exponent


def _majority_threshold(tails: Tails, k: int, smallest: int) -> int | None:
    """t > a, and more than half of the k + 1 holders.

    With t of at most half of them, t chosen clients and one lie by the server about who dropped
    reveal a vector, and so do two rounds at once of which every client answers only one.
    """
    most = tails.surviving_neighbours(k)
    if k // 2 + 1 > most:
        return None
    t = max(tails.corrupt_neighbours(k, smallest) + 1, k // 2 + 1)
    return t if t <= most else None


def _table_threshold(tails: Tails, k: int, smallest: int) -> int | None:
    """A curious server: t > a. Raised to 2 as the table does, even where t2 is 1."""
    t1 = tails.corrupt_neighbours(k, smallest)
    return max(t1 + 1, 2) if tails.surviving_neighbours(k) > t1 else None


def _table_threshold_malicious(tails: Tails, k: int, smallest: int) -> int | None:
    """A semi-malicious server: t1 becomes ceil((a + k - 1.25)/2), which is floor((a + k)/2)."""
    a = tails.corrupt_neighbours(k, smallest)
    t1 = (a + k) // 2
    return max(t1 + 1, 2) if tails.surviving_neighbours(k) > t1 else None


def _feasible(
    tails: Tails, most: int, smallest: int, rule: _ThresholdRule
) -> Iterator[tuple[int, int]]:
    """(k, t) by ascending k <= most, secure at every |U1| from `smallest` to n, correct at n."""
    # k = n - 1 is not among these: that is `secagg`, whose rules are others
    for k in range(2, min(tails.clients - 2, most) + 1, 2):
        t = rule(tails, k, smallest) if tails.connected(k) else None
        if t is not None:
            yield k, t


def beyond_table(threat: Threat) -> str | None:
    """The rule that a threat breaks for which the tails of SecAgg+ are not used, or None."""
    return _beyond(threat.corruptible, threat.dropout, 1)


def _beyond(corrupt: Fraction, dropout: Fraction, weight: int) -> str | None:
    """weight: how often dropout counts; twice against servers that lie."""
    if corrupt + weight * dropout <= MAX_LOSS:
        return None
    drops = "2 dropout" if weight == 2 else "dropout"
    return f"SecAgg+ needs corrupt + {drops} <= {float(MAX_LOSS)} for its tails to mean anything"


def no_cohort(threat: Threat) -> str | None:
    """The rule that a threat breaks under which no SecAgg of either graph runs, or None."""
    if threat.servers > 1:
        return f"one server has the sum, and the plan has {threat.servers}"
    if threat.clients >= MIN_COHORT:
        return None
    return (
        f"{threat.clients} clients are too few: a sum of two tells either the other's input, so at "
        f"least {MIN_COHORT} are needed"
    )


def too_small(survivors: int, threat: Threat) -> str:
    """Why a sum over so few inputs is none."""
    return (
        f"a sum of {survivors} inputs, {threat.corrupted} of them from corrupt clients, protects "
        f"nobody: at least {smallest_sum(threat.corrupted)} must survive"
    )
