"""One client's part in one round: its machine, what it claims, and what is known of the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from secagg import party
from secagg.crypto.randomness import checked
from secagg.effects import Charge, Claim, Note, Peer, Unpaid, Write
from secagg.errors import InputError, PolicyRefused, RemoteProtocolError
from secagg.plans.disclosure import Counting
from secagg.protocol import Session
from secagg.rounds.base import LEFT, LIFE, MACHINE, ROUND, ROUNDS, Outbox
from secagg.rounds.claims import Names, message_claim, name_of, use_digest
from secagg.rounds.clock import PhaseClock, RoundReport
from secagg.rounds.membership import Membership
from secagg.rounds.offer import Contribution, Offer, Outcome
from secagg.rounds.paid import LIFE_SIZE, Paid
from secagg.sansio import Agreed, Event, Outgoing, Revealed
from secagg.types import SERVER, AbortReason, PartyId, Randomness
from secagg.wire.frame import Announce, DigestOnly, Message, Over
from secagg.wire.header import TAG_AT

# Theory of operation.
#
# A part ties one machine to one round. What the machine says becomes posts and claims, what the
# application gives becomes the machine's input, and what is known in the end an outcome. It has
# neither a link nor a clock: each call brings the link that leads to the server just now, or None,
# and the moment. Without a link nothing is kept to be sent later, as the machine says what was not
# acknowledged again when there is one.
#
# All calls of the machine go through `call`, which drains it afterwards, also if it raised: a
# machine that refuses has a last word, and the server should have it. What is drained leaves in the
# order of `secagg.effects`, so whatever is lost in between, the store knows of every message that
# the server may have heard, and the ledger of its wording.
#
# How far an input has gone is three questions, and they are not one. `given`: the application is
# asked for nothing more, because it has given or has declined. `left`: a masked form of it has been
# said, so it may be in a sum. `answered`: this client has helped to open one. One that has not left
# is free again with the end of the round. One that has left can be tried again if the server says
# that it is in no sum and this client has not answered. After an answer nothing that the server
# says frees it: a server that lied about the first sum would have a second one that differs by it.
#
# An outcome is what the server says (`over`) or what has to be supposed when it says nothing any
# more (`lost`): that is not "no", so an input that has left is then spent, and `included` is None.
#
# Impossible: an answer that leaves unclaimed, for the machine marks it and every marked message has
# a claim; a second outcome, as the rounds forget a part with its first.

SPENT, BUSY, BUDGET, POLICY = "spent", "in-use", "budget", "policy"
"""Why an input was not given: it may never be again, or not while another round has it; or the
round would tell more than this client's budget or policy allows."""


@dataclass(slots=True)
class _Posted:
    """Bytes that were posted under the claims of one message, repeats included."""

    size: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """What all of a client's parts share. durable, carried, counting, member: as of
    `ClientRounds`."""

    outbox: Outbox
    names: Names
    durable: bool
    carried: bool
    randomness: Randomness
    counting: Counting | None = None
    member: Membership | None = None


class Part:
    """What a round asks for leaves here, and only here: each message behind its claims.

    A part ends when the server says that the round is over, whoever left first: a client that has
    declined, or whose input is spent, still wants to know whether there is a sum without it. It
    ends early where nothing that the server says can be believed any more, or heard.
    """

    def __init__(self, offer: Offer, place: Place, now: float) -> None:
        """Raises PolicyRefused for a plan that this client's budget does not count."""
        self.offer, self._place = offer, place
        disclosure = None if place.counting is None else place.counting.disclosure(offer.plan)
        self.paid = Paid(place.outbox, disclosure, offer.plan.threat.corrupted)
        self.machine = party.Client(
            offer.plan,
            offer.party,
            nonce=offer.nonce,
            payload_digest=offer.payload_digest,
            randomness=place.randomness,
            roster=self._member.roster if self._member else None,
            signing=self._member.signing if self._member else None,
            judge=self._judge if self._member else None,
        )
        self.clock = PhaseClock(now)
        self.bytes_up = self.bytes_down = 0
        """Of protocol messages, posted to a link and not held back, and heard (RoundReport)."""
        self.given = self.left = self._restored = False
        """Whether its input was given; has left, masked; whether it goes on from rows."""
        self.why = self.detail = ""
        """Why this client is out of its own accord; the fault, and in words."""
        self._use: Claim | None = None
        self._claimed: dict[Claim, _Posted] = {}  # in order

    @property
    def _member(self) -> Membership | None:
        """What it is, in a round whose clients sign."""
        return self._place.member if self.offer.plan.suite.signed else None

    @property
    def owes(self) -> bool:
        """Whether its input is awaited."""
        return not (self.given or self.machine.done)

    @property
    def answered(self) -> bool:
        """Whether it has said all that a sum needs of it."""
        return self.machine.done and self.machine.ended is None

    @cached_property
    def _session(self) -> Session:
        roster = self._member.roster if self._member else None
        return self.offer.plan.session(self.offer.nonce, self.offer.payload_digest, roster=roster)

    def begin(self, server: Peer | None, now: float) -> None:
        """Announced: its row, its charge, and its first message."""
        offer = self.offer
        if self._place.durable:
            row = offer.round.to_bytes(4) + _announcement(offer)
            self._place.outbox.write(offer.nonce, ROUNDS, [Write(ROUND, row)])
        self._pay(b"")
        self.call(self.machine.start, server, now)

    def restore(
        self, rows: Iterable[tuple[bytes, bytes]], *, left: bool, life: bytes, now: float
    ) -> None:
        """What has left before the restart may leave again: the same bytes, under their claim.
        left: whether the input has. life: of the charge, where there was a budget."""
        self.left = self.given = left
        self._restored = True
        self._pay(life)
        self._use = self._place.names.held(self.offer.nonce, self._use_digest())
        self.machine.restore(rows)
        self.call(self.machine.start, None, now)

    def call(self, call: Callable[[], None], server: Peer | None, now: float) -> None:
        """Any call of the machine, and whatever it then says, also after an error."""
        try:
            call()
        finally:
            self._drain(server, now)

    def received(self, data: bytes, server: Peer, now: float) -> str | None:
        """How the server broke the protocol, if it did."""
        self.bytes_down += len(data)
        try:
            self.call(lambda: self.machine.receive(SERVER, data), server, now)
        except RemoteProtocolError as fault:
            return str(fault)
        except PolicyRefused as refused:  # its own judge's: the server may have done nothing wrong
            self.detail = str(refused)
            self.leave(AbortReason.CANCELLED, POLICY, server, now)
        return None

    def contribute(self, given: Contribution, server: Peer | None, now: float) -> None:
        """Raises InputError for what does not fit, Spent and PolicyRefused as Names.take does; of a
        round whose clients sign, InputError for an input without a name, and PolicyRefused where
        the policy allows no further round."""
        digest = given.digest(self.offer)
        name = self._name(given)
        self._check_policy(name)
        names, nonce = self._place.names, self.offer.nonce
        if name is not None:
            self._use = names.take(name, nonce, self._use_digest())
        else:
            self._use = None
            names.give_back(nonce)
        self.given = True
        values, weight = given.fields, given.weight
        self.call(
            lambda: self.machine.set_input(values, weight=weight, payload_digest=digest),
            server,
            now,
        )

    def leave(self, reason: AbortReason, why: str, server: Peer | None, now: float) -> None:
        """Of its own accord; the server hears that it does, and nothing of why but the reason."""
        self.why, self.given = why, True
        self.call(lambda: self.machine.abort(reason), server, now)
        self.paid.ends(left=self.left)

    def unpaid(self, refusal: Unpaid) -> bool:
        """Whether this was its own charge; then nothing of what it has posted has left, unless it
        goes on from rows."""
        if not self.paid.refused(refusal):
            return False
        self.bytes_up = 0
        self.left &= self._restored
        return True

    def refused(self, claim: Claim) -> bool:
        """Whether this was a claim of its own; then what was posted under it has not left, nor has
        what was said after it, which needs it too (specs/03-storage.md §3.3)."""
        if claim not in self._claimed:
            return False
        self.paid.disowns()
        if self._member is not None and claim == self._use:  # used elsewhere: it has not left here
            self._note(self._member.memory.kept(self._offer_digest()))
        for posted in [*self._claimed.values()][[*self._claimed].index(claim) :]:
            self.bytes_up -= posted.size
            posted.size = 0
        return True

    def over(self, frame: Over, now: float) -> Outcome:
        """As the server says. What it says of an input that this client has refused to give a
        second time changes nothing. One that goes on from rows may have forgotten its answer."""
        if self._member is not None and frame.included and not self.left:
            said = "the server says that this input is in a sum, and it has never left"
            return self.lost(AbortReason.PEER_FAULT, said, now)
        again = not (frame.included or frame.summed or self.answered or self._restored)
        # where clients sign an input leaves once, whatever the server says of it (12-active.md V6)
        again &= self.why != SPENT and self._member is None
        why = self.why or (frame.standing.value if frame.standing else "")
        detail = self.detail
        if frame.reason is None and not frame.included and not detail:
            detail = f"left out of the sum: {why}"
        counts = frame.contributors, frame.dropped
        return self._ended(frame.reason, *counts, detail, frame.included, why, now, again=again)

    def lost(self, reason: AbortReason, detail: str, now: float) -> Outcome:
        """As this client has to suppose, because it will hear nothing any more. A server that seems
        to break the protocol may only go on from where this client was before its rows were put
        back, and its input may have left since."""
        self.left |= self._restored and reason is AbortReason.PEER_FAULT
        included = None if self.left else False
        why = self.why or reason.value
        return self._ended(reason, 0, 0, self.detail or detail, included, why, now, again=False)

    def _ended(
        self,
        reason: AbortReason | None,
        contributors: int,
        dropped: int,
        detail: str,
        included: bool | None,
        why: str,
        now: float,
        *,
        again: bool,
    ) -> Outcome:
        """Frees or spends the name of its input, and forgets its rows. again: whether an input that
        has left may be tried again. included: None where nobody has said."""
        offer = self.offer
        self.paid.ends(left=self.left)
        self.paid.settles()
        self._place.names.release(offer.nonce, left=self.left, again=again)
        if self._place.durable:
            self._place.outbox.forget(offer.nonce)
        moved = self.bytes_up, self.bytes_down
        return Outcome(
            offer.round,
            offer.party,
            reason,
            contributors,
            dropped,
            RoundReport(self.clock.stop(now), *moved, evidence=tuple(self.machine.evidence())),
            detail,
            dict(self.machine.clipped),
            included,
            "" if included else why,
            bool(included) or (self.left and not again) or self.why == SPENT,
            tuple(self.machine.statements()),
        )

    def _drain(self, server: Peer | None, now: float) -> None:
        """Rows, claims and posts of all that the machine has said. Claims also without a link: from
        its rows the machine will say the same, and nothing else."""
        for event in self.machine.events():
            self._hear(event)
        self.clock.enter("" if self.machine.done else self.machine.phase, now)
        said = self.machine.outgoing()
        if self._place.carried and server is not None:
            self.machine.acknowledged()  # before its rows are made, of which the reply is one
        if self._place.durable:
            self._place.outbox.write(self.offer.nonce, MACHINE, self.machine.writes())
        for out in said:
            claims = self._claims(out) if out.commit else ()
            posted = self._claim(claims)
            if self._member is not None and self._carries_input(out):
                self._note(self._member.left(self._offer_digest(), self.offer.plan))
            if server is not None:
                needs = [*self._up_to(claims), *self.paid.needs]
                self._place.outbox.post(server, Message(self.offer.nonce, out.data), needs)
                self.bytes_up += len(out.data)
                posted.size += len(out.data)

    def _claim(self, claims: Sequence[Claim]) -> _Posted:
        """Those of one message, which said again has the same ones."""
        known = (self._claimed[claim] for claim in claims if claim in self._claimed)
        posted = next(known, None) or _Posted()
        for claim in claims:
            self._claimed[claim] = posted
            self._place.outbox.claim(claim)
        return posted

    def _up_to(self, claims: Sequence[Claim]) -> list[Claim | Charge]:
        """Those of a message, behind all that were made before: the last word has none."""
        made: list[Claim | Charge] = [*self._claimed]
        return made[: made.index(claims[-1]) + 1] if claims else []

    def _claims(self, out: Outgoing) -> tuple[Claim, ...]:
        """What must be claimed before a message leaves: its wording, and of the one that carries
        the input the use of that, where it has a name."""
        offer = self.offer
        wording = message_claim(self._offer_digest(), offer.nonce, offer.party, out.data)
        if not self._carries_input(out):
            return (wording,)
        self.left = True
        self.paid.leaves()
        if self._place.durable:
            self._place.outbox.write(offer.nonce, ROUNDS, [Write(LEFT, b"")])
        return (wording,) if self._use is None else (self._use, wording)

    def _carries_input(self, out: Outgoing) -> bool:
        phases = self.offer.plan.phases
        return out.commit and any(p.takes_input and p.tag == out.data[TAG_AT] for p in phases)

    # Where clients sign

    def _judge(self, survivors: frozenset[PartyId]) -> None:
        """Rule V7. Raises PolicyRefused."""
        if self._member is not None:
            offer = self._offer_digest()
            self._member.earlier(offer, self.offer.plan).judge(survivors)

    def _check_policy(self, name: bytes | None) -> None:
        """Before its input is given."""
        if self._member is None:
            return
        if name is None:
            raise InputError(
                "where clients sign, an input has a name, under which it leaves once: give the "
                "Contribution one, the same for the same values"
            )
        try:
            self._member.earlier(self._offer_digest(), self.offer.plan).check_unknown()
            self._member.memory.check_room()
        except PolicyRefused:
            self.why = POLICY
            raise

    def _hear(self, event: Event) -> None:
        """What is agreed on, and confirmed, is noted before the word of it leaves."""
        member = self._member
        if isinstance(event, Revealed):
            self.paid.opens(event.survivors)
            if member is not None:
                self._note(member.memory.confirmed(self._offer_digest()))
        elif isinstance(event, Agreed) and member is not None:
            self._note(member.memory.agreed(self._offer_digest(), event.survivors))

    def _note(self, note: Note) -> None:
        self._place.outbox.note(note)

    def _pay(self, life: bytes) -> None:
        """life: what its rows have of it, if they do."""
        if not self.paid.counts:
            return
        if not life:
            life = checked(self._place.randomness)(LIFE_SIZE)
            if self._place.durable:
                self._place.outbox.write(self.offer.nonce, ROUNDS, [Write(LIFE, life)])
        self.paid.name(self._offer_digest(), self.offer.nonce, self.offer.party, life)
        self.paid.begin()

    def _name(self, given: Contribution) -> bytes | None:
        return name_of(given.name, self._session, self.offer.names_inputs)

    def _offer_digest(self) -> bytes:
        return self._session.offer(self.offer.plan.protocol)

    def _use_digest(self) -> bytes:
        return use_digest(self._offer_digest(), self.offer.nonce, self.offer.party)


def _announcement(offer: Offer) -> bytes:
    """As it was heard, but for the payload: a row that is carried about stays small."""
    milliseconds = tuple(round(s * 1000) for s in offer.deadlines.values())
    digest = DigestOnly(offer.payload_digest, offer.payload_size)
    return Announce(offer.nonce, offer.party, milliseconds, offer.plan.encode(), digest).encode()
