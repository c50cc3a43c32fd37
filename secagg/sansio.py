"""What drivers and protocols agree on: machines without clocks, sockets, threads or files.

One machine object is one party in one session. It is used once. The driver feeds it bytes
(`receive`), news of the network (`lost`), and the passing of time (`close_phase`), and after
*every* call, also after one that raised, drains `outgoing()` and `events()`.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from secagg.effects import Write
from secagg.errors import LocalProtocolError
from secagg.layout import RingVector
from secagg.shown import short
from secagg.types import AbortReason, Buffer, Fault, NonCopyable, PartyId


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send. commit=True: it may leave only after what it says is stored."""

    to: PartyId
    data: bytes = field(repr=False)
    commit: bool = False


@dataclass(frozen=True, slots=True)
class PhaseEntered:
    """The machine is in another phase, whose deadline begins now."""

    phase: str


@dataclass(frozen=True, slots=True)
class QuorumReached:
    """Enough messages of this phase are in. Closing it may still abort: who sent them may leave."""

    phase: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """A party is out of the session, by that fault; detail has no value of anybody's."""

    party: PartyId
    fault: Fault
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Disputed:
    """A share that is unusable: one of the two lied, and nobody knows who. Both stay."""

    dealer: PartyId
    holder: PartyId


@dataclass(frozen=True, slots=True)
class Agreed:
    """A client of active mode was shown this survivor set, found nothing against it, and has signed
    it if it is a signer. Parties are places in the roster. It is to be remembered before what was
    drained with it is sent: the client is shown others in later sessions."""

    survivors: frozenset[PartyId]

    __repr__ = short


@dataclass(frozen=True, slots=True)
class Revealed:
    """A client has helped to open the sum of so many inputs, its own among them, and will help to
    open no other of the session."""

    survivors: int


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message without effect: a duplicate, or late for its phase."""

    sender: PartyId
    why: str


@dataclass(frozen=True, slots=True)
class Unkept:
    """A message for which there is no room now: nothing of it is kept, and nobody is at fault. Its
    sender may bring it again later, and has no other way to know."""

    sender: PartyId
    why: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The session is over and did what it was for."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """The session is over without; detail has no value of anybody's."""

    reason: AbortReason
    detail: str = ""


Event: TypeAlias = (
    PhaseEntered
    | QuorumReached
    | Dropped
    | Disputed
    | Agreed
    | Revealed
    | Ignored
    | Unkept
    | Finished
    | Aborted
)


@dataclass(frozen=True, slots=True)
class RingTotal:
    """The sum over exactly `contributors`, modulo each segment's ring.

    reports: how many there are, where nobody is told who they are: a collector is not.
    """

    vector: RingVector = field(repr=False)
    contributors: frozenset[PartyId]
    dropped: frozenset[PartyId]
    reports: int | None = None

    __repr__ = short

    @property
    def count(self) -> int:
        return len(self.contributors) if self.reports is None else self.reports


class Job(Protocol):
    """Pure work of some 50 ms, a frozen dataclass for any concurrent.futures.Executor.
    It holds only what the protocol has opened to the server."""

    def __call__(self) -> Any: ...


class Need(enum.Enum):
    """What moves a phased machine on; the names of its phases do not tell.

    MESSAGES: somebody is waited for: the message, or close_phase() once its deadline is over.
    CLOSE: everything has come, and close_phase() is due. JOBS: finish() of a job that it has handed
    out or will. NOTHING: it has not been started, or is over.
    """

    MESSAGES = "messages"
    CLOSE = "close"
    JOBS = "jobs"
    NOTHING = "nothing"


class Mailbox(NonCopyable):
    """The half of every machine that only collects: messages to send and events to report."""

    def __init__(self) -> None:
        self._outgoing: list[Outgoing] = []
        self._events: list[Event] = []
        self._why: Aborted | None = None

    @property
    def ended(self) -> Aborted | None:
        """From what it has said, read or not; `_why` says it also where nobody was told."""
        return self._why or _abort_among(self._events)

    def outgoing(self) -> list[Outgoing]:
        drained, self._outgoing = self._outgoing, []
        return drained

    def events(self) -> list[Event]:
        self._why = self.ended
        drained, self._events = self._events, []
        return drained

    def acknowledged(self) -> None:
        """Nothing is kept for repeats, unless a machine says otherwise."""

    def reconnected(self, party: PartyId, /) -> None:
        """Nothing is said again, unless a machine says otherwise."""

    def statements(self) -> list[bytes]:
        """Nobody has signed anything, unless a machine says otherwise."""
        return []

    def evidence(self) -> list[bytes]:
        return []

    def writes(self) -> list[Write]:
        """Nothing outlives the process, unless a machine says otherwise."""
        return []

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        """Raises LocalProtocolError for any row: it has never written one."""
        for _ in rows:
            raise LocalProtocolError(f"a {type(self).__name__} writes no rows, and takes none up")


def _abort_among(events: Iterable[Event]) -> Aborted | None:
    return next((event for event in events if isinstance(event, Aborted)), None)


Judge: TypeAlias = Callable[[frozenset[PartyId]], None]
"""A client's own word on a survivor set, by place in the roster, before it signs it: PolicyRefused
where it may not be."""


class OneProcess:
    """Where a machine that must not be doubled was made (rule V1): the child of a fork would be a
    second one of it, and could say a second thing. whose: in the words of the error."""

    def __init__(self, whose: str) -> None:
        self._whose, self._process = whose, os.getpid()

    def check(self) -> None:
        """Raises LocalProtocolError in any other process."""
        if os.getpid() != self._process:
            raise LocalProtocolError(
                f"{self._whose} was made in another process: what is one party in one session is "
                "never forked"
            )


class _Waiting(Protocol):
    @property
    def phase(self) -> str: ...
    @property
    def done(self) -> bool: ...
    @property
    def waiting_for(self) -> frozenset[PartyId]: ...


class PhasedMailbox(Mailbox):
    """The same of a machine that waits for many and hands out no jobs, unless it says otherwise."""

    @property
    def need(self: _Waiting) -> Need:
        """Of a machine whose phase is empty until it is started."""
        if self.done or not self.phase:
            return Need.NOTHING
        return Need.MESSAGES if self.waiting_for else Need.CLOSE

    def jobs(self) -> Sequence[Job]:
        return ()

    def finish(self, job: Job, value: Any, /) -> None:
        raise LocalProtocolError(f"a {type(self).__name__} hands out no jobs")

    def transcript(self) -> list[bytes]:
        return []


class Machine(Protocol):
    """One party in one session."""

    @property
    def phase(self) -> str: ...
    @property
    def done(self) -> bool: ...
    @property
    def ended(self) -> Aborted | None:
        """Why, if it ended without success. A client that was done may learn it later."""

    def start(self) -> None: ...
    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        """sender: what the transport authenticated, never a field of the message."""

    def lost(self, party: PartyId, /) -> None:
        """The transport gave up on the party, or its last deadline passed."""

    def reconnected(self, party: PartyId, /) -> None:
        """A new link leads to the party: what it has not acknowledged is said again."""

    def abort(self, why: AbortReason, /) -> None: ...
    def outgoing(self) -> list[Outgoing]: ...
    def events(self) -> list[Event]: ...
    def acknowledged(self) -> None:
        """The driver knows that all that was drained so far has arrived, and will not ask again.
        Optional to call. What is kept only to answer a repeat, a masked vector above all, is
        forgotten; a repeat is then ignored."""

    def writes(self) -> list[Write]:
        """The rows that changed since the last call: to be stored before what was drained with
        them is sent. Keys are the machine's own, and it sees no others."""

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        """Before start(): every row that a machine of this session has written, in any order.
        start() goes on from them: it says what the old one would have said, or nothing.

        Raises StorageError for rows that are none of its own; it is then as it was before."""


class ClientMachine(Machine, Protocol):
    """A server's fault raises RemoteProtocolError and ends the session."""

    @property
    def owes_input(self) -> bool:
        """Whether it can go no further without its input."""

    def statements(self) -> list[bytes]:
        """Where parties sign, what the server has signed to this one, none of it secret: of a round
        that was told in two ways, those of two clients convict it (`secagg.proved.told`)."""

    def evidence(self) -> list[bytes]:
        """What convicts the server without anybody else's word."""

    def set_input(self, vector: RingVector, payload_digest: bytes, /) -> None:
        """Ring elements; once; any time before they are needed. payload_digest: of the task bytes
        that this client saw; InputError unless it is the session's."""


class PhasedMachine(Machine, Protocol):
    """Whoever waits for many. Never raises for a peer's fault: drops it with its Fault."""

    @property
    def need(self) -> Need: ...
    @property
    def waiting_for(self) -> frozenset[PartyId]: ...
    @property
    def alive(self) -> frozenset[PartyId]:
        """The parties that have a part in the session and have not been dropped."""

    @property
    def contributors(self) -> frozenset[PartyId]:
        """The clients, as this party's transport knows them, whose inputs it has summed so far."""

    @property
    def quorum(self) -> bool: ...
    def close_phase(self) -> None:
        """The driver owns time: it closes when waiting_for is empty, or at the deadline."""

    def jobs(self) -> Sequence[Job]:
        """Work not yet handed out; empty when none is ready. Each is handed out once."""

    def finish(self, job: Job, value: Any, /) -> None: ...


class HasResult(Protocol):
    """Whatever has the sum in the end: the one server, or the collector of several."""

    def transcript(self) -> list[bytes]:
        """Of a suite whose server writes down what it fixes: the pieces that are new, in order, to
        be stored before what was drained with them is sent."""

    def evidence(self) -> list[bytes]:
        """What convicts somebody before anybody who has the roster, each whole in itself."""

    def result(self) -> RingTotal:
        """Once done: the total, or raises the errors.Aborted that ended the session."""


class ServerMachine(PhasedMachine, HasResult, Protocol):
    """The one server of a session."""


class MemberMachine(PhasedMachine, HasResult, Protocol):
    """One of several servers that hold shares. It never has a result: a collector has.

    It loses no report that it acknowledged, if its driver stores `writes()` before it sends what
    was drained with them, and gives the rows back with `restore()`.
    """

    @property
    def included(self) -> int:
        """How many reports it has summed."""

    @property
    def pending(self) -> int:
        """Reports that are stored here and that no batch has decided on yet."""

    @property
    def answered(self) -> bool:
        """Whether it has given a collector the total of a locked batch, since it was made: until
        then nobody can have the sum."""

    def extend(self) -> None:
        """The deadline has passed without a quorum, and the batch stays open: reports that are
        undecided give up their places. Raises LocalProtocolError where no reports are taken."""

    def retire(self) -> None:
        """A later batch runs: what is known of other batches' reports is forgotten."""

    def closing(self) -> list[Write]:
        """The epoch closes: deletes the reports that no batch has decided on."""


class CollectorMachine(PhasedMachine, HasResult, Protocol):
    """Adds the totals of several servers."""
