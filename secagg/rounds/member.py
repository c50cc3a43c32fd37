"""One of several servers: reports from clients, and batches agreed on with the other servers."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from secagg.effects import Effects, Peer, Refusal, Work, Write
from secagg.errors import PolicyRefused, RemoteProtocolError, WireError
from secagg.rounds.base import CLOSED, MACHINE, ROUNDS, Outbox, sorted_out
from secagg.rounds.batches import Batches, BatchReport, Epoch, Said, servers_of
from secagg.rounds.clients import Clients, limits
from secagg.rounds.collectors import Collectors
from secagg.rounds.greeting import message_limit, server_of
from secagg.rounds.lingering import Lingering, Terms
from secagg.rounds.links import Links
from secagg.rounds.places import Places
from secagg.rounds.round import Observer
from secagg.rounds.upload import Upload
from secagg.types import COLLECTOR, FIRST_RESERVED, PartyId, Role, server_id
from secagg.wire.frame import Announce, Frame, Message, Over, decode_frame

log = logging.getLogger(__name__)

MAX_GROUP = 256
"""Frames of clients, and of others, that one transaction takes."""
MAX_WAITING = 64 << 20
"""Bytes of these, and of reports that wait for the next batch."""


# Theory of operation.
#
# Three kinds of peer come, each met by a greeting before: clients with reports, servers of the same
# task, and collectors. What one of them says goes to a machine at once; who may say it now, under
# which number, and whether it is read at all, is decided here, each by a part of its own: numbers
# and reports that wait (`Places`), servers and how far behind they are (`Links`), who asks for sums
# (`Collectors`), when a leader closes (`Upload`), which machine it is for (`Batches`), what one
# link may cost (`Clients`), and when all is over (`Lingering`).
#
# After every call what machines said is addressed and posted, and a batch that is over makes room
# for the next. What costs as much as a batch has clients is done once for many calls, in `take`:
# deadlines are looked at, and rows are asked for, among which is the sum. They are in the effects
# beside what was said, and the driver stores them before it sends anything.
#
# Reading is the only brake. A frame that was read is handled, and what it makes is stored with the
# next transaction, so what may come between two of these is bounded, for clients and for everybody
# else apart, so that neither can starve the other. Clients also wait, unread, while another server
# is too far behind, and while a leader decides what has come: it would never end otherwise.
#
# A report is never lost for want of a place: it waits for the next batch, or its client's link ends
# and it comes again. So do links that hold a place without a report when a deadline has passed, and
# those whose report the next batch may decide on: they say it again to the machine that will.
#
# The end. When a collector has every sum that is locked, the epoch is closed: a row says so, and
# reports in no sum are deleted. Restored with `collect_only`, a server takes no report and begins
# no batch, but one that is locked goes on until all have confirmed it: no patience ends that.
#
# Impossible here: a frame of a peer that has not greeted; a server that is not of the committee, or
# is this one; two links of one server. A job that fails is this process's fault, and ends it,
# unless its batch was over before.
class MemberRounds:
    """One server's part in an epoch (`secagg.rounds.base.Rounds`). It needs a store."""

    def __init__(
        self, epoch: Epoch, terms: Terms, now: float, observer: Observer | None = None
    ) -> None:
        """observer: is called with every event of the running machine; it must not raise."""
        self._epoch, self._terms = epoch, terms
        frame = message_limit(epoch.task)
        self._outbox = Outbox()
        self._batches = Batches(epoch, self._outbox, observer, now)
        places, room = epoch.task.plan.params.clients, max(2, MAX_WAITING // frame)
        self._places = Places(places, counts=epoch.leads, room=room)
        helpers = range(1, len(epoch.task.committee.servers)) if epoch.leads else ()
        self._links = Links(terms.patience, map(server_id, helpers))
        self._collectors = Collectors()
        self._upload = Upload(terms.deadline, terms.patience, places)
        self._clients = Clients(limits(frame, terms.links), self._outbox, terms.no_clients(epoch))
        self._read: Counter[tuple[bool, str]] = Counter()  # since the last take, of clients or not
        self._now, self._lingering = now, Lingering(terms)
        self._broken: Exception | None = None
        self.over = False
        """Whether there is nothing more to do: the driver closes."""

    # What the application sees

    @property
    def reports(self) -> list[BatchReport]:
        """Of the batches that are over, those before a restart included."""
        return list(self._batches.reports)

    @property
    def linked(self) -> frozenset[PartyId]:
        """The other servers to which a link leads."""
        return self._links.linked

    # What the driver says

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """Raises PolicyRefused for an epoch that is closed, unless it is for collecting only."""
        found, namespace = sorted_out(rows), self._epoch.namespace
        closed = CLOSED in found.get((namespace, ROUNDS), {})
        if closed and not self._terms.collect_only:
            raise PolicyRefused(
                f"epoch {self._epoch.task.committee.epoch} is closed and takes no reports: make a "
                "new epoch's task; to collect again, start with collect_only (--collect-only)"
            )
        self._batches.open(found.get((namespace, MACHINE), {}), now, closed=closed)
        self._after(now)

    def joined(self, peer: Peer, now: float) -> None:
        if peer.role is Role.CLIENT:
            if (gone := self._clients.admit(peer, now, self._waiting)) is not None:
                self._drop(gone, now)
        elif peer.role is Role.COLLECTOR:
            self._collectors.joined(peer)
        else:
            party = self._party(peer)
            if (old := self._links.joined(party, peer, now)) is not None:
                self._outbox.let_go(old)
            self._batches.reconnected(party, now)
        self._after(now)

    def left(self, peer: Peer, now: float) -> None:
        if peer.role is Role.COLLECTOR:
            self._collectors.left(peer)
        elif peer.role is Role.CLIENT:
            self._lose(peer, now)
        elif self._links.left(self._party(peer), peer):
            self._batches.linked.discard(self._party(peer))
        self._after(now)

    def received(self, peer: Peer, frame: bytes, now: float) -> None:
        client = peer.role is Role.CLIENT
        self._read[client, "frames"] += 1
        self._read[client, "bytes"] += len(frame)
        try:
            self._hear(peer, frame, now)
        except (WireError, RemoteProtocolError) as error:
            self._clients.says_why(peer, error, now)
            self._drop(peer, now)
        self._after(now)

    def flushed(self, peer: Peer, size: int, now: float) -> None:
        if peer.role is Role.COLLECTOR:
            self._collectors.flushed(peer, size)
        elif peer.role is Role.SERVER:
            self._links.flushed(self._party(peer), peer, size)
        elif self._clients.flushed(peer, size):
            self._drop(peer, now)
        self._after(now)

    def finished(self, work: Work, value: Any, now: float) -> None:
        self._batches.finish(work, value, now)
        self._after(now)

    def failed(self, work: Work, error: Exception, now: float) -> None:
        """Ends this server, as `take` then raises it: a report whose share cannot be opened here is
        neither right nor wrong, and its client would wait for ever. Not for a batch that is over:
        its report was never here, and comes again."""
        if self._batches.wants(work):
            self._broken = error
        else:
            log.error("a job failed (%s), for which no batch waits any more", type(error).__name__)

    def refused(self, refusal: Refusal, now: float) -> None:
        """A server makes no claims: its store's lock is its fence."""

    def tick(self, now: float) -> None:
        self._after(now)

    def ready(self, peer: Peer) -> bool:
        client = peer.role is Role.CLIENT
        if self._read[client, "frames"] >= MAX_GROUP or self._read[client, "bytes"] >= MAX_WAITING:
            return False
        return not client or not (self._decides or self._links.behind)

    def take(self) -> Effects:
        """Deadlines are looked at here, once for many messages, as of the last call."""
        if self._broken is not None:
            raise self._broken
        while not self.over and self._moved(self._now):
            self._after(self._now)
        parts = self._batches, self._collectors, self._links
        if not self.over and self._lingering.may_go(*parts, self._now):
            self._end()
        self._batches.store()
        self._read.clear()
        return self._outbox.take(math.inf if self.over else self._due(self._now))

    def close(self) -> None:
        """What was only counted is written to the log."""
        self._clients.close()

    # Who is there

    def _drop(self, peer: Peer, now: float) -> None:
        self._outbox.let_go(peer)
        if peer.role is Role.CLIENT:
            self._lose(peer, now)

    def _lose(self, peer: Peer, now: float) -> None:
        if self._clients.forget(peer):
            self._places.left(peer)

    def _waiting(self) -> set[Peer]:
        """Clients whose report is here, and waits for the next batch or for a decision."""
        return self._places.waiting(self._batches.undecided if self._batches.collects else ())

    def _party(self, peer: Peer) -> PartyId:
        return server_of(self._epoch.task.committee, peer)

    # What they say

    def _hear(self, peer: Peer, data: bytes, now: float) -> None:
        """What names no batch of this epoch is not for this server. Raises WireError for what is
        no frame or not for it, RemoteProtocolError for a flood."""
        if peer.role is Role.CLIENT and not self._clients.hears(peer, len(data)):
            return  # let go, and still talking
        frame: Frame = decode_frame(data, limit=self._clients.limits.frame)
        if isinstance(frame, Announce):
            raise WireError("nobody announces anything to a server of several")
        number = self._batches.number_of(frame.nonce)
        if peer.role is Role.CLIENT:
            if isinstance(frame, Message) and frame.nonce == self._epoch.namespace:
                self._hear_client(peer, frame.data, now)
        elif number is not None and peer.role is Role.COLLECTOR:
            self._hear_collector(peer, number, frame, now)
        elif number is not None and isinstance(frame, Message):
            if self._links.heard(self._party(peer), peer, now):
                self._batches.receive(self._party(peer), number, frame.data, now)

    def _hear_client(self, peer: Peer, data: bytes, now: float) -> None:
        """Where no place is left, or no report is taken now, a repeat is still answered, and what
        is not answered is kept for the next batch."""
        batches, places = self._batches, self._places
        new, number = not places.knows(peer), min(batches.number, batches.last)
        me = places.number(peer, self._wanted)
        had_place = batches.collects and places.is_place(me)
        batches.receive(me, number, data, now)
        if had_place and new and me in batches.ignored and (other := places.give_back(peer)):
            batches.receive(other, number, data, now)  # rule A3: a repeat takes no place
        if not had_place and not batches.says_to(me):
            if not batches.finished and places.hold(peer, data):
                return
            self._drop(peer, now)  # it comes again, perhaps in vain
        if peer not in self._clients:  # nobody is there to be answered, or to leave later
            places.gone.discard(peer)
            places.free(peer)

    def _hear_again(self, now: float) -> None:
        """Reports that waited: there is a place, or another batch."""
        for peer, data in self._places.release():
            self._hear_client(peer, data, now)
            self._route()

    def _hear_collector(self, peer: Peer, number: int, frame: Message | Over, now: float) -> None:
        """Its thanks may come before the last server has confirmed the lock; they are returned."""
        if isinstance(frame, Over):
            if self._batches.answered(number):  # else nobody can have the sum
                self._collectors.fetched.add(number)
            self._collectors.posted(peer, frame)
            self._outbox.post(peer, frame)
        elif self._collectors.asks(peer, number):
            self._batches.receive(COLLECTOR, number, frame.data, now)

    # What is said

    def _route(self) -> None:
        said, self._batches.said = self._batches.said, []
        for one in said:
            if isinstance(one, Said):
                self._send(one)
            elif (peer := self._places.peer(one.sender)) is not None:
                self._drop(peer, self._now)  # it brings the same again, over another link

    def _send(self, said: Said) -> None:
        to, data = said.message.to, said.message.data
        if to < FIRST_RESERVED:
            peer = self._places.peer(to)
            if peer is not None:
                self._clients.post(peer, Message(self._epoch.namespace, data), self._now)
            return
        frame = Message(self._epoch.nonces[said.batch], data)
        if to == COLLECTOR:
            for peer in self._collectors.answer(said.batch):
                self._collectors.posted(peer, frame)
                self._outbox.post(peer, frame)
        elif (server := self._links.post(to, frame)) is not None:
            self._outbox.post(server, frame)

    # What follows

    def _after(self, now: float) -> None:
        """What machines have said is addressed, while numbers are those of their batch."""
        self._now = now
        self._route()
        while self._batches.over:
            self._advance(now)
            self._route()
        if self._batches.finished:  # a link that ends in the same turn has still told its server
            self._links.untold -= self._links.linked

    def _advance(self, now: float) -> None:
        if self._batches.number < self._batches.last:
            self._let_pending_go(now)
        self._batches.store()
        self._batches.advance(now, begin=not self._terms.collect_only)
        report = self._batches.reports[-1]
        log.info("batch %d is over: %s", report.batch, report.detail or "locked")
        self._route()  # what the next one says at once is for servers
        self._places.renew()
        self._upload.renew()
        self._hear_again(now)

    def _let_pending_go(self, now: float) -> None:
        """A client whose report the next batch may decide on waits for receipts that this machine
        has not heard: it says its report again, over a new link, to the machine that will."""
        machine = self._batches.running
        if not machine.pending or not self._epoch.leads or self._epoch.task.plan.params.direct:
            return
        for peer in self._places.unanswered(self._batches.undecided):
            if self._clients.finish(peer):
                self._drop(peer, now)

    def _moved(self, now: float) -> bool:
        """A leader's deadlines. A helper has none: the leader ends its phases, or the operator."""
        machine = self._batches.machine
        if not self._epoch.leads or machine is None or machine.done:
            return False
        if self._batches.collects:
            return self._closed(now)
        if self._batches.number in self._collectors.fetched:
            self._batches.close_phase(now)  # who has every total knows that every server has locked
            return True
        if self._terms.collect_only:
            return False
        for party in servers_of(machine.waiting_for):
            if now >= self._links.given_up(party, self._batches.entered):
                log.warning("server %d is given up", server_id(0) - party)
                self._batches.lost(party, now)
                return True
        return False

    def _closed(self, now: float) -> bool:
        """Below the minimum the batch stays open: what has its receipts is not spent for having
        come among too few, nor for a server that could not say that it has accepted it."""
        machine, entered = self._batches.running, self._batches.entered
        if self._terms.collect_only or not self._upload.closes(machine, entered, now):
            return False
        if machine.quorum:
            self._batches.close_phase(now)
            return True
        self._upload.stays_open(self._batches.number, machine)
        heard = self._links.led_to_all(self._upload.late(entered))
        self._batches.extend(now, heard)
        self._route()
        self._let_idle_go()
        self._hear_again(now)
        return True

    def _let_idle_go(self) -> None:
        """Rule A14: a place without a report is anybody's again. Who has it has brought none that
        stands, or not to every server: it says the same over another link."""
        for peer in self._places.idle(self._wanted()):
            if self._clients.forget(peer):
                self._outbox.let_go(peer)
                self._places.left(peer)

    def _wanted(self) -> frozenset[PartyId]:
        """The numbers that the running batch still waits for."""
        return self._batches.running.waiting_for if self._batches.collects else frozenset()

    @property
    def _decides(self) -> bool:
        """Whether a leader takes no more reports, and has still to decide on some."""
        late = self._now >= self._upload.late(self._batches.entered)
        return late and self._epoch.leads and self._batches.collects

    # The end

    def _end(self) -> None:
        self.over = True
        if self._lingering.closes(self._batches, self._collectors):
            self._batches.close()
            self._outbox.write(self._epoch.namespace, ROUNDS, [Write(CLOSED, b"")])

    def _due(self, now: float) -> float:
        """When the next deadline passes."""
        times, entered = [self._lingering.due(now)], self._batches.entered
        machine = self._batches.machine
        if self._epoch.leads and machine is not None and not self._terms.collect_only:
            if self._batches.collects:
                times.append(self._upload.due(entered))
            else:
                times += [self._links.given_up(p, entered) for p in servers_of(machine.waiting_for)]
        return min(times)
