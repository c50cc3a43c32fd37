"""A server's rounds: any number at once, of any tasks, over the links of whoever is there."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

from secagg.arguments import flag, instance, octets
from secagg.effects import Effects, Encodable, Peer, Refusal, Work
from secagg.errors import ParameterError, WireError
from secagg.party import Server
from secagg.plans.task import Task
from secagg.repeats import Repeats
from secagg.rounds.base import END, MACHINE, ROUND, ROUNDS, Counted, Rows, sorted_out
from secagg.rounds.clock import Deadlines, phase_limits
from secagg.rounds.enrolled import Host
from secagg.rounds.farewell import Farewells
from secagg.rounds.filing import Filing
from secagg.rounds.hosting import machine_of, seating, taken_up, written_in
from secagg.rounds.opening import Opening
from secagg.rounds.present import Present
from secagg.rounds.progress import Progress
from secagg.rounds.quota import Limits, Quota
from secagg.rounds.round import End, Observer, Round, ticket_of
from secagg.rounds.selection import Candidate, Select, arrival
from secagg.types import PartyId, Randomness, Seed, system_randomness
from secagg.watch import Event, Refused, Watch
from secagg.wire.frame import (
    HEAD_SIZE,
    NONCE_SIZE,
    Announce,
    DigestOnly,
    Message,
    Over,
    decode_frame,
)

# Theory of operation.
#
# Peers come and go by themselves; rounds are opened by the application. A link has what belongs to
# a peer whatever round it is in: its limits, its place among those who came, and how it did in its
# last rounds, which is what the next selection goes by. A round has what belongs to a session
# (`secagg.rounds.round`). Between them is a seat: which party of which round the peer is. A frame
# finds its round by its nonce and its party by its link, and by nothing that it says.
#
# When all places are taken, a stranger makes room, or nobody (`secagg.rounds.present`). Whatever a
# peer does wrong ends its link; its rounds hear of it, and no other. A link of a known identity
# takes that peer's seats again, and pushes out the link that had them.
#
# With a store, an interrupted round is taken up by the next process from its rows. Where nobody can
# come back and it cannot end without, it ends as lost: the application hears of every round that it
# opened. Its clients are told when it ends, or where it is held, when the application says that the
# result is safe. Dying before gives the same end again.

log = logging.getLogger(__name__)


class ServerRounds:
    """The rounds of one server, alone (`secagg.rounds.base.Rounds`)."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        select: Select = arrival,
        durable: bool = False,
        randomness: Randomness = system_randomness,
        host: Host | None = None,
        files: bool = False,
        watch: Watch | None = None,
    ) -> None:
        """select: whom a round takes, unless it says otherwise. durable: the driver has a store.
        host: for plans whose clients sign; the driver's links greet them (`Host.greet`). files: the
        application files what is written, and says so to `filing`. watch: hears who is let go."""
        self._limits, self._host = limits or Limits(), host
        self._select, self._durable, self._randomness = select, durable, randomness
        self._outbox = Counted(self._count)
        self._links = Present(self._limits)
        self._rounds: dict[bytes, Round] = {}
        self._ends: list[End] = []
        self._ended: set[bytes] = set()  # of the rounds here, those whose end was given out
        self._slow: dict[Peer, str] = {}
        self._farewells = Farewells(self._outbox, durable)
        self.filing = Filing(self._outbox, durable, files)
        self._repeats = Repeats(watch=watch)

    # What the application sees

    @property
    def here(self) -> tuple[Candidate, ...]:
        """Everybody with a link, by arrival."""
        return self._links.candidates

    @property
    def connected(self) -> int:
        return len(self._links)

    @property
    def present(self) -> Present:
        """Those, to look at, and to be bound by other limits."""
        return self._links

    @property
    def running(self) -> frozenset[bytes]:
        """The nonces of rounds that have not ended, or that nobody was told of yet."""
        return frozenset(self._rounds)

    def cohort(self, nonce: bytes) -> frozenset[bytes]:
        """The identities on the seats of one of those, whether they are here or not."""
        return frozenset(one for one in self._rounds[nonce].cohort if one is not None)

    def progress(self, nonce: bytes) -> Progress | None:
        """Of one of those; None of another."""
        return one.progress() if (one := self._rounds.get(nonce)) is not None else None

    def open(
        self,
        task: Task,
        payload: bytes = b"",
        *,
        deadlines: Deadlines,
        now: float,
        inline: bool = True,
        select: Select | None = None,
        hold: bool = False,
        observer: Observer | None = None,
        host: Host | None = None,
    ) -> bytes:
        """A round of a task of one server, announced to those whom `select` picks: its nonce.

        payload: the bytes of which the task has the digest. inline: every client gets them, else
        the digest alone. deadlines: seconds from the moment a phase is entered; one also ends as
        soon as it waits for nobody. hold: clients hear of the end only after `tell`. observer: is
        called with every event of the machine; it must not raise. host: for the server's own, where
        each task has a roster. Raises ParameterError for a task of several servers, another payload
        than the task's, deadlines that do not fit, a plan whose messages are larger than what this
        server reads, and where a client would be in more rounds at once than `Limits.rounds`; of a
        plan whose clients sign, what `seating` raises.
        """
        plan, payload = instance("task", task, Task).plan, octets("payload", payload)
        opening = Opening(
            self._randomness(NONCE_SIZE),
            task,
            payload if flag("inline", inline) else DigestOnly.of(payload),
            phase_limits(plan.phase_names, deadlines),
            flag("hold", hold),
            Seed(self._randomness(Seed.SIZE)) if plan.schema.central_noise else None,
        )
        needed = HEAD_SIZE + plan.cost.largest_message
        if needed > self._limits.frame:
            raise ParameterError(
                f"clients of this plan send frames of {needed} bytes, and this server reads no "
                f"more than {self._limits.frame}: its max_size must be at least the former"
            )
        found = seating(task, select or self._select, self.here, host := host or self._host)
        seats = found.seats
        if any(len(self._links[peer].seats) >= self._limits.rounds for peer in seats.values()):
            raise ParameterError(
                f"a client was picked that is in {self._limits.rounds} rounds, the most at once: "
                "wait until one has ended, or pick others"
            )
        machine = machine_of(opening, found, host)
        running = self._round(opening, machine, found.cohort, now, observer)
        for seat, peer in seats.items():
            linked = self._links[peer]
            linked.seats[opening.nonce], linked.largest = seat, 0
            linked.rounds += 1
            self._links.judge(peer)
        self._after(running, lambda: running.begin(seats, now), now)
        return opening.nonce

    def cancel(self, nonce: bytes, now: float) -> None:
        """Without a result; a round that has ended stays as it is."""
        if (running := self._rounds.get(nonce)) is not None:
            self._after(running, lambda: running.cancel(now), now)

    def ends(self) -> list[End]:
        """Of the rounds that ended since the last call. One that nobody was told of when the server
        died ends again: alike where its protocol resumes, else as lost. The first counts."""
        ends, self._ends = self._ends, []
        return ends

    def tell(self, nonce: bytes, now: float, *, kept: bool = True) -> None:
        """Lets clients of a held round know how it ended, and where each stands. kept: whether its
        result is in a safe place; if not, they hear that it was cancelled."""
        running = self._rounds[nonce]
        if not kept:
            running.lose()
        self._farewells.add(running.tell(lambda seat, over: self._told(running, seat, over, now)))
        self.filing.told(nonce)
        del self._rounds[nonce]
        self._ended.discard(nonce)
        self._sweep(now)

    def say(self, peer: Peer, frame: Encodable, now: float) -> None:
        """Beside any round; like all else it counts as what waits for the peer."""
        if peer in self._links:
            self._outbox.post(peer, frame)
        self._sweep(now)

    def close(self) -> None:
        """What was only counted is written to the log."""
        self._repeats.close(log)

    # What the driver says

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        self.filing.restore(found := sorted_out(rows))
        for (nonce, owner), own in found.items():
            if owner == ROUNDS and ROUND in own:
                written = found.get((written_in(nonce), ROUNDS), {})
                self._take_up(own, found.get((nonce, MACHINE), {}), written, now)
            elif owner == ROUNDS and END in own:
                self._farewells.restore(own[END])

    def joined(self, peer: Peer, now: float, rounds: Container[bytes] | None = None) -> None:
        """rounds: those in which its seat may be, where a link is not for all that there are."""
        for old in self._links.older(peer):
            self.drop(old, "a newer link has proved the same identity", now, Refused.FULL)
        if (full := self._full(peer, now)) is not None:
            said = "a client%s was turned away: %s", peer.at, full
            self._repeats.refused(Refused.FULL, log, Event.CLIENT_TURNED_AWAY, now, *said)
            self._outbox.let_go(peer)
            return
        self._links.add(peer, now)
        if peer.identity is not None:
            self._returned(peer, peer.identity, self._rounds if rounds is None else rounds, now)
        self._sweep(now)

    def left(self, peer: Peer, now: float) -> None:
        if peer in self._links and (where := self._where(peer)):
            log.info("a client%s has left (%s)", peer.at, where, extra=Event.CLIENT_LEFT.line)
        self._gone(peer, now)

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        if (linked := self._links.get(peer)) is None:
            return  # let go, and still talking
        linked.heard = now
        if (broken := linked.quota.received(len(frame))) is not None:
            self.drop(peer, broken, now)
            return
        try:
            decoded = decode_frame(frame, limit=self._limits.frame)
            if not isinstance(decoded, Message):
                raise WireError("a client sends messages; it neither announces nor ends a round")
        except WireError as error:
            self.drop(peer, str(error), now)
            return
        running, seat = self._rounds.get(decoded.nonce), linked.seats.get(decoded.nonce)
        if running is not None and seat is not None:  # else of another round: late, or for nobody
            self._after(running, lambda: running.receive(seat, decoded.data, now), now)

    def largest(self, peer: Peer) -> int:
        """Bytes of the largest frame that is due from it."""
        return self._links.largest(peer, {n: one.largest for n, one in self._rounds.items()})

    def flushed(self, peer: Peer, size: int, now: float) -> None:
        if (linked := self._links.get(peer)) is not None:
            linked.quota.flushed(size)

    def finished(self, work: Work, value: Any, now: float) -> None:
        nonce, number = ticket_of(work)
        if (running := self._rounds.get(nonce)) is not None:
            self._after(running, lambda: running.finished(number, value, now), now)

    def failed(self, work: Work, error: Exception, now: float) -> None:
        nonce, _ = ticket_of(work)
        if (running := self._rounds.get(nonce)) is not None:
            self._after(running, lambda: running.failed(error, now), now)

    def refused(self, refusal: Refusal, now: float) -> None:
        """A server makes no claims: its store's lock is its fence."""

    def tick(self, now: float) -> None:
        for running in tuple(self._rounds.values()):
            self._after(running, lambda r=running: r.tick(now), now)  # type: ignore[misc]

    def ready(self, peer: Peer) -> bool:
        """Whether it has joined and was not let go."""
        return peer in self._links

    def take(self) -> Effects:
        return self._outbox.take(min((one.due for one in self._rounds.values()), default=math.inf))

    # Inside

    def _round(
        self,
        opening: Opening,
        machine: Server,
        cohort: Sequence[bytes | None],
        now: float,
        observer: Observer | None = None,
    ) -> Round:
        more: dict[str, Any] = {"durable": self._durable, "observer": observer}
        made = Round(opening, machine, cohort, self._outbox, now, **more)
        self._rounds[opening.nonce] = made
        self.filing.opened(opening)
        return made

    def _take_up(self, own: Rows, rows: Rows, written: Rows, now: float) -> None:
        opening, cohort = Opening.of_row(own[ROUND])
        running = self._round(opening, taken_up(opening, cohort), cohort, now)
        self._after(running, lambda: running.restore(own, rows.items(), written, now), now)

    def _returned(self, peer: Peer, identity: bytes, among: Container[bytes], now: float) -> None:
        for over in self._farewells.to(identity)[-max(1, self._limits.outbox // 2) :]:
            self._outbox.post(peer, over)  # the newest, and room is left for what goes on
        for nonce, running in [one for one in self._rounds.items() if one[0] in among]:
            if peer not in self._links:  # it was let go for what one round has for it
                return
            if running.end is None and (seat := running.free_seat(identity)) is not None:
                self._links[peer].seats[nonce] = seat
                self._links.judge(peer)
                self._after(running, lambda r=running, s=seat: r.returned(peer, s, now), now)  # type: ignore[misc]

    def _after(self, running: Round, call: Callable[[], None], now: float) -> None:
        """A call of a round, and what may follow from it for others: its end, and slow peers."""
        try:
            call()
        finally:
            nonce = running.opening.nonce
            if running.end is not None and nonce not in self._ended and nonce in self._rounds:
                self._ended.add(nonce)
                self._ends.append(running.end)
                if not running.opening.hold:
                    self.tell(nonce, now)
            self._sweep(now)

    def _told(self, running: Round, seat: PartyId, over: Over, now: float) -> None:
        """Its seat ends, and how it did is what the next selection goes by."""
        if (peer := running.seats.get(seat)) is None:
            self._told_again(running.cohort[seat], over)
            return
        if (linked := self._links.get(peer)) is None:  # lost to several rounds, one by one
            return
        self._outbox.post(peer, over)
        linked.seats.pop(over.nonce, None)
        linked.largest = max(linked.largest, running.largest)  # it may be under way
        fault = over.standing if over.reason is None else running.fault(seat)
        if over.reason is not None and fault is None:  # no sum, and not for its sake
            self._links.judge(peer)
            return
        linked.told(fault, running.clock.begun, now)
        self._links.judge(peer)
        if (late := linked.late) >= self._limits.silence:
            self._slow[peer] = f"it was silent in {late} rounds, one after the other"

    def _told_again(self, identity: bytes | None, over: Over) -> None:
        """Who has come back when the round had ended, or had gone on without it, has no seat there,
        and waits for this word all the same. It is judged for nothing: its link was not asked."""
        for peer in self._links.of(identity):  # who was never in it takes no notice
            if over.nonce not in self._links[peer].seats:
                self._outbox.post(peer, over)

    def _count(self, peer: Peer, frame: Encodable) -> None:
        """What waits for a peer; a frame too many lets it go, once the call is over."""
        linked = self._links.get(peer)  # gone where it is lost to several rounds, one by one
        quota = Quota(self._limits) if linked is None else linked.quota
        if isinstance(frame, Announce):
            quota.renew(0 if linked is None else len(linked.seats), frame.size)
        if (full := quota.posted(frame.size)) is not None:
            self._slow[peer] = full

    def _sweep(self, now: float) -> None:
        """Not at once: a machine is never called out of its own call."""
        while self._slow:
            peer, why = self._slow.popitem()
            if peer in self._links:
                self.drop(peer, why, now, Refused.SLOW)

    def _full(self, peer: Peer, now: float) -> str | None:
        """Why there is no place for it; None where there is one, or a stranger has made room."""
        if shut := self._links.shut(peer):
            return shut
        if self._links.full:
            if (stranger := self._links.stranger) is None:
                return f"{len(self._links)} links are open"
            self.drop(stranger, "a newer link has its place: all are taken", now, Refused.FULL)
        return None

    def _gone(self, peer: Peer, now: float) -> None:
        linked = self._links.remove(peer)
        for nonce, seat in linked.seats.items() if linked is not None else ():
            if (running := self._rounds.get(nonce)) is not None:
                self._after(running, lambda r=running, s=seat: r.left(s, now), now)  # type: ignore[misc]

    def _where(self, peer: Peer) -> str:
        seats, rounds = self._links[peer].seats, self._rounds
        return ", ".join(rounds[n].place(seat) for n, seat in seats.items() if n in rounds)

    def drop(self, peer: Peer, why: str, now: float, kind: Refused = Refused.OTHER) -> None:
        """Lets it go. why: for the log."""
        where = self._where(peer) or "in no round"
        said = "a client%s was dropped (%s): %s", peer.at, where, why
        self._repeats.refused(kind, log, Event.CLIENT_DROPPED, now, *said)
        self._outbox.let_go(peer)
        self._gone(peer, now)
