"""Plan: threat model + fields -> protocol, parameters, ring widths, cost, guarantee.

A plan is what the parties of a round agree on before it starts. Its encoding is canonical, its
digest binds every session made from it, and one that breaks a rule cannot be constructed, whether
it was chosen here or came from a peer (specs/01-wire.md §4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

from secagg import arguments, registry
from secagg.arguments import choice, flag, integer, text
from secagg.committee import Committee
from secagg.crypto import labels
from secagg.errors import ParameterError, PolicyRefused, TooLarge, UnknownVersion, WireError
from secagg.explain import client_seconds, expansion, explanation
from secagg.fields import Field, FixedPoint, Schema
from secagg.ring import Layout
from secagg.sansio import Cost, Infeasible, Params, ProtocolInfo, Session
from secagg.types import ADVERSARIES, MAX_CLIENTS, MAX_SERVERS, Adversary, Buffer, Threat
from secagg.wire.codec import Reader, Writer
from secagg.wire.schema import read_schema, write_schema

VERSION, SUITE = 1, 1

MAX_ENCODED = 1 << 19
"""Above the largest schema of 1024 fields with names of 255 characters (some 280 KB)."""

PARAMETERS_ONLY = "parameters only"
"""How a guarantee begins where the protocol has parameters for the threat but no machines yet."""

_MAX_NAME = 64
_MAX_PARAMS = 1 << 10

Exact: TypeAlias = int | float | str | Fraction | Decimal
"""A fraction, taken as the decimal it prints as: 0.1 is 1/10, not the nearest binary float."""


def plan(
    *,
    clients: int,
    fields: Mapping[str, Field],
    corrupt: Exact = 0.1,
    dropout: Exact = 0.2,
    adversary: Adversary = "semi-honest",
    protocol: str | None = None,
    min_clients: int | None = None,
    max_weight: int = 1,
    servers: int = 1,
    direct: bool = False,
    clipped: bool = False,
) -> Plan:
    """A plan that withstands the threat, or the one of the protocol that is named.

    clients: the most that take part. fields: name -> FixedPoint or Integer, in order. corrupt,
    dropout: the fractions of clients that may collude with the server, and that may be lost
    before their last answer, whatever the phase; in [0, 1), and rounded up to whole clients.
    min_clients: end a round that starts with fewer; kept as it is, or refused. servers: how many
    hold shares, of whom one is trusted by each client, whichever that is; with one there are no
    shares. direct: clients reach each of several servers themselves. clipped: adds a lane of that
    name, in which every client says how many of its elements it has clipped; their total is
    revealed with the sums.

    With one server, up to 50 clients it is SecAgg wherever its complete graph is feasible. Else,
    and with several servers, the cheapest: the smallest upload of a client, then its compute. Every
    message that depends on the graph grows with the degree, so SecAgg+ wins wherever it is
    feasible, and SecAgg stands in where it is not. A protocol without a threat model is used only
    when named.

    Raises ParameterError with the rule that cannot be met, and what would do instead;
    HeadroomError with the proof that a sum could wrap.
    """
    threat = _threat(clients, corrupt, dropout, adversary, min_clients)
    threat = _with_servers(threat, servers, direct)
    schema = Schema.of(fields, threat.clients, max_weight, clipped=flag("clipped", clipped))
    if protocol is None:
        name, params = _chosen(threat, schema.layout)
    else:
        name = text("protocol", protocol)
        params = _feasible(registry.load(name), threat)
    return Plan(threat, schema, name, params)


@dataclass(frozen=True)
class Plan:
    """A checked agreement: parameters that obey every rule of their protocol under this threat.

    Raises ParameterError with the rule that they break.
    """

    threat: Threat
    schema: Schema
    protocol: str
    params: Params

    def __post_init__(self) -> None:
        if not self.threat.clients == self.schema.clients == self.params.clients:
            raise ParameterError(
                f"threat, schema and parameters are for {self.threat.clients}, "
                f"{self.schema.clients} and {self.params.clients} clients"
            )
        broken = self.info.check(self.threat, self.params)
        if broken is not None:
            raise ParameterError(f"{self.protocol}: {broken}")

    @property
    def info(self) -> ProtocolInfo:
        return registry.load(self.protocol)

    @property
    def layout(self) -> Layout:
        return self.schema.layout

    @property
    def ring_bits(self) -> int:
        """The width of the widest segment."""
        return self.layout.ring_bits

    @property
    def degree(self) -> int:
        """Neighbours of a client, itself not counted."""
        return self.params.degree

    @property
    def threshold(self) -> int:
        return self.params.threshold

    @cached_property
    def cost(self) -> Cost:
        return self.info.cost(self.threat, self.params, self.layout)

    @property
    def upload_bytes(self) -> int:
        """Of one client over a round without drops, exactly."""
        return self.cost.upload_bytes

    @property
    def expansion(self) -> float:
        """upload_bytes over the bytes of the fields themselves, `length * bits / 8` each."""
        return expansion(self.schema, self.cost)

    @property
    def max_error(self) -> float:
        """Of an element of a mean: the largest over the fixed-point fields; 0 without any."""
        fixed = [f.max_error for _, f in self.schema.fields if isinstance(f, FixedPoint)]
        return max(fixed, default=0.0)

    @property
    def guarantee(self) -> str:
        return self.info.guarantee(self.threat, self.params)

    def encode(self) -> bytes:
        """The canonical bytes (specs/01-wire.md §4)."""
        threat = self.threat
        writer = Writer().u8(VERSION).u8(SUITE).prefixed(self.protocol.encode("ascii"))
        writer.u32(threat.clients)
        for fraction in (threat.corrupt, threat.dropout):
            writer.u32(fraction.numerator).u32(fraction.denominator)
        writer.u8(ADVERSARIES.index(threat.adversary)).u32(threat.min_clients or 0)
        return write_schema(writer, self.schema).prefixed(self.params.encode()).finish()

    @classmethod
    def decode(
        cls, data: Buffer, *, limit: int = MAX_ENCODED, allow_unprotected: bool = False
    ) -> Plan:
        """A plan from a peer; nothing in it is trusted, every rule is checked again.

        limit: bytes. allow_unprotected: accept a protocol without any threat model, such as the
        sum in the clear; only for a plan that the caller has pinned or runs a test with.
        Raises WireError for bad grammar, ParameterError for a rule that is broken, PolicyRefused
        for an unprotected protocol.
        """
        if len(data) > limit:
            raise TooLarge(f"a plan of {len(data)} bytes, and the limit is {limit}")
        reader = Reader(data)
        _read_version(reader)
        protocol = reader.prefixed(_MAX_NAME, "protocol").decode("latin-1")
        threat = _read_threat(reader)
        schema = read_schema(reader, threat.clients)
        encoded = reader.prefixed(_MAX_PARAMS, "parameters")
        reader.finish()
        info = registry.load(protocol)
        params = info.decode_params(encoded)
        if not info.threat_models and not allow_unprotected:
            raise PolicyRefused(
                f"the plan's protocol {protocol} protects against nobody: pin the plan, and pass "
                "allow_unprotected=True, if that is what you want"
            )
        threat = _with_servers(threat, params.servers, params.direct)
        return cls(threat, schema, protocol, params)

    def digest(self) -> bytes:
        """32 bytes that bind everything above; what two sides compare, pin and sign."""
        return labels.digest(labels.PLAN, self.encode())

    def session(
        self,
        nonce: bytes,
        payload_digest: bytes,
        committee: Committee | None = None,
        batch: int = 0,
    ) -> Session:
        """A session of this plan. nonce: 16 bytes. payload_digest: 32 bytes. committee, batch: of a
        plan with several servers.

        Raises PolicyRefused for a plan that is for reading only.
        """
        if self.guarantee.startswith(PARAMETERS_ONLY):
            raise PolicyRefused(
                f"{self.protocol} can plan for an {self.threat.adversary} adversary but not yet "
                "run under one: this plan is for reading"
            )
        return Session(
            nonce,
            self.digest(),
            payload_digest,
            self.params,
            self.layout,
            committee,
            batch,
            self.threat.corrupted,
        )

    def explain(self) -> str:
        """Several lines of plain words: what to know before joining a round of this plan."""
        lines = explanation(self.info, self.threat, self.schema, self.params)
        return "\n".join([*lines, f"Digest of this plan: {self.digest().hex()}"])


def _threat(
    clients: int, corrupt: Exact, dropout: Exact, adversary: str, min_clients: int | None
) -> Threat:
    clients = integer("clients", clients, 1, MAX_CLIENTS)
    if min_clients is not None:
        min_clients = integer("min_clients", min_clients, 1, clients)
    known = choice("adversary", adversary, ADVERSARIES)
    return Threat(
        clients, _exact("corrupt", corrupt), _exact("dropout", dropout), known, min_clients
    )


def _with_servers(threat: Threat, servers: int, direct: bool) -> Threat:
    """Not written into a plan's threat: its parameters say them."""
    servers = integer("servers", servers, 1, MAX_SERVERS)
    if flag("direct", direct) and servers == 1:
        raise ParameterError("direct is for plans of several servers: with one there is no other")
    return replace(threat, servers=servers, direct=direct)


def _exact(what: str, value: Exact) -> Fraction:
    fraction = arguments.fraction(what, value)
    if fraction == 1:
        raise ParameterError(f"{what} must lie in [0, 1), not be all of them")
    if fraction.denominator >> 32:
        raise ParameterError(
            f"{what} is not a ratio of two 32-bit integers; write it with fewer "
            'digits, or as a string or Fraction such as "1/3"'
        )
    return fraction


def _feasible(info: ProtocolInfo, threat: Threat) -> Params:
    params = info.parameters(threat)
    if isinstance(params, Infeasible):
        raise ParameterError(_refusal(info, params))
    return params


def _refusal(info: ProtocolInfo, why: Infeasible) -> str:
    return f"{info.name}: {why.rule}" + (f" ({why.instead})" if why.instead else "")


def _chosen(threat: Threat, layout: Layout) -> tuple[str, Params]:
    offers: list[tuple[tuple[bool, bool, int, float, str], Params]] = []
    refusals = []
    for info in map(registry.load, registry.available()):
        if not info.threat_models:
            continue
        params = info.parameters(threat)
        if isinstance(params, Infeasible):
            refusals.append(_refusal(info, params))
            continue
        cost = info.cost(threat, params, layout)
        unserved = threat.adversary not in info.threat_models
        deferred = info.preferred(threat) is None
        rank = (unserved, deferred, cost.upload_bytes, client_seconds(cost), info.name)
        offers.append((rank, params))
    if not offers:
        why = "; ".join(refusals) or "none is installed; put `protocols` on the path"
        raise ParameterError(f"no protocol withstands this: {why}")
    rank, params = min(offers, key=lambda offer: offer[0])
    return rank[-1], params


def _read_version(reader: Reader) -> None:
    version, suite = reader.u8("version"), reader.u8("suite")
    if (version, suite) != (VERSION, SUITE):
        raise UnknownVersion(
            f"a plan of version {version}, suite {suite}; this code speaks version {VERSION}, "
            f"suite {SUITE}"
        )


def _read_threat(reader: Reader) -> Threat:
    clients = reader.u32("clients")
    corrupt, dropout = _read_fraction(reader, "corrupt"), _read_fraction(reader, "dropout")
    adversary = reader.u8("adversary")
    if adversary >= len(ADVERSARIES):
        raise WireError(f"adversary {adversary} is unknown")
    min_clients = reader.u32("min_clients")
    return _threat(clients, corrupt, dropout, ADVERSARIES[adversary], min_clients or None)


def _read_fraction(reader: Reader, what: str) -> Fraction:
    numerator, denominator = reader.u32(what), reader.u32(what)
    if denominator == 0:
        raise WireError(f"{what} has the denominator 0")
    fraction = Fraction(numerator, denominator)
    if fraction.denominator != denominator:
        raise WireError(f"{what} is not in lowest terms")
    return fraction
