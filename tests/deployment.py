"""Servers of additive sums on stores, with links that die: what a driver does, without its clocks.

Every call on a server is one step: what it writes is committed, and only then does what it says
leave. A server can crash in any step, before or after its commit; it is then made again from its
rows, and every link that it had is made anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from functools import partial

from secagg.effects import MACHINE, Write
from secagg.sansio import Dropped
from secagg.store.memory import MemoryStore
from secagg.store.space import Space
from secagg.types import COLLECTOR, FIRST_RESERVED, PartyId, server_id
from secagg_protocols.reports import messages
from secagg_protocols.reports.messages import Tag
from tests.ensembles import LEADER, Setting, tag_of
from tests.networks import inputs_of

Rows = list[tuple[bytes, bytes]]


class Deployment:
    """crashes: the numbers of the steps in which the server that takes them dies.

    committed: whether it dies after its commit, and so before anything leaves, or before it.
    """

    def __init__(
        self, setting: Setting, crashes: Collection[int] = (), *, committed: bool = True
    ) -> None:
        self.setting, self.crashes, self.committed = setting, set(crashes), committed
        self.steps = 0
        self.restarts = 0
        self.drops: list[Dropped] = []
        self.servers = {server_id(i): setting.member(i) for i in range(setting.params.servers)}
        self.stores = {party: _fresh() for party in self.servers}
        self.history: dict[PartyId, list[Rows]] = {party: [] for party in self.servers}
        self.released: dict[PartyId, set[bytes]] = {party: set() for party in self.servers}
        inputs = inputs_of(setting.params.clients, setting.layout)
        self.clients = {party: setting.client(party, vector) for party, vector in inputs.items()}
        self.ids = {party: party for party in self.clients}  # client -> its id at the leader
        self.collector = setting.collector()
        self._queue: deque[tuple[PartyId, PartyId, bytes]] = deque()

    def run(self) -> Deployment:
        """To the end of the batch: what comes of it is for the collector to say."""
        self.upload()
        self.finish()
        return self

    def upload(self) -> None:
        for party in list(self.servers):
            if not self.servers[party].phase:  # else a crash of another has begun it
                self._step(party, self.servers[party].start)
        for party, client in self.clients.items():
            client.start()
            self._drain_client(party)
        self._settle()
        self._try_again()

    def finish(self) -> None:
        """Closes what is open whenever all is quiet."""
        for _ in range(4):
            leader = self.servers[LEADER]
            if leader.done:
                break
            self._step(LEADER, leader.close_phase)
            self._settle()
        self.collector.start()
        self._drain_collector()
        self._settle()
        if not self.collector.done:
            self.collector.close_phase()

    def replace(self, party: PartyId, rows: Rows) -> None:
        """The server is made again from rows, its own or older ones, which its store then has."""
        self.restarts += 1
        ends = {party}
        self._queue = deque(m for m in self._queue if not ends & {m[0], m[1]})
        machine = self.setting.member(server_id(0) - party)
        machine.restore(rows)
        self.servers[party] = machine
        self.stores[party] = _fresh()
        self._step(party, partial(self._begin, party, rows))
        self._reconnect(party)

    def collected(self, party: PartyId) -> bytes:
        """What a server that is made again from its rows answers a collector."""
        machine = self.setting.member(server_id(0) - party)
        machine.restore(self.stores[party].rows())
        machine.start()
        machine.outgoing()
        number = self.setting.batch
        machine.receive(COLLECTOR, messages.bare(Tag.COLLECT, self.setting.context.batch(number)))
        (answer,) = machine.outgoing()
        return bytes(answer.data)

    def _begin(self, party: PartyId, rows: Rows) -> None:
        self.stores[party].commit([Write(key, value) for key, value in rows])
        self.servers[party].start()

    def _reconnect(self, party: PartyId) -> None:
        peers = [p for p in self.servers if p != party and LEADER in (p, party)]
        for peer in peers:
            self._step(peer, partial(self.servers[peer].reconnected, party))
            self._step(party, partial(self.servers[party].reconnected, peer))
        if party == LEADER:
            self.ids = {}
        for client, machine in self.clients.items():
            if not machine.done:
                if party == LEADER:
                    self.ids[client] = self._free_id()
                machine.reconnected(party)
                self._drain_client(client)
        self.collector.reconnected(party)
        self._drain_collector()

    def _try_again(self) -> None:
        """A client that has no receipt after a while opens another link.

        One that came for a receipt only, after its leader's crash, may have had the last free id.
        """
        for _ in self.clients:
            self.ids = {}
            for client in [c for c, machine in self.clients.items() if not machine.done]:
                self.ids[client] = self._free_id()
                self.clients[client].reconnected(LEADER)
                self._drain_client(client)
            self._settle()

    def _free_id(self) -> PartyId:
        """One that the leader waits for and nobody has, or one that it knows nothing of."""
        free = {p for p in self.servers[LEADER].waiting_for if p < FIRST_RESERVED}
        return min(free - set(self.ids.values()), default=PartyId(1000 + len(self.ids)))

    def _step(self, party: PartyId, act: Callable[[], None]) -> None:
        number, self.steps = self.steps, self.steps + 1
        machine = self.servers[party]
        act()
        crash = number in self.crashes
        writes, said = machine.writes(), machine.outgoing()
        self.drops += [e for e in machine.events() if isinstance(e, Dropped)]
        if not crash or self.committed:
            self.stores[party].commit(writes)
            self.history[party].append(list(self.stores[party].rows()))
        if crash:
            self.replace(party, list(self.stores[party].rows()))
            return
        for message in said:
            if tag_of(message.data) is Tag.TOTAL:
                self.released[party].add(message.data)
            self._queue.append((party, message.to, message.data))

    def _settle(self) -> None:
        while self._queue:
            sender, to, data = self._queue.popleft()
            if to in self.servers:
                self._step(to, partial(self.servers[to].receive, sender, data))
            elif to == COLLECTOR:
                self.collector.receive(sender, data)
                self._drain_collector()
            else:
                self._to_client(sender, to, data)

    def _to_client(self, sender: PartyId, to: PartyId, data: bytes) -> None:
        at = self.ids if sender == LEADER else {party: party for party in self.clients}
        for party in [p for p, id in at.items() if id == to and not self.clients[p].done]:
            self.clients[party].receive(sender, data)
            self._drain_client(party)

    def _drain_client(self, party: PartyId) -> None:
        for message in self.clients[party].outgoing():
            sender = self.ids[party] if message.to == LEADER else party
            self._queue.append((sender, message.to, message.data))

    def _drain_collector(self) -> None:
        for message in self.collector.outgoing():
            self._queue.append((COLLECTOR, message.to, message.data))


def _fresh() -> Space:
    return Space(MemoryStore(), bytes(16), MACHINE)
