"""The server machine of SecAgg and SecAgg+ (specs/10-secagg.md §9)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from secagg import errors
from secagg.crypto.randomness import checked
from secagg.effects import Write
from secagg.errors import BadTag, InvalidKey, InvalidShare, LocalProtocolError, WireError
from secagg.layout import Expander
from secagg.protocol import Session
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
from secagg.types import SERVER as ME
from secagg.types import AbortReason, Buffer, Fault, PartyId, Randomness, Seed, system_randomness
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import read_header
from secagg_protocols.rows import Rows, Taken, kind_of, number_of, numbered, read_end, write_end
from secagg_protocols.secagg import messages
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.params import SecAggParams
from secagg_protocols.secagg.repeats import SEEN, Repeats
from secagg_protocols.secagg.stages import COURSE, Course, Recover, Stage, Total
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
#
# The rows (§12) follow the messages: one that is taken changes the row of its sender's repeats and
# one or two of its stage, however many clients there are; a close writes what it has fixed and
# deletes what only led to it. Nothing is encoded until the driver asks. There is no row from which
# an ended session could be looked into: its sum is left, or the reason why there is none (S10).

_STATE, _GONE = b"state", b"gone/"
_OVER = (ServerState.FINISHED, ServerState.ABORTED)


class SecAggServer(PhasedMailbox):
    """The server of one session. U1, U2, U3 are fixed by close_phase() and never change again.

    protocol: the name under which it is registered; it is bound by the offer. expander: what makes
    masks of keys. randomness: of the key by which it knows a message again; nothing that leaves
    depends on it. course: its stages. Raises ParameterError for sums of too few inputs (rule S0).
    """

    def __init__(
        self,
        protocol: str,
        session: Session,
        params: SecAggParams,
        *,
        expander: Expander,
        randomness: Randomness = system_randomness,
        course: Course = COURSE,
    ) -> None:
        super().__init__()
        self._course = course
        self._terms = replace(Terms.of(protocol, session, params, expander), after=course.after)
        self._state = ServerState.IDLE
        self._stage: Stage | None = None  # before start() and after an abort there is none
        self._gone: dict[PartyId, Fault] = {}
        self._waiting: set[PartyId] = set()
        self._repeats = Repeats(checked(randomness))
        self._quorum_told = False
        self._rows = Rows(session, protocol, ME)

    def __repr__(self) -> str:
        return f"SecAggServer(state={self._state.value[0]}, alive={len(self.alive)})"

    @property
    def phase(self) -> str:
        return self._state.phase

    @property
    def done(self) -> bool:
        return self._state in _OVER

    @property
    def alive(self) -> frozenset[PartyId]:
        return frozenset(map(PartyId, range(self._terms.params.clients))) - self._gone.keys()

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
        """Opens the first stage; restored, tells those who are waited for what opened this one.

        Raises LocalProtocolError the second time.
        """
        if self._rows.resumed:
            self._rows.started()
            self._go_on()
            return
        if (self._state, Input.START) not in self._course.table:
            raise LocalProtocolError("start() is called once")
        self._rows.started()
        self._enter(Input.START, self._course.after[self._state](self._terms))

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
            self._drop(sender, Fault.INVALID_SHARE, str(error))
        except WireError as error:
            self._drop(sender, Fault.MALFORMED, str(error))
        self._tell_quorum()

    def lost(self, party: PartyId, /) -> None:
        """The driver gives up on a client. Strangers and the dropped are nothing to it."""
        if self._heard(party) and not self.done:
            self._drop(party, Fault.LOST)

    def reconnected(self, party: PartyId, /) -> None:
        """A new link to a client: what opened the stage is said again to whoever still owes."""
        if self._stage is not None and party in self._waiting:
            self._open(self._stage, [party])

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
        # Everywhere else rows are encoded when the driver asks, from what the stage holds. This
        # close is the exception: with it shares become secrets and the sum begins to change, so
        # what is marked is written now, or could not be written at all.
        if self._state is ServerState.UNMASK:  # the next stage forgets what it is made of
            self._rows.settle(self._row)
        try:
            self._enter(Input.CLOSE, self._stage.close(self.alive, self._drop))
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

    def writes(self) -> list[Write]:
        """Rule S11: what has changed of state, repeats and stage."""
        return self._rows.writes(self._row)

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        """Rule S11: goes on from these. Raises StorageError for rows of another session or version,
        and for some that do not belong together (specs/10-secagg.md §12.1)."""
        if self._state is not ServerState.IDLE:
            raise LocalProtocolError("restore() is called once, before start()")
        self._rows.take(rows, self._take_up)

    # One message

    # The sender is what the transport says. A party number inside of a message would be a claim,
    # and every check of it a place where one client might be taken for another (S1).
    def _heard(self, sender: PartyId) -> bool:
        return 0 <= sender < self._terms.params.clients and sender not in self._gone

    def _handle(self, stage: Stage, sender: PartyId, message: Buffer) -> None:
        reader = Reader(message)
        tag, bound = read_header(reader)
        if tag not in self._course.names:
            raise BadTag(f"tag {tag} is unknown")
        # before the table: a repeat of an earlier phase is not a message in the wrong phase, it is
        # what a link does that was cut after sending
        if self._repeats.said(sender, tag):
            self._again(sender, self._repeats.same(sender, tag, message))
        elif (self._state, tag) not in self._course.table:
            self._drop(sender, Fault.WRONG_PHASE, f"{self._course.names[tag]} in {self.phase}")
        elif bound != (self._terms.offer if tag == Tag.ABORT else stage.binding):
            raise WireError("the message is bound to another session")
        elif tag == Tag.ABORT:
            reason = messages.Abort.read(reader).reason
            reader.finish()
            self._drop(sender, reason.fault, reason.value)
        else:
            changed = stage.take(sender, reader)
            self._waiting.discard(sender)
            self._rows.mark(self._repeats.remember(sender, tag, message), *changed)

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
        before, self._state = self._state, self._course.table[self._state, cause]
        # impossible: what a stage closes into and what the table says are two texts of one chain
        if stage.state is not self._state:
            raise LocalProtocolError(f"impossible: {cause} leads to {stage.state.value[0]}")
        self._stage, self._quorum_told = stage, False
        # whoever missed an earlier stage is no longer alive
        self._waiting = set() if stage.tag is None else set(self.alive)
        self._rows.keep(self._has)
        self._rows.mark(_STATE, *stage.fresh)
        if self._state.phase != before.phase:
            self._events.append(PhaseEntered(self._state.phase))
        self._open(stage, self._waiting)

    def _open(self, stage: Stage, parties: Iterable[PartyId]) -> None:
        """Rule S8: all that a server says after `start` reveals U1, U2 or U3: durable first."""
        opening = stage.opening(sorted(parties))
        self._outgoing += [Outgoing(party, data, commit=True) for party, data in opening]

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
        self._rows.mark(numbered(_GONE, party))
        self._events.append(Dropped(party, fault, detail))

    def _abort(self, reason: errors.Aborted) -> None:
        """Rule S10: with the stage goes all that only served to get at the sum."""
        # not `commit`: an abort reveals no set, and saying it twice or not at all changes nothing
        message = messages.Abort(reason.reason).encode(self._terms.offer)
        self._outgoing += [Outgoing(party, message) for party in sorted(self.alive)]
        self._report_complaints()
        self._stage, self._state = None, ServerState.ABORTED
        self._waiting.clear()
        self._rows.started()
        self._rows.keep(self._has)
        self._rows.mark(_STATE)
        self._events.append(Aborted(reason.reason, reason.detail))

    # Rows

    def _has(self, key: bytes) -> bool:
        kind = kind_of(key)
        if kind == SEEN:
            return not self.done
        return kind in (_STATE, _GONE) or (self._stage is not None and self._stage.has(key))

    def _row(self, key: bytes) -> bytes | None:
        kind = kind_of(key)
        if not self._has(key):
            return None
        if kind == SEEN:
            return self._repeats.row(key)
        if kind == _GONE:
            return self._gone[PartyId(number_of(key))].value.encode()
        if kind == _STATE:
            return self._write_state()
        return self._stage.row(key) if self._stage is not None else None

    def _write_state(self) -> bytes:
        writer = Writer().u8(self._state.code)
        if self.ended is not None:
            write_end(writer, self.ended)
        elif not self.done:
            writer.raw(self._repeats.key.expose())
        return writer.finish()

    def _take_up(self, taken: Taken) -> None:
        reader = Reader(taken.pop(_STATE))
        state = self._course.state_of(reader.u8("state"))
        why = read_end(reader) if state is ServerState.ABORTED else None
        stage = None if why is not None else self._course.read[state](self._terms, taken)
        clients, repeats = self._terms.params.clients, self._repeats
        if state not in _OVER:
            key = reader.fixed(Seed.SIZE, "key of fingerprints")
            repeats = Repeats.read(key, clients, taken, self._course.names)
        reader.finish()
        gone = {PartyId(i): _fault(value) for i, value in taken.under(_GONE, clients)}
        members = stage.members if stage is not None else None
        if members is not None and len(members | gone.keys()) < clients:
            raise WireError("a client that is in no set has no row that says why")
        taken.finish()  # nothing is refused from here on (specs/10-secagg.md §12.1)
        self._state, self._stage, self._gone, self._why = state, stage, gone, why
        self._repeats = repeats
        tag = stage.tag if stage is not None else None
        self._waiting = {p for p in self.alive if tag and not self._repeats.said(p, tag)}

    def _go_on(self) -> None:
        """Its driver hears again who is gone, as it has no other way to know."""
        self._events.append(PhaseEntered(self.phase))
        self._events += [Dropped(party, fault) for party, fault in sorted(self._gone.items())]
        if self._why is not None:
            self._events.append(self._why)
        elif isinstance(self._stage, Total):
            self._events.append(Finished())
        elif self._stage is not None:
            self._open(self._stage, self._waiting)
            self._finish_if_done()


def _fault(value: bytes) -> Fault:
    found = next((fault for fault in Fault if fault.value.encode() == value), None)
    if found is None:
        raise WireError("an unknown fault")
    return found
