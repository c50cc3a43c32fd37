"""A plan in plain words: what a newcomer needs to know before joining a round.

Nothing here decides anything: the numbers come from the schema, the parameters and the protocol's
own sentences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from secagg import registry
from secagg.dp.headroom import WRAP
from secagg.fields import Field, FixedPoint, Integer, Vector
from secagg.plans.label import label_of
from secagg.promise import Promise
from secagg.protocol import Cost, Infeasible, OneServer, Params, ProtocolInfo, SeveralServers
from secagg.schema import CLIPPED, Schema
from secagg.shown import at_most
from secagg.suite import Suite
from secagg.threat import Threat

MASK_BYTES_PER_SECOND = 1e10
AGREEMENTS_PER_SECOND = 15_000
"""Orders of magnitude on one core of a laptop or small server with vector AES, an agreement with
the key derived from it, for the words below and for ties between plans: a cost model of SecAgg
counts everything, from rates of the machine. A plan's digest never depends on them."""


def explanation(
    info: ProtocolInfo, threat: Threat, schema: Schema, params: Params, suite: Suite
) -> Iterator[str]:
    """The lines of `Plan.explain`, without its digest."""
    cost = info.cost(threat, params, schema.layout)
    promise = info.promise(threat, params, schema.layout)
    yield f"{info.name} ({info.spec}; {info.status}) for {params.clients} clients: {promise.way}."
    if info.threat_models:
        yield f"Which family: {promise.fits} {_other_family(info, threat, schema, cost, suite)}"
    yield f"Why this protocol: {_why(info, threat, schema, params)}"
    yield f"What {promise.learner}: {promise.learns}."
    yield f"Who must take part: {promise.quorum}"
    yield f"Who may drop: {promise.drop}"
    if promise.lie:
        yield f"Who may answer wrongly: {promise.lie}"
    among = f" {_among(threat)}" if info.threat_models else ""
    yield f"Who may collude: {promise.collude}{among}"
    yield from _promised(threat, schema, params)
    yield "Error of a mean, and width of the ring that the sum lives in:"
    errors, told = schema.errors, schema.privacy is not None and schema.privacy.responds
    if schema.joint:
        yield (
            f"  {', '.join(schema.joint)}: one vector of norm 1 at most together, each in units of "
            "its own norm, longer ones made as short"
        )
    for name, field in schema.fields:
        lane = schema.counts_clipped and name == CLIPPED
        what = _lane(field) if lane else _precision(field, errors.get(name, 0.0), told)
        yield f"  {name}: {what}; {_headroom(schema, name, field)}"
    yield f"Cost of a client: {_client_cost(schema, cost)}"
    yield f"Cost of the {_server_cost(promise, cost)}"
    yield "Know also:"
    yield from (f"  - {caveat}" for caveat in promise.caveats)


def _promised(threat: Threat, schema: Schema, params: Params) -> Iterator[str]:
    """Of the smallest sum that there is, which promises least."""
    label = label_of(threat, schema, params.min_survivors)
    if label is None:
        return
    yield f"What a sum tells of any one {label.unit}: {label.statement}"
    noise = ", ".join(f"{name} {size:.3g}" for name, size in label.sigma_total.items())
    if label.epsilon_local is not None and label.epsilon_central is not None:
        yield (
            f"Epsilon of each response {at_most(label.epsilon_local, 4)}, of sums "
            f"{at_most(label.epsilon_central, 4)}."
        )
    yield (
        f"Noise of a sum of {params.min_survivors}, as the deviation of an element: {noise} "
        f"({label.accounting})."
    )
    yield from (f"Mind: {warning}." for warning in label.warnings)


def rank(info: ProtocolInfo, threat: Threat, cost: Cost) -> tuple[bool, bool, int, float, str]:
    """What `plan()` chooses the least of."""
    unserved = threat.adversary not in info.threat_models
    deferred = info.preferred(threat) is None
    return unserved, deferred, cost.upload_bytes, client_seconds(cost), info.name


def client_seconds(cost: Cost) -> float:
    """Roughly: masks and key agreements of one client, without the network."""
    return _seconds(cost.client_prg_bytes, cost.client_agreements)


def expansion(schema: Schema, cost: Cost) -> float:
    """A client's upload over the bytes of its fields, length * bits / 8 each."""
    return 8 * cost.upload_bytes / sum(field.length * _bits(field) for _, field in schema.given)


def _bits(field: Field) -> int:
    """Of one element as the application has it; an integer counts its own signed width."""
    return (2 * field.max).bit_length() if isinstance(field, Integer) else field.bits


def _other_family(
    info: ProtocolInfo, threat: Threat, schema: Schema, cost: Cost, suite: Suite
) -> str:
    """What the best protocol of the other family would cost."""
    match info.family:
        case OneServer():
            servers, alternative = 2, "servers=2"
        case SeveralServers():
            servers, alternative = 1, "one server"
    other = replace(threat, servers=servers, direct=False)
    offers = [
        (found.cost(other, params, schema.layout), found, _steps(found, params, suite))
        for found in map(registry.load, registry.available())
        if type(found.family) is not type(info.family)
        and found.threat_models
        and not isinstance(params := found.parameters(other), Infeasible)
    ]
    if not offers:
        return "The other family has no parameters for this."
    there, best, steps = min(offers, key=lambda offer: rank(offer[1], other, offer[0]))
    return (
        f"With {alternative} it would be {best.name}: {steps}, "
        f"{_bytes(there.upload_bytes)} up instead of {_bytes(cost.upload_bytes)}, "
        f"{_bytes(there.download_bytes)} down instead of {_bytes(cost.download_bytes)}."
    )


def _steps(info: ProtocolInfo, params: Params, suite: Suite) -> str:
    phases = info.phases(params, suite)
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


def _among(threat: Threat) -> str:
    """Whoever picks a round's clients may pick the corrupt ones (specs/01-wire.md §4.6)."""
    if threat.roster is not None:
        return f"They are counted among all {threat.roster} of whom a round's clients are chosen."
    return (
        f"That is an assumption about the {threat.clients} who take part: where they are chosen "
        "from more, plan with roster=, the number of all who may be."
    )


def _precision(field: Field, error: float, told: bool) -> str:
    match field:
        case FixedPoint():
            return (
                f"{field.bits}-bit fixed point in ±{_exactly(field.clip)}, each element of a mean "
                f"within {at_most(field.max_error)}"
            )
        case Vector():
            return (
                f"a vector of norm {_exactly(field.norm)} at most, longer ones made as short, "
                f"rotated and rounded to steps of {field.step:.3g}, by which an element of a mean "
                f"is moved by at most {at_most(error)}, beside its noise"
            )
        case Integer() if told:
            return "a bit that each client tells, 0 or 1"
        case Integer():
            return f"integers in ±{field.max}, summed exactly"


def _lane(field: Field) -> str:
    most = field.max if isinstance(field, Integer) else 0
    return (
        f"how many of its {most} elements a client had to clip, filled in by its own "
        "code and summed exactly; the total is revealed"
    )


def _headroom(schema: Schema, name: str, field: Field) -> str:
    """The proof, as a reader can check it: specs/02-quantization.md §3, 40-privacy.md §6."""
    bound, width = schema.bound(name, field), schema.ring(name, field).width
    if schema.privacy is not None and not schema.privacy.responds:
        return (
            f"with its noise an element of a sum is at most M = {bound} in magnitude, but for one "
            f"chance in 2^{WRAP}, and ceil(log2(2M + 1)) = {width} bits"
        )
    weight = f" * {schema.max_weight}" if schema.weighted and isinstance(field, FixedPoint) else ""
    each = field.max if isinstance(field, Integer) else field.levels
    return (
        f"a sum is at most M = {schema.clients}{weight} * {each} = {bound} in magnitude, and "
        f"ceil(log2(2M + 1)) = {width} bits, so it cannot wrap"
    )


def _client_cost(schema: Schema, cost: Cost) -> str:
    return (
        f"uploads {_bytes(cost.upload_bytes)} ({expansion(schema, cost):.2f} times its data), "
        f"downloads {_bytes(cost.download_bytes)}, computes for about "
        f"{_roughly(client_seconds(cost))} s."
    )


def _server_cost(promise: Promise, cost: Cost) -> str:
    seconds = _seconds(cost.server_prg_bytes, cost.server_agreements)
    return (
        f"{promise.workers}: about {_roughly(seconds)} s of {promise.work} when as many drop as "
        "planned."
    )


def _roughly(seconds: float) -> str:
    """One digit, of which none is an exponent."""
    return f"{float(f'{seconds:.1g}'):,.0f}" if seconds >= 1 else f"{seconds:.1g}"


def _exactly(number: float) -> str:
    """The shortest decimal that is read back as this float."""
    return repr(number).removesuffix(".0")


def _seconds(prg_bytes: int, agreements: int) -> float:
    return prg_bytes / MASK_BYTES_PER_SECOND + agreements / AGREEMENTS_PER_SECOND


def _bytes(number: int) -> str:
    return f"{number:,} bytes"
