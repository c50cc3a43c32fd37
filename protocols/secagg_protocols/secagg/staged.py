"""What the server of every suite does: hear, close, drop, finish (specs/10-secagg.md §9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from secagg import errors
from secagg.crypto.randomness import checked
from secagg.errors import (
    BadTag,
    InvalidKey,
    InvalidShare,
    InvalidSignature,
    LocalProtocolError,
    WireError,
)
from secagg.sansio import (
    Aborted,
    Dropped,
    Finished,
    Ignored,
    Job,
    Need,
    Outgoing,
    PhasedMailbox,
    PhaseEntered,
    QuorumReached,
    RingTotal,
)
from secagg.suite import Suite
from secagg.types import AbortReason, Buffer, Fault, PartyId, Randomness
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.rows import numbered
from secagg_protocols.secagg import messages
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.repeats import Repeats
from secagg_protocols.secagg.stages import Recover, Stage, Total
from secagg_protocols.secagg.states import Input, ServerState
from secagg_protocols.secagg.terms import Terms

# Theory of operation.
#
# A session is a chain of stages (stages/): each takes one kind of message from every client that is
# there, and closing it fixes one set, U1, U2, U3, U5, of which the next stage is made. A stage does
# not know who is alive, what is a repeat, or what becomes of whoever errs; the machine here knows
# nothing else. So a stage reads like a paragraph of the specification, and what holds in all of
# them is written once.
#
# Three things decide what becomes of a message, in this order. Whether its sender is heard at all:
# whoever was dropped, or missed a stage, is a stranger (S1). Whether it has said this before: of
# each client and kind a fingerprint is kept, and the same bytes are nothing new, others are
# equivocation (S2). Only then the table in states.py, and the stage. A stage takes a message whole
# or raises, and the error is a fault of its sender: nothing that a client sends raises out of here,
# and nothing of it is left behind. What was added to the sum is never subtracted, so a client that
# is dropped later is still a contributor, and its masks are removed like the others'.
#
# Time belongs to the driver. It closes a stage when nobody is waited for or when it will wait no
# longer; whoever is late is dropped first. Closing may end the session where too few are left, and
# it never reveals a set that is not final. The last stage has no messages: its work is cut into
# jobs, and jobs() and finish() stand in for receive().
#
# What opens a stage is said to all who are alive, and can be said again to one of them, because it
# follows from what the stage holds: to a client on a new link, and by a server that goes on from
# rows. All of it is marked `commit`: a set is stored before anybody hears of it, so that a server
# that comes back has fixed the same one, and a second one is never revealed (S8). It makes no
# claims, as clients do: whoever is shown two sets refuses the second.

STATE, GONE = b"state", b"gone/"
OVER = (ServerState.FINISHED, ServerState.ABORTED)


class StagedServer(PhasedMailbox):
    """The server of one session, as a chain of stages.

    suite, table, names: of its messages and states. abort_message: with its header.
    """

    suite: ClassVar[Suite]
    table: ClassVar[Mapping[Any, Any]]
    names: ClassVar[Mapping[int, str]]
    abort_message: ClassVar[type[messages.Abort]] = messages.Abort

    def __init__(self, terms: Terms, randomness: Randomness) -> None:
        super().__init__()
        self._terms = terms
        self._state = ServerState.IDLE
        self._stage: Stage | None = None  # before start() and after an abort there is none
        self._gone: dict[PartyId, Fault] = {}
        self._waiting: set[PartyId] = set()
        self._repeats = Repeats(checked(randomness))
        self._quorum_told = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}(state={self._state.value[0]}, alive={len(self.alive)})"

    @property
    def phase(self) -> str:
        return self._state.phase

    @property
    def done(self) -> bool:
        return self._state in OVER

    @property
    def alive(self) -> frozenset[PartyId]:
        return self._terms.parties - self._gone.keys()

    @property
    def contributors(self) -> frozenset[PartyId]:
        return self._stage.contributors if self._stage is not None else frozenset()

    @property
    def need(self) -> Need:
        return Need.JOBS if self._state is ServerState.RECOVER else super().need

    @property
    def waiting_for(self) -> frozenset[PartyId]:
        """The live clients whose message of this phase is still to come."""
        return frozenset(self._waiting)

    @property
    def quorum(self) -> bool:
        """Enough messages of this phase are in; in `unmask`, enough shares of every secret."""
        return self._stage is not None and self._stage.quorum

    def start(self) -> None:
        """Opens the first stage. Raises LocalProtocolError the second time."""
        if (self._state, Input.START) not in self.table:
            raise LocalProtocolError("start() is called once")
        self._enter(Input.START, self._terms.after[self._state](self._terms))

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        """Never raises for a client's fault."""
        if not self._heard(sender) or self._stage is None or self._stage.tag is None:  # rule S1
            self._events.append(Ignored(sender, "nothing is expected of this party"))
            return
        try:
            self._handle(self._stage, sender, message)
        except InvalidKey as error:
            self._drop(sender, Fault.INVALID_KEY, str(error))
        except InvalidShare as error:
            self._wrong(sender, error)
        except InvalidSignature as error:
            self._drop(sender, Fault.INVALID_SIGNATURE, str(error))
        except WireError as error:
            self._drop(sender, Fault.MALFORMED, str(error))
        self._tell_quorum()

    def lost(self, party: PartyId, /) -> None:
        """The driver gives up on a client. Strangers and the dropped are nothing to it."""
        if self._heard(party) and not self.done:
            self._drop(party, Fault.LOST)

    def reconnected(self, party: PartyId, /) -> None:
        """A new link to a client: what opened the stage is said again to whoever still owes."""
        stage = self._stage
        if stage is None or party not in self.alive:
            return
        # whoever owes nothing here may still have missed what opened it
        if party in self._waiting or party not in stage.awaited(self.alive):
            self._say(stage.again(party))

    def abort(self, why: AbortReason, /) -> None:
        """Tells the clients, and ends; an ended session stays as it is."""
        if not self.done:
            self._abort(errors.Aborted(why, f"in {self.phase or 'idle'}"))

    def close_phase(self) -> None:
        """Drops who is late, fixes the phase's set, and sends what reveals it; or aborts."""
        if self._stage is None or self._stage.tag is None:
            raise LocalProtocolError("no phase is open")
        for party in sorted(self._waiting):
            self._drop(party, Fault.LATE)
        self._closing(self._stage)
        try:
            following = self._stage.close(self.alive, self._drop)
            self._closed(self._stage, following)
            self._enter(Input.CLOSE, following)
        except errors.Aborted as reason:
            self._abort(reason)
        else:
            self._finish_if_done()

    def jobs(self) -> Sequence[Job]:
        return self._stage.jobs() if isinstance(self._stage, Recover) else ()

    def finish(self, job: Job, value: Any, /) -> None:
        """value: what the job returned. Raises LocalProtocolError for a job that is not open."""
        if not isinstance(self._stage, Recover):
            raise LocalProtocolError("no job is open")
        self._stage.finish(job, value)
        self._finish_if_done()

    def result(self) -> RingTotal:
        if self.ended is not None:
            raise errors.aborted(self.ended.reason, self.ended.detail)
        if not isinstance(self._stage, Total):
            raise LocalProtocolError("the session is still running")
        return self._stage.result

    # What a suite adds

    def _changed(self, *keys: bytes) -> None:
        """Rows that are not any more as they were; a suite without rows forgets them."""

    def _closing(self, stage: Stage) -> None:
        """Before a stage is closed, and forgets what the next one is not made of."""

    def _closed(self, stage: Stage, following: Stage) -> None:
        """After its set is fixed, and before anybody hears of it."""

    def _differs(self, stage: Stage, sender: PartyId, tag: int, reader: Reader) -> None:
        """A second message of a kind, unlike the first. reader: behind its header."""

    def _wrong(self, sender: PartyId, error: InvalidShare) -> None:
        """A share that is none of its dealer's, or none at all."""
        self._drop(sender, Fault.INVALID_SHARE, str(error))

    def _concluded(self, stage: Recover, total: Total) -> None:
        """There is a sum, and nobody has heard of it."""

    def _entered(self, *fresh: bytes) -> None:
        """The stage is another, or there is none any more. fresh: rows that begin with it."""

    # One message

    # The sender is what the transport says. A party number inside of a message would be a claim,
    # and every check of it a place where one client might be taken for another (S1).
    def _heard(self, sender: PartyId) -> bool:
        return sender in self._terms.parties and sender not in self._gone

    def _handle(self, stage: Stage, sender: PartyId, message: Buffer) -> None:
        reader = Reader(message)
        tag, bound = read_header(reader, self.suite)
        if tag not in self.names:
            raise BadTag(f"tag {tag} is unknown")
        # before the table: a repeat of an earlier phase is not a message in the wrong phase, it is
        # what a link does that was cut after sending
        if self._repeats.said(sender, tag):
            same = self._repeats.same(sender, tag, message)
            if not same:
                self._differs(stage, sender, tag, reader)
            self._again(sender, same)
        elif (self._state, tag) not in self.table:
            self._drop(sender, Fault.WRONG_PHASE, f"{self.names[tag]} in {self.phase}")
        elif bound != (self._terms.offer if tag == Tag.ABORT else stage.binding):
            raise WireError("the message is bound to another session")
        elif tag == Tag.ABORT:
            reason = messages.Abort.read(reader).reason
            reader.finish()
            self._drop(sender, reason.fault, reason.value)
        else:
            changed = stage.take(sender, reader)
            self._waiting.discard(sender)
            self._changed(self._repeats.remember(sender, tag, message), *changed)

    def _again(self, sender: PartyId, same: bool) -> None:
        """Rule S2. A vector that was added stays in the sum whatever its sender does next."""
        if same:
            self._events.append(Ignored(sender, "duplicate"))
        else:
            self._drop(sender, Fault.EQUIVOCATION, "two different messages of one kind")

    def _tell_quorum(self) -> None:
        if not self._quorum_told and self._stage is not None and self._stage.quorum:
            self._quorum_told = True
            self._events.append(QuorumReached(self.phase))

    # From one stage to the next

    def _enter(self, cause: Input, stage: Stage) -> None:
        before, self._state = self._state, self.table[self._state, cause]
        # impossible: what a stage closes into and what the table says are two texts of one chain
        if stage.state is not self._state:
            raise LocalProtocolError(f"impossible: {cause} leads to {stage.state.value[0]}")
        self._stage, self._quorum_told = stage, False
        # whoever missed an earlier stage is no longer alive
        self._waiting = set(stage.awaited(self.alive))
        self._entered(*stage.fresh)
        if self._state.phase != before.phase:
            self._events.append(PhaseEntered(self._state.phase))
        self._say(stage.opening(sorted(self.alive)))

    def _say(self, said: Iterable[tuple[PartyId, bytes]]) -> None:
        """Rule S8: all that a server says after `start` reveals U1, U2 or U3: durable first."""
        self._outgoing += [Outgoing(party, data, commit=True) for party, data in said]

    def _finish_if_done(self) -> None:
        """Once no job is left: the sum, or that a secret of it cannot be had."""
        if not isinstance(self._stage, Recover):
            return
        try:
            total = self._stage.total()
        except errors.Aborted as reason:
            self._abort(reason)
            return
        if total is not None:
            self._report_complaints()
            self._concluded(self._stage, total)
            self._enter(Input.RECOVERED, total)
            self._events.append(Finished())

    def _report_complaints(self) -> None:
        """Rule S9. A dealer that has left meanwhile is named all the same."""
        if self._stage is None:
            return
        complaints = self._stage.complaints
        self._events += complaints.disputed()
        for dealer, why in complaints.at_fault():
            self._drop(dealer, Fault.INVALID_SHARE, why)

    def _drop(self, party: PartyId, fault: Fault, detail: str = "") -> None:
        """The first fault stays: what comes after it is of a stranger, or said at the end."""
        self._gone.setdefault(party, fault)
        self._waiting.discard(party)
        self._changed(numbered(GONE, party))
        self._events.append(Dropped(party, fault, detail))

    def _abort(self, reason: errors.Aborted) -> None:
        """Rule S10: with the stage goes all that only served to get at the sum."""
        # not `commit`: an abort reveals no set, and saying it twice or not at all changes nothing
        message = self.abort_message(reason.reason).encode(self._terms.offer)
        self._outgoing += [Outgoing(party, message) for party in sorted(self.alive)]
        self._report_complaints()
        self._stage, self._state = None, ServerState.ABORTED
        self._waiting.clear()
        self._entered()
        self._events.append(Aborted(reason.reason, reason.detail))
