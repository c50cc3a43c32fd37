"""A helper: judges its own shares, does what the leader decides, and locks only the set that it has
itself summed (specs/20-additive.md §8)."""

from __future__ import annotations

from secagg import errors
from secagg.committee import ServerSecrets
from secagg.errors import InvalidTag, LocalProtocolError, WireError
from secagg.layout import Expander
from secagg.protocol import Session
from secagg.sansio import Dropped, Ignored
from secagg.types import AbortReason, Buffer, Fault, PartyId, server_id
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.reports import messages
from secagg_protocols.reports.book import MOST, Pending, Row
from secagg_protocols.reports.faults import refuse
from secagg_protocols.reports.member import Member
from secagg_protocols.reports.messages import Ruling, Sealed, Statement, Tag, Verdict
from secagg_protocols.reports.states import HELPER, Stage

_LEADER = server_id(0)


class Helper(Member):
    """A server that holds seeds. It trusts the leader with progress and with nothing else."""

    table = HELPER

    def __init__(
        self, session: Session, index: int, secrets: ServerSecrets, *, expander: Expander
    ) -> None:
        super().__init__(session, index, secrets, expander=expander)
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

    def lost(self, party: PartyId, /) -> None:
        if party != _LEADER or self._stage is not Stage.AGREE:
            super().lost(party)

    def _resume(self) -> None:
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
            sealed = Sealed.read(reader, self._shape, self._index)
            reader.finish()
            self._take_share(sender, sealed, message)
        elif tag is Tag.DECISION:
            self._take_decision(Ruling.read(reader, tag))
        elif tag is Tag.STATEMENT:
            statement = Statement.read(reader, 1)
            reader.finish()
            self._take_statement(statement)
        else:
            agreement = Statement.read(reader, self._context.params.servers)
            reader.finish()
            self._take_agreement(agreement)

    # Reports

    def _take_share(self, sender: PartyId, sealed: Sealed, message: Buffer) -> None:
        """From whoever is to bring it; a repeat gets the same verdict."""
        if (sender == _LEADER) is self._context.params.direct:
            raise WireError("a share from a party that does not bring shares in this plan")
        head = sealed.head
        self._check_signed(sender, head)
        known = self._book.digest_of(head.id)
        if known is None and len(self._book) >= MOST * self._context.params.clients:
            self._events.append(Ignored(sender, "more reports than a batch can have use for"))
            return
        if known is None:
            if sender != _LEADER and self._reporters.setdefault(sender, head.id) != head.id:
                self._drop(sender, Fault.EQUIVOCATION, "a second report")
                return
            self._judge(sealed, message)
        elif known != head.digest:
            fault, detail = Fault.EQUIVOCATION, "two reports of one id"
            self._blame(sender, fault, detail)
            return
        self._rule(head.id, head.digest)
        if sender != _LEADER:
            self._acknowledge(sender, head.id, head.digest)

    def _judge(self, sealed: Sealed, message: Buffer) -> None:
        head = sealed.head
        try:
            share = self._seals.open(sealed)
        except (InvalidTag, WireError):
            self._book.reject(head.id, head.digest)
        else:
            self._book.accept(head.id, Pending(head.digest, share), message)

    def _reopen(self, row: Row) -> None:
        reader = Reader(row.kept)
        read_header(reader)
        sealed = Sealed.read(reader, self._shape, self._index)
        self._book.pending[row.id] = Pending(row.digest, self._seals.open(sealed))

    def _rule(self, id: bytes, digest: bytes) -> None:
        """Of a report that it has. What is spent it rejects (rule A10)."""
        ruling = Ruling(id, digest, Verdict.REJECTED)
        if id in self._book.pending or id in self._book.included:
            receipt = self._seals.receipt(id, digest)
            ruling = Ruling(id, digest, Verdict.ACCEPTED, receipt.signature)
        self._send(_LEADER, ruling.encode(Tag.VERDICT, self._batch))

    def _take_decision(self, ruling: Ruling) -> None:
        """Rule A6: on what it has a share of, and once. A report that it has not got is none that
        it could sum, so the rejection of one leaves nothing to keep."""
        known = self._book.digest_of(ruling.id)
        if known not in (None, ruling.digest):
            refuse(_LEADER, Fault.DISAGREEMENT, "it decides on another report of this id")
        if ruling.verdict is Verdict.ACCEPTED:
            self._include_decided(ruling)
        elif ruling.id in self._book.included:
            refuse(_LEADER, Fault.EQUIVOCATION, "it rejects a report that it had included")
        elif ruling.id in self._book.pending:
            self._book.reject(ruling.id, ruling.digest)
        self._send(_LEADER, messages.decided(self._batch, ruling.id))

    def _include_decided(self, ruling: Ruling) -> None:
        """Rule A6: only what this server has accepted itself, once, and never more than n."""
        book = self._book
        if ruling.id in book.included:
            return
        if ruling.id not in book.pending:
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
            self._abort(errors.BelowThreshold(f"{own.count} reports"))
            return
        if self._stage is Stage.UPLOAD:
            self._enter(Stage.AGREE)
        reply = Statement(own, (self._seals.statement(own),))
        self._send(_LEADER, reply.encode(Tag.STATEMENT, self._batch))

    def _take_agreement(self, agreement: Statement) -> None:
        """Rule A9: every server's signature is checked here, whoever brought it: its own shows a
        helper that was set back (§9.5) that it has signed this set."""
        own = self._book.set_of()
        if agreement.included != own:
            refuse(_LEADER, Fault.DISAGREEMENT, "it agrees on another set of reports")
        for index, signature in enumerate(agreement.signatures):
            self._check_signature(index, own, signature, _LEADER)
        if not self._over:
            self._lock(agreement)
            self._finish()
        self._send(_LEADER, messages.bare(Tag.LOCKED, self._batch))

    # Ends

    def _take_abort(self, sender: PartyId, why: AbortReason) -> None:
        """Rule A7: too few reports are nobody's fault; a helper that has enough knows better."""
        if sender == _LEADER and why is AbortReason.BELOW_THRESHOLD and not self.quorum:
            self._abort(errors.BelowThreshold("server 0 has closed it with too few reports"))
        else:
            super()._take_abort(sender, why)

    def _other_servers(self) -> list[PartyId]:
        return [_LEADER]

    def _lose(self, party: PartyId) -> None:
        self._events.append(Ignored(party, "a helper does not wait for clients"))

    def _drop(self, party: PartyId, fault: Fault, detail: str = "") -> None:
        self._events.append(Dropped(party, fault, detail))
