"""A client's rounds: what it is asked, what it gives, and how each round ended for it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from secagg.effects import Effects, Peer, Refusal, Unpaid, Work
from secagg.errors import (
    InputError,
    LocalProtocolError,
    ParameterError,
    PolicyRefused,
    RemoteProtocolError,
    Spent,
    WireError,
)
from secagg.plans.disclosure import Counting
from secagg.rounds.base import (
    LEFT,
    LIFE,
    MACHINE,
    NAME,
    NAMES,
    ROUND,
    ROUNDS,
    Outbox,
    Rows,
    sorted_out,
)
from secagg.rounds.claims import Names
from secagg.rounds.membership import Membership, check_membership
from secagg.rounds.offer import Consent, Contribution, Offer, Outcome
from secagg.rounds.part import BUDGET, BUSY, SPENT, Part, Place
from secagg.rounds.quota import Limits
from secagg.types import SERVER, AbortReason, Randomness, system_randomness
from secagg.wire.frame import Announce, Over, decode_frame

# Theory of operation.
#
# A client has one server and any number of rounds with it at once, each with a machine of its own.
# A round begins with an announcement, which is judged by what the client has consented to before
# anything is revealed, and becomes an offer. The application reads offers with `asked`, and answers
# each in its own time with `contribute` or `decline`; the phases before the one that needs the
# input go on meanwhile, and `owed` says which rounds still wait for one. A round ends with the
# server's word, and then there is an outcome.
#
# Three things are decided here and nowhere else. What may leave: every message that must have one
# wording is a claim first, and so is the input that a message carries (`secagg.rounds.claims`); a
# refused claim takes this client out of the round, for the ledger knows of a session that these
# rows have forgotten. So does a refused charge, where there is a budget (`secagg.rounds.paid`). How
# long to wait: the deadlines of an announcement bind the server too; one that has not ended a round
# within their sum, and patience on top for work that has no deadline, is let go, because a client
# that waits for ever cannot be told from one that is lost. What survives a link: nothing, unless
# links prove who this is: a server knows nobody again who has not, so the rounds of a lost link are
# lost, and what has left in them is spent. Who is known takes its seat again, from its rows or from
# what this process remembers, and says the same bytes again, or nothing.
#
# Impossible here: two parts of one nonce, for a nonce is announced once; an input in two sessions
# at once under one name; an outcome before an offer.

PATIENCE = 300.0
"""Seconds beyond a round's deadlines: what a server computes has none."""


MOST_ROUNDS = 1 << 18
"""Of one client in its life. Of each it keeps the nonce, some 100 bytes, as none may come twice: a
server that opens and ends rounds as fast as it can must not fill a client's memory with them."""


class ClientRounds:
    """The rounds of one client with one server (`secagg.rounds.base.Rounds`).

    `received` raises what the application must hear of its server: WireError,
    RemoteProtocolError and, of the plan, ParameterError for announcements that are none,
    PolicyRefused for those that it has not consented to. A server's fault inside a round ends that
    round only.
    """

    def __init__(
        self,
        consent: Consent,
        *,
        limits: Limits | None = None,
        durable: bool = False,
        returning: bool = False,
        carried: bool = False,
        patience: float = PATIENCE,
        randomness: Randomness = system_randomness,
        counting: Counting | None = None,
        member: Membership | None = None,
    ) -> None:
        """durable: the driver has a store, and its links prove who it is: rounds outlive both.
        returning: its links prove who it is, and it has no store: rounds outlive a link, as long as
        this process is there, but those whose clients sign (specs/12-active.md V9). carried: rows
        leave together with frames, or neither does, so nothing is kept to be said again: rows hold
        what a client knows, and no masked vector as long as the model. counting: the driver has a
        budget, and what that counts: every round is charged to it. member: for rounds whose clients
        sign; the driver has the ledger that its memory is of, and its links greet
        (`Membership.greet`). Raises ParameterError for one whose rows are carried."""
        if carried and member is not None:
            raise ParameterError(
                "a client that signs is one process for the round, as it takes nothing up again; "
                "one whose rows are carried is not"
            )
        self._consent, self._limits, self._patience = consent, limits or Limits(), patience
        self._outbox = Outbox()
        names = Names(self._outbox if durable else None)
        self._place = Place(self._outbox, names, durable, carried, randomness, counting, member)
        self._returning = durable or returning
        self._server: Peer | None = None
        self._parts: dict[bytes, Part] = {}
        self._due: dict[bytes, float] = {}
        self._nonces: set[bytes] = set()
        self._last = 0  # the highest number of a round
        self._given_up: set[bytes] = set()
        self._asked: list[Offer] = []
        self._outcomes: list[Outcome] = []

    @property
    def membership(self) -> Membership | None:
        """What it is where clients sign."""
        return self._place.member

    # What the application sees

    def renew(self, member: Membership) -> None:
        """The same member under a later roster, in rounds to come. LocalProtocolError while one
        runs, as that ends under the roster that it began with."""
        if self._parts:
            raise LocalProtocolError("a round runs, and ends under the roster that it began with")
        self._place = replace(self._place, member=member)

    def asked(self) -> list[Offer]:
        """Offers that were announced since the last call, each once."""
        asked, self._asked = self._asked, []
        return asked

    def owed(self) -> list[Offer]:
        """Offers of running rounds whose input was neither given nor declined."""
        return [part.offer for part in self._parts.values() if part.owes]

    def outcomes(self) -> list[Outcome]:
        """Of the rounds that ended since the last call, in that order."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    @property
    def running(self) -> frozenset[bytes]:
        """The nonces of rounds that have not ended for this client."""
        return frozenset(self._parts)

    @property
    def speaking(self) -> frozenset[bytes]:
        """Those of them in which this client may still have something to say. In the others it has
        said its last word, and needs no secret any more, whatever the server calls what it asks:
        what is left is the outcome."""
        return frozenset(nonce for nonce, part in self._parts.items() if not part.machine.done)

    @property
    def last(self) -> int:
        """The number of the newest offer; 0 before the first."""
        return self._last

    @property
    def pressing(self) -> float:
        """Until when at the latest there must be a link, or a running round may go on without this
        client: the end of its phase, as far as this side knows; infinite where none runs."""
        return min((_closes(self._parts[nonce]) for nonce in self.speaking), default=math.inf)

    def clipped(self, offer: Offer) -> dict[str, int]:
        """By field, of the input that was given; empty before, and after the round."""
        part = self._parts.get(offer.nonce)
        return dict(part.machine.clipped) if part is not None else {}

    def contribute(self, offer: Offer, given: Contribution, now: float) -> None:
        """The input of a round; without effect where that has ended or has no use for it.

        Raises InputError for an input that does not fit: this client is then out of the round, and
        the server hears that its input is the reason. An input whose name is spent, or in another
        round, takes it out as well; the outcome says so.
        """
        part = self._parts.get(offer.nonce)
        if part is None or not part.owes:
            return
        try:
            part.contribute(given, self._server, now)
        except InputError as bad:
            part.detail = str(bad)
            reason = AbortReason.BAD_INPUT
            part.leave(reason, reason.fault.value, self._server, now)
            raise
        except (Spent, PolicyRefused) as refused:
            part.detail = str(refused)
            why = SPENT if isinstance(refused, Spent) else part.why or BUSY
            part.leave(AbortReason.CANCELLED, why, self._server, now)

    def decline(
        self,
        offer: Offer,
        now: float,
        reason: AbortReason = AbortReason.CANCELLED,
        detail: str = "",
    ) -> None:
        """Not this round: the link stays for the next. The server hears the reason alone, and the
        outcome has the detail. Without effect on a round that has its input, or is declined."""
        part = self._parts.get(offer.nonce)
        if part is not None and not part.given:
            part.detail = detail
            part.leave(reason, reason.fault.value, self._server, now)

    def withdraw(self, now: float, reason: AbortReason = AbortReason.CANCELLED) -> None:
        """Out of every running round, as before the link is closed."""
        for part in self._parts.values():
            part.leave(reason, part.why or reason.fault.value, self._server, now)

    def give_up(self, now: float) -> None:
        """Every running round is lost to this client, as where the server does not come back."""
        for nonce in tuple(self._parts):
            self._lose(nonce, AbortReason.LOST, "the server did not come back", now)

    # What the driver says

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """Rounds that were running go on once a link leads to the server; `asked` names again
        those whose input has not left. One whose machine has no rows, because its suite does not
        resume, is lost."""
        found = sorted_out(rows)
        begun = {nonce: own for (nonce, o), own in found.items() if o == ROUNDS and ROUND in own}
        names = found.get((NAMES, ROUNDS), {})
        held = {key[len(NAME) :]: value for key, value in names.items()}
        self._place.names.restore(held.items(), begun)  # first: what rounds say is under its claim
        for nonce, own in begun.items():
            self._take_up(nonce, own, found.get((nonce, MACHINE), {}), now)

    def joined(self, peer: Peer, now: float) -> None:
        """A link leads to the server: what it may not have heard is said again."""
        if self._server is not None:
            raise LocalProtocolError("a client has one link to its server")
        self._server = peer
        for part in self._parts.values():
            part.call(lambda part=part: part.machine.reconnected(SERVER), peer, now)  # type: ignore[misc]

    def left(self, peer: Peer, now: float) -> None:
        self._server = None
        for nonce, part in tuple(self._parts.items()):
            # where clients sign a seat waits for nobody (specs/12-active.md V9)
            signed = part.offer.plan.suite.signed
            if not self._returning or (signed and not self._place.durable):
                self._lose(nonce, AbortReason.LOST, "the link is gone", now)

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        decoded = decode_frame(frame, limit=self._limits.frame)
        if isinstance(decoded, Announce):
            self._announced(decoded, now)
        elif (part := self._parts.get(decoded.nonce)) is None:
            return  # of a round that this client has left
        elif isinstance(decoded, Over):
            self._end(decoded.nonce, part.over(decoded, now))
        elif (broken := part.received(decoded.data, peer, now)) is not None:
            self._lose(decoded.nonce, AbortReason.PEER_FAULT, broken, now)

    def flushed(self, peer: Peer, size: int, now: float) -> None:
        """A client says little, and only when asked: nothing is counted."""

    def finished(self, work: Work, value: Any, now: float) -> None:
        """A client hands out no work."""

    def failed(self, work: Work, error: Exception, now: float) -> None:
        """A client hands out no work."""

    def refused(self, refusal: Refusal, now: float) -> None:
        self._outbox.withhold(refusal.key)
        if isinstance(refusal, Unpaid):
            self._unpaid(refusal, now)
            return
        for part in self._parts.values():
            if part.refused(refusal):
                part.detail = (
                    "another wording of this answer, or another use of this input, is claimed "
                    "already: its rows were put back, or it runs twice"
                )
                part.leave(AbortReason.CANCELLED, SPENT, self._server, now)

    def tick(self, now: float) -> None:
        for nonce, due in tuple(self._due.items()):
            if now >= due:
                limit = due - self._patience
                self._lose(
                    nonce,
                    AbortReason.LOST,
                    f"the server has not ended the round {now - limit:.0f} seconds after the last "
                    "of its own deadlines",
                    now,
                )
                if self._server is not None:
                    self._outbox.let_go(self._server)

    def ready(self, peer: Peer) -> bool:
        return True

    def take(self) -> Effects:
        return self._outbox.take(min(self._due.values(), default=math.inf))

    # Inside

    def _unpaid(self, refusal: Unpaid, now: float) -> None:
        """No key has left, and the application is not asked for an input."""
        for nonce, part in self._parts.items():
            if part.unpaid(refusal):
                self._asked = [offer for offer in self._asked if offer.nonce != nonce]
                part.detail = refusal.why
                part.leave(AbortReason.CANCELLED, BUDGET, self._server, now)

    def _announced(self, frame: Announce, now: float) -> None:
        """A round that is new here. Raises what `Consent.judge` does, and RemoteProtocolError."""
        if (part := self._parts.get(frame.nonce)) is not None and self._same(part.offer, frame):
            return  # the link is new, and the round is the one that runs
        if frame.nonce in self._given_up:
            return  # this client may be known again, and what it was in that round is not
        if frame.nonce in self._nonces or frame.nonce == NAMES:
            raise RemoteProtocolError("the server announced one round nonce twice")
        if len(self._nonces) >= MOST_ROUNDS:
            raise RemoteProtocolError(
                f"the server has announced {MOST_ROUNDS} rounds: a client that goes on starts anew"
            )
        if len(self._parts) >= self._limits.rounds:
            raise RemoteProtocolError(f"more than {self._limits.rounds} rounds at once")
        offer = self._consent.judge(frame, self._last + 1)
        check_membership(self._place.member, offer, now)
        self._add(Part(offer, self._place, now), now)
        self._parts[offer.nonce].begin(self._server, now)
        self._asked.append(offer)

    def _same(self, offer: Offer, frame: Announce) -> bool:
        """Only rounds that outlive a link see a second one."""
        known = (offer.party, offer.plan.encode(), offer.payload_digest)
        return self._returning and known == (frame.party, frame.plan, frame.payload_digest)

    def _add(self, part: Part, now: float) -> None:
        """Its end is due from here on, also after a restart: the deadlines begin anew."""
        offer = part.offer
        self._nonces.add(offer.nonce)
        self._last = max(self._last, offer.round)
        self._parts[offer.nonce] = part
        self._due[offer.nonce] = now + sum(offer.deadlines.values()) + self._patience

    def _take_up(self, nonce: bytes, own: Rows, rows: Rows, now: float) -> None:
        """own: the row of the round and whether its input has left. rows: the machine's, if it has
        any."""
        row = own[ROUND]
        frame = decode_frame(row[4:], limit=len(row))
        if not isinstance(frame, Announce):
            raise WireError("the row of a round is its announcement")
        offer = self._consent.judge(frame, int.from_bytes(row[:4]))
        part = Part(offer, self._place, now)
        self._add(part, now)
        if not rows:
            part.left = LEFT in own
            self._lose(nonce, AbortReason.LOST, "what this client was in the round is lost", now)
            return
        part.restore(rows.items(), left=LEFT in own, life=own.get(LIFE, b""), now=now)
        if part.owes:
            self._asked.append(offer)

    def _lose(self, nonce: bytes, reason: AbortReason, detail: str, now: float) -> None:
        self._given_up.add(nonce)
        self._end(nonce, self._parts[nonce].lost(reason, detail, now))

    def _end(self, nonce: bytes, outcome: Outcome) -> None:
        del self._parts[nonce], self._due[nonce]
        self._outcomes.append(outcome)


def _closes(part: Part) -> float:
    """When the phase that it is in ends, had the server entered it when this client did; a server
    that was started again gives it more."""
    return part.clock.entered + part.offer.deadlines.get(part.clock.phase, 0.0)
