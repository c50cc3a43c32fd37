"""The server: adds each vector as it comes; closing the phase is the result."""

from __future__ import annotations

from secagg import errors
from secagg.crypto.fingerprint import Fingerprints
from secagg.crypto.randomness import checked
from secagg.errors import LocalProtocolError, WireError
from secagg.layout import Expander
from secagg.protocol import Session
from secagg.sansio import (
    Aborted,
    Dropped,
    Finished,
    Ignored,
    Outgoing,
    PhasedMailbox,
    PhaseEntered,
    QuorumReached,
    RingTotal,
)
from secagg.types import AbortReason, Buffer, Fault, PartyId, Randomness, system_randomness
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg.wire.vector import read_vector
from secagg_protocols.plainsum import messages

# Theory of operation.
#
# One phase, in which each client may speak once. A vector is read and checked whole, then added and
# dropped, so the server's memory is one vector and 16 bytes a client, whatever n is. These are
# fingerprints under a key that the server draws: by them it knows the same bytes again, which are
# nothing new, from other ones, which are equivocation. What was accepted first stands in either
# case, since a sum cannot be asked to forget (10-secagg.md S2 and S3 are the same rules).
#
# A client that is dropped after its upload is a contributor all the same. `alive` and
# `contributors` are therefore two sets of which neither contains the other, and a driver that
# reports on a round must not take one for the other.
#
# Nothing that a client sends raises out of receive(): what is malformed is a `WireError` below and
# a fault of its sender here. An exception that gets out is a bug.
#
# The driver ends the phase, early or at its deadline. Who has said nothing by then is late; below
# the minimum the session ends without a sum, because the plan that clients have agreed to says how
# many inputs a sum has at least.


class PlainSumServer(PhasedMailbox):
    """One phase, upload; memory is one vector and a fingerprint per client."""

    def __init__(
        self,
        session: Session,
        *,
        expander: Expander,
        randomness: Randomness = system_randomness,
    ) -> None:
        super().__init__()
        self._session = session
        self._offer = session.offer("plainsum")
        self._alive = set(map(PartyId, range(session.params.clients)))
        self._fingerprints = Fingerprints(checked(randomness))
        self._added: dict[PartyId, bytes] = {}
        self._sum = session.layout.zeros()
        self.phase = ""
        self.done = False

    @property
    def alive(self) -> frozenset[PartyId]:
        return frozenset(self._alive)

    @property
    def contributors(self) -> frozenset[PartyId]:
        return frozenset(self._added)

    @property
    def waiting_for(self) -> frozenset[PartyId]:
        running = self.phase == "upload" and not self.done
        return frozenset(self._alive - self._added.keys()) if running else frozenset()

    @property
    def quorum(self) -> bool:
        return len(self._added) >= self._session.params.min_survivors

    def start(self) -> None:
        if self.phase or self.done:
            raise LocalProtocolError("start() is called once")
        self.phase = "upload"
        self._events.append(PhaseEntered("upload"))

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        if self.done or sender not in self._alive or self.phase != "upload":
            self._events.append(Ignored(sender, "not expected from this party now"))
            return
        if sender in self._added:
            if self._added[sender] == self._fingerprints.of(message):
                self._events.append(Ignored(sender, "duplicate"))
            else:
                self._drop(sender, Fault.EQUIVOCATION)
            return
        try:
            self._add(sender, Reader(message), message)
        except WireError as error:
            self._drop(sender, Fault.MALFORMED, str(error))

    def lost(self, party: PartyId, /) -> None:
        if party in self._alive and not self.done:
            self._drop(party, Fault.LOST)

    def abort(self, why: AbortReason, /) -> None:
        if self.done:
            return
        for party in sorted(self._alive):
            self._outgoing.append(Outgoing(party, messages.abort(self._offer, why.code)))
        self.done, self._sum = True, ()
        self._events.append(Aborted(why))

    def close_phase(self) -> None:
        if self.phase != "upload" or self.done:
            raise LocalProtocolError("no phase is open")
        for party in sorted(self.waiting_for):
            self._drop(party, Fault.LATE)
        if not self.quorum:
            self.abort(AbortReason.BELOW_THRESHOLD)
            return
        self.done = True
        self._events.append(Finished())

    def result(self) -> RingTotal:
        if not self.done:
            raise LocalProtocolError("the session is still running")
        if (ended := self.ended) is not None:
            needed = self._session.params.min_survivors
            detail = f"{len(self._added)} uploads, and {needed} are needed"
            short = ended.reason is AbortReason.BELOW_THRESHOLD
            raise errors.aborted(ended.reason, detail if short else "")
        everyone = frozenset(map(PartyId, range(self._session.params.clients)))
        contributors = frozenset(self._added)
        vector = self._session.layout.reduce(self._sum)
        return RingTotal(vector, contributors, everyone - contributors)

    def _add(self, sender: PartyId, reader: Reader, message: Buffer) -> None:
        tag, binding = read_header(reader)
        if binding != self._offer:
            raise WireError("bound to another offer")
        if tag == messages.ABORT:
            reason = AbortReason.from_code(reader.u8("reason"))
            reader.finish()
            if reason is None:
                raise WireError("an unknown abort reason")
            self._drop(sender, reason.fault, reason.value)
            return
        if tag != messages.UPLOAD:
            raise errors.BadTag(f"tag {tag} is unknown")
        vector = read_vector(reader, self._session.layout)
        reader.finish()
        vector.add_to(self._sum)
        before = self.quorum
        self._added[sender] = self._fingerprints.of(message)
        if self.quorum and not before:
            self._events.append(QuorumReached("upload"))

    def _drop(self, party: PartyId, fault: Fault, detail: str = "") -> None:
        self._alive.discard(party)
        self._events.append(Dropped(party, fault, detail))
