"""What drivers and protocols agree on: machines without clocks, sockets, threads or files.

One machine object is one party in one session. It is used once. The driver feeds it bytes
(`receive`), news of the network (`lost`), and the passing of time (`close_phase`), and after
*every* call, also after one that raised, drains `outgoing()` and `events()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from secagg.committee import Committee, ServerSecrets
from secagg.crypto import labels
from secagg.effects import Write as Write
from secagg.errors import ParameterError
from secagg.ring import Expander as Expander
from secagg.ring import Layout, RingVector
from secagg.types import (
    SERVER,
    AbortReason,
    Adversary,
    Buffer,
    Fault,
    NonCopyable,
    PartyId,
    Seed,
    Threat,
    smallest_sum,
)
from secagg.types import Randomness as Randomness
from secagg.types import system_randomness as system_randomness
from secagg.wire.header import SUITE, VERSION


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send. commit=True: it may leave only after what it says is stored.

    sender: of a server's message, which server says it, where several share one mailbox.
    """

    to: PartyId
    data: bytes = field(repr=False)
    commit: bool = False
    sender: PartyId = SERVER


@dataclass(frozen=True, slots=True)
class PhaseEntered:
    phase: str


@dataclass(frozen=True, slots=True)
class QuorumReached:
    """Enough messages of this phase are in. Closing it may still abort: who sent them may leave."""

    phase: str


@dataclass(frozen=True, slots=True)
class Dropped:
    party: PartyId
    fault: Fault
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Disputed:
    """A share that is unusable: one of the two lied, and nobody knows who. Both stay."""

    dealer: PartyId
    holder: PartyId


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message without effect: a duplicate, or late for its phase."""

    sender: PartyId
    why: str


@dataclass(frozen=True, slots=True)
class Finished:
    pass


@dataclass(frozen=True, slots=True)
class Aborted:
    reason: AbortReason
    detail: str = ""


Event: TypeAlias = PhaseEntered | QuorumReached | Dropped | Disputed | Ignored | Finished | Aborted


@dataclass(frozen=True, slots=True)
class RingTotal:
    """The sum over exactly `contributors`, modulo each segment's ring.

    reports: how many there are, where nobody is told who they are: a collector is not.
    """

    vector: RingVector = field(repr=False)
    contributors: frozenset[PartyId]
    dropped: frozenset[PartyId]
    reports: int | None = None

    @property
    def count(self) -> int:
        return len(self.contributors) if self.reports is None else self.reports


class Job(Protocol):
    """Pure work of some 50 ms, a frozen dataclass for any concurrent.futures.Executor.
    It holds only what the protocol has opened to the server."""

    def __call__(self) -> Any: ...


class Mailbox(NonCopyable):
    """The half of every machine that only collects: messages to send and events to report."""

    def __init__(self) -> None:
        self._outgoing: list[Outgoing] = []
        self._events: list[Event] = []

    def outgoing(self) -> list[Outgoing]:
        drained, self._outgoing = self._outgoing, []
        return drained

    def events(self) -> list[Event]:
        drained, self._events = self._events, []
        return drained

    def acknowledged(self) -> None:
        """Nothing is kept for repeats, unless a machine says otherwise."""

    def reconnected(self, party: PartyId, /) -> None:
        """Nothing is said again, unless a machine says otherwise."""


class Machine(Protocol):
    """One party in one session."""

    @property
    def phase(self) -> str: ...
    @property
    def done(self) -> bool: ...
    def start(self) -> None: ...
    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        """sender: what the transport authenticated, never a field of the message."""

    def lost(self, party: PartyId, /) -> None:
        """The transport gave up on the party, or its last deadline passed."""

    def abort(self, why: AbortReason, /) -> None: ...
    def outgoing(self) -> list[Outgoing]: ...
    def events(self) -> list[Event]: ...
    def acknowledged(self) -> None:
        """The driver knows that all that was drained so far has arrived, and will not ask again.
        Optional to call. What is kept only to answer a repeat, a masked vector above all, is
        forgotten; a repeat is then ignored."""


class ClientMachine(Machine, Protocol):
    """A server's fault raises RemoteProtocolError and ends the session."""

    def reconnected(self, party: PartyId, /) -> None:
        """A new link leads to the server: what it has not acknowledged is said again. Only a
        client of several servers lives longer than its link."""

    def set_input(self, vector: RingVector, payload_digest: bytes, /) -> None:
        """Ring elements; once; any time before they are needed. payload_digest: of the task bytes
        that this client saw; InputError unless it is the session's."""


class PhasedMachine(Machine, Protocol):
    """Whoever waits for many. Never raises for a peer's fault: drops it with its Fault."""

    @property
    def waiting_for(self) -> frozenset[PartyId]: ...
    @property
    def quorum(self) -> bool: ...
    def close_phase(self) -> None:
        """The driver owns time: it closes when waiting_for is empty, or at the deadline."""

    def jobs(self) -> Sequence[Job]:
        """Work not yet handed out; empty when none is ready. Each is handed out once."""

    def finish(self, job: Job, value: Any, /) -> None: ...


class ServerMachine(PhasedMachine, Protocol):
    @property
    def alive(self) -> frozenset[PartyId]: ...
    def result(self) -> RingTotal:
        """Once done: the total, or raises the errors.Aborted that ended the session."""


class MemberMachine(ServerMachine, Protocol):
    """One of several servers that hold shares. It never has a result: a collector has.

    It loses no report that it acknowledged, if its driver stores `writes()` before it sends what
    was drained with them, and gives the rows back with `restore()`.
    """

    @property
    def contributors(self) -> frozenset[PartyId]:
        """The clients, as this server's transport knows them, whose reports it has summed."""

    @property
    def pending(self) -> int:
        """Reports that are stored here and that no batch has decided on yet."""

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        """Before start(): every row of the store, in any order."""

    def writes(self) -> list[Write]: ...
    def retire(self) -> None:
        """A later batch runs: what is known of other batches' reports is forgotten."""

    def closing(self) -> list[Write]:
        """The epoch closes: deletes the reports that no batch has decided on."""

    def reconnected(self, party: PartyId, /) -> None:
        """A new link leads to the party: what it has not acknowledged is said again."""


class CollectorMachine(PhasedMachine, Protocol):
    """Adds the totals of several servers."""

    def result(self) -> RingTotal: ...
    def reconnected(self, party: PartyId, /) -> None:
        """A new link leads to the server: it is asked again, unless it has answered."""


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


@dataclass(frozen=True, slots=True)
class Session:
    """What the driver announces and a machine is made from.

    nonce: 16 bytes, routing only. plan_digest, payload_digest: 32 bytes, bound by the offer.
    committee: the servers, where there are several. batch: which sum of the committee's epoch; its
    clients neither know nor bind it. corrupted: how many clients may collude, by the plan.
    """

    nonce: bytes
    plan_digest: bytes
    payload_digest: bytes
    params: Params
    layout: Layout
    committee: Committee | None = None
    batch: int = 0
    corrupted: int = 0

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

        Of one server the roster digest is the empty string and the epoch 0.
        """
        return labels.digest(
            labels.OFFER,
            protocol.encode("ascii"),
            VERSION,
            SUITE,
            self.plan_digest,
            self.payload_digest,
            self.committee.digest if self.committee else b"",
            self.committee.epoch if self.committee else 0,
        )


class ClientFactory(Protocol):
    def __call__(
        self, session: Session, me: PartyId, *, randomness: Randomness, expander: Expander
    ) -> ClientMachine: ...


class ServerFactory(Protocol):
    def __call__(self, session: Session, *, expander: Expander) -> ServerMachine: ...


class MemberFactory(Protocol):
    def __call__(
        self, session: Session, index: int, secrets: ServerSecrets, *, expander: Expander
    ) -> MemberMachine: ...


class CollectorFactory(Protocol):
    def __call__(self, session: Session, secret: Seed) -> CollectorMachine:
        """secret: the X25519 scalar of the committee's collector key."""


@dataclass(frozen=True)
class ProtocolInfo:
    """A protocol as the registry, the planner and the drivers see it.

    Either one server has the sum (`server`), or several members hold shares of it and a collector
    adds their totals (`member` and `collector`).
    """

    name: str
    spec: str
    status: str
    threat_models: tuple[Adversary, ...]
    phases: tuple[str, ...]
    client: ClientFactory
    server: ServerFactory | None
    parameters: Callable[[Threat], Params | Infeasible]
    check: Callable[[Threat, Params], str | None]
    """The rule that given parameters break, or None: how a client judges an announced plan."""
    decode_params: Callable[[bytes], Params]
    cost: Callable[[Threat, Params, Layout], Cost]
    caveats: Callable[[Threat, Params, Layout], Sequence[str]]
    """Sentences for explain(): what the guarantee is worth and where it ends."""
    guarantee: Callable[[Threat, Params], str]
    messages: Mapping[int, str]
    """Wire tag -> name, for `secagg inspect`."""
    member: MemberFactory | None = None
    collector: CollectorFactory | None = None
    preferred: Callable[[Threat], str | None] = lambda threat: None
    """Why `plan()` takes it before protocols that cost a client less, or None."""
    repeats: bool = True
    """Whether the same injected randomness gives the same bytes: not where a library that seals
    draws its own."""
