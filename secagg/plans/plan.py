"""A plan: threat model, fields, protocol and parameters, and their one encoding.

It is what the parties of a round agree on before it starts. Its encoding is canonical, its
digest binds every session made from it, and one that breaks a rule cannot be constructed, whether
it was chosen here (plans.choose) or came from a peer (specs/01-wire.md §4).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from secagg import registry
from secagg.committee import Committee
from secagg.crypto import labels
from secagg.errors import ParameterError, PolicyRefused, TooLarge, UnknownVersion, WireError
from secagg.fields import FixedPoint, Schema
from secagg.layout import Layout
from secagg.plans.explain import expansion, explanation
from secagg.plans.threat import threat_of, with_servers
from secagg.protocol import Cost, Params, ProtocolInfo, Session
from secagg.types import ADVERSARIES, Buffer, Threat
from secagg.wire.codec import Reader, Writer
from secagg.wire.schema import read_schema, write_schema

VERSION, SUITE = 1, 1

MAX_ENCODED = 1 << 19
"""Above the largest schema of 1024 fields with names of 255 characters (some 280 KB)."""

PARAMETERS_ONLY = "parameters only"
"""How a guarantee begins where the protocol has parameters for the threat but no machines yet."""

_MAX_NAME = 64
_MAX_PARAMS = 1 << 10


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
        """The plan's protocol; ParameterError where it is not installed."""
        return registry.load(self.protocol)

    @property
    def layout(self) -> Layout:
        """Of the vector that every client masks, and of the sum."""
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
        """Shares that rebuild a secret: how many must answer in the end."""
        return self.params.threshold

    @cached_property
    def cost(self) -> Cost:
        """Bytes and operations of each side, as the protocol's document counts them."""
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
        """From whom an input is hidden, in one sentence."""
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
        threat = with_servers(threat, params.servers, params.direct)
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
    return threat_of(clients, corrupt, dropout, ADVERSARIES[adversary], min_clients or None)


def _read_fraction(reader: Reader, what: str) -> Fraction:
    numerator, denominator = reader.u32(what), reader.u32(what)
    if denominator == 0:
        raise WireError(f"{what} has the denominator 0")
    fraction = Fraction(numerator, denominator)
    if fraction.denominator != denominator:
        raise WireError(f"{what} is not in lowest terms")
    return fraction
