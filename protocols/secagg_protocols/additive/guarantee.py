"""What additive sums are worth and what they cost, in words and numbers."""

from __future__ import annotations

from secagg.errors import ParameterError
from secagg.layout import Layout
from secagg.promise import Promise
from secagg.protocol import Cost, Params
from secagg.threat import Threat
from secagg_protocols.additive.params import AdditiveParams
from secagg_protocols.additive.sharing import shape_of
from secagg_protocols.reports.shape import RECEIPT_SIZE

# The limits that are said here are those of specs/20-additive.md §11, and each is one that no check
# of a machine removes. That one server can change the sum is said before all else that it can do,
# since it is what people expect least of a protocol with signatures: they bind who was summed, and
# not that the addition was right.


def cost(threat: Threat, params: Params, layout: Layout) -> Cost:
    """Bytes exactly. The servers' figures are those of all servers together.

    A client makes one HPKE encapsulation a server, each two multiplications on the curve, and a
    server one decapsulation a report; seeds are expanded once by the client and once by a helper.
    """
    ours = _ours(params)
    shape = shape_of(layout, ours.servers)
    stream = sum(s.length * s.group.lane_bits // 8 for s in layout.segments)
    messages = [shape.report]
    if ours.direct:
        messages = [shape.report_share(index) for index in range(ours.servers)]
    reports = threat.clients - threat.dropped
    return Cost(
        upload_bytes=sum(messages),
        download_bytes=ours.servers * RECEIPT_SIZE,
        client_prg_bytes=(ours.servers - 1) * stream,
        client_agreements=2 * ours.servers,
        server_prg_bytes=reports * (ours.servers - 1) * stream,
        server_agreements=reports * ours.servers,
        largest_message=max(*messages, shape.total_message),
    )


def promise(threat: Threat, params: Params, layout: Layout) -> Promise:
    """What explain() says of a plan."""
    ours = _ours(params)
    way = "to each itself" if ours.direct else "by the first of them, which relays"
    spare = ours.clients - ours.min_survivors
    return Promise(
        way=(
            f"each client splits its input into {ours.servers} shares, one for each of "
            f"{ours.servers} servers, and sends them once, {way}"
        ),
        learner="the servers learn",
        learns=_guarantee(threat, ours),
        fits=(
            "several servers, and clients that speak once and may vanish: fits several operators "
            "who would not collude, and clients that come and go. Every server must be there in "
            "the end."
        ),
        quorum=(
            f"a batch sums at least {ours.min_survivors} and at most {ours.clients} reports; "
            "with fewer it ends and gives no sum."
        ),
        drop=(
            f"any client once its report is stored, and before that {spare} of them. A server may "
            "stop and come back, but not stay away."
        ),
        collude=(
            f"any {ours.servers - 1} of the {ours.servers} servers, with each other and with "
            f"{threat.corrupted} of the clients ({threat.adversary})."
        ),
        workers=f"{ours.servers} servers together",
        work="shares expanded and keys agreed on",
        caveats=_caveats(ours),
    )


def _guarantee(threat: Threat, ours: AdditiveParams) -> str:
    """What anybody learns, from how many at least, against whom."""
    others = "the other server" if ours.servers == 2 else f"the other {ours.servers - 1} servers"
    clients = f" and {threat.corrupted} of the clients" if threat.corrupted else ""
    return (
        f"as long as one of the {ours.servers} servers is honest, {others}{clients} learn nothing "
        f"about an input, and the collector only the sum of at least {ours.min_survivors} of the "
        f"{ours.clients} reports, at least {ours.min_survivors - threat.corrupted} of them honest"
    )


def _caveats(ours: AdditiveParams) -> list[str]:
    """Where the guarantee ends."""
    return [
        "All servers together can open every input: choose operators who would not.",
        "A client must get the servers' keys from somebody other than a server: whoever chooses "
        "them all could be every server at once.",
        "One lying server can add any constant to the sum, and nothing notices; claim that reports "
        "do not open, and so choose whose are summed; or stop, and there is no sum.",
        f"A lying leader can fill a batch with reports of its own, until the sum is one client's "
        f"value: the minimum batch of {ours.min_survivors} counts reports, not people, unless "
        "every server authenticates the clients.",
        "A report's key is made for it and names nobody. The leader, and whoever can write on a "
        "client's link, can replace a whole report: the client hears it, as the servers' receipts "
        "are then of another, and nothing prevents it.",
        "Any one client can spoil a batch with shares that sum to anything, and nobody can tell "
        "who: it is not bound to its range.",
        "Every server is needed: clients may vanish at any moment, servers may not for good.",
        "The sum itself, and how many reports are in it, are not hidden. Sums whose reports differ "
        "by a few reveal those few, unless they have noise: a sum alone is not differential "
        "privacy.",
    ]


def _ours(params: Params) -> AdditiveParams:
    if not isinstance(params, AdditiveParams):
        raise ParameterError("these are not parameters of additive sums")
    return params
