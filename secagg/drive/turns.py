"""What a server of several does with what has come: machines, store, answers, deadlines.

One task makes every call into the machines. In a turn it takes what has come, stores what the
machines want stored, in one transaction, and only then sends what they said: a crash at any moment
is a message that did not leave.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Sequence

from secagg.drive.batches import Batches, Said, servers_of
from secagg.drive.peers import Arrived, Gone, Item, Lane, Linked, Peer
from secagg.effects import Write
from secagg.plans.task import Task
from secagg.sansio import MemberMachine
from secagg.store.space import Space
from secagg.types import COLLECTOR, FIRST_RESERVED, PartyId, Role, server_id
from secagg.wire.frame import Frame, Message, Over

log = logging.getLogger(__name__)

MAX_GROUP = 256
"""Messages of one turn, and so of one transaction."""
MAX_WAITING = 64 << 20
"""Bytes that wait to be handled: of clients, of others, and for the next batch, each."""
MAX_BACKLOG = 64 << 20
"""Bytes that wait for one server before clients are made to wait."""
POLL = 0.05
"""Seconds between two looks at a backlog."""


class Turns:
    """The state of one server between its links and its machines.

    clients, others: what links have brought. wake: set whenever there is something to do.
    deadline, patience: seconds, as of MemberService. room: messages of the largest size.
    """

    def __init__(
        self,
        task: Task,
        index: int,
        store: Space,
        batches: Batches,
        nonces: Sequence[bytes],
        *,
        deadline: float,
        patience: float,
        room: int,
    ) -> None:
        self.wake = asyncio.Event()
        self.wake.set()  # there are rows to restore from, and perhaps something to say
        self.clients, self.others = Lane(room, self.wake), Lane(room, self.wake)
        self.batches = batches
        self.fetched: set[int] = set()
        """Batches of which a collector has said that it has the sum."""
        self._store, self._room = store, room
        self._leads, self._phases = index == 0, task.plan.phase_names
        self._relays = self._leads and not task.plan.params.direct
        self._places = task.plan.params.clients
        self._deadline, self._patience = deadline, patience
        self._nonce, self._nonces = task.nonce(), nonces
        self._servers: dict[PartyId, Peer] = {}
        self._unsent: dict[PartyId, int] = {}  # bytes for a server since its link went
        self._heard: dict[PartyId, float] = {}
        self._asking: dict[int, set[Peer]] = {}  # collectors, by batch
        self._answered: set[int] = set()  # batches of which a collector was told the end
        self._later_ids = itertools.count(self._places)
        self._held: deque[Arrived] = deque()  # reports that this batch has no place for
        self._departed: set[Peer] = set()  # clients that are gone and have a report among these
        self._ids: dict[Peer, PartyId] = {}  # of clients, in the running batch
        self._peers: dict[PartyId, Peer] = {}
        self._free: list[PartyId] = []
        self._closing: float | None = None  # since when no more reports are waited for

    async def turn(self) -> None:
        self.wake.clear()
        self._take_group()
        self._tick()
        await self._flush()
        if self.batches.over:
            await self._advance()
            self.wake.set()

    async def wait(self, *times: float) -> None:
        """Until something has come, or a deadline passes, or one of these times does."""
        now = time.monotonic()
        due = min([self._due(), *(t for t in times if t > now)])
        try:
            async with asyncio.timeout(None if due == math.inf else due - now):
                await self.wake.wait()
        except TimeoutError:
            return

    async def commit(self, writes: Sequence[Write], besides: Sequence[Write] = ()) -> None:
        """As of a Space; in a thread, so that links are read meanwhile. Never left half-way:
        whoever cancels this may open the same store next."""
        committing = asyncio.create_task(asyncio.to_thread(self._store.commit, writes, besides))
        try:
            await asyncio.shield(committing)
        except asyncio.CancelledError:
            await asyncio.wait({committing})
            raise

    @property
    def linked(self) -> frozenset[PartyId]:
        """The servers that hear what is said."""
        return frozenset(self._servers)

    # What has come

    def _take_group(self) -> None:
        """From both lanes by turns, so that neither can starve the other."""
        for number in range(MAX_GROUP):
            lanes = [self.others] + [self.clients] * self._reads_clients()
            ready = [lane for lane in lanes if lane]
            if not ready or self.batches.over:
                return
            self._handle(ready[number % len(ready)].take())
        self.wake.set()

    def _reads_clients(self) -> bool:
        """Clients wait, with what they say unread, while a leader decides what has come, and while
        another server is too far behind."""
        if self._behind():
            return False
        return not (self._leads and self._collects() and time.monotonic() >= self._late)

    def _collects(self) -> bool:
        machine = self.batches.machine
        return machine is not None and not machine.done and machine.phase in self._phases

    def _behind(self) -> bool:
        queued = [peer.channel.queued for peer in self._servers.values()]
        return max([*queued, *self._unsent.values()], default=0) > MAX_BACKLOG

    def _handle(self, item: Item) -> None:
        if isinstance(item, Arrived):
            self._hear(item)
        elif isinstance(item, Linked):
            self._link(item.peer)
        else:
            self._unlink(item)

    def _link(self, peer: Peer) -> None:
        if peer.party in self._servers:  # the old link may be half open
            self._servers[peer.party].channel.end()
        self._servers[peer.party] = peer
        self._unsent[peer.party], self._heard[peer.party] = 0, time.monotonic()
        self.batches.reconnected(peer.party)

    def _unlink(self, gone: Gone) -> None:
        peer = gone.peer
        if peer.role is Role.CLIENT:
            if any(item.peer is peer for item in self._held):
                self._departed.add(peer)
            if peer in self._ids:  # else it never said anything
                self._leave(peer)
                self._try_held()
        elif peer.role is Role.COLLECTOR:
            for asking in self._asking.values():
                asking.discard(peer)
        elif self._servers.get(peer.party) is peer:
            del self._servers[peer.party]
            self.batches.linked.discard(peer.party)

    def _hear(self, item: Arrived) -> None:
        """What names no batch of this epoch is not for this service."""
        peer, frame = item.peer, item.frame
        if peer.role is Role.CLIENT:
            if isinstance(frame, Message) and frame.nonce == self._nonce:
                self._hear_client(item, frame.data)
            return
        number = self.batches.number_of(frame.nonce)
        if number is None:
            return
        if peer.role is Role.COLLECTOR:
            self._hear_collector(peer, number, frame)
        elif isinstance(frame, Message):
            self._heard[peer.party] = time.monotonic()
            self.batches.receive(peer.party, number, frame.data)

    def _hear_client(self, item: Arrived, data: bytes) -> None:
        """A client takes an id with its first message: who is only connected takes none.

        Where no id is left, or no report is taken now, a repeat is still answered, and what is not
        answered is kept for the next batch. A helper does not count its clients.
        """
        collects, batches = self._collects(), self.batches
        if item.peer not in self._ids:
            me = self._free_id() if collects and self._leads else PartyId(next(self._later_ids))
            self._ids[item.peer], self._peers[me] = me, item.peer
        me = self._ids[item.peer]
        batches.receive(me, min(batches.number, batches.last), data)
        had_place = collects and (me < self._places or not self._leads)
        if not had_place and not any(said.message.to == me for said in batches.said):
            self._hold(item)
        elif item.peer in self._departed:  # nobody is there to be answered, or to leave later
            self._departed.discard(item.peer)
            self._leave(item.peer)

    def _hold(self, item: Arrived) -> None:
        if not self.batches.finished and len(self._held) < self._room:
            self._held.append(item)
        else:
            item.peer.channel.end()  # it comes again, perhaps in vain

    def _leave(self, peer: Peer) -> None:
        """Its id is another's, unless the machine has a report under it."""
        del self._peers[self._ids.pop(peer)]

    def _try_held(self) -> None:
        """A client that came for its receipt only had a place, and has left it."""
        for peer in {item.peer for item in self._held} & self._ids.keys():
            self._leave(peer)
        self.clients.put_back(self._held)
        self._held.clear()

    def _free_id(self) -> PartyId:
        machine = self.batches.machine
        if not self._free and machine is not None:
            waiting = machine.waiting_for - self._peers.keys()
            self._free = sorted((p for p in waiting if p < FIRST_RESERVED), reverse=True)
        return self._free.pop() if self._free else PartyId(next(self._later_ids))

    def _hear_collector(self, peer: Peer, number: int, frame: Frame) -> None:
        """Its thanks may come before the last server has confirmed the lock; they are returned."""
        if isinstance(frame, Over):
            if self.batches.answered(number):  # else nobody can have the sum
                self.fetched.add(number)
            peer.channel.post(frame.encode())
        elif isinstance(frame, Message) and not peer.channel.queued:  # else its answer is leaving
            self._asking.setdefault(number, set()).add(peer)
            self.batches.receive(COLLECTOR, number, frame.data)

    # What is stored and said

    async def _flush(self) -> None:
        """Rows first: nothing is said that a crash could make untrue."""
        writes, said = self.batches.take_writes(), self.batches.said
        self.batches.said = []
        if writes:
            await self.commit(writes)
        for one in said:
            self._send(one)

    def _send(self, said: Said) -> None:
        to, data = said.message.to, said.message.data
        if to < FIRST_RESERVED:
            if to in self._peers:
                self._peers[to].channel.post(Message(self._nonce, data).encode())
            return
        frame = Message(self._nonces[said.batch], data).encode()
        if to == COLLECTOR:
            self._answered.add(said.batch)
            for peer in self._asking.pop(said.batch, ()):
                peer.channel.post(frame)
        elif to in self._servers:
            self._servers[to].channel.post(frame)
        else:
            self._unsent[to] = self._unsent.get(to, 0) + len(frame)

    async def _advance(self) -> None:
        rows = await asyncio.to_thread(lambda: list(self._store.rows()))
        if self.batches.number < self.batches.last:
            self._let_pending_go()
        self.batches.advance(rows)
        self._ids, self._peers, self._free, self._closing = {}, {}, [], None
        self.clients.put_back(self._held)
        self._held.clear()
        report = self.batches.reports[-1]
        log.info("batch %d is over: %s", report.batch, report.detail or "locked")

    def _let_pending_go(self) -> None:
        """A client whose report the next batch may decide on waits for receipts that this machine
        has not heard: it says its report again, over a new link, to the machine that will."""
        machine = self.batches.machine
        if machine is None or not machine.pending or not self._relays:
            return
        undecided = machine.alive - machine.contributors
        held = {item.peer for item in self._held}
        for peer in self._ids.keys() - held:
            if self._ids[peer] in undecided or self._ids[peer] >= self._places:
                peer.channel.finish()

    # Time

    def _tick(self) -> None:
        """A leader's deadlines. A helper has none: the leader ends its phases, or the operator."""
        machine = self.batches.machine
        if not self._leads or machine is None or machine.done:
            return
        if machine.phase in self._phases:
            if self._closes(machine):
                self._close(machine)
            return
        if self.batches.number in self.fetched & self._answered:
            self.batches.close_phase()  # who has every total knows that every server has locked
            return
        for party in servers_of(machine.waiting_for):
            if time.monotonic() >= self._given_up(party):
                log.warning("server %d is given up", server_id(0) - party)
                self.batches.lost(party)
                return

    def _close(self, machine: MemberMachine) -> None:
        """Below the minimum the batch stays open: what has its receipts is not spent for having
        come among too few."""
        if machine.quorum:
            self.batches.close_phase()
            return
        owing = [server_id(0) - party for party in servers_of(machine.waiting_for)]
        log.warning(
            "batch %d stays open: %d reports so far%s",
            self.batches.number,
            machine.included,
            "".join(f", and server {index} has not answered" for index in owing),
        )
        self._closing = None
        self.batches.extend()
        self._free.clear()
        self._try_held()

    def _closes(self, machine: MemberMachine) -> bool:
        """Once no more reports are waited for: when all are decided, or `patience` is over.

        In direct mode a server does not owe a verdict on a share that its client never sent, so
        the machine waits for none: what counts is whether every report that came is in.
        """
        now, waiting = time.monotonic(), machine.waiting_for
        if not machine.quorum and now < self._late:
            self._closing = None  # not even when nobody is waited for: it would stay open at once
            return False
        if now < self._late and any(party < FIRST_RESERVED for party in waiting):
            self._closing = None
            return False
        self._closing = self._closing or now
        owing = any(party >= FIRST_RESERVED for party in waiting)
        settled = machine.alive - waiting <= machine.contributors
        settled = settled or machine.included >= self._places
        return (settled and not owing) or now >= self._closing + self._patience

    @property
    def _late(self) -> float:
        return self.batches.entered + self._deadline

    def _given_up(self, party: PartyId) -> float:
        return max(self._heard.get(party, 0.0), self.batches.entered) + self._patience

    def _due(self) -> float:
        """When the next deadline passes."""
        machine = self.batches.machine
        poll = time.monotonic() + POLL if self.clients and self._behind() else math.inf
        if not self._leads or machine is None or machine.done:
            return poll
        if machine.phase in self._phases:
            return min(
                poll, self._late if self._closing is None else self._closing + self._patience
            )
        return min([poll, *map(self._given_up, servers_of(machine.waiting_for))])
