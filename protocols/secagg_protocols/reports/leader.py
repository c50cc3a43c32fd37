"""The leader: takes reports, relays shares, decides what every server has accepted, closes the
batch and brings the servers' signatures together (specs/20-additive.md §8)."""

from __future__ import annotations

from collections.abc import Iterable

from secagg import errors
from secagg.committee import ServerSecrets
from secagg.errors import InvalidTag, LocalProtocolError, WireError
from secagg.layout import Expander
from secagg.protocol import Session
from secagg.sansio import Dropped, Ignored, QuorumReached
from secagg.types import Buffer, Fault, PartyId, server_id
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg_protocols.reports import messages
from secagg_protocols.reports.book import MOST, Pending, Row
from secagg_protocols.reports.faults import refuse
from secagg_protocols.reports.member import Member
from secagg_protocols.reports.messages import (
    ID_SIZE,
    Head,
    Receipt,
    Report,
    Ruling,
    Sealed,
    Statement,
    Tag,
    Verdict,
)
from secagg_protocols.reports.states import LEADER, Stage


class Leader(Member):
    """Server 0, which holds the packed shares."""

    table = LEADER

    def __init__(self, session: Session, secrets: ServerSecrets, *, expander: Expander) -> None:
        super().__init__(session, 0, secrets, expander=expander)
        params = self._context.params
        self._alive = set(map(PartyId, range(params.clients)))
        self._reporters: dict[PartyId, bytes] = {}  # client -> report id
        self._askers: dict[PartyId, bytes] = {}  # who brought a pending report last -> its id
        self._helpers = range(1, params.servers)
        # If direct: verdicts before their report, by the helper that may fill no place but its own
        self._early: dict[int, dict[bytes, Ruling]] = {j: {} for j in self._helpers}
        self._undone: dict[int, dict[bytes, Ruling]] = {j: {} for j in self._helpers}
        self._stated: Statement | None = None
        self._signatures: dict[int, bytes] = {}
        self._unlocked = set(self._helpers)

    @property
    def alive(self) -> frozenset[PartyId]:
        return frozenset(self._alive)

    @property
    def contributors(self) -> frozenset[PartyId]:
        included = self._book.included
        return frozenset(p for p, id in self._reporters.items() if id in included)

    @property
    def waiting_for(self) -> frozenset[PartyId]:
        """Clients without a report, and the servers that owe an answer."""
        if self._stage is Stage.UPLOAD:
            owing = map(server_id, filter(self._owes, self._helpers))
            return frozenset(self._alive.difference(self._reporters).union(owing))
        if self._stage is Stage.AGREE:
            return frozenset(map(server_id, set(self._helpers) - self._signatures.keys()))
        if self._stage is Stage.LOCKED and not self.done:
            return frozenset(map(server_id, self._unlocked))
        return frozenset()

    def _owes(self, helper: int) -> bool:
        if self._context.params.direct:
            return bool(self._undone[helper])
        return any(helper not in p.accepted for p in self._book.pending.values())

    def close_phase(self) -> None:
        """Of upload: fixes the set and states it. Of a later one: ends the wait for a server."""
        if self._stage is Stage.UPLOAD:
            self._close_upload()
        elif self._stage is Stage.AGREE:
            missing = min(set(self._helpers) - self._signatures.keys())
            self._blame(server_id(missing), Fault.LATE, "its statement has not come")
        elif self._stage is Stage.LOCKED and not self.done:
            self._finish()
        else:
            raise LocalProtocolError("no phase is open")

    def reconnected(self, party: PartyId, /) -> None:
        index = server_id(0) - party
        self._forget_asker(party)
        if index in self._helpers:
            self._abort_again(party)
        if self._stage is Stage.LOCKED and index in self._helpers:
            self._send(party, self._agreement)  # to all: who has locked may have an older store
        if self._stage not in (Stage.UPLOAD, Stage.AGREE) or index not in self._helpers:
            return
        for pending in self._book.pending.values():
            if index not in pending.accepted and pending.relayed:
                self._send(party, pending.relayed[index - 1].encode(self._context.id))
        for ruling in self._undone[index].values():
            self._send(party, ruling.encode(Tag.DECISION, self._batch))
        self._state_to(index)

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        """What helpers have done is not stored: they are told again, and have done it already.

        Whose reports these were is not stored either, so they take the lowest ids.
        """
        super().restore(rows)
        book = self._book
        self._reporters = {PartyId(i): id for i, id in enumerate(sorted(book.ids_of_batch()))}
        rulings = [Ruling(id, d, Verdict.ACCEPTED) for id, d in book.included.items()]
        if not self._context.params.direct:  # else it may hold another, and asks on a new link
            rulings += [Ruling(id, d, Verdict.REJECTED) for id, d in book.rejected.items()]
        for undone in self._undone.values():
            undone.update({ruling.id: ruling for ruling in rulings})
        if self._stage is Stage.AGREE:
            self._state()

    # Reports

    def _take(self, sender: PartyId, tag: Tag, reader: Reader, message: Buffer) -> None:
        if tag in (Tag.REPORT, Tag.REPORT_SHARE):
            self._take_report(sender, tag, reader, message)
        elif tag is Tag.VERDICT:
            self._take_verdict(server_id(0) - sender, Ruling.read(reader, tag))
        elif tag is Tag.DECIDED:
            id = reader.fixed(ID_SIZE, "report id")
            reader.finish()
            self._take_decided(server_id(0) - sender, id)
        elif tag is Tag.STATEMENT:
            statement = Statement.read(reader, 1)
            reader.finish()
            self._take_statement(sender, statement)
        else:
            reader.finish()
            self._take_locked(server_id(0) - sender)

    def _take_report(self, sender: PartyId, tag: Tag, reader: Reader, message: Buffer) -> None:
        if (tag is Tag.REPORT) is self._context.params.direct:
            raise WireError(f"{messages.NAMES[tag]} where clients send the other kind of report")
        shares = self._read_shares(tag, reader)
        head = shares[0].head
        self._check_signed(sender, head)
        self._forget_asker(sender)
        known = self._book.digest_of(head.id)
        if known is not None:
            self._again(sender, head, known)
        elif sender in self._reporters:
            self._drop(sender, Fault.EQUIVOCATION, "a second report")
        elif sender not in self._alive:
            self._events.append(Ignored(sender, "no report is expected of this party"))
        else:
            self._judge(sender, shares, message)

    def _read_shares(self, tag: Tag, reader: Reader) -> tuple[Sealed, ...]:
        """All of them where this server relays, and else its own."""
        if tag is Tag.REPORT:
            shares = Report.read(reader, self._shape).shares
        else:
            shares = (Sealed.read(reader, self._shape, 0),)
        reader.finish()
        return shares

    def _again(self, sender: PartyId, head: Head, known: bytes) -> None:
        """Rule A3: the same report gets the same receipts; another of its id drops its sender.

        A repeat that comes over another link takes no place there: the report has one.
        """
        if known != head.digest:
            self._drop(sender, Fault.EQUIVOCATION, "two reports of one id")
            return
        self._events.append(Ignored(sender, "duplicate"))
        if head.id in self._book.pending:
            self._ask(sender, head.id)
        self._acknowledge(sender, head.id, head.digest)

    def _ask(self, sender: PartyId, id: bytes) -> None:
        pending = self._book.pending[id]
        if pending.asker is not None:
            self._askers.pop(pending.asker, None)
        pending.asker, self._askers[sender] = sender, id

    def _forget_asker(self, party: PartyId) -> None:
        """It takes no place by asking, so its id may be another client's next."""
        pending = self._book.pending.get(self._askers.pop(party, b""))
        if pending is not None and pending.asker == party:
            pending.asker = None

    def _acknowledge(self, to: PartyId, id: bytes, digest: bytes) -> None:
        """With the receipts of the helpers that it speaks for, as far as they have come."""
        super()._acknowledge(to, id, digest)
        if not self._book.is_rejected(id):
            for index, signature in self._book.receipts_of(id).items():
                self._send_receipt(to, Receipt(id, index, signature))

    def _judge(self, sender: PartyId, shares: tuple[Sealed, ...], message: Buffer) -> None:
        head = shares[0].head
        self._reporters[sender] = head.id
        try:
            share = self._seals.open(shares[0])
        except (InvalidTag, WireError):
            self._reject(head.id, head.digest, sender, (), "its share does not open at server 0")
        else:
            pending = Pending(head.digest, share, sender, relayed=_copied(shares[1:]))
            self._book.accept(head.id, pending, message)
            self._acknowledge(sender, head.id, head.digest)
            for sealed in pending.relayed:
                self._send(server_id(sealed.index), sealed.encode(self._context.id))
        for index, early in self._early.items():
            if head.id in early:
                self._take_verdict(index, early.pop(head.id))

    def _reopen(self, row: Row) -> None:
        reader = Reader(row.kept)
        tag, _ = read_header(reader)
        shares = self._read_shares(Tag(tag), reader)
        relayed = _copied(shares[1:])
        self._book.pending[row.id] = Pending(
            row.digest, self._seals.open(shares[0]), relayed=relayed
        )

    def _take_verdict(self, index: int, ruling: Ruling) -> None:
        pending = self._book.pending.get(ruling.id)
        if pending is None:
            self._verdict_on_other(index, ruling)
        elif ruling.digest != pending.digest:
            self._take_other_digest(index, ruling, pending)
        elif ruling.verdict is Verdict.REJECTED:
            detail = f"its share does not open at server {index}"
            told = self._holders(pending)
            self._reject(ruling.id, pending.digest, pending.sender, told, detail)
        else:
            self._take_acceptance(index, ruling, pending)

    def _take_acceptance(self, index: int, ruling: Ruling, pending: Pending) -> None:
        """It comes with the helper's receipt, which goes to whoever waits for it."""
        if not self._context.is_receipt(index, ruling.digest, ruling.receipt):
            detail = "it accepts a report without its receipt"
            refuse(server_id(index), Fault.INVALID_SIGNATURE, detail)
        if index not in pending.accepted and pending.relayed:
            waiting = {p for p in (pending.sender, pending.asker) if p is not None}
            for party in sorted(waiting):
                self._send_receipt(party, Receipt(ruling.id, index, ruling.receipt))
        pending.accepted[index] = ruling.receipt
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
        return pending.accepted if self._context.params.direct else self._helpers

    def _verdict_on_other(self, index: int, ruling: Ruling) -> None:
        """On a report that is decided, whose decision is then said again, or not yet known."""
        book, rejection = self._book, Ruling(ruling.id, ruling.digest, Verdict.REJECTED)
        if ruling.id in book.rejected:
            self._decide(index, rejection)
        elif ruling.id in book.included:
            self._decide(index, Ruling(ruling.id, book.included[ruling.id], Verdict.ACCEPTED))
        elif book.digest_of(ruling.id) is not None:  # rule A10: else it waits there for ever
            self._send(server_id(index), rejection.encode(Tag.DECISION, self._batch))
        elif self._context.params.direct:
            self._take_early(index, ruling)

    def _take_early(self, index: int, ruling: Ruling) -> None:
        """An honest helper has as many reports at most, and says its verdicts again (§8 A4)."""
        early = self._early[index]
        if ruling.id in early or len(early) < MOST * self._context.params.clients:
            early[ruling.id] = ruling
        else:
            detail = "more verdicts on reports that are not here than a helper can have"
            self._events.append(Ignored(server_id(index), detail))

    def _include_if_accepted(self, id: bytes, pending: Pending) -> None:
        """Rule A4. A full batch leaves the rest for the next one."""
        full = len(self._book.included) >= self._context.params.clients
        if len(pending.accepted) < len(self._helpers) or full or self._stage is not Stage.UPLOAD:
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
        self._book.reject(id, digest)
        for index in told:
            self._decide(index, Ruling(id, digest, Verdict.REJECTED))
        if sender is not None:
            self._drop(sender, Fault.REJECTED, detail)

    def _decide(self, index: int, ruling: Ruling) -> None:
        self._undone[index][ruling.id] = ruling
        self._send(server_id(index), ruling.encode(Tag.DECISION, self._batch))

    def _take_decided(self, index: int, id: bytes) -> None:
        if self._undone[index].pop(id, None) is not None:
            self._state_to(index)

    # The set

    def _close_upload(self) -> None:
        for party in sorted(self._alive - self._reporters.keys()):
            self._drop(party, Fault.LATE)
        if not self.quorum:
            self._abort(errors.BelowThreshold(f"{len(self._book.included)} reports"))
            return
        self._enter(Stage.AGREE)
        self._state()
        for index in self._helpers:
            self._state_to(index)

    def _state(self) -> None:
        included = self._book.set_of()
        self._stated = Statement(included, (self._seals.statement(included),))

    def _state_to(self, index: int) -> None:
        """Rule A7: when the helper has done all that was decided: its set is then this one."""
        due = self._stage is Stage.AGREE and index not in self._signatures
        if due and self._stated is not None and not self._undone[index]:
            self._send(server_id(index), self._stated.encode(Tag.STATEMENT, self._batch))

    def _take_statement(self, sender: PartyId, statement: Statement) -> None:
        if self._stated is None or statement.included != self._stated.included:
            refuse(sender, Fault.DISAGREEMENT, "it has summed another set of reports")
        index = server_id(0) - sender
        self._check_signature(index, statement.included, statement.signatures[0], sender)
        self._signatures[index] = statement.signatures[0]
        if len(self._signatures) == len(self._helpers):
            others = (self._signatures[helper] for helper in self._helpers)
            self._lock(Statement(statement.included, (self._stated.signatures[0], *others)))
            for helper in self._helpers:
                self._send(server_id(helper), self._agreement)

    def _take_locked(self, index: int) -> None:
        self._unlocked.discard(index)
        if not self._unlocked and not self.done:
            self._finish()

    # Ends

    def _other_servers(self) -> list[PartyId]:
        return [server_id(index) for index in self._helpers]

    def _abort(self, why: errors.Aborted) -> None:
        """A client whose report waits for the next batch has no part in this one's end."""
        brought = [*self._reporters.items(), *self._askers.items()]
        waiting = {party for party, id in brought if id in self._book.pending}
        super()._abort(why)
        for party in sorted(self._alive - waiting):
            self._send(party, messages.abort(self._context.id, why.reason))

    def _lose(self, party: PartyId) -> None:
        self._forget_asker(party)
        if party in self._alive and party not in self._reporters:
            self._drop(party, Fault.LOST)

    def _drop(self, party: PartyId, fault: Fault, detail: str = "") -> None:
        """Once. What was included of it stays so."""
        if party in self._alive:
            self._alive.discard(party)
            self._events.append(Dropped(party, fault, detail))
        else:
            self._events.append(Ignored(party, f"{fault.value}: {detail}"))


def _copied(shares: tuple[Sealed, ...]) -> tuple[Sealed, ...]:
    """Those of helpers are small, and a view of one would keep its whole report in memory."""
    return tuple(Sealed(share.head, share.index, bytes(share.data)) for share in shares)
