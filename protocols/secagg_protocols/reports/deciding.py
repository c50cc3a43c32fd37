"""What becomes of each report at the leader: verdicts gathered, checks combined, decisions made
(specs/20-additive.md §8, A4, A10, A15)."""

from __future__ import annotations

from collections.abc import Iterable

from secagg import errors
from secagg.committee import ServerSecrets
from secagg.errors import WireError
from secagg.sansio import Dropped, Ignored, QuorumReached
from secagg.types import Fault, PartyId, server_id
from secagg_protocols.reports import messages
from secagg_protocols.reports.book import MOST, Pending
from secagg_protocols.reports.context import Context
from secagg_protocols.reports.faults import refuse
from secagg_protocols.reports.member import Member
from secagg_protocols.reports.messages import Receipt, Ruling, Tag, Verdict
from secagg_protocols.reports.senders import Counterpart, Senders
from secagg_protocols.reports.states import Stage

# Theory of operation.
#
# One rule decides: a report is included when every server has accepted it, and rejected everywhere
# when one has not. What a helper accepts comes with its receipt, so an acceptance is checked here,
# and is proof to the client; a rejection is the helper's word only, and the event says whose.
#
# With an exchange there is a step before: every server's part comes first, the leader combines
# them, ends on the result as a helper does, and stores it before anybody hears it. So no helper is
# ever given two messages for one check, whatever restarts in between: a leader that has forgotten
# the message is one that nobody has heard it from.
#
# In direct mode a verdict may come before the report, or for a report that never comes. Those are
# kept, a bounded number for each helper, so that one that lies fills no place but its own.
#
# A decision is said until it is confirmed: what a helper has not confirmed is in its `undone`, and
# the statement waits until that is empty, since only then an honest helper has summed the same set.
# It is never taken back. A report leaves the pending with its decision, so whatever is said of it
# later is answered by that decision again, or, where another batch has made it, by a rejection.
#
# A batch that is full includes nothing more. What every server has accepted by then is not rejected
# for it: it stays pending, and its verdicts come again in the next batch.


class Deciding(Member):
    """The leader's half that knows reports one by one; `Leader` knows the batch."""

    def __init__(self, context: Context, number: int, index: int, secrets: ServerSecrets) -> None:
        super().__init__(context, number, index, secrets)
        self._senders = Senders(context.params.clients)
        self._helpers = {j: Counterpart() for j in range(1, context.params.servers)}

    @property
    def alive(self) -> frozenset[PartyId]:
        return frozenset(self._senders.alive)

    @property
    def contributors(self) -> frozenset[PartyId]:
        included = self._book.included
        return frozenset(p for p, id in self._senders.reports.items() if id in included)

    def _owes(self, helper: int) -> bool:
        """In direct mode a verdict is owed for a check only: a share may never have come there."""
        owing = (p for p in self._book.pending.values() if helper not in p.accepted)
        if not self._context.params.direct:
            return any(True for _ in owing)
        return bool(self._helpers[helper].undone) or any(p.message is not None for p in owing)

    def _acknowledge(self, to: PartyId, id: bytes, digest: bytes) -> None:
        """With the receipts of the helpers that it speaks for, as far as they have come."""
        super()._acknowledge(to, id, digest)
        if not self._book.is_rejected(id):
            for index, signature in self._book.receipts_of(id).items():
                self._send_receipt(to, Receipt(id, index, signature))

    # What helpers say

    def _take_verdict(self, index: int, ruling: Ruling) -> None:
        """index: of the helper. What is not pending is not decided again. PeerFault for a lie."""
        pending = self._book.pending.get(ruling.id)
        if pending is None:
            self._verdict_on_other(index, ruling)
        elif ruling.digest != pending.digest:
            self._take_other_digest(index, ruling, pending)
        elif ruling.verdict is Verdict.REJECTED:
            detail = f"server {index} has rejected it"  # A2, A4, A10 or A14: it does not say why
            told = self._holders(pending)
            self._reject(ruling.id, pending.digest, pending.sender, told, detail)
        elif ruling.verdict is Verdict.CHECKING:
            self._take_part(index, ruling, pending)
        else:
            self._take_acceptance(index, ruling, pending)

    def _take_acceptance(self, index: int, ruling: Ruling, pending: Pending) -> None:
        """It comes with the helper's receipt, which goes to whoever waits for it."""
        if not self._context.is_receipt(index, ruling.digest, ruling.detail):
            detail = "it accepts a report without its receipt"
            refuse(server_id(index), Fault.INVALID_SIGNATURE, detail)
        if index not in pending.accepted and pending.relayed:
            waiting = {p for p in (pending.sender, pending.asker) if p is not None}
            for party in sorted(waiting):
                self._send_receipt(party, Receipt(ruling.id, index, ruling.detail))
        pending.accepted[index] = ruling.detail
        self._include_if_accepted(ruling.id, pending)

    def _take_other_digest(self, index: int, ruling: Ruling, pending: Pending) -> None:
        """Rule A4: a helper to which this server relays has what was relayed."""
        if not self._context.params.direct:
            detail = "its verdict is on another report than was relayed to it"
            refuse(server_id(index), Fault.DISAGREEMENT, detail)
        detail = f"server {index} holds a share of another report of this id"
        told = self._holders(pending)
        self._reject(ruling.id, pending.digest, pending.sender, told, detail)
        self._decide(index, Ruling(ruling.id, ruling.digest, Verdict.REJECTED))

    def _holders(self, pending: Pending) -> Iterable[int]:
        """The helpers that hold this very report, or will: in direct mode those that said so."""
        if not self._context.params.direct:
            return self._helpers
        return sorted((pending.accepted.keys() | pending.parts.keys()) - {self._seat.index})

    def _verdict_on_other(self, index: int, ruling: Ruling) -> None:
        """On a report that is decided, whose decision is then said again, or not yet known."""
        book, rejection = self._book, Ruling(ruling.id, ruling.digest, Verdict.REJECTED)
        if ruling.id in book.rejected:
            self._decide(index, rejection)
        elif ruling.id in book.included:
            self._decide(index, Ruling(ruling.id, book.included[ruling.id], Verdict.ACCEPTED))
        elif book.digest_of(ruling.id) is not None:  # rule A10: else it waits there for ever
            self._send(server_id(index), rejection.encode(Tag.DECISION, self._seat.batch))
        elif self._context.params.direct:
            self._keep_early(index, ruling)

    # Verdicts on what has not come

    def _keep_early(self, index: int, ruling: Ruling) -> None:
        """An honest helper has as many reports at most, those that it carries among them, and says
        its verdicts again (§8 A4)."""
        early = self._helpers[index].early
        if ruling.id in early or len(early) < 2 * MOST * self._context.params.clients:
            early[ruling.id] = ruling
        else:
            detail = "more verdicts on reports that are not here than a helper can have"
            self._events.append(Ignored(server_id(index), detail))

    def _take_early(self, id: bytes) -> None:
        for index, helper in self._helpers.items():
            if id in helper.early:
                self._take_verdict(index, helper.early.pop(id))

    # Checks

    def _take_part(self, index: int, ruling: Ruling, pending: Pending) -> None:
        """One that comes again, after the check, is of a helper that has not heard what it was."""
        if pending.message is not None:
            if index not in pending.accepted:
                self._send_combined(index, ruling.id, pending)
            return
        pending.parts[index] = ruling.detail
        if len(pending.parts) == self._context.params.servers:
            self._combine(ruling.id, pending)

    def _combine(self, id: bytes, pending: Pending) -> None:
        """Rule A15. A part that is none is not told from a proof that fails: whoever lied, client
        or helper, it costs this report."""
        scheme, parts = self._context.scheme, [part for _, part in sorted(pending.parts.items())]
        try:
            message = scheme.combine(parts)
            share = scheme.end(pending.checking, message)
        except WireError:
            told, detail = self._holders(pending), "its check failed: it is not a valid report"
            self._reject(id, pending.digest, pending.sender, told, detail)
            return
        self._book.check(id, message, share)
        for index in self._helpers:
            self._send_combined(index, id, pending)

    def _send_combined(self, index: int, id: bytes, pending: Pending) -> None:
        ruling = Ruling(id, pending.digest, Verdict.CHECKING, pending.message or b"")
        self._send(server_id(index), ruling.encode(Tag.DECISION, self._seat.batch))

    # Decisions

    def _include_if_accepted(self, id: bytes, pending: Pending) -> None:
        """Rule A4. A full batch leaves the rest for the next one."""
        full = self.included >= self._context.params.clients
        ready = len(pending.accepted) == len(self._helpers) and pending.share is not None
        if full or not ready or self._stage is not Stage.UPLOAD:
            return
        before = self.quorum
        self._include(id)
        for index in self._helpers:
            self._decide(index, Ruling(id, pending.digest, Verdict.ACCEPTED))
        if self.quorum and not before:
            self._events.append(QuorumReached(self.phase))

    def _reject(
        self, id: bytes, digest: bytes, sender: PartyId | None, told: Iterable[int], detail: str
    ) -> None:
        """Rule A4: one rejection rejects the report everywhere. told: who has it, or will."""
        told = tuple(told)
        self._book.reject(id, digest)
        for index in told:
            self._decide(index, Ruling(id, digest, Verdict.REJECTED))
        if sender is not None:
            self._drop(sender, Fault.REJECTED, detail)

    def _decide(self, index: int, ruling: Ruling) -> None:
        self._helpers[index].undone[ruling.id] = ruling
        self._send(server_id(index), ruling.encode(Tag.DECISION, self._seat.batch))

    def _decide_again(self) -> None:
        """After a restart, to every helper: what it has done already it has done once."""
        book = self._book
        rulings = [Ruling(id, d, Verdict.ACCEPTED) for id, d in book.included.items()]
        if not self._context.params.direct:  # else it may hold another, and asks on a new link
            rulings += [Ruling(id, d, Verdict.REJECTED) for id, d in book.rejected.items()]
        for helper in self._helpers.values():
            helper.undone.update({ruling.id: ruling for ruling in rulings})

    # Ends

    def _other_servers(self) -> list[PartyId]:
        return [server_id(index) for index in self._helpers]

    def _abort(self, why: errors.Aborted) -> None:
        """A client whose report waits for the next batch has no part in this one's end."""
        waiting = self._senders.of(self._book.pending)
        super()._abort(why)
        for party in sorted(self._senders.alive - waiting):
            self._send(party, messages.abort(self._context.id, why.reason))

    def _drop(self, party: PartyId, fault: Fault, detail: str = "") -> None:
        """Once. What was included of it stays so."""
        if party in self._senders.alive:
            self._senders.alive.discard(party)
            self._events.append(Dropped(party, fault, detail))
        else:
            self._events.append(Ignored(party, f"{fault.value}: {detail}"))
