"""A plan: threat model, fields, protocol and parameters, and their one encoding.

It is what the parties of a round agree on before it starts. Its encoding is canonical, its
digest binds every session made from it, and one that breaks a rule cannot be constructed, whether
it was chosen here (plans.choose) or came from a peer (specs/01-wire.md §4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from secagg import registry
from secagg.arguments import instance, integer, octets, settle, text
from secagg.committee import Committee
from secagg.crypto import labels
from secagg.errors import ParameterError, PolicyRefused, TooLarge, UnknownVersion
from secagg.layout import Layout
from secagg.plans.explain import expansion, explanation
from secagg.plans.privacy import check
from secagg.plans.sections import Sections
from secagg.privacy import PrivacyTerms
from secagg.promise import Promise
from secagg.protocol import Cost, OneServer, Params, Phase, ProtocolInfo, Session, SeveralServers
from secagg.roster import Roster
from secagg.schema import MAX_TENSORS, TENSOR_SIZE, Schema
from secagg.shown import short
from secagg.suite import SUITE_1, Suite, known, suite_of
from secagg.threat import Threat
from secagg.types import Buffer, PartyId
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import DIGEST_SIZE

VERSION = 2

MAX_ENCODED = 1 << 19
"""Above the largest schema of 1024 fields with names of 255 characters (some 280 KB)."""

_MAX_NAME = 64


class _Digests(tuple[bytes, ...]):
    """Those of a model's entries, of which there may be thousands."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<digests of {len(self)} entries of a model: name, shape and dtype of each>"


@dataclass(frozen=True)
class Plan:
    """A checked agreement: parameters that obey every rule of their protocol under this threat.

    structure: of the fields that clients give as named arrays, 16 bytes for each of these in order
    (`secagg.structure`). suite: what messages are made of.
    Raises ParameterError with the rule that is broken.
    """

    threat: Threat
    schema: Schema
    protocol: str
    params: Params
    structure: tuple[bytes, ...] = ()
    suite: Suite = SUITE_1

    __repr__ = short

    def __post_init__(self) -> None:
        instance("threat", self.threat, Threat)
        instance("schema", self.schema, Schema)
        instance("suite", self.suite, Suite)
        self._check_structure()
        if self.suite.signed != suite_of(self.threat.adversary).signed:
            raise ParameterError(
                f"suite {self.suite.number} in a plan under {self.threat.adversary} adversaries: "
                f"theirs is {suite_of(self.threat.adversary).number}"
            )
        clients = getattr(self.params, "clients", "unknown")
        if not self.threat.clients == self.schema.clients == clients:
            raise ParameterError(
                f"threat, schema and parameters are for {self.threat.clients}, "
                f"{self.schema.clients} and {clients} clients"
            )
        if self.suite.signed and self.threat.adversary not in self.info.threat_models:
            raise ParameterError(f"{self.protocol} has no {self.threat.adversary} mode")
        broken = self.info.check(self.threat, self.params)
        if broken is not None:
            raise ParameterError(f"{self.protocol}: {broken}")
        check(self.info, self.threat, self.params, self.schema)

    def _check_structure(self) -> None:
        digests = instance("structure", self.structure, tuple)
        if len(digests) > MAX_TENSORS:
            raise ParameterError(
                f"a structure has at most {MAX_TENSORS} entries, not {len(digests)}: join some"
            )
        for digest in digests:
            octets("the digest of an entry", digest, TENSOR_SIZE)
        settle(self, structure=_Digests(digests))

    @property
    def info(self) -> ProtocolInfo:
        """The plan's protocol; ParameterError where it is not installed."""
        return registry.load(text("protocol", self.protocol))

    @property
    def phases(self) -> tuple[Phase, ...]:
        """A client's steps, in order."""
        return self.info.phases(self.params, self.suite)

    @property
    def phase_names(self) -> tuple[str, ...]:
        """Of these steps: what deadlines, drops and reports are given by."""
        return tuple(phase.name for phase in self.phases)

    @property
    def layout(self) -> Layout:
        """Of the vector that every client masks, and of the sum."""
        return self.schema.layout

    @property
    def privacy(self) -> PrivacyTerms | None:
        """The noise of every sum and what it is for, where the plan has any."""
        return self.schema.privacy

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
        """Of an element of a mean, by rounding: the proved bound of the worst field; 0 of integers
        alone. Noise is beside it, and has no bound: see `Aggregate.interval`."""
        return max(self.schema.errors.values(), default=0.0)

    @cached_property
    def promise(self) -> Promise:
        """What the protocol says of this plan; `explain` sets it in lines."""
        return self.info.promise(self.threat, self.params, self.layout)

    @property
    def guarantee(self) -> str:
        """From whom an input is hidden, in one sentence."""
        return self.promise.learns

    def input_of(self, model: Any) -> dict[str, dict[str, Any]]:
        """A client's input from its whole model: the entries that the plan has, by field.

        model: a mapping of names to arrays or tensors, a list of them, or a pandas frame, of the
        names, shapes, types and order of the model that the plan is like; what the plan does not
        have is left out. The values are the model's own, and nothing is read or copied yet. Other
        fields of the plan are added by who has them, as in `{**plan.input_of(model), "loss": [x]}`.

        Raises InputError for a plan without entries and for another model, with the entry that
        differs.
        """
        from secagg.like import taken  # it reads arrays, and so loads the compiler

        return taken(self.schema.given, self.structure, model)

    def encode(self) -> bytes:
        """The canonical bytes (specs/01-wire.md §4)."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        """Made once, as each message of a session asks for their digest."""
        writer = Writer().u8(VERSION).u8(self.suite.number)
        writer.prefixed(self.protocol.encode("ascii"))
        parts = Sections(self.threat, self.schema, self.params.encode(), self.structure)
        return parts.write(writer).finish()

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
        data = octets("a plan", data)
        limit = integer("limit", limit, 0, 1 << 32)
        if len(data) > limit:
            raise TooLarge(f"a plan of {len(data)} bytes, and the limit is {limit}")
        reader = Reader(data)
        suite = _read_version(reader)
        protocol = reader.prefixed(_MAX_NAME, "protocol").decode("latin-1")
        parts = Sections.read(reader)
        info = registry.load(protocol)
        params = info.decode_params(parts.parameters)
        if not info.threat_models and not allow_unprotected:
            raise PolicyRefused(
                f"the plan's protocol {protocol} protects against nobody: pin the plan, and pass "
                "allow_unprotected=True, if that is what you want"
            )
        # not written into a plan's threat: its parameters say them
        threat = parts.threat
        if (threat.servers, threat.direct) != (params.servers, params.direct):
            threat = replace(threat, servers=params.servers, direct=params.direct)
        return cls(threat, parts.schema, protocol, params, parts.structure, suite)

    def rotation(self, nonce: bytes, payload_digest: bytes) -> bytes:
        """The public seed of a session's rotation, 32 bytes: what all inputs of a sum have in
        common. Of several servers it has no nonce, as clients of one sum have each their own."""
        match self.info.family:
            case OneServer():
                own = nonce
            case SeveralServers():
                own = b""
        payload = octets("payload_digest", payload_digest, DIGEST_SIZE)
        return labels.digest(labels.ROTATION, self.digest(), payload, octets("nonce", own))

    def digest(self) -> bytes:
        """32 bytes that bind everything above; what two sides compare, pin and sign."""
        return self._digest

    @cached_property
    def _digest(self) -> bytes:
        return labels.digest(labels.PLAN, self.encode())

    def session(
        self,
        nonce: bytes,
        payload_digest: bytes,
        committee: Committee | None = None,
        batch: int = 0,
        *,
        roster: Roster | None = None,
        invited: frozenset[PartyId] | None = None,
    ) -> Session:
        """A session of this plan. nonce: 16 bytes. payload_digest: 32 bytes. committee, batch: of a
        plan with several servers. roster, invited: of one whose clients sign.

        Raises PolicyRefused for a plan that is for reading only, ParameterError for a roster that
        is not of the plan's size or has fewer members than a round begins with.
        """
        if committee is not None:
            instance("committee", committee, Committee)
        if roster is not None:
            instance("roster", roster, Roster)
            roster.check_size(self.threat.population, self.params.min_clients)
        if not self.promise.runs:
            raise PolicyRefused(
                f"{self.protocol} can plan for an {self.threat.adversary} adversary but not yet "
                "run under one: this plan is for reading"
            )
        return Session(
            octets("nonce", nonce),
            self.digest(),
            octets("payload_digest", payload_digest, DIGEST_SIZE),
            self.params,
            self.layout,
            committee,
            batch,
            self.threat.corrupted,
            self.suite,
            roster,
            invited,
            self.encode(),
        )

    def explain(self) -> str:
        """Several lines of plain words: what to know before joining a round of this plan."""
        lines = [*explanation(self.info, self.threat, self.schema, self.params, self.suite)]
        if self.structure:
            lines.append(
                f"By name: {len(self.structure)} arrays, a model's entries in order. Whatever else "
                "a model has is left out, and does not leave its client."
            )
        return "\n".join([*lines, f"Digest of this plan: {self.digest().hex()}"])


def _read_version(reader: Reader) -> Suite:
    version, suite = reader.u8("version"), reader.u8("suite")
    if version != VERSION:
        raise UnknownVersion(
            f"a plan of version {version}, or no plan; this code speaks version {VERSION}"
        )
    return known(suite, "a plan")
