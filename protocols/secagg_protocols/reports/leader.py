"""The leader: takes reports, relays shares, decides what every server has accepted, closes the
batch and brings the servers' signatures together (specs/20-additive.md §8)."""

from __future__ import annotations

from collections.abc import Iterable

from secagg import errors
from secagg.committee import ServerSecrets
from secagg.errors import LocalProtocolError, WireError
from secagg.sansio import Ignored
from secagg.types import Buffer, Fault, PartyId, server_id
from secagg.wire.codec import Reader
from secagg_protocols.reports import messages
from secagg_protocols.reports.context import Context
from secagg_protocols.reports.deciding import Deciding
from secagg_protocols.reports.faults import refuse, too_few
from secagg_protocols.reports.messages import Head, Ruling, Sealed, Statement, Tag
from secagg_protocols.reports.opening import Arrival
from secagg_protocols.reports.shape import ID_SIZE
from secagg_protocols.reports.states import LEADER, Stage

# Theory of operation.
#
# Upload. A client takes a place with its report, and a batch has n. The report is relayed, or in
# direct mode comes to each server by itself, in any order; what the helpers say of it, and what is
# decided, is `Deciding`. At its deadline the driver closes the upload if there is a quorum. If
# there is none it says `extend` instead: the batch stays open, so that no report is burnt for
# having been among too few, and those that are undecided give up their places (rule A14). Only
# whoever wants an end without a sum closes below the minimum.
#
# Agree. The set is fixed. Each helper is told this server's statement once it has confirmed all
# that was decided, because only then an honest one has the same set; so a statement that differs is
# disagreement, and not haste. When the last signature is here, the batch is locked.
#
# Locked. The helpers get all signatures, and the leader waits until each says that it has locked
# too: one that has not would be missing for the collector. Nothing can go wrong with the sum any
# more, so that wait may be ended.
#
# After a restart the leader does not know what helpers have done, nor who sent what. It tells them
# every decision of the batch again, and gives the reports that hold places the lowest party
# numbers; who asks for its report again is not thereby a second client.


class Leader(Deciding):
    """Server 0. It takes reports, or in direct mode its shares of them, and drives the batch."""

    table = LEADER

    def __init__(self, context: Context, number: int, secrets: ServerSecrets) -> None:
        super().__init__(context, number, 0, secrets)
        self._stated: Statement | None = None

    @property
    def waiting_for(self) -> frozenset[PartyId]:
        """Clients without a report, and the servers that owe an answer."""
        if self._stage is Stage.UPLOAD:
            full = self.included >= self._context.params.clients
            clients = set() if full else self._senders.without
            return frozenset(clients.union(map(server_id, filter(self._owes, self._helpers))))
        if self._stage is Stage.AGREE:
            return frozenset(map(server_id, self._unsigned))
        if self._stage is Stage.LOCKED and not self.done:
            unlocked = (index for index, one in self._helpers.items() if not one.locked)
            return frozenset(map(server_id, unlocked))
        return frozenset()

    @property
    def _unsigned(self) -> list[int]:
        return [index for index, one in self._helpers.items() if one.signature is None]

    def close_phase(self) -> None:
        """Of upload: fixes the set and states it. Of a later one: ends the wait for a server."""
        if self._stage is Stage.UPLOAD:
            self._close_upload()
        elif self._stage is Stage.AGREE:
            missing = self._unsigned[0]
            self._blame(server_id(missing), Fault.LATE, "its statement has not come")
        elif self._stage is Stage.LOCKED and not self.done:
            self._finish()
        else:
            raise LocalProtocolError("no phase is open")

    def extend(self) -> None:
        """Rule A14: the deadline has passed, and the batch stays open. In direct mode what is
        undecided gives up its place: its client may never reach the other servers. Where this
        server relays, the report is whole, and it is a helper that is waited for."""
        if self._stage is not Stage.UPLOAD:
            raise LocalProtocolError("only a batch that takes reports stays open")
        self._give_up()
        self._senders.renew()  # else a few bad reports would keep the batch open for ever
        if self._context.params.direct:
            self._senders.release(self._book.release(), self._book.pending)

    def reconnected(self, party: PartyId, /) -> None:
        index = server_id(0) - party
        self._senders.forget_asker(party, self._book.pending)
        if index not in self._helpers:
            return
        self._abort_again(party)
        if self._stage is Stage.LOCKED:  # to all: who has locked may have an older store
            self._send(party, self._progress.agreement)
        elif self._stage in (Stage.UPLOAD, Stage.AGREE):
            self._ask_again(index)
            self._state_to(index)

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        """What helpers have done is not stored: they are told again, and have done it already."""
        super().restore(rows)
        self._senders.restore(self._book.ids_with_places())
        self._decide_again()
        if self._stage is Stage.AGREE:
            self._state()

    def _take(self, sender: PartyId, tag: Tag, reader: Reader, message: Buffer) -> None:
        index = server_id(0) - sender
        if tag in (Tag.REPORT, Tag.REPORT_SHARE):
            self._take_report(sender, tag, reader, message)
        elif tag is Tag.VERDICT:
            self._take_verdict(index, Ruling.read(reader, tag, self._context.shape))
        elif tag is Tag.DECIDED:
            id = reader.fixed(ID_SIZE, "report id")
            reader.finish()
            self._take_decided(index, id)
        elif tag is Tag.STATEMENT:
            statement = Statement.read(reader, 1)
            reader.finish()
            self._take_statement(sender, statement)
        else:
            reader.finish()
            self._take_locked(index)

    # Reports

    def _take_report(self, sender: PartyId, tag: Tag, reader: Reader, message: Buffer) -> None:
        """Rules A2 and A3: signed, then known or new, then from whom. Raises WireError and
        PeerFault."""
        if (tag is Tag.REPORT) is self._context.params.direct:
            raise WireError(f"{messages.NAMES[tag]} where clients send the other kind of report")
        shares = self._read_shares(tag, reader)
        head = shares[0].head
        self._check_signed(sender, head)
        self._senders.forget_asker(sender, self._book.pending)
        known = self._known(head.id)
        if known is not None:
            self._again(sender, head, known)
        elif sender in self._senders.reports:
            self._drop(sender, Fault.EQUIVOCATION, "a second report")
        elif sender not in self._senders.alive:
            self._events.append(Ignored(sender, "no report is expected of this party"))
        else:
            self._senders.reports[sender] = head.id
            self._open(shares, message, sender)

    def _again(self, sender: PartyId, head: Head, known: bytes) -> None:
        """Rule A3: the same report gets the same receipts; another of its id drops its sender.

        A repeat that comes over another link takes no place there: the report has one.
        """
        if known != head.digest:
            self._drop(sender, Fault.EQUIVOCATION, "two reports of one id")
            return
        self._events.append(Ignored(sender, "duplicate"))
        if head.id in self._book.pending:
            self._senders.ask(sender, head.id, self._book.pending[head.id])
        if self._openings.get(head.id) is None:
            self._acknowledge(sender, head.id, head.digest)

    def _refused(self, arrival: Arrival) -> None:
        head, detail = arrival.head, "its share does not open at server 0"
        self._reject(head.id, head.digest, arrival.pending.sender, (), detail)
        self._take_early(head.id)

    def _stored(self, arrival: Arrival) -> None:
        """Its client has this server's receipt, helpers their shares, and verdicts that came early
        count."""
        head, pending = arrival.head, arrival.pending
        if pending.sender is not None:
            self._acknowledge(pending.sender, head.id, head.digest)
        for sealed in pending.relayed:
            self._send(server_id(sealed.index), sealed.encode(self._context.id))
        self._take_early(head.id)

    def _ask_again(self, index: int) -> None:
        """What a helper has not answered, over a new link: shares, checks and decisions."""
        for id, pending in self._book.pending.items():
            if index in pending.accepted:
                continue
            if pending.message is not None:
                self._send_combined(index, id, pending)
            elif pending.relayed and index not in pending.parts:
                share: Sealed = pending.relayed[index - 1]
                self._send(server_id(index), share.encode(self._context.id))
        for ruling in self._helpers[index].undone.values():
            self._send(server_id(index), ruling.encode(Tag.DECISION, self._seat.batch))

    # The set

    def _take_decided(self, index: int, id: bytes) -> None:
        if self._helpers[index].undone.pop(id, None) is not None:
            self._state_to(index)

    def _close_upload(self) -> None:
        """Rule A7. Whoever has sent nothing is late, also where there is no sum."""
        for party in sorted(self._senders.without):
            self._drop(party, Fault.LATE)
        self._give_up()  # first: a batch that ends without a sum carries as little to the next
        if not self.quorum:
            self._abort(too_few(self.included, self._context.params.min_survivors))
            return
        self._enter(Stage.AGREE)
        self._state()
        for index in self._helpers:
            self._state_to(index)

    def _give_up(self) -> None:
        """Rule A14, at a deadline: the surplus; and what a helper has had since the deadline before
        and this server never got, which in relay mode is nothing."""
        self._reject_surplus()
        for index, helper in self._helpers.items():
            for id in helper.stale & helper.early.keys():
                digest = helper.early.pop(id).digest
                self._reject(id, digest, None, (index,), "its share has not come to server 0")
            helper.stale = set(helper.early)

    def _reject_surplus(self) -> None:
        """Rule A14: of what is carried and not whole, the oldest beyond n, also where a helper to
        which this server relays never answers."""
        helpers = len(self._helpers)
        for id in self._book.surplus(
            self._context.params.clients, lambda one: len(one.accepted) == helpers
        ):
            pending = self._book.pending[id]
            detail = "not every server has accepted it, and newer reports wait"
            self._reject(id, pending.digest, pending.asker, self._holders(pending), detail)

    def _state(self) -> None:
        included = self._book.set_of()
        self._stated = Statement(included, (self._seals.statement(included),))

    def _state_to(self, index: int) -> None:
        """Rule A7: when the helper has done all that was decided: its set is then this one."""
        helper = self._helpers[index]
        due = self._stage is Stage.AGREE and helper.signature is None
        if due and self._stated is not None and not helper.undone:
            self._send(server_id(index), self._stated.encode(Tag.STATEMENT, self._seat.batch))

    def _take_statement(self, sender: PartyId, statement: Statement) -> None:
        """Rule A9. The last signature locks the set."""
        if self._stated is None or statement.included != self._stated.included:
            refuse(sender, Fault.DISAGREEMENT, "it has summed another set of reports")
        index = server_id(0) - sender
        self._check_signature(index, statement.included, statement.signatures[0], sender)
        self._helpers[index].signature = statement.signatures[0]
        signed = [one.signature for one in self._helpers.values() if one.signature is not None]
        if len(signed) == len(self._helpers):
            self._lock(Statement(statement.included, (self._stated.signatures[0], *signed)))
            for helper in self._helpers:
                self._send(server_id(helper), self._progress.agreement)

    def _take_locked(self, index: int) -> None:
        self._helpers[index].locked = True
        if not self.done and all(helper.locked for helper in self._helpers.values()):
            self._finish()

    # Ends

    def _abort(self, why: errors.Aborted) -> None:
        """Before its deadline too: a helper that ends every batch would leave n more in each."""
        if self._stage is Stage.UPLOAD:
            self._reject_surplus()
        super()._abort(why)

    def _lose(self, party: PartyId) -> None:
        self._senders.forget_asker(party, self._book.pending)
        if party in self._senders.without:
            self._drop(party, Fault.LOST)
