"""A plan in plain words: what a newcomer needs to know before joining a round.

Nothing here decides anything: the numbers come from the schema, the parameters and the protocol's
own sentences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import ROUND_UP, Context, Decimal

from secagg import registry
from secagg.fields import CLIPPED, Field, FixedPoint, Schema
from secagg.protocol import Cost, Infeasible, Params, ProtocolInfo
from secagg.suite import SUITE_1
from secagg.threat import Threat
from secagg.types import Adversary

MASK_BYTES_PER_SECOND = 1e10
AGREEMENTS_PER_SECOND = 15_000
"""Orders of magnitude on one core of a laptop or small server with vector AES, an agreement with
the key derived from it, for the words below and for ties between plans: a cost model of SecAgg
counts everything, from rates of the machine. A plan's digest never depends on them."""

_MEANING: dict[Adversary, str] = {
    "semi-honest": "a server that follows the protocol, but keeps and studies all that it sees",
    "active": "a server that may lie and deviate from the protocol",
}


def explanation(
    info: ProtocolInfo, threat: Threat, schema: Schema, params: Params
) -> Iterator[str]:
    """The lines of `Plan.explain`, without its digest."""
    cost = info.cost(threat, params, schema.layout)
    yield _headline(info, params)
    if info.threat_models:
        yield f"Which family: {_family(info, threat, schema, cost)}"
    yield f"Why this protocol: {_why(info, threat, schema, params)}"
    learner = "servers learn" if params.servers > 1 else "server learns"
    yield f"What the {learner}: {info.guarantee(threat, params)}."
    yield f"Who must take part: {_quorum(params)}"
    yield f"Who may drop: {_who_may_drop(params)}"
    yield f"Who may collude: {_who_may_collude(info, threat)}"
    yield "Error of a mean, and width of the ring that the sum lives in:"
    for name, field in schema.fields:
        lane = schema.counts_clipped and name == CLIPPED
        what = _lane(field) if lane else _precision(field)
        yield f"  {name}: {what}; {_headroom(schema, name, field)}"
    yield f"Cost of a client: {_client_cost(schema, cost)}"
    yield f"Cost of the {_server_cost(params, cost)}"
    yield "Know also:"
    yield from (f"  - {caveat}" for caveat in info.caveats(threat, params, schema.layout))


def client_seconds(cost: Cost) -> float:
    """Roughly: masks and key agreements of one client, without the network."""
    return _seconds(cost.client_prg_bytes, cost.client_agreements)


def expansion(schema: Schema, cost: Cost) -> float:
    """A client's upload over the bytes of its fields, length * bits / 8 each."""
    return 8 * cost.upload_bytes / sum(field.length * _bits(field) for _, field in schema.given)


def _bits(field: Field) -> int:
    """Of one element as the application has it; an integer counts its own signed width."""
    return field.bits if isinstance(field, FixedPoint) else (2 * field.max).bit_length()


def _headline(info: ProtocolInfo, params: Params) -> str:
    graph = "clients share nothing with each other"
    if params.degree:
        graph = (
            f"each client shares keys with {params.degree} of the {params.clients - 1} others, and "
            f"any {params.threshold} of them can open what it shared"
        )
    elif params.servers > 1:
        way = "to each itself" if params.direct else "by the first of them, which relays"
        graph = (
            f"each client splits its input into {params.servers} shares, one for each of "
            f"{params.servers} servers, and sends them once, {way}"
        )
    return f"{info.name} ({info.spec}; {info.status}) for {params.clients} clients: {graph}."


def _family(info: ProtocolInfo, threat: Threat, schema: Schema, cost: Cost) -> str:
    """Which family this is, whom it fits, and what the best of the other one would cost."""
    several = threat.servers > 1
    fits = _SEVERAL if several else _ONE
    other = replace(threat, servers=1 if several else 2, direct=False)
    offers = [
        (found.cost(other, params, schema.layout), found, _steps(found, params))
        for found in map(registry.load, registry.available())
        if found.threat_models and not isinstance(params := found.parameters(other), Infeasible)
    ]
    if not offers:
        return f"{fits} The other family has no parameters for this."
    there, best, steps = min(offers, key=lambda offer: offer[0].upload_bytes)
    alternative = "one server" if several else f"servers={other.servers}"
    return (
        f"{fits} With {alternative} it would be {best.name}: {steps}, "
        f"{_bytes(there.upload_bytes)} up instead of {_bytes(cost.upload_bytes)}, "
        f"{_bytes(there.download_bytes)} down instead of {_bytes(cost.download_bytes)}."
    )


_ONE = (
    "one server, and clients that answer it several times within a round: fits a single operator "
    "and clients that stay for a while. Whoever of them vanishes, up to the planned number, costs "
    "nothing but its own input."
)
_SEVERAL = (
    "several servers, and clients that speak once and may vanish: fits several operators who would "
    "not collude, and clients that come and go. Every server must be there in the end."
)


def _steps(info: ProtocolInfo, params: Params) -> str:
    phases = info.phases(params, SUITE_1)
    return f"{len(phases)} steps for a client" if len(phases) > 1 else "one message"


def _why(info: ProtocolInfo, threat: Threat, schema: Schema, params: Params) -> str:
    if not info.threat_models:
        return "it was named; it protects against nobody."
    others = (registry.load(name) for name in registry.available() if name != info.name)
    own = f"{info.name} {_offer(info, threat, schema, params)}"
    preferred = [why] if (why := info.preferred(threat)) is not None else []
    compared = (_compared(other, threat, schema) for other in others if other.threat_models)
    return "; ".join([own, *preferred, *compared]) + "."


def _compared(other: ProtocolInfo, threat: Threat, schema: Schema) -> str:
    params = other.parameters(threat)
    if isinstance(params, Infeasible):
        return f"{other.name} is not possible ({params.rule})"
    return f"{other.name} {_offer(other, threat, schema, params)}"


def _offer(info: ProtocolInfo, threat: Threat, schema: Schema, params: Params) -> str:
    upload = info.cost(threat, params, schema.layout).upload_bytes
    ties = f" with {params.degree} neighbours" if params.degree else ""
    return f"uploads {_bytes(upload)}{ties}"


def _quorum(params: Params) -> str:
    if params.servers > 1:
        return (
            f"a batch sums at least {params.min_survivors} and at most {params.clients} reports; "
            "with fewer it ends and gives no sum."
        )
    return (
        f"a round starts with at least {params.min_clients} of {params.clients} clients and sums "
        f"the inputs of at least {params.min_survivors}; with fewer it ends and gives no sum."
    )


def _who_may_drop(params: Params) -> str:
    spare = params.clients - params.min_survivors
    if params.servers > 1:
        return (
            f"any client once its report is stored, and before that {spare} of them. A server may "
            "stop and come back, but not stay away."
        )
    late = params.clients - params.min_clients
    starting = "" if late >= spare else f", of them {late} before the round has started"
    return (
        f"{spare} clients in all, whatever the phase{starting}: the bound counts every client that "
        "is lost before its last answer. The sum is then exact over those whose vectors had come."
    )


def _who_may_collude(info: ProtocolInfo, threat: Threat) -> str:
    if not info.threat_models:
        return "nobody needs to: inputs travel in the clear."
    if threat.servers > 1:
        return (
            f"any {threat.servers - 1} of the {threat.servers} servers, with each other and with "
            f"{threat.corrupted} of the clients ({threat.adversary}). {_among(threat)}"
        )
    return (
        f"{threat.corrupted} of the clients, with each other and with {_MEANING[threat.adversary]} "
        f"({threat.adversary}). {_among(threat)}"
    )


def _among(threat: Threat) -> str:
    """Whoever picks a round's clients may pick the corrupt ones (specs/01-wire.md §4.6)."""
    if threat.roster is not None:
        return f"They are counted among all {threat.roster} of whom a round's clients are chosen."
    return (
        f"That is an assumption about the {threat.clients} who take part: where they are chosen "
        "from more, plan with roster=, the number of all who may be."
    )


def _precision(field: Field) -> str:
    if not isinstance(field, FixedPoint):
        return f"integers in ±{field.max}, summed exactly"
    return (
        f"{field.bits}-bit fixed point in ±{_exactly(field.clip)}, each element of a mean within "
        f"{at_most(field.max_error)}"
    )


def _lane(field: Field) -> str:
    return (
        f"how many of its {field.bound(1, 1)} elements a client had to clip, filled in by its own "
        "code and summed exactly; the total is revealed"
    )


def _headroom(schema: Schema, name: str, field: Field) -> str:
    """The proof, as a reader can check it: specs/02-quantization.md §3."""
    bound = field.bound(schema.clients, schema.max_weight)
    weight = f" * {schema.max_weight}" if schema.weighted and isinstance(field, FixedPoint) else ""
    each = field.levels if isinstance(field, FixedPoint) else field.max
    return (
        f"a sum is at most M = {schema.clients}{weight} * {each} = {bound} in magnitude, and "
        f"ceil(log2(2M + 1)) = {schema.ring(name, field).width} bits, so it cannot wrap"
    )


def _client_cost(schema: Schema, cost: Cost) -> str:
    return (
        f"uploads {_bytes(cost.upload_bytes)} ({expansion(schema, cost):.2f} times its data), "
        f"downloads {_bytes(cost.download_bytes)}, computes for about {client_seconds(cost):.1g} s."
    )


def _server_cost(params: Params, cost: Cost) -> str:
    seconds = _seconds(cost.server_prg_bytes, cost.server_agreements)
    if params.servers > 1:
        return (
            f"{params.servers} servers together: about {seconds:.1g} s of shares expanded and keys "
            "agreed on when as many drop as planned."
        )
    return (
        f"server: about {seconds:.1g} s of masks and key agreements when as many drop as planned."
    )


def at_most(bound: float | Decimal, digits: int = 3) -> str:
    """A bound that is at least 0 in `digits` digits, rounded up: a promise is never printed below
    what is kept."""
    rounded = Context(prec=digits, rounding=ROUND_UP).plus(Decimal(bound))
    text = f"{float(rounded):.{digits}g}"
    # a subnormal float has fewer digits than are asked for, and may have been rounded down
    return text if Decimal(text) >= rounded else f"{rounded:g}"


def _exactly(number: float) -> str:
    """The shortest decimal that is read back as this float."""
    return repr(number).removesuffix(".0")


def _seconds(prg_bytes: int, agreements: int) -> float:
    return prg_bytes / MASK_BYTES_PER_SECOND + agreements / AGREEMENTS_PER_SECOND


def _bytes(number: int) -> str:
    return f"{number:,} bytes"
