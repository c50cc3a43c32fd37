"""The collector: asks every server for its total of a batch, and adds them (20-additive.md §8)."""

from __future__ import annotations

from secagg import errors
from secagg.committee import Committee
from secagg.crypto import agree
from secagg.crypto.hpke import OpeningKey
from secagg.errors import (
    BadTag,
    InvalidTag,
    LocalProtocolError,
    ParameterError,
    WireError,
)
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
from secagg.types import COLLECTOR, AbortReason, Buffer, Fault, PartyId, Seed, server_id
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.reports import messages
from secagg_protocols.reports.context import Context, Seat
from secagg_protocols.reports.faults import counted, reason_of, too_few
from secagg_protocols.reports.messages import Included, Tag, Total

_ALL_DISAGREE = (
    "totals of two sets of reports, and every server has signed both: none is to be believed, "
    "and no server alone is to blame"
)


# Theory of operation.
#
# It asks every server, again over each new link and whenever its driver likes. A server answers
# with its total, or that the batch has ended without one, or that it is still open: that is no
# answer yet, and it keeps how many reports there were, to say it if its patience ends first.
#
# A total is added as it comes, once it is signed by its server and its set by all of them, and
# opens. The last one makes the sum. Whatever is wrong with one ends the collection, as a sum
# without it is noise, and names whoever brought it: an honest server has the honest ones'
# signatures under one set, so it is never named for another's. An end for too few reports is
# nobody's fault, unless a total has shown that the batch was locked.
#
# It writes no rows. A server gives the same total to whoever asks, for as long as the epoch is
# kept, so a collector that starts again asks again, and there is nothing of it that a store could
# lose, or give away: its key is its caller's, and what it has added is forgotten with its end.


class Collector(PhasedMailbox):
    """One batch. It believes in a sum of the one set that every server has signed, or in none."""

    def __init__(self, context: Context, number: int, secret: Seed) -> None:
        super().__init__()
        self._seat = Seat(context, number, COLLECTOR)
        if agree.public_key(secret) != self._committee.collector:
            raise ParameterError("this is not the secret key of the collector")
        self._opening: OpeningKey | None = OpeningKey(secret)
        self._sum = context.scheme.zeros()
        self._included: Included | None = None
        self._missing = {server_id(index) for index in range(context.params.servers)}
        self._open: dict[PartyId, int] = {}  # reports of a server that has not locked the batch
        self._ended: errors.Aborted | None = None
        self.phase = ""
        self.done = False

    def __repr__(self) -> str:
        return f"Collector(phase={self.phase!r}, missing={len(self._missing)})"

    @property
    def _committee(self) -> Committee:
        return self._seat.context.committee

    @property
    def alive(self) -> frozenset[PartyId]:
        """Every server: the fault of one ends the collection."""
        return frozenset(map(server_id, range(len(self._committee.servers))))

    @property
    def contributors(self) -> frozenset[PartyId]:
        """It is told how many there are, and not who."""
        return frozenset()

    @property
    def waiting_for(self) -> frozenset[PartyId]:
        return frozenset(self._missing) if self.phase and not self.done else frozenset()

    @property
    def quorum(self) -> bool:
        return not self._missing

    def start(self) -> None:
        if self.phase or self.done:
            raise LocalProtocolError("start() is called once")
        self.phase = "collect"
        self._events.append(PhaseEntered(self.phase))
        for party in sorted(self._missing, reverse=True):
            self._ask(party)

    def reconnected(self, party: PartyId, /) -> None:
        """A new link leads to the server: it is asked again."""
        if party in self.waiting_for:
            self._ask(party)

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        if sender not in self.waiting_for:
            self._events.append(Ignored(sender, "nothing is expected of this party"))
            return
        try:
            self._handle(sender, Reader(message))
        except WireError as error:
            self._blame(sender, Fault.MALFORMED, str(error))
        except InvalidTag as error:
            self._blame(sender, Fault.REJECTED, str(error))

    def lost(self, party: PartyId, /) -> None:
        if party in self.waiting_for:
            self._blame(party, Fault.LOST, "the link to the server is gone")

    def abort(self, why: AbortReason, /) -> None:
        """No server is told: a set that is locked stays so, and can be collected again."""
        if not self.done:
            self._abort(errors.Aborted(why, f"in {self.phase or 'idle'}"))

    def close_phase(self) -> None:
        """Patience is over. A batch that is open is nobody's fault; else a server is late."""
        if not self.waiting_for:
            raise LocalProtocolError("no phase is open")
        if self._open:
            self._end_open()
        else:
            self._blame(max(self._missing), Fault.LATE, "its total has not come")

    def result(self) -> RingTotal:
        """contributors and dropped are empty: a collector learns how many there are, not who."""
        if self._ended is not None:
            raise self._ended.again()
        if not self.done or self._included is None:
            raise LocalProtocolError("the session is still running")
        vector = self._seat.context.scheme.vector(self._sum)
        return RingTotal(vector, frozenset(), frozenset(), self._included.count)

    def _ask(self, party: PartyId) -> None:
        data = messages.bare(Tag.COLLECT, self._seat.batch)
        self._outgoing.append(Outgoing(party, data))

    def _handle(self, sender: PartyId, reader: Reader) -> None:
        """Raises WireError for what is no answer of this batch, InvalidTag for a total that does
        not open."""
        tag, bound = read_header(reader)
        if bound != self._seat.batch:
            raise WireError("the message is bound to another task or batch")
        if tag == Tag.ABORT:
            self._take_abort(sender, messages.read_abort(reader))
        elif tag == Tag.OPEN:
            self._take_open(sender, messages.read_open(reader))
        elif tag == Tag.TOTAL:
            self._take_total(sender, Total.read(reader, self._seat.context.shape))
        else:
            raise BadTag(f"tag {tag} is not a total")

    def _take_open(self, sender: PartyId, count: int) -> None:
        """Rule A12: it is asked again later. The number is that server's word."""
        self._open[sender] = count
        self._events.append(Ignored(sender, f"the batch is open: {counted(count)} so far"))

    def _take_total(self, sender: PartyId, total: Total) -> None:
        """Rule A11. Raises InvalidTag and WireError as `_add` does."""
        # Signatures before sets, and both before the seal is opened. A total that disagrees and
        # lacks a signature names its server; one that disagrees and has them all shows that every
        # server has signed twice, and then the one that came later is no more to blame than the
        # first.
        index = server_id(0) - sender
        if (lacking := self._unsigned(index, total)) is not None:
            self._blame(sender, Fault.INVALID_SIGNATURE, lacking)
            return
        if self._included is not None and total.included != self._included:
            self._abort(errors.Aborted(AbortReason.INTEGRITY, _ALL_DISAGREE))
            return
        self._add(index, total)
        self._missing.discard(sender)
        self._open.pop(sender, None)
        if not self._missing:
            self._finish(total.included)

    def _take_abort(self, sender: PartyId, why: AbortReason) -> None:
        """Rule A11: too few reports are nobody's fault, unless a total shows a lock."""
        if why is AbortReason.BELOW_THRESHOLD and self._included is None:
            needed = self._seat.context.params.min_survivors
            said = f"server {server_id(0) - sender} says that fewer than {needed} reports came"
            self._abort(errors.BelowThreshold(said))
        else:
            self._blame(sender, Fault.QUIT, f"no total: {why.value}")

    def _unsigned(self, index: int, total: Total) -> str | None:
        """What lacks a signature. Rule A11: its own, and everybody's under the set: a server that
        has summed another set than the others has them not, whichever of the totals comes first."""
        context, batch = self._seat.context, self._seat.batch
        signed = Total.to_sign(batch, index, total.included, total.sealed)
        if not context.is_signed(index, signed, total.signature):
            return "its total is not signed with its key"
        stated = total.included.to_sign(batch)
        for server, signature in enumerate(total.agreement.signatures):
            if not context.is_signed(server, stated, signature):
                return f"no signature of server {server} under the set that it has summed"
        return None

    def _add(self, index: int, total: Total) -> None:
        """Raises InvalidTag, or WireError for what opens and is no total; the sum is then as it
        was."""
        if self._opening is None:
            raise LocalProtocolError("a collection that has ended opens no totals")
        context = self._seat.context
        info = context.total_info(self._seat.number, total.included, index)
        plaintext = self._opening.open(total.sealed, info)
        context.scheme.add(self._sum, context.scheme.read(plaintext))
        self._included = total.included

    def _finish(self, included: Included) -> None:
        """Rule A11: the minimum batch once more, as every server has checked it."""
        # both impossible while one server is honest: it signs no such set (A4, A6-A8)
        params = self._seat.context.params
        if included.count < params.min_survivors:
            self._abort(too_few(included.count, params.min_survivors))
        elif included.count > params.clients:
            text = f"{counted(included.count)} in a batch that has at most {params.clients}"
            self._abort(errors.BelowThreshold(text))
        else:
            self.done, self._opening = True, None
            self._events += [QuorumReached(self.phase), Finished()]

    def _end_open(self) -> None:
        """Whoever asks too early learns how far it is, and from which server."""
        party, needed = max(self._open), self._seat.context.params.min_survivors
        count = self._open[party]
        reason = AbortReason.BELOW_THRESHOLD if count < needed else AbortReason.LOST
        text = (
            f"the batch is open: server {server_id(0) - party} has {counted(count)} so far, and "
            f"the smallest batch has {needed}; collect again once it is closed"
        )
        self._abort(errors.aborted(reason, text))

    def _blame(self, party: PartyId, fault: Fault, detail: str) -> None:
        """A sum without one server's total is noise, so its fault ends the collection, named."""
        self._events.append(Dropped(party, fault, detail))
        index = server_id(0) - party
        self._abort(errors.Aborted(reason_of(fault), f"server {index}: {fault.value}: {detail}"))

    def _abort(self, why: errors.Aborted) -> None:
        self._ended, self.done, self._opening = why.again(), True, None
        self._sum = self._seat.context.scheme.zeros()
        self._events.append(Aborted(why.reason, str(why)))
