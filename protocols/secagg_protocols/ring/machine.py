"""One party of a ring sum; party 0 is the initiator (specs/21-ring.md §4)."""

from __future__ import annotations

import hashlib
from typing import NoReturn

from secagg import errors
from secagg.crypto.randomness import checked
from secagg.errors import (
    InputError,
    LocalProtocolError,
    ParameterError,
    RemoteProtocolError,
    WireError,
)
from secagg.layout import RingVector
from secagg.protocol import Session
from secagg.sansio import Aborted, Finished, Ignored, Mailbox, Outgoing, PhaseEntered, RingTotal
from secagg.types import AbortReason, Buffer, PartyId, Randomness, system_randomness
from secagg_protocols.ring import messages
from secagg_protocols.ring.params import RingParams
from secagg_protocols.ring.vectors import minus, plus, uniform

# idle -> pass -> done              a party that is not told the sum
# idle -> pass -> total -> done     the initiator, and everybody where the sum is told

INITIATOR = PartyId(0)


# Theory of operation.
#
# A vector goes round once. The initiator starts it with a uniform offset, so what a party sees is
# uniform whatever the inputs before it are; each adds its own, and only the initiator, who knows
# the offset, can read what comes back. One random draw hides n inputs from n - 1 parties, which is
# why textbooks begin with it, and it stops at two of them: neighbours who compare what they sent
# and got know the value between them (attack.py, specs/21-ring.md §5).
#
# A party passes on when three things are there: start, its input, and the sum of those to its left.
# They may come in any order, so each of the three ends in `_pass_on`, and that looks whether it was
# the last one. The initiator has its offset in the place of a left neighbour's sum, and is
# otherwise like all others.
#
# A partial sum is taken once and from the left neighbour alone. The digest of the one that was
# taken is kept, as links repeat messages; a different one is a fault. The initiator keeps none:
# what comes back to it is the end.
#
# There is no server to drop anybody, and no party can be done without: a fault, a lost link or an
# abort of one is the end for all. Nobody has learnt anything by then but uniform vectors.
#
# Impossible: a total before a party has passed on (its phase is not `total`), and a result at a
# party that is not told: `result` says that the initiator keeps it.


class RingParty(Mailbox):
    """Knows its two neighbours. A fault of another party raises, and ends the round for all."""

    def __init__(
        self, session: Session, me: PartyId, *, randomness: Randomness = system_randomness
    ) -> None:
        super().__init__()
        if not isinstance(session.params, RingParams) or not 0 <= me < session.params.clients:
            raise ParameterError("a ring party needs RingParams, and a number below their clients")
        n = session.params.clients
        self._session, self._layout, self._me = session, session.layout, me
        self._everybody = frozenset(map(PartyId, range(n)))
        self._left, self._right = PartyId((me - 1) % n), PartyId((me + 1) % n)
        self._told = session.params.tell or me == INITIATOR
        self._tells = session.params.tell and me == INITIATOR
        self._offset: RingVector | None = None
        if me == INITIATOR:
            self._offset = uniform(self._layout, checked(randomness))
        self._given = False
        self._input: RingVector | None = None
        self._partial: RingVector | None = self._offset  # what the input is added to
        self._seen = b""
        self._total: RingVector | None = None
        self.phase = ""
        self.done = False

    def start(self) -> None:
        if self.phase or self.done:
            raise LocalProtocolError("start() is called once")
        self._enter("pass")
        self._pass_on()

    def set_input(self, vector: RingVector, payload_digest: bytes, /) -> None:
        if self.done or self._given:
            raise LocalProtocolError("set_input() is called once, before the session ends")
        if payload_digest != self._session.payload_digest:
            self.abort(AbortReason.PEER_FAULT)
            raise InputError("the task payload is not the one this session was announced with")
        self._input = self._layout.check(vector)
        self._given = True
        self._pass_on()

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        if self.done or sender not in self._everybody - {self._me}:
            self._events.append(Ignored(sender, "nothing is expected of this party"))
            return
        try:
            tag, content = messages.decode(self._session, message)
        except WireError as error:
            self._fail(f"malformed message from party {sender}: {error}")
        if isinstance(content, AbortReason):
            self._end(Aborted(content, f"party {sender} ended the round"))
        elif tag == messages.TOTAL:
            self._take_total(sender, content)
        else:
            self._take_partial(sender, content, hashlib.sha256(message).digest())

    def lost(self, party: PartyId, /) -> None:
        """No party can be done without: what it was handed, or should have added, is gone."""
        if party in self._everybody:
            self.abort(AbortReason.LOST)

    def abort(self, why: AbortReason, /) -> None:
        if self.done:
            return
        for party in sorted(self._everybody - {self._me}):
            self._outgoing.append(Outgoing(party, messages.abort(self._session, why)))
        self._end(Aborted(why))

    def result(self) -> RingTotal:
        """Once done: the sum of all; raises the errors.Aborted that ended the session."""
        if self.ended is not None:
            raise errors.aborted(self.ended.reason, self.ended.detail)
        if self._total is None:
            raise LocalProtocolError("the round is still running, or the initiator keeps the sum")
        return RingTotal(self._total, self._everybody, frozenset())

    def _take_partial(self, sender: PartyId, partial: RingVector, digest: bytes) -> None:
        """What the initiator gets is what it has sent, with all other inputs added."""
        if sender == self._left and digest == self._seen:
            self._events.append(Ignored(sender, "duplicate"))
        elif sender != self._left or self._seen:
            self._fail(f"a partial sum of party {sender}: one is expected, of the left neighbour")
        elif self._me != INITIATOR:
            self._partial, self._seen = partial, digest
            self._pass_on()
        elif self.phase != "total" or self._offset is None:
            self._fail("a partial sum came round before there was one")
        else:
            self._finish(minus(self._layout, partial, self._offset))

    def _take_total(self, sender: PartyId, total: RingVector) -> None:
        if sender != INITIATOR or self.phase != "total":
            self._fail(f"a total of party {sender}: the initiator tells it, if at all, at the end")
        self._finish(total)

    def _pass_on(self) -> None:
        """Once there is all that it takes: start, the input, and the sum of those to the left."""
        if self.phase != "pass" or self._input is None or self._partial is None:
            return
        partial = plus(self._layout, self._partial, self._input)
        self._input = self._partial = None
        self._send(self._right, messages.PARTIAL, partial)
        if self._told:
            self._enter("total")
        else:
            self._end(Finished())

    def _finish(self, total: RingVector) -> None:
        self._total = total
        if self._tells:
            for party in sorted(self._everybody - {self._me}):
                self._send(party, messages.TOTAL, total)
        self._end(Finished())

    def _send(self, to: PartyId, tag: int, vector: RingVector) -> None:
        data = messages.encode(tag, self._session, vector)
        self._outgoing.append(Outgoing(to, data, commit=True))

    def _enter(self, phase: str) -> None:
        self.phase = phase
        self._events.append(PhaseEntered(phase))

    def _fail(self, why: str) -> NoReturn:
        self.abort(AbortReason.PEER_FAULT)
        raise RemoteProtocolError(why)

    def _end(self, event: Aborted | Finished) -> None:
        self._events.append(event)
        self.done = True
        self._input = self._partial = self._offset = None
        self._seen = b""
