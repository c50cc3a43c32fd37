"""Parameters of SecAgg and SecAgg+: what they are, how they are found, which rules they obey.

The graph is a parameter: degree = clients - 1 is SecAgg (Bonawitz et al., CCS 2017), a smaller even
degree is SecAgg+ (Bell et al., CCS 2020). Names as in specs/10-secagg.md §10: n clients, of which
A are corrupt and D drop; k neighbours; threshold t; security 2^-sigma, correctness 2^-eta.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

from secagg.errors import ParameterError
from secagg.sansio import Infeasible, Params
from secagg.types import MAX_CLIENTS, MIN_COHORT, Buffer, Threat, smallest_sum
from secagg.wire.codec import Reader, Writer
from secagg_protocols.secagg.tails import ETA, SIGMA, Tails

MAX_LOSS = Fraction(9, 10)
"""The finder's domain: beyond it the tails say nothing that the published table confirms."""

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
        if not MIN_COHORT <= self.clients <= MAX_CLIENTS:
            raise ParameterError(
                f"clients must be {MIN_COHORT} to {MAX_CLIENTS}, not {self.clients}"
            )
        if not 1 <= self.degree < self.clients:
            raise ParameterError(f"degree must be 1 to {self.clients - 1}, not {self.degree}")
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
        if self.degree % 2:
            raise ParameterError(f"a k-regular graph has an even degree, not {self.degree}")
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
    """The complete graph: t = floor((n + c)/2) + 1, feasible iff t <= n - D.

    Both secrets of one client can then never be collected, and two survivor quorums meet in an
    honest client (specs/10-secagg.md §10).
    """
    few, n = _too_few(threat), threat.clients
    if few is not None:
        return Infeasible(few)
    threshold = (n + threat.corrupted) // 2 + 1
    fewest = max(threshold, smallest_sum(threat.corrupted))
    if fewest > n - threat.dropped:
        return Infeasible(
            f"max(t, A + 2, 3) <= n - D does not hold: the complete graph needs {fewest} "
            f"survivors, and {n} clients less {threat.dropped} dropouts are {n - threat.dropped}"
        )
    return SecAggParams(n, n - 1, threshold, max(fewest, threat.min_clients or 0), fewest)


def secagg_plus_parameters(threat: Threat) -> SecAggParams | Infeasible:
    """The k-regular graph of the smallest k with a feasible t (specs/10-secagg.md §10).

    Without `threat.min_clients` this is the published table's row, and min_clients the smallest
    |U1| at which that row still keeps its security. With it, the row keeps it from there on. A
    smaller min_clients than n - D is raised to n - D: a session with fewer in U1 could not reach
    the n - D survivors that it needs.
    """
    broken = _too_few(threat) or _beyond_table(threat)
    if broken is not None:
        return Infeasible(broken)
    survivors = threat.clients - threat.dropped
    if survivors < smallest_sum(threat.corrupted):
        return Infeasible(_too_small(survivors, threat))
    given = None if threat.min_clients is None else max(threat.min_clients, survivors)
    tails = Tails.of_cohorts(threat) if given else Tails.of(threat)
    rule = _active_threshold if is_active(threat) else _table_threshold
    found = next(_feasible(tails, given or threat.clients, rule), None)
    if found is None:
        return Infeasible(
            f"no even degree below {threat.clients - 1} meets the tails of SecAgg+ for "
            f"{threat.clients} clients, {threat.corrupted} corrupt, {threat.dropped} dropping"
            + (f", from {given} clients on" if given else "")
        )
    degree, threshold = found
    smallest = given or Tails.of_cohorts(threat).smallest_cohort(
        degree, tolerated(threat, degree, threshold)
    )
    return SecAggParams(threat.clients, degree, threshold, smallest, survivors)


def check_params(threat: Threat, params: Params) -> str | None:
    """The rule that given parameters break under this threat, or None.

    Evaluates the three tails at one degree only, so that a client can judge an announced plan
    cheaply at any n.
    """
    if not isinstance(params, SecAggParams):
        return "these are not parameters of SecAgg"
    if params.clients != threat.clients:
        return f"parameters for {params.clients} clients in a plan for {threat.clients}"
    if params.min_clients < (threat.min_clients or 0):
        return f"min_clients {params.min_clients} is below the plan's {threat.min_clients}"
    if params.min_survivors > threat.clients - threat.dropped:
        return (
            f"min_survivors {params.min_survivors} leaves no room for {threat.dropped} dropouts "
            f"of {threat.clients}"
        )
    if params.min_survivors < smallest_sum(threat.corrupted):
        return _too_small(params.min_survivors, threat)
    check = _check_complete if params.complete else _check_regular
    return _too_few(threat) or check(threat, params)


def _too_small(survivors: int, threat: Threat) -> str:
    return (
        f"a sum of {survivors} inputs, {threat.corrupted} of them from corrupt clients, protects "
        f"nobody: at least {smallest_sum(threat.corrupted)} must survive"
    )


def _check_complete(threat: Threat, params: SecAggParams) -> str | None:
    """t <= n - D needs no line of its own: t <= min_survivors, and that is at most n - D."""
    n, t = params.clients, params.threshold
    if 2 * t > n + threat.corrupted:
        return None
    return (
        f"2t > n + c does not hold for t = {t}, n = {n}, c = {threat.corrupted}: "
        "both secrets of one client could be collected"
    )


def _check_regular(threat: Threat, params: SecAggParams) -> str | None:
    """The tails at min_clients hold at every larger |U1| too: see `Tails.smallest_cohort`."""
    broken = _beyond_table(threat)
    if broken is not None:
        return broken
    k, t, smallest = params.degree, params.threshold, params.min_clients
    if params.min_survivors != threat.clients - threat.dropped:
        return f"min_survivors must be n - D = {threat.clients - threat.dropped}"
    if t < 2:
        return "t >= 2 does not hold: one holder alone would have the secret"
    tails = Tails.of_cohorts(threat)
    if not tails.connected(k):
        return f"k = {k}: the graph could fall apart with probability above 2^-{SIGMA + 1:g}"
    if tails.corrupt_neighbours(k, smallest) > tolerated(threat, k, t):
        needed = "2t > k + 1 + a" if is_active(threat) else "t > a"
        return (
            f"{needed} does not hold for k = {k}, t = {t} at {smallest} clients in U1: more than "
            f"{tolerated(threat, k, t)} neighbours could be corrupt"
        )
    most = tails.surviving_neighbours(k)
    if t > most and (t, most) != (2, 1):  # the published table itself raises t = 1 to 2
        return f"k = {k}: fewer than t = {t} neighbours could survive; the most is t = {most}"
    return None


def find_parameters(
    n: int,
    corrupt: float | str | Fraction,
    dropout: float | str | Fraction,
    adversary: TableAdversary,
    sigma: float = SIGMA,
    eta: float = ETA,
) -> tuple[int, int] | None:
    """(degree, threshold) of the published table for a k-regular graph, or None.

    corrupt, dropout: fractions of the n clients, taken as the decimals they print as. degree: the
    smallest that is feasible, itself not counted. "none" counts as "curious_server". Raises
    ParameterError outside corrupt + dropout <= 0.9, or + 2 dropout for a semi-malicious server.
    Bell et al., CCS 2020, and the finder of Google's federated-compute; specs/10-secagg.md §10.
    """
    if adversary not in ("none", "curious_server", "semi_malicious_server"):
        raise ParameterError(f"adversary {adversary!r} is not one of the table's")
    if not 2 <= n <= MAX_CLIENTS or sigma < 0 or eta < 0:
        raise ParameterError(f"n must be 2 to {MAX_CLIENTS}, and sigma and eta not negative")
    corrupt, dropout = Fraction(str(corrupt)), Fraction(str(dropout))
    if corrupt < 0 or dropout < 0:
        raise ParameterError(f"corrupt and dropout are not negative, not {corrupt} and {dropout}")
    malicious = adversary == "semi_malicious_server"
    threat = Threat(n, corrupt, dropout, "active" if malicious else "semi-honest")
    broken = _beyond_table(threat)
    if broken is not None:
        raise ParameterError(broken)
    rule = _table_threshold_malicious if malicious else _table_threshold
    return next(_feasible(Tails.of(threat, sigma, eta), n, rule), None)


def ccs17_expansion(n: int, length: int, bits: int) -> float:
    """Upload over sending `length` values of `bits` bits in clear, as CCS 2017 models it.

    A ring of ceil(log2(n(2^bits - 1) + 1)) bits, and for each of the n - 1 neighbours 224 bytes:
    2 keys and 5 shares of 32 bytes. It checks the form of our own cost model; what our codec
    really sends is `Cost.upload_bytes`.
    """
    ring_bits = (n * ((1 << bits) - 1)).bit_length()
    return (length * ring_bits / 8 + 224 * (n - 1)) / (length * bits / 8)


def _table_threshold(tails: Tails, k: int, smallest: int) -> int | None:
    """A curious server: t > a. Raised to 2 as the table does, even where t2 is 1."""
    t1 = tails.corrupt_neighbours(k, smallest)
    return max(t1 + 1, 2) if tails.surviving_neighbours(k) > t1 else None


def _table_threshold_malicious(tails: Tails, k: int, smallest: int) -> int | None:
    """A semi-malicious server: t1 becomes ceil((a + k - 1.25)/2), which is floor((a + k)/2)."""
    a = tails.corrupt_neighbours(k, smallest)
    t1 = (a + k) // 2
    return max(t1 + 1, 2) if tails.surviving_neighbours(k) > t1 else None


def _active_threshold(tails: Tails, k: int, smallest: int) -> int | None:
    """t = floor((k + 1 + a)/2) + 1: two quorums of the k + 1 holders meet in an honest one.

    It is the malicious table's t, or one more where a is odd.
    """
    t = (k + 1 + tails.corrupt_neighbours(k, smallest)) // 2 + 1
    return t if t <= tails.surviving_neighbours(k) else None


def is_active(threat: Threat) -> bool:
    return threat.adversary == "active"


def tolerated(threat: Threat, k: int, t: int) -> int:
    """The most corrupt neighbours under which t is safe: t > a, or 2t > k + 1 + a if active."""
    return 2 * t - k - 2 if is_active(threat) else t - 1


def _feasible(tails: Tails, smallest: int, rule: _ThresholdRule) -> Iterator[tuple[int, int]]:
    """(k, t) by ascending k, secure at every |U1| from `smallest` to n, correct at n."""
    for k in range(2, min(tails.clients - 1, smallest), 2):
        t = rule(tails, k, smallest) if tails.connected(k) else None
        if t is not None:
            yield k, t


def _beyond_table(threat: Threat) -> str | None:
    weight = 2 if is_active(threat) else 1
    if threat.corrupt + weight * threat.dropout <= MAX_LOSS:
        return None
    drops = "2 dropout" if weight == 2 else "dropout"
    return f"SecAgg+ needs corrupt + {drops} <= {float(MAX_LOSS)} for its tails to mean anything"


def _too_few(threat: Threat) -> str | None:
    if threat.servers > 1:
        return f"one server has the sum, and the plan has {threat.servers}"
    if threat.clients >= MIN_COHORT:
        return None
    return (
        f"{threat.clients} clients are too few: a sum of two tells either the other's input, so at "
        f"least {MIN_COHORT} are needed"
    )
