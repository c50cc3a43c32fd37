"""What a protocol promises under a plan, in its own words: data that explain() sets in lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from secagg.shown import short
from secagg.threat import Threat
from secagg.types import Adversary


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Sentences about one plan, or ends of sentences, each without what comes before its colon.

    way: how clients are tied to each other and to servers, and what each sends. learner: who learns
    something, with its verb. learns: what it learns, of how many inputs and against whom; the
    plan's guarantee, without a full stop. fits: whom this kind of round suits. quorum: who must
    take part. drop: who may vanish. lie: who may answer wrongly, empty where the plan counts with
    nobody. collude: who may work together. workers: who does the servers'
    work, and work: what it is. caveats: where the guarantee ends, one sentence each. runs: False
    where parameters can be had, and no machine runs under this threat. numbers: what else there is
    of a plan than every one has, by name, as `secagg plan` prints it.
    """

    way: str
    learner: str
    learns: str
    fits: str
    quorum: str
    drop: str
    collude: str
    workers: str
    work: str
    caveats: Sequence[str]
    runs: bool = True
    lie: str = ""
    numbers: Mapping[str, int] = field(default_factory=dict)

    __repr__ = short


def of_one_server(
    threat: Threat,
    min_clients: int,
    min_survivors: int,
    *,
    learns: str,
    way: str = "clients share nothing with each other",
    collude: str = "",
    caveats: Sequence[str] = (),
    runs: bool = True,
) -> Promise:
    """What is so of every round of one server: of each client it hears, step by step, until what
    was planned has come.

    min_clients, min_survivors: of the parameters. collude: by default the planned number of
    clients, with the server.
    """
    return Promise(
        way=way,
        learner="the server learns",
        learns=learns,
        fits=(
            "one server, and clients that answer it several times within a round: fits a single "
            "operator and clients that stay for a while. Whoever of them vanishes, up to the "
            "planned number, costs nothing but its own input."
        ),
        quorum=(
            f"a round starts with at least {min_clients} of {threat.clients} clients and "
            f"sums the inputs of at least {min_survivors}; with fewer it ends and gives no "
            "sum."
        ),
        drop=_dropping(threat, min_clients, min_survivors),
        lie=_lying(threat),
        collude=collude or _colluding(threat),
        workers="server",
        work="masks and key agreements",
        caveats=caveats,
        runs=runs,
    )


def _dropping(threat: Threat, min_clients: int, min_survivors: int) -> str:
    spare, late = threat.clients - min_survivors, threat.clients - min_clients
    starting = "" if late >= spare else f", of them {late} before the round has started"
    more = ""
    if spare > threat.dropped:
        more = f" {threat.dropped} were asked for; here any {min_survivors} are enough."
    return (
        f"{spare} clients in all, whatever the phase{starting}: the bound counts every client that "
        f"is lost before its last answer.{more} The sum is then exact over those whose vectors had "
        "come."
    )


def _lying(threat: Threat) -> str:
    """Of the answers that are left t + 2L are enough to tell the right ones (10-secagg.md S7)."""
    if not threat.liars:
        return ""
    return (
        f"{threat.liars} of the clients that stay, where no more than {threat.dropped} drop: their "
        "shares are decoded around, and the sum is as exact as without them."
    )


def _colluding(threat: Threat) -> str:
    return (
        f"{threat.corrupted} of the clients, with each other and with {_MEANING[threat.adversary]} "
        f"({threat.adversary})."
    )


_MEANING: dict[Adversary, str] = {
    "semi-honest": "a server that follows the protocol, but keeps and studies all that it sees",
    "active": "a server that may lie and deviate from the protocol",
}
