"""A helper: judges its own shares, does what the leader decides, and locks only the set that it has
itself summed (specs/20-additive.md §8)."""

from __future__ import annotations

from collections.abc import Iterable

from secagg import errors
from secagg.committee import ServerSecrets
from secagg.errors import LocalProtocolError, WireError
from secagg.sansio import Dropped, Ignored, Unkept
from secagg.types import AbortReason, Buffer, Fault, PartyId, server_id
from secagg.wire.codec import Reader
from secagg_protocols.reports import messages
from secagg_protocols.reports.book import MOST
from secagg_protocols.reports.context import Context
from secagg_protocols.reports.faults import counted, refuse, too_few
from secagg_protocols.reports.member import Member
from secagg_protocols.reports.messages import Ruling, Sealed, Statement, Tag, Verdict
from secagg_protocols.reports.opening import Arrival
from secagg_protocols.reports.states import HELPER, Stage

_LEADER = server_id(0)


# Theory of operation.
#
# It never begins anything: it answers. A share gets a verdict, or first this server's part of the
# check and then the verdict; a decision is done if it is one that an honest leader can make of a
# report that this server has accepted; a statement is signed if it is of this server's own set; an
# agreement locks if all have signed that. The order is the leader's, so a message that comes too
# early is not a fault unless it claims what is not so.
#
# Everything may come twice, over a new link or from a leader that was set back to an older store,
# and is answered with the same bytes. What a helper never does is change its mind: a report that is
# decided stays so, a check that has ended on one message ends on no other, and a set that is signed
# waits for the agreement for ever, as the others may have locked it.
#
# Clients speak to a helper in direct mode only. It keeps which report each has brought, so that one
# that the transport knows has one report, and nothing else of them: it waits for nobody but the
# leader, so a client that is gone is no event of the batch.
#
# What a leader can make a helper store is bounded, and so is what clients can: see `_is_full`.


class Helper(Member):
    """A server other than the first. It trusts the leader with progress and with nothing else."""

    table = HELPER

    def __init__(self, context: Context, number: int, index: int, secrets: ServerSecrets) -> None:
        super().__init__(context, number, index, secrets)
        self._reporters: dict[PartyId, bytes] = {}  # client -> its report's id, if direct

    @property
    def alive(self) -> frozenset[PartyId]:
        """A helper keeps no list of clients: they may never speak to it."""
        return frozenset()

    @property
    def contributors(self) -> frozenset[PartyId]:
        return frozenset()

    @property
    def waiting_for(self) -> frozenset[PartyId]:
        open_ = self._stage in (Stage.UPLOAD, Stage.AGREE)
        return frozenset({_LEADER}) if open_ else frozenset()

    def close_phase(self) -> None:
        """The leader closes a batch; a helper's deadline is that the leader has not."""
        if not self.waiting_for:
            raise LocalProtocolError("no phase is open")
        if self._stage is Stage.AGREE:  # rule A9: it has signed, so the others may have locked
            self._events.append(Ignored(_LEADER, "a set that is signed waits for the agreement"))
        else:
            self._blame(_LEADER, Fault.LATE, f"nothing came to end {self.phase}")

    def extend(self) -> None:
        """It keeps no deadline of its own: the leader's rejections say what to give up."""

    def lost(self, party: PartyId, /) -> None:
        if party != _LEADER or self._stage is not Stage.AGREE:
            super().lost(party)

    def restore(self, kept: Iterable[tuple[bytes, bytes]], /) -> None:
        """Rule A14. A batch that begins has said no verdict yet, as verdicts are bound to it: the
        one moment at which a helper can give up a report on its own, and no decision crosses."""
        super().restore(kept)
        if self._stage is Stage.IDLE:
            for id in self._book.surplus(MOST * self._context.params.clients):
                self._book.reject(id, self._book.pending[id].digest)

    def _resume(self) -> None:
        """A helper's part ends with the lock."""
        if self._stage is Stage.LOCKED:
            self._finish()

    def reconnected(self, party: PartyId, /) -> None:
        """The leader repeats what it wants answered. In direct mode it cannot ask for verdicts."""
        if party == _LEADER:
            self._abort_again(party)
        if party == _LEADER and self._context.params.direct:
            for id, pending in self._book.pending.items():
                self._rule(id, pending.digest)
            for id, digest in self._book.rejected.items():
                self._rule(id, digest)

    def _take(self, sender: PartyId, tag: Tag, reader: Reader, message: Buffer) -> None:
        if tag is Tag.REPORT_SHARE:
            self._take_share(sender, self._read_shares(tag, reader), message)
        elif tag is Tag.DECISION:
            self._take_decision(Ruling.read(reader, tag, self._context.shape))
        elif tag is Tag.STATEMENT:
            statement = Statement.read(reader, 1)
            reader.finish()
            self._take_statement(statement)
        else:
            agreement = Statement.read(reader, self._context.params.servers)
            reader.finish()
            self._take_agreement(agreement)

    # Reports

    def _take_share(self, sender: PartyId, shares: tuple[Sealed, ...], message: Buffer) -> None:
        """From whoever is to bring it; a repeat gets the same verdict."""
        if (sender == _LEADER) is self._context.params.direct:
            raise WireError("a share from a party that does not bring shares in this plan")
        head = shares[0].head
        self._check_signed(sender, head)
        known = self._known(head.id)
        if known is None and self._is_full():
            self._events.append(Unkept(sender, "more reports than a batch can have use for"))
        elif known is None and self._is_second(sender, head.id):
            self._drop(sender, Fault.EQUIVOCATION, "a second report")
        elif known is None:
            self._open(shares, message, None if sender == _LEADER else sender)
        elif known != head.digest:
            self._blame(sender, Fault.EQUIVOCATION, "two reports of one id")
        elif self._openings.get(head.id) is not None:
            self._events.append(Ignored(sender, "duplicate"))
        else:
            self._answer(sender, head.id, head.digest)

    def _is_full(self) -> bool:
        """Rule A3: what holds a place is at most 2 n reports, and of those that the leader rejects
        as many again make room: by then they are 48 bytes, and else half-delivered reports would
        fill a batch that stays open."""
        most = MOST * self._context.params.clients
        return len(self._book) + len(self._openings) - min(self._book.returned, most) >= most

    def _is_second(self, sender: PartyId, id: bytes) -> bool:
        return sender != _LEADER and self._reporters.setdefault(sender, id) != id

    def _refused(self, arrival: Arrival) -> None:
        self._book.reject(arrival.head.id, arrival.head.digest)
        self._rule(arrival.head.id, arrival.head.digest)

    def _stored(self, arrival: Arrival) -> None:
        to = _LEADER if arrival.pending.sender is None else arrival.pending.sender
        self._answer(to, arrival.head.id, arrival.head.digest)

    def _answer(self, sender: PartyId, id: bytes, digest: bytes) -> None:
        """The leader hears the verdict, and a client that has come itself its receipt."""
        self._rule(id, digest)
        if sender != _LEADER:
            self._acknowledge(sender, id, digest)

    def _rule(self, id: bytes, digest: bytes) -> None:
        """Of a report that it has. The part of a check is said again with the verdict: a leader
        that was set back has neither."""
        pending = self._book.pending.get(id)
        if pending is not None and (part := pending.parts.get(self._seat.index)) is not None:
            self._say(Ruling(id, digest, Verdict.CHECKING, part))
        if pending is None or pending.share is not None:
            self._verdict(id, digest)

    def _verdict(self, id: bytes, digest: bytes) -> None:
        """What is spent it rejects (rule A10)."""
        if id in self._book.pending or id in self._book.included:
            receipt = self._seals.receipt(id, digest)
            self._say(Ruling(id, digest, Verdict.ACCEPTED, receipt.signature))
        else:
            self._say(Ruling(id, digest, Verdict.REJECTED))

    def _say(self, ruling: Ruling) -> None:
        self._send(_LEADER, ruling.encode(Tag.VERDICT, self._seat.batch))

    def _take_decision(self, ruling: Ruling) -> None:
        """Rule A6: on what it has a share of, and once. A report that it has not got is none that
        it could sum, so the rejection of one leaves nothing to keep."""
        known = self._book.digest_of(ruling.id)
        if known not in (None, ruling.digest):
            refuse(_LEADER, Fault.DISAGREEMENT, "it decides on another report of this id")
        if ruling.verdict is Verdict.CHECKING:
            self._take_combined(ruling)
            return
        if ruling.verdict is Verdict.ACCEPTED:
            self._include_decided(ruling)
        elif ruling.id in self._book.included:
            refuse(_LEADER, Fault.EQUIVOCATION, "it rejects a report that it had included")
        elif ruling.id in self._book.pending:
            self._book.reject(ruling.id, ruling.digest)
        self._send(_LEADER, messages.decided(self._seat.batch, ruling.id))

    def _take_combined(self, ruling: Ruling) -> None:
        """Rule A15: a check ends once, on one message; what it ended on is stored with it."""
        pending = self._book.pending.get(ruling.id)
        if self._progress.over:
            self._events.append(Ignored(_LEADER, "a batch that is over checks nothing"))
            return
        if pending is not None and pending.message is None:
            try:
                share = self._context.scheme.end(pending.checking, ruling.detail)
            except WireError:
                self._book.reject(ruling.id, ruling.digest)
            else:
                self._book.check(ruling.id, ruling.detail, share)
        elif pending is not None and pending.message != ruling.detail:
            refuse(_LEADER, Fault.EQUIVOCATION, "two messages for the check of one report")
        self._verdict(ruling.id, ruling.digest)

    def _include_decided(self, ruling: Ruling) -> None:
        """Rule A6: only what this server has accepted itself, once, and never more than n."""
        book, pending = self._book, self._book.pending.get(ruling.id)
        if ruling.id in book.included:
            return
        if pending is None or pending.share is None:
            refuse(_LEADER, Fault.DISAGREEMENT, "it includes a report that this server does not")
        if self._stage is not Stage.UPLOAD or len(book.included) >= self._context.params.clients:
            refuse(_LEADER, Fault.DISAGREEMENT, "it includes a report after the last one")
        self._include(ruling.id)

    # The set

    def _take_statement(self, statement: Statement) -> None:
        """Rule A8: signed only if it is this server's own set, and large enough."""
        own = self._book.set_of()
        if statement.included != own:
            refuse(_LEADER, Fault.DISAGREEMENT, "it has summed another set of reports")
        self._check_signature(0, own, statement.signatures[0], _LEADER)
        if not self.quorum:
            self._abort(too_few(own.count, self._context.params.min_survivors))
            return
        if self._stage is Stage.UPLOAD:
            self._enter(Stage.AGREE)
        reply = Statement(own, (self._seals.statement(own),))
        self._send(_LEADER, reply.encode(Tag.STATEMENT, self._seat.batch))

    def _take_agreement(self, agreement: Statement) -> None:
        """Rule A9: every server's signature is checked here, whoever brought it: its own shows a
        helper that was set back (§9.5) that it has signed this set."""
        own = self._book.set_of()
        if agreement.included != own:
            refuse(_LEADER, Fault.DISAGREEMENT, "it agrees on another set of reports")
        for index, signature in enumerate(agreement.signatures):
            self._check_signature(index, own, signature, _LEADER)
        if not self._progress.over:
            self._lock(agreement)
            self._finish()
        self._send(_LEADER, messages.bare(Tag.LOCKED, self._seat.batch))

    # Ends

    def _take_abort(self, sender: PartyId, why: AbortReason) -> None:
        """Rule A7: too few reports are nobody's fault; a helper that has enough knows better."""
        if sender == _LEADER and why is AbortReason.BELOW_THRESHOLD and not self.quorum:
            needed = self._context.params.min_survivors
            had = f"{counted(self.included)} here, and the smallest batch has {needed}"
            self._abort(errors.BelowThreshold(f"server 0 has ended it with too few: {had}"))
        else:
            super()._take_abort(sender, why)

    def _other_servers(self) -> list[PartyId]:
        return [_LEADER]

    def _lose(self, party: PartyId) -> None:
        self._events.append(Ignored(party, "a helper does not wait for clients"))

    def _drop(self, party: PartyId, fault: Fault, detail: str = "") -> None:
        self._events.append(Dropped(party, fault, detail))
