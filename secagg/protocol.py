"""What a protocol is: its parameters and costs, the sessions that its machines are made from, and
which machines those are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from secagg.committee import Committee, Keys, ServerSecrets
from secagg.crypto import labels, sign
from secagg.errors import ParameterError
from secagg.layout import Expander, Layout
from secagg.promise import Promise
from secagg.proved import Verdict, Verified
from secagg.roster import Roster, SignedRoster
from secagg.sansio import ClientMachine, CollectorMachine, Judge, MemberMachine, ServerMachine
from secagg.shown import short
from secagg.suite import SUITE_1, Suite
from secagg.threat import Threat
from secagg.types import (
    COLLECTOR,
    SERVER,
    Adversary,
    Buffer,
    PartyId,
    Randomness,
    Seed,
    server_id,
    smallest_sum,
)
from secagg.wire.header import VERSION


class Params(Protocol):
    """What every protocol's parameters can answer. A frozen dataclass of ints."""

    @property
    def clients(self) -> int: ...
    @property
    def degree(self) -> int:
        """Neighbours of a client, itself not counted; clients - 1 is the complete graph."""

    @property
    def threshold(self) -> int: ...
    @property
    def servers(self) -> int: ...
    @property
    def direct(self) -> bool:
        """Whether a client of several servers reaches each of them itself."""

    @property
    def min_clients(self) -> int:
        """The smallest |U1| that a client and the server accept."""

    @property
    def min_survivors(self) -> int:
        """The smallest |U3| that a client and the server accept."""

    def encode(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Infeasible:
    """No parameters exist for this threat; `rule` says which inequality cannot be met.

    instead: a sentence of what would do, tried before it is named; empty where nothing near does.
    """

    rule: str
    instead: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a round without drops costs, exactly where bytes are concerned."""

    upload_bytes: int  # of one client over the whole round, framing of the transport excluded
    download_bytes: int
    client_prg_bytes: int
    client_agreements: int
    server_prg_bytes: int  # with the planned number of clients dropped after share-keys
    server_agreements: int
    largest_message: int
    uploads: tuple[int, ...] = ()  # of the client's message in each of its steps, if it is said

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Session:
    """What the driver announces and a machine is made from.

    nonce: 16 bytes; it routes, tells rows and claims of two sessions apart, and authenticates
    nothing. plan_digest, payload_digest: 32 bytes, bound by the offer.
    committee: the servers, where there are several. batch: which sum of the committee's epoch; its
    clients neither know nor bind it. corrupted: how many clients may collude, by the plan.
    suite: what its messages are made of. roster: whose clients sign, in a suite where they do, and
    of none in another. invited: who of it is asked to take part, which is the server's business and
    bound by nothing. plan: its bytes, for who writes them down; their digest is plan_digest, if
    there are any. Raises ParameterError for a suite and a roster, or a roster and guests, that
    do not fit.
    """

    nonce: bytes
    plan_digest: bytes
    payload_digest: bytes
    params: Params
    layout: Layout
    committee: Committee | None = None
    batch: int = 0
    corrupted: int = 0
    suite: Suite = SUITE_1
    roster: Roster | None = None
    invited: frozenset[PartyId] | None = None
    plan: bytes = b""

    __repr__ = short

    def __post_init__(self) -> None:
        if self.suite.signed != (self.roster is not None):
            raise ParameterError(
                f"a session of suite {self.suite.number} "
                + ("needs a roster of its clients" if self.suite.signed else "has no roster")
            )
        if self.invited is None:
            return
        if self.roster is None or not self.invited <= self.roster.members:
            raise ParameterError("somebody is invited who is no member of the session's roster")
        least, most = self.params.min_clients, self.params.clients
        if not least <= len(self.invited) <= most:
            raise ParameterError(
                f"the plan is for {least} to {most} clients, and {len(self.invited)} are invited"
            )

    def check_signing(
        self, party: PartyId, signing: Seed | None, judge: Judge | None = None
    ) -> None:
        """For a machine of `party`, before it is one. signing: the seed of its key in the roster,
        where clients sign; None elsewhere. judge: of a client that signs survivors, if it has one.

        Raises ParameterError for a seed too few, too many, or of another's key, for whoever is not
        in the roster, and for a judge whom nobody would ask.
        """
        if self.roster is None:
            if judge is not None:
                raise ParameterError(
                    f"in suite {self.suite.number} no client is shown the survivors, and there is "
                    "somebody to judge them: the plan is not what its owner believes"
                )
            if signing is not None:
                raise ParameterError(
                    f"in suite {self.suite.number} a party of one server signs nothing, and a key "
                    "to sign with is given: the plan is not what its owner believes"
                )
            return
        expected = self.roster.server if party == SERVER else self.roster.key_of(party)
        if signing is None:
            raise ParameterError(
                f"in suite {self.suite.number} every party signs: give the seed of its identity"
            )
        if sign.public_key(signing) != expected:
            who = "the server" if party == SERVER else f"member {party}"
            raise ParameterError(
                f"this is not the identity of {who} in epoch {self.roster.epoch} of the roster"
            )

    def check_smallest_sum(self) -> None:
        """For a machine of a protocol with a threat model, before it is one: no sum of so few
        inputs that those who collude could subtract their own and have another's.

        Raises ParameterError.
        """
        needed = smallest_sum(self.corrupted)
        if self.params.min_survivors < needed:
            raise ParameterError(
                f"min_survivors is {self.params.min_survivors}, and with {self.corrupted} corrupt "
                f"clients no sum of fewer than {needed} inputs protects one: {needed} would do"
            )

    def offer(self, protocol: str) -> bytes:
        """What a client's first message binds (specs/10-secagg.md §3). 32 bytes.

        Of one server in suite 1 the roster digest is the empty string and the epoch 0. In suite 2
        the nonce is bound as well: what was said in another round is of no use in this one.
        """
        keys = self.roster or self.committee
        bound: tuple[bytes | int, ...] = (
            protocol.encode("ascii"),
            VERSION,
            self.suite.number,
            self.plan_digest,
            self.payload_digest,
            keys.digest if keys else b"",
            keys.epoch if keys else 0,
        )
        return labels.digest(labels.OFFER, *bound, *([self.nonce] if self.suite.signed else []))


class ClientFactory(Protocol):
    """Makes one client's machine; me: its place in the session, or in its roster. signing, judge:
    as Session.check_signing has them."""

    def __call__(
        self,
        session: Session,
        me: PartyId,
        *,
        randomness: Randomness,
        expander: Expander,
        signing: Seed | None = None,
        judge: Judge | None = None,
    ) -> ClientMachine: ...


class ServerFactory(Protocol):
    """Makes the one server's machine. signing: as Session.check_signing has it."""

    def __call__(
        self, session: Session, *, expander: Expander, signing: Seed | None = None
    ) -> ServerMachine: ...


class MemberFactory(Protocol):
    """Makes the machine of server `index` of several, the leader being 0."""

    def __call__(
        self, session: Session, index: int, secrets: ServerSecrets, *, expander: Expander
    ) -> MemberMachine: ...


class CollectorFactory(Protocol):
    """Makes the machine of whoever adds the servers' totals."""

    def __call__(self, session: Session, secret: Seed) -> CollectorMachine:
        """secret: the X25519 scalar of the committee's collector key."""


@dataclass(frozen=True, slots=True)
class OneServer:
    """Clients and one server, which has the sum."""

    client: ClientFactory
    server: ServerFactory

    def machines(
        self,
        session: Session,
        keys: Keys | None = None,
        *,
        expander: Expander,
        signing: Seed | None = None,
    ) -> dict[PartyId, ServerMachine]:
        """Every machine of a session but its clients', by party. keys: it needs none. signing: of
        the server."""
        return {SERVER: self.server(session, expander=expander, signing=signing)}


@dataclass(frozen=True, slots=True)
class SeveralServers:
    """Clients, members that each hold a share of the sum, and a collector that adds their totals.

    The first member, at SERVER, leads: it says which phase a batch is in, and closes it.
    """

    client: ClientFactory
    member: MemberFactory
    collector: CollectorFactory

    def machines(
        self,
        session: Session,
        keys: Keys | None,
        *,
        expander: Expander,
        signing: Seed | None = None,
    ) -> dict[PartyId, ServerMachine]:
        """Every machine of a session but its clients', by party, for a process that plays them all.

        Raises ParameterError for keys that are not of the session's committee, and for a seed to
        sign with: the keys have theirs.
        """
        session.check_signing(SERVER, signing)
        if keys is None or session.committee != keys.committee:
            raise ParameterError("these are not the keys of the session's committee")
        made: dict[PartyId, ServerMachine] = {
            server_id(index): self.member(session, index, secrets, expander=expander)
            for index, secrets in enumerate(keys.servers)
        }
        return {**made, COLLECTOR: self.collector(session, keys.collector)}


Family: TypeAlias = OneServer | SeveralServers
"""What kind of round a protocol has: `match` on it is the one way to ask."""


Opener: TypeAlias = Callable[[bytes, bytes, bytes], tuple[str, Session]]
"""Of a plan's bytes, a payload digest and a nonce: the name of the plan's protocol, and the session
of the roster at hand. Raises WireError, ParameterError or PolicyRefused. What reads transcripts is
a protocol's, and what reads plans stands above protocols: so it is given to them."""


@dataclass(frozen=True, slots=True)
class Proofs:
    """What anybody can check who has the signed roster, from bytes alone (specs/12-active.md §7,
    §8). Each raises WireError, CryptoError, ParameterError, PolicyRefused or RemoteProtocolError
    for what proves nothing.

    transcript: of a whole session. evidence: of who lied. equivocations: evidence against whoever
    has made two statements, of transcripts and of what clients were told.
    """

    transcript: Callable[[Buffer, SignedRoster, Opener], Verified]
    evidence: Callable[[Buffer, SignedRoster, Opener], Verdict]
    equivocations: Callable[[Sequence[Buffer], SignedRoster, Opener], tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Phase:
    """A step of a client: the one message of it that a server waits for.

    tag: of that message on the wire. takes_input: whether the client's input is in it.
    """

    name: str
    tag: int
    takes_input: bool = False


@dataclass(frozen=True)
class ProtocolInfo:
    """A protocol as the registry, the planner and the drivers see it."""

    name: str
    spec: str
    status: str
    threat_models: tuple[Adversary, ...]
    family: Family
    phases: Callable[[Params, Suite], tuple[Phase, ...]]
    """A client's, in order, in a session of these parameters and this suite."""
    parameters: Callable[[Threat], Params | Infeasible]
    check: Callable[[Threat, Params], str | None]
    """The rule that given parameters break, or None: how a client judges an announced plan."""
    decode_params: Callable[[bytes], Params]
    cost: Callable[[Threat, Params, Layout], Cost]
    promise: Callable[[Threat, Params, Layout], Promise]
    """What explain() says of a plan; of the layout because what a choice costs is a share of it."""
    messages: Mapping[int, str]
    """Wire tag -> name, for `secagg inspect`."""
    preferred: Callable[[Threat], str | None] = lambda threat: None
    """Why `plan()` takes it before protocols that cost a client less, or None."""
    repeats: bool = True
    """Whether the same injected randomness gives the same bytes: not where a library that seals
    draws its own."""
    resumes: Callable[[Suite], bool] = lambda suite: False
    """Whether machines of this suite write rows and go on from them, all of them; where not,
    `writes()` is empty and `restore()` of any row raises."""
    lies: Callable[[], Mapping[str, ServerFactory]] = dict
    """Servers that lie, by the name of the lie, for a demonstration of what becomes of it."""
    proofs: Proofs | None = None
    """How its transcripts and evidence are checked, where it has any."""

    __repr__ = short
