"""What parameters of active mode are worth and what they cost, in words and numbers."""

from __future__ import annotations

from dataclasses import replace

from secagg.errors import ParameterError
from secagg.layout import Layout
from secagg.promise import Promise, of_one_server
from secagg.protocol import Cost, Params
from secagg.shown import at_most
from secagg.threat import Threat
from secagg_protocols.secagg import guarantee
from secagg_protocols.secagg.active.bounds import (
    ETA,
    SIGMA,
    TRIES,
    chance_of_stopping,
    group,
    most_adaptive,
    most_liars,
)
from secagg_protocols.secagg.active.params import ActiveParams

# What is said is said of this plan and of no other, and each sentence names its adversary: privacy
# is against a server that lies, liveness and exact sums are of one that does not. A reader who
# takes the one for the other believes that a lying server cannot publish a false sum.


def cost(threat: Threat, params: Params, layout: Layout) -> Cost:
    """Bytes of a signer in a round without drops, exactly (rule P10); the work as in semi-honest
    mode, without 2k + q verifications of signatures."""
    ours = _ours(params)
    up, down = upload_sizes(ours, layout), download_sizes(threat, ours)
    return replace(
        guarantee.cost(threat, params, layout),
        upload_bytes=sum(up.values()),
        download_bytes=sum(down.values()),
        largest_message=max(*up.values(), *down.values()),
        uploads=tuple(up.values()),
    )


def upload_sizes(params: ActiveParams, layout: Layout) -> dict[str, int]:
    """Bytes of each message of a client that signs, by name, where nobody drops."""
    k = params.degree
    return {
        "advertise-keys": 163,
        "share-keys": 195 + 168 * k,
        "masked-input": 115 + _bits(k) + layout.packed_size,
        "agree": 99,
        "unmask-answer": 139 + 40 * k,
    }


def download_sizes(threat: Threat, params: ActiveParams) -> dict[str, int]:
    """Bytes of each message to a client, by name, where nobody drops."""
    # all keys are listed on the complete graph, and the root is computed from them: no path there
    n, k = params.clients, params.degree
    path = 0 if params.complete else 32 * (n - 1).bit_length()
    return {
        "key-list": 103 + _bits(threat.population) + 132 * k + path,
        "share-list": 163 + _bits(n) + 232 * k,
        "survivors": 99 + _bits(n),
        "unmask-request": 35 + _bits(params.signers) + 64 * params.quorum,
    }


def _bits(count: int) -> int:
    """Bytes of a bitmap."""
    return -(-count // 8)


def promise(threat: Threat, params: Params, layout: Layout) -> Promise:
    """What explain() says of a plan."""
    ours = _ours(params)
    base = of_one_server(
        threat,
        ours.min_clients,
        ours.min_survivors,
        way=(
            f"each client shares keys with {ours.degree} of the {ours.clients - 1} others, and "
            f"any {ours.threshold} of them can open what it shared, once a quorum has signed who "
            "survived"
        ),
        learns=_privacy(threat, ours),
        caveats=_caveats(threat, ours),
    )
    most = most_liars(threat, ours)
    adaptive = most_adaptive(threat, ours, most)
    return replace(
        base,
        quorum=f"{base.quorum} {_quorum(ours)}",
        drop=_drop(threat),
        lie=_liveness(threat, ours, most, adaptive),
        numbers={
            "group": group(threat, ours),
            "signers": ours.signers,
            "quorum": ours.quorum,
            "liars": most,
            "liars_adaptive": adaptive,
        },
    )


def _privacy(threat: Threat, params: ActiveParams) -> str:
    whose = (
        f"a server that lies as it likes, together with {threat.corrupted} of the clients,"
        if threat.corrupted
        else "a server that lies as it likes, on its own,"
    )
    if params.complete:
        return (
            f"{whose} learns at most one sum of a session, of at least {group(threat, params)} "
            "honest inputs"
        )
    return (
        f"{whose} learns at worst the sums of disjoint groups, of at least "
        f"{group(threat, params)} honest inputs each, and no input in two of them, except with "
        f"probability 2^-{SIGMA} for a server that tries 2^{TRIES} session ids"
    )


def _quorum(params: ActiveParams) -> str:
    if params.all_sign:
        return (
            f"All sign whose inputs are in the sum, and {params.quorum} of {params.clients} "
            "signatures open it, of fewer clients fewer."
        )
    return (
        f"A committee of {params.signers}, drawn by the session id, signs whose inputs are in the "
        f"sum, and {params.quorum} of these signatures open it."
    )


def _drop(threat: Threat) -> str:
    return (
        f"{threat.dropped} clients at random, whatever the phase: the bound counts every client "
        "that is lost before its last answer. The sum is then exact over those whose vectors had "
        "come."
    )


def _liveness(threat: Threat, params: ActiveParams, most: int, adaptive: int) -> str:
    """Of a server that follows the protocol: another one can end every round."""
    certain = params.complete and params.all_sign
    chance = "not at all" if certain else f"with a chance of at most 2^-{ETA}"
    said = (
        f"{most} clients that give their inputs and then lie or keep silent, fixed before the "
        f"session id, besides {threat.dropped} lost at random, stop a round of an honest server "
        f"{chance}."
    )
    if adaptive < most or not most:
        said += (
            f" Of liars that look at the graph and the signers first, which all can compute, no "
            f"more than {adaptive} are covered."
        )
    return f"{said} {_all_lie(threat, params, most)}".strip()


def _all_lie(threat: Threat, params: ActiveParams, most: int) -> str:
    a = threat.corrupted
    if a <= most:
        return f"All {a} that may be corrupt can be among them, however they are chosen." * (a > 0)
    # a union bound, so 1 says that nothing is known, and not that every round is stopped; with as
    # many clients as plans have, it is near the truth wherever it is small
    chance = chance_of_stopping(threat, params, a)
    if chance >= 1:
        return f"If all {a} corrupt clients lie, nothing is promised: they may stop every round."
    return (
        f"If all {a} corrupt clients lie, fixed before the session id, they stop a round with a "
        f"chance of at most {at_most(chance * (1 + _DIGITS), 2)}."
    )


_DIGITS = 1e-6
"""By how much a chance may be more than the float that is said of it."""


def _caveats(threat: Threat, params: ActiveParams) -> list[str]:
    return [
        "A sum is what those of its clients sent, exactly, only where the server follows the "
        "protocol: a server that lies can publish any sum.",
        "Rounds end only where the server follows the protocol: one that lies, or serves nobody, "
        "can end every one.",
        "Those who lie are counted as holders and signers alone: one client that deals wrong "
        "shares, or tells a false count, can end a round, and the names of its inputs are spent.",
        f"The number of corrupt clients, {threat.corrupted}, is absolute: it does not shrink when "
        "fewer clients come, and the server picks who may come.",
        "Clients know each other by a roster that an administrator signs: whoever holds that key "
        "can invent clients.",
        "Copies of a virtual machine that hold one identity can both answer: nothing here prevents "
        "it.",
        "The sum itself and the list of contributors are not hidden. Sums of rounds whose "
        "contributors differ by a few clients reveal those few: a sum alone is not differential "
        "privacy.",
        "An input is in one sum at most under its name. Inputs of like content under different "
        "names are not compared.",
        "Nobody sees an input, so nobody can tell a false one: a client that does not follow the "
        "protocol can add anything, also beyond its range.",
    ]


def _ours(params: Params) -> ActiveParams:
    if not isinstance(params, ActiveParams):
        raise ParameterError("these are not parameters of active mode")
    return params
