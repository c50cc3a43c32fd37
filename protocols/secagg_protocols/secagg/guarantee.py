"""What the parameters are worth and what they cost, in words and numbers."""

from __future__ import annotations

from secagg.errors import ParameterError
from secagg.layout import Layout
from secagg.promise import Promise, of_one_server
from secagg.protocol import Cost, Params
from secagg.threat import Threat
from secagg_protocols.secagg.messages import download_sizes, upload_sizes
from secagg_protocols.secagg.params import SecAggParams, without_majority
from secagg_protocols.secagg.tails import ETA, SIGMA, Tails

# The sentences are made here, beside the numbers of the plan at hand, because a general page says
# what a protocol promises and never what a plan does: into how small parts a lying server can split
# a sum, and for how few clients the parameters still hold, are numbers of one plan. What is outside
# the guarantee is said as plainly as the guarantee, so that nobody takes silence for a promise. A
# guarantee is said only where check.py asks for the rule that it rests on.


def cost(threat: Threat, params: Params, layout: Layout) -> Cost:
    """Bytes exactly; streams and key agreements as specs/10-secagg.md §10 counts them.

    A client expands k pairwise masks and its own, and agrees on a key of each pair twice: one
    seals both directions' shares, one makes the mask. The server removes the n - D self masks of
    the survivors and, for each of D clients that dropped after share-keys, the masks it shares
    with its neighbours that survived; each of these takes an agreement.
    """
    # largest_message is what a link's limit on a frame is made of (validation.md row 22)
    up, down = upload_sizes(params, layout), download_sizes(params, layout)
    stream = sum(s.length * s.group.lane_bits // 8 for s in layout.segments)
    survivors = threat.clients - threat.dropped
    pairs = threat.dropped * _surviving_neighbours(threat, _ours(params))
    return Cost(
        upload_bytes=sum(up.values()),
        download_bytes=sum(down.values()),
        client_prg_bytes=(params.degree + 1) * stream,
        client_agreements=2 * params.degree,
        server_prg_bytes=(survivors + pairs) * stream,
        server_agreements=pairs,
        largest_message=max(*up.values(), *down.values()),
        uploads=tuple(up.values()),
    )


def promise(threat: Threat, params: Params, layout: Layout) -> Promise:
    """What explain() says of a plan."""
    ours = _ours(params)
    return of_one_server(
        threat,
        ours.min_clients,
        ours.min_survivors,
        way=(
            f"each client shares keys with {ours.degree} of the {ours.clients - 1} others, and "
            f"any {ours.threshold} of them can open what it shared"
        ),
        learns=_guarantee(threat, ours),
        caveats=_caveats(threat, ours, layout),
    )


def _guarantee(threat: Threat, ours: SecAggParams) -> str:
    """What the server learns, from how many at least, against whom."""
    return (
        f"a server that follows the protocol, {_colluders(threat)}, learns only the sum of at "
        f"least {ours.min_survivors} of the {threat.clients} inputs, at least "
        f"{ours.min_survivors - threat.corrupted} of them honest{_chance(ours)}"
    )


def _caveats(threat: Threat, ours: SecAggParams, layout: Layout) -> list[str]:
    """Where the guarantee ends, and what it costs."""
    graph = (
        _complete_caveats(threat, ours)
        if ours.complete
        else [*_regular_caveats(threat, ours), *_majority(threat, ours, layout)]
    )
    return [
        *graph,
        f"The number of corrupt clients, {threat.corrupted}, is absolute: it does not shrink when "
        "fewer clients come, corrupt clients never drop, and the server picks who may come.",
        "Clients do not authenticate each other: a server that invents clients, or swaps keys, is "
        "outside this guarantee.",
        "The sum itself and the list of contributors are not hidden. Sums of rounds whose "
        "contributors differ by a few clients reveal those few, unless they have noise: a sum "
        "alone is not differential privacy.",
        "An input is in one sum at most under its name: its own, or that of the payload that it "
        "answers. One with neither is not compared with those of other rounds, and two sums may "
        "differ by it alone.",
        "Nobody sees an input, so nobody can tell a false one: a client that does not follow the "
        "protocol can add anything, also beyond its range.",
    ]


def _chance(params: SecAggParams) -> str:
    return "" if params.complete else f", except with probability 2^-{SIGMA:g} over the graph"


def _colluders(threat: Threat) -> str:
    return f"together with {threat.corrupted} of the clients" if threat.corrupted else "on its own"


def _complete_caveats(threat: Threat, params: SecAggParams) -> list[str]:
    floor = _split_floor(threat, params)
    could = f"split the sum until a part holds {floor} honest inputs"
    if floor == threat.clients - threat.corrupted:
        could = "split no honest input off the sum"
    return [
        f"Any {params.threshold} clients together with the server can open what any one client "
        "shared.",
        "A server that shows different clients different survivors, outside this guarantee, could "
        f"{could}.",
    ]


def _split_floor(threat: Threat, params: SecAggParams) -> int:
    """h - floor(h (n - s)/(t - c)): each honest client's own check on |U3| still holds."""
    # Whoever is to be missing from a part must be opened as dropped: that takes t shares of its
    # s_sk, t - A of them from honest clients to whom it was named dead. Each honest client hears of
    # s = min_survivors at least (C8), so it can be told that n - s are dead. That many labels h
    # clients have to give, and each client that is split off uses up t - A of them.
    honest = threat.clients - threat.corrupted
    labels = honest * (params.clients - params.min_survivors)
    return honest - labels // (params.threshold - threat.corrupted)


def _regular_caveats(threat: Threat, params: SecAggParams) -> list[str]:
    k, t, fewest = params.degree, params.threshold, params.min_clients
    tails = Tails.of(threat)
    sentences = [
        f"The parameters hold for the {threat.clients} clients they were made for: a round of "
        f"fewer than {fewest} ends before any input is masked, and one of fewer than "
        f"{params.min_survivors} survivors before any mask is opened.",
        f"With {threat.dropped} dropped, some client keeps fewer than t = {t} neighbours with "
        f"probability at most 2^-{ETA:g}; such a round may end without a sum.",
    ]
    safe_from = tails.smallest_cohort(k, t - 1)
    if fewest > safe_from:
        sentences.append(
            f"The same neighbours and threshold would be safe for rounds that start with "
            f"{safe_from} clients or more: the plan asks for {fewest}."
        )
    if fewest > params.min_survivors:
        sentences.append(
            f"To start with fewer than {fewest}, make the plan with a smaller min_clients, down to "
            f"{params.min_survivors}; it may need more neighbours."
        )
    # such a plan is accepted, as the published table is made of them, and never chosen
    if 2 * t <= k + 1:
        sentences.append(_one_lie(k, t, tails.surviving_neighbours(k)))
    elif 2 * t - (k + 1) <= threat.corrupted:
        sentences.append(_two_survivor_sets(k, 2 * t - (k + 1)))
    return sentences


def _two_survivor_sets(k: int, corrupt: int) -> str:
    """specs/10-secagg.md §11.2: t <= (k + 1 + a) / 2."""
    # An honest holder answers once, for b or for s_sk; a corrupt one says both. Of k + 1 holders
    # with a corrupt ones that is k + 1 + a answers, and t + t are needed.
    whose = "a corrupt one" if corrupt == 1 else f"{corrupt} corrupt ones"
    return (
        "A server that shows different clients different survivors, outside this guarantee, could "
        f"learn the input of a client with {whose} among its {k} neighbours."
    )


def _one_lie(k: int, t: int, most: int) -> str:
    safer = k // 2 + 1
    named = (
        f"t = {safer} at the same degree would not be open to this"
        if safer <= most
        else "no larger t at this degree survives the dropouts"
    )
    return (
        f"t = {t} is at most half of the {k + 1} holders of a secret: {t} clients chosen among "
        f"them and one lie by the server about who dropped reveal a vector; {named}."
    )


def _majority(threat: Threat, params: SecAggParams, layout: Layout) -> list[str]:
    """What a majority threshold costs, which the published table does without."""
    smallest = params.min_clients
    row = without_majority(threat, smallest)
    if 2 * params.threshold <= params.degree + 1 or row is None:
        return []
    k, t = row
    if k >= params.degree:
        return ["That the threshold is a majority of the holders costs nothing here."]
    bare = SecAggParams(threat.clients, k, t, smallest, params.min_survivors)
    ours, theirs = (sum(upload_sizes(p, layout).values()) for p in (params, bare))
    return [
        f"That the threshold is a majority of the holders costs {_percent(ours / theirs - 1)} % "
        f"of the upload: {k} neighbours and t = {t} would keep every probability above, and be "
        "open to one lie by the server about who dropped."
    ]


def _percent(share: float) -> str:
    """Two digits, of which none is an exponent."""
    return f"{100 * share:.0f}" if share >= 0.1 else f"{100 * share:.2g}"


def _surviving_neighbours(threat: Threat, params: SecAggParams) -> int:
    """Of a dropped client: k(1 - delta) on average, rounded up; all survivors if complete."""
    # an average will do, as it is for a cost; the bound on every client is `Tails`
    survivors = threat.clients - threat.dropped
    return survivors if params.complete else -(-params.degree * survivors // threat.clients)


def _ours(params: Params) -> SecAggParams:
    if not isinstance(params, SecAggParams):
        raise ParameterError("these are not parameters of SecAgg")
    return params
