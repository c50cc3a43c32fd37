"""`plan()`: threat model + fields -> protocol, parameters, ring widths, cost, guarantee."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

from secagg import registry
from secagg.arguments import instance, kind_of, ratio, text
from secagg.errors import ParameterError
from secagg.fields import Field, FixedPoint, Vector
from secagg.layout import Layout
from secagg.plans.explain import rank
from secagg.plans.plan import Plan
from secagg.plans.privacy import agreed, with_survivors
from secagg.privacy import Privacy, PrivacyTerms
from secagg.protocol import Infeasible, OneServer, Params, ProtocolInfo
from secagg.schema import Schema, named_fields
from secagg.suite import suite_of
from secagg.threat import Threat
from secagg.types import Adversary

if TYPE_CHECKING:
    from secagg.like import Only
    from secagg.structure import Structure

Exact: TypeAlias = int | float | str | Fraction | Decimal
"""A fraction, taken as the decimal it prints as: 0.1 is 1/10, not the nearest binary float."""

DEFAULT_BITS = 16
"""Of a model's floats."""

PLANNER = 1
"""Raised whenever other plans are made of the same terms (`secagg.plans.terms`): whoever derives
one, and has another release, must know that it could not. A test holds the digests of many."""

PLANNED = ("secagg", "secagg+")
"""What this planner chooses between for terms: what else is installed here, others do not have."""

NONE = "no protocol withstands this: "
"""What a refusal begins with that says of each protocol why."""

_BY_ROWS = (
    "{} is of one model, and with unit='example' an input has a row for each example: give one "
    "Vector of rows, each the model flattened, or take unit='client'"
)


def plan(
    *,
    clients: int,
    fields: Mapping[str, Field] | None = None,
    corrupt: Exact = 0.1,
    dropout: Exact = 0.2,
    adversary: Adversary = "semi-honest",
    protocol: str | None = None,
    min_clients: int | None = None,
    max_weight: int = 1,
    servers: int = 1,
    direct: bool = False,
    clipped: bool = False,
    roster: int | None = None,
    liars: int = 0,
    structure: Structure | Mapping[str, Structure] | None = None,
    like: Any = None,
    clip: float | None = None,
    norm: float | None = None,
    bits: int | None = None,
    counters: int | None = None,
    only: Only | None = None,
    privacy: Privacy | None = None,
) -> Plan:
    """A plan that withstands the threat, or the one of the protocol that is named.

        field = secagg.FixedPoint(50_890, clip=1.0, bits=16)
        plan = secagg.plan(clients=100, fields={"update": field}, corrupt=0.1, dropout=0.2)
        print(plan.explain())

    clients: the most that take part. fields: names to FixedPoint, Integer, Vector. corrupt,
    dropout: the fractions of clients that may collude with the server, and that may be lost
    before their last answer, whatever the phase; in [0, 1), and rounded up to whole clients.
    min_clients: end a round that starts with fewer; kept as it is, or refused. servers: how many
    hold shares, of whom one is trusted by each client, whichever that is; with one there are no
    shares. direct: clients reach each of several servers themselves. clipped: adds a lane of that
    name, in which every client says how many of its elements it has clipped; their total is
    revealed with the sums. roster: of how many a round's clients are chosen, where that is more
    than take part: `corrupt` is a fraction of these. liars: how many clients may answer wrongly,
    besides those that drop, and the sum still is had. structure: of the fields that clients give as
    named arrays, by field or of the only one; a client of another model then refuses. privacy: what
    sums promise of any one's data; fields are Vector, or Integer with a sensitivity, then.

    like: in the place of a structure, a model: a mapping of names to arrays or tensors, a list of
    them, or a pandas frame. Its floats are the field `update`, before others of `fields`: a
    FixedPoint of `clip` and `bits` (16), or with privacy a Vector of `norm`, of all together. Its
    integers are left out, or, with counters, how large one may be, are the field `counters`. only:
    which entries are summed, by name, pattern or function of a name. See `Plan.input_of`.

    With one server it is SecAgg for up to 50 clients (active: 300) where that is feasible, and else
    the cheapest for a client (docs/choosing.md). Raises ParameterError with the rule not met and
    what would do, HeadroomError with its proof, InputError naming an entry of `like`.
    """
    lost = ratio("corrupt", corrupt), ratio("dropout", dropout)
    threat = Threat(clients, *lost, adversary, min_clients, servers, direct, liars, roster)
    fields, digests = _with_model(fields, like, _OfModel(clip, norm, bits, counters, only), privacy)
    terms = _terms(fields, max_weight, privacy, threat)
    schema = Schema.of(fields, threat.clients, max_weight, clipped=clipped, privacy=terms)
    made = _planned(threat, schema, protocol, roster is not None)
    return Plan(threat, schema, *made, _digests(structure, schema, digests), suite_of(adversary))


def derived(threat: Threat, schema: Schema, protocol: str | None) -> Plan:
    """The one plan of PLANNER, of one server and without entries or noise: from the same arguments
    the same bytes, whatever is installed. protocol: None for the cheapest of PLANNED.

    Raises ParameterError where there is none.
    """
    if protocol is None:
        name, params = _chosen(threat, schema.layout, PLANNED)
    else:
        name, params = protocol, _feasible(registry.load(protocol), threat)
    return Plan(threat, schema, name, params, (), suite_of(threat.adversary))


def refusal(threat: Threat, protocol: str | None) -> str:
    """Why `derived` has no parameters, whatever the fields; empty where it has."""
    reasons = []
    for info in map(registry.load, PLANNED if protocol is None else (protocol,)):
        params = info.parameters(threat)
        if not isinstance(params, Infeasible):
            return ""
        reasons.append(_refusal(info, params))
    return "; ".join(reasons)


def _with_model(
    fields: Any, like: Any, model: _OfModel, privacy: Privacy | None
) -> tuple[Any, tuple[bytes, ...]]:
    """The fields with those of a model before them, and the digests of its entries."""
    if privacy is not None:
        _check_privacy(privacy)
    if like is None:
        for name in model.given():
            raise ParameterError(f"{name} is of the model in like=, and there is none")
        return fields, ()
    from secagg.like import fields_of  # it reads arrays, and so loads the compiler

    of_floats = model.exact() if privacy is None else model.private(privacy)
    made, digests = fields_of(like, of_floats, model.counters, model.only, privacy is not None)
    others = {} if fields is None else fields
    if isinstance(others, Mapping):
        for name in made.keys() & others.keys():
            raise ParameterError(
                f"field {name!r} is of the model in like=: give yours another name"
            )
        others = {**made, **others}
    return others, digests


def _check_privacy(given: Any) -> None:
    if not isinstance(given, Privacy):
        raise ParameterError(
            f"privacy must be a Privacy, not {kind_of(given)}: "
            "privacy=secagg.Privacy(epsilon=2.0, delta=1e-5) is one"
        )


@dataclass(frozen=True, slots=True)
class _OfModel:
    """What a caller says of a model, unread; nothing is None."""

    clip: Any
    norm: Any
    bits: Any
    counters: Any
    only: Any

    def given(self) -> list[str]:
        return [name for name in self.__slots__ if getattr(self, name) is not None]

    def exact(self) -> Callable[[int], Field]:
        """What makes the field of so many floats, in a plan without privacy."""
        if self.norm is not None:
            raise ParameterError(
                "norm= is of a plan with privacy=, which bounds what a model as a whole may "
                "change; without, clip= bounds each of its elements"
            )
        if self.clip is None:
            raise ParameterError("like= needs clip=: how far from 0 an element may be")
        return lambda length: FixedPoint(length, self.clip, self._bits)

    def private(self, privacy: Privacy) -> Callable[[int], Field]:
        """In one with privacy."""
        if self.clip is not None:
            raise ParameterError(
                "clip= bounds each element and no norm: with privacy= give norm= in its place, the "
                "Euclidean norm of all of a model's floats together"
            )
        if self.norm is None:
            raise ParameterError(
                "like= with privacy= needs norm=: how large the Euclidean norm of all of a model's "
                "floats together may be; a longer update is made as short"
            )
        if self.counters is not None:
            raise ParameterError(
                "counters= with privacy=: nothing bounds what one unit changes in them; leave them "
                "out, as is done without counters=, or count in an Integer field of your own with "
                "a sensitivity"
            )
        if privacy.unit == "example":
            raise ParameterError(_BY_ROWS.format("like="))
        return lambda length: Vector(length, self.norm, self._bits)

    @property
    def _bits(self) -> Any:
        return DEFAULT_BITS if self.bits is None else self.bits


def _terms(
    fields: Any, max_weight: Any, privacy: Privacy | None, threat: Threat
) -> PrivacyTerms | None:
    if privacy is None:
        return None
    return agreed(named_fields(fields), max_weight, privacy, threat)


def _planned(
    threat: Threat, schema: Schema, protocol: str | None, stated: bool
) -> tuple[str, Params]:
    """stated: whether a roster was given: a threat does not tell one of n clients from none."""
    name, params = _protocol(threat, schema.layout, protocol, stated)
    terms = schema.privacy
    if terms is not None and terms.trust == "distributed":
        params = with_survivors(params, threat)
    return name, params


def _protocol(
    threat: Threat, layout: Layout, protocol: str | None, stated: bool
) -> tuple[str, Params]:
    try:
        if protocol is None:
            return _chosen(threat, layout, registry.available())
        name = text("protocol", protocol)
        return name, _feasible(registry.load(name), threat)
    except ParameterError as refused:
        if not stated or threat.roster is not None:
            raise
        raise ParameterError(f"{refused}; more clients need a roster of as many") from None


def _feasible(info: ProtocolInfo, threat: Threat) -> Params:
    params = info.parameters(threat)
    if isinstance(params, Infeasible):
        raise ParameterError(_refusal(info, params))
    return params


def _refusal(info: ProtocolInfo, why: Infeasible) -> str:
    return f"{info.name}: {why.rule}" + (f" ({why.instead})" if why.instead else "")


def _chosen(threat: Threat, layout: Layout, names: Sequence[str]) -> tuple[str, Params]:
    """With one server, up to 50 clients, or 300 of an active plan, it is SecAgg wherever its
    complete graph is feasible. Else, and with several servers, the cheapest: the smallest upload of
    a client, then its compute. Every message that depends on the graph grows with the degree, so
    SecAgg+ wins wherever it is feasible, and SecAgg stands in where it is not. A protocol without a
    threat model is used only when named."""
    offers: list[tuple[tuple[bool, bool, int, float, str], Params]] = []
    refusals: list[tuple[bool, str]] = []
    for info in map(registry.load, names):
        if not info.threat_models:
            continue
        params = info.parameters(threat)
        if isinstance(params, Infeasible):
            refusals.append((_asked(info, threat), _refusal(info, params)))
            continue
        cost = info.cost(threat, params, layout)
        offers.append((rank(info, threat, cost), params))
    if not offers:
        first = sorted(refusals, key=lambda refusal: not refusal[0])
        why = "; ".join(why for _, why in first) or "none is installed; put `protocols` on the path"
        raise ParameterError(f"{NONE}{why}")
    best, params = min(offers, key=lambda offer: offer[0])
    return best[-1], params


def _asked(info: ProtocolInfo, threat: Threat) -> bool:
    """Whether the protocol is for as many servers as the caller has: what it lacks is what the
    caller wants to read first, and of all others it is nothing but the number of servers."""
    match info.family:
        case OneServer():
            return threat.one_server
    return not threat.one_server


def _digests(structure: Any, schema: Schema, model: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """model: of the one that the plan is like."""
    if structure is None:
        return model
    if schema.privacy is not None and schema.privacy.unit == "example":
        raise ParameterError(_BY_ROWS.format("structure="))
    if model:
        raise ParameterError("a plan has a structure, or is like a model, and not both")
    from secagg.structure import Structure  # it reads arrays, and so loads the compiler

    if isinstance(structure, Structure):
        if len(schema.given) != 1:
            raise ParameterError(
                f"the plan has {len(schema.given)} fields: say of which one the structure is, as "
                "in {'update': structure}"
            )
        structure = {schema.given[0][0]: structure}
    named = dict(structure) if isinstance(structure, Mapping) else {}
    if not named or not set(named) <= {name for name, _ in schema.given}:
        raise ParameterError("structure is of one or more of the plan's fields, by their names")
    digests: tuple[bytes, ...] = ()
    for name, field in schema.given:
        if name in named:
            one = instance(f"the structure of field {name!r}", named[name], Structure)
            digests += one.digests(name, field, len(digests))
    return digests
