"""One client of several servers: one report, until every server has signed that it is stored."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from secagg import party
from secagg.crypto.randomness import checked
from secagg.effects import Effects, Peer, Refusal, Unpaid, Work
from secagg.errors import (
    BudgetSpent,
    LinkTimeout,
    LocalProtocolError,
    RemoteProtocolError,
    WireError,
)
from secagg.plans.disclosure import Counting
from secagg.plans.task import Task
from secagg.rounds.base import Outbox
from secagg.rounds.greeting import callees, message_limit
from secagg.rounds.paid import LIFE_SIZE, Paid
from secagg.sansio import Aborted
from secagg.shown import short
from secagg.types import AbortReason, PartyId, Randomness, system_randomness
from secagg.wire.frame import Message, decode_frame, payload_digest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """reason: None once every server has signed that it has stored this report, those among them
    that the leader speaks for; else why it ended, with detail. links: opened. bytes_up: of protocol
    messages that were handed to a link, over each anew. clipped: elements beyond clip, by field;
    it stays on this side, but for its sum in a plan with the lane `clipped`.
    """

    reason: AbortReason | None
    detail: str
    links: int
    bytes_up: int
    clipped: Mapping[str, int]

    __repr__ = short

    @property
    def stored(self) -> bool:
        return self.reason is None


# Theory of operation.
#
# A report is built once, before any link is there, and from then on it is bytes that only servers
# can open. Delivering it is therefore without danger: it is said on every link that comes, however
# often links break, and a server that has it already signs for it again. So these rounds have no
# memory of what was said where; a new link means saying it once more, and that is all.
#
# What would be dangerous is a second report of the same input, because nothing shows that the two
# belong together and both would be summed. It cannot come from here, as an object of this class
# has one report; the application is told in words when it may not make another: when time is over,
# something has been sent, and not every server has signed.
#
# There are three ends. Every server has signed, over whichever links, and the report is stored. A
# server has said something that no honest one says, such as a receipt of another report: then
# nothing that comes can be believed to mean that the report is stored, and the fault is named. Or
# the application's patience is over; that is not an end of the report but of one attempt, and the
# next attempt, with other links or after an hour, goes on with the same bytes and the receipts that
# have come so far.
#
# A frame that is none costs its link, not the report: links are opened again by whoever drives
# this. A frame of another nonce is ignored, as a server may say something of a later version here.
# Impossible are jobs, claims and rows: a report that is to outlive its process is a machine's rows
# in its application's hands.
class ReportRounds:
    """One report, and every attempt to deliver it (`secagg.rounds.base.Rounds`)."""

    def __init__(
        self,
        task: Task,
        fields: Mapping[str, Any],
        *,
        weight: int = 1,
        payload: bytes = b"",
        randomness: Randomness = system_randomness,
        counting: Counting | None = None,
    ) -> None:
        """Builds the report. counting: of the budget that it is charged to, before it leaves.

        Raises InputError, before anything is sealed, and PolicyRefused for a plan that such a
        budget does not count.
        """
        self._nonce, self._limit = task.nonce(), message_limit(task)
        self._outbox = Outbox()
        disclosure = None if counting is None else counting.disclosure(task.plan)
        self._paid = Paid(self._outbox, disclosure, task.plan.threat.corrupted)
        life = checked(randomness)(LIFE_SIZE) if self._paid.counts else b""
        self._paid.name(task.digest(), self._nonce, PartyId(0), life)
        self._servers = callees(task)
        self._client = party.Client(
            task.plan,
            PartyId(0),  # no server asks: links are told apart by the servers
            nonce=self._nonce,
            payload_digest=task.payload_digest,
            committee=task.committee,
            randomness=randomness,
        )
        self._client.set_input(fields, weight=weight, payload_digest=payload_digest(payload))
        self._client.start()
        self._client.outgoing()  # said again over every new link
        self._links: dict[PartyId, Peer] = {}
        self._opened = self._bytes_up = 0
        self._ended: tuple[AbortReason | None, str] = (None, "")
        self._begun = self._until = math.inf
        self._late = False

    # What the application sees

    @property
    def clipped(self) -> dict[str, int]:
        """Elements of the input beyond clip, by field."""
        return dict(self._client.clipped)

    @property
    def over(self) -> bool:
        """Whether this attempt has ended."""
        return self._late or self._client.done or bool(self._paid.why)

    def attempt(self, seconds: float, now: float) -> None:
        """Another attempt, for so many seconds. What was signed in earlier ones counts, and so does
        what was charged: the same key once more costs nothing."""
        self._begun, self._until, self._late = now, now + seconds, False
        self._paid.renew()

    def outcome(self) -> ReportOutcome:
        """How it ended. Raises LinkTimeout where only the attempt did: the next may follow; and
        BudgetSpent where nothing has left, as the budget has no room for the report."""
        if self._paid.why:
            raise BudgetSpent(self._paid.why)
        if not self._client.done:
            if not self._late:
                raise LocalProtocolError("the report is still under way")
            raise LinkTimeout(self._unheard(self._until - self._begun))
        return ReportOutcome(*self._ended, self._opened, self._bytes_up, self.clipped)

    # What the driver says

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """There are no rows of these rounds."""

    def joined(self, peer: Peer, now: float) -> None:
        server = self._server(peer)
        self._links[server] = peer
        self._opened += 1
        self._client.reconnected(server)
        self._drain()

    def left(self, peer: Peer, now: float) -> None:
        if self._links.get(self._server(peer)) == peer:
            del self._links[self._server(peer)]

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        try:
            decoded = decode_frame(frame, limit=self._limit)
        except WireError as error:
            log.warning("the link to %s is given up: %s", peer.name, error)
            self._outbox.let_go(peer)
            return
        if not isinstance(decoded, Message) or decoded.nonce != self._nonce:
            return
        try:
            self._client.receive(self._server(peer), decoded.data)
        except RemoteProtocolError as fault:
            self._ended = AbortReason.PEER_FAULT, str(fault)
        self._drain()

    def flushed(self, peer: Peer, size: int, now: float) -> None:
        """A report is said once a link: nothing piles up."""

    def finished(self, work: Work, value: Any, now: float) -> None:
        """A client hands out no work."""

    def failed(self, work: Work, error: Exception, now: float) -> None:
        """A client hands out no work."""

    def refused(self, refusal: Refusal, now: float) -> None:
        """No claims are made here."""
        self._outbox.withhold(refusal.key)
        if isinstance(refusal, Unpaid) and self._paid.refused(refusal):
            self._bytes_up = 0

    def tick(self, now: float) -> None:
        self._late = self._late or (now >= self._until and not self._client.done)

    def ready(self, peer: Peer) -> bool:
        return True

    def take(self) -> Effects:
        return self._outbox.take(math.inf if self.over else self._until)

    # Inside

    def _server(self, peer: Peer) -> PartyId:
        """By the name of the link: a client has no other proof of whom it has reached."""
        return next(party for known, party in self._servers.items() if known.name == peer.name)

    def _unheard(self, seconds: float) -> str:
        if not self._bytes_up:
            return f"no server could be reached within {seconds:g} seconds, and nothing was sent"
        return (
            f"not every server has acknowledged the report within {seconds:g} seconds. It may be "
            "stored or not: the same report may be delivered again, but a new one of the same "
            "input could be summed beside it"
        )

    def _drain(self) -> None:
        """To whom a link leads; else it is said over the next one."""
        for event in self._client.events():
            # a fault that this side has found is already named, and ends the machine as well
            if isinstance(event, Aborted) and self._ended[0] is None:
                self._ended = event.reason, event.detail or "a server said so"
        for out in self._client.outgoing():
            if (peer := self._links.get(out.to)) is not None and not self._paid.why:
                self._pay()
                self._bytes_up += len(out.data)
                self._outbox.post(peer, Message(self._nonce, out.data), self._paid.needs)

    def _pay(self) -> None:
        """Before it leaves the first time. It is the whole input, so nothing is given back."""
        if self._paid.counts and not self._paid.needs:
            self._paid.begin()
            self._paid.leaves()
