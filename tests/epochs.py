"""Two servers of additive sums through batch after batch, on stores, while either dies at any step.

What a driver does, without its clocks: every call on a server is a step, whose rows are committed
before anything leaves; a server that has died is made again from its rows, and links to it are made
anew. Each client counts one element of its own, so a sum says whose reports are in it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from secagg.effects import MACHINE
from secagg.layout import Layout, Segment
from secagg.ring import Ring
from secagg.sansio import Dropped
from secagg.store.memory import MemoryStore
from secagg.store.space import Space
from secagg.types import COLLECTOR, FIRST_RESERVED, PartyId
from secagg_protocols.reports.messages import Tag
from tests.ensembles import HELPER, LEADER, Setting, params_of, tag_of

WAVES = ((0, 1, 2, 3), (4, 5, 6))
"""Clients by the batch they come in. The last of the first comes as it closes, and may miss it."""
CLIENTS = [client for wave in WAVES for client in wave]
_LAYOUT = Layout((Segment(Ring(8), len(CLIENTS)),))


def setting_of(*, direct: bool) -> Setting:
    return Setting(params_of(2, direct=direct, clients=4, smallest=3), _LAYOUT)


class Node:
    """One server: its rows, the machine that runs, and those of the batches before."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.space = Space(MemoryStore(), bytes(16), MACHINE)
        self.machines: dict[int, Any] = {}
        self.number = 0
        self.ahead: list[tuple[PartyId, int, bytes]] = []
        """What the other server says of a batch that has not begun here."""

    @property
    def running(self) -> Any:
        return self.machines[self.number]


class Epoch:
    """deaths: by the number of a step, who dies in it, one after the other. committed: whether that
    is after the step's commit, and before anything of it leaves, or before."""

    def __init__(
        self,
        setting: Setting,
        deaths: Mapping[int, tuple[PartyId, ...]] | None = None,
        *,
        committed: bool = True,
    ) -> None:
        self.setting, self.deaths, self.committed = setting, dict(deaths or {}), committed
        self.steps = 0
        self.restarts: list[PartyId] = []
        self.drops: list[Dropped] = []
        self.released: defaultdict[tuple[PartyId, int], set[bytes]] = defaultdict(set)
        self.collectors = {b: self._batch(b).collector() for b in range(len(WAVES))}
        self.nodes = {LEADER: Node(0), HELPER: Node(1)}
        self.clients: dict[int, Any] = {}
        self._ids: dict[int, PartyId] = {}  # client -> its number at the leader, in this batch
        self._queue: deque[Callable[[], None]] = deque()
        self._link = 0

    # The script

    def run(self) -> Epoch:
        for party in self.nodes:
            self._open(party)
        self._meet()
        for number, wave in enumerate(WAVES):
            self._upload(wave[:3])
            self._settle()
            for late in wave[3:]:
                self._upload((late,))
                self._queue.append(partial(self._close, number))
            self._until_it_is_over(number)
            self._collect(number)
        self._try_again()  # for a receipt only, where a link has died with it
        self._settle()
        for number, collector in self.collectors.items():
            if not collector.done:
                self._collect(number)
        return self

    def counts(self, number: int) -> list[int]:
        """By client, how often it is in the sum of that batch."""
        total = self.collectors[number].result()
        found = [int(value) for value in total.vector[0]]
        assert total.reports == sum(found)
        return found

    def _until_it_is_over(self, number: int) -> None:
        for _ in range(20):
            self._settle()
            node = self.nodes[LEADER]
            if node.number > number or node.running.done:
                return
            for _ in self.clients:  # who came for a receipt only may have had the last place
                self._try_again()
                self._settle()
            self._close(number)
        raise AssertionError(f"batch {number} does not end: {self.nodes[LEADER].running}")

    def _close(self, number: int) -> None:
        node = self.nodes[LEADER]
        if node.number == number and node.running.phase == "upload" and node.running.quorum:
            self._step(LEADER, number, node.running.close_phase)

    def _upload(self, wave: tuple[int, ...]) -> None:
        for client in wave:
            vector = np.zeros(len(CLIENTS), np.uint8)
            vector[client] = 1
            self.clients[client] = self._batch(0).client(client, (vector,))
            self._ids[client] = self._free_id()
            self.clients[client].start()
            self._drain_client(client)

    def _try_again(self) -> None:
        """A client that has no receipt after a while opens another link."""
        self._ids = {}
        for client in [c for c, machine in self.clients.items() if not machine.done]:
            self._ids[client] = self._free_id()
            for server in self.nodes:
                self.clients[client].reconnected(server)
            self._drain_client(client)

    def _collect(self, number: int) -> None:
        collector = self.collectors[number]
        if collector.phase:
            for party in self.nodes:
                collector.reconnected(party)
        else:
            collector.start()
        self._drain_collector(number)
        self._settle()

    # Servers

    def _batch(self, number: int) -> Setting:
        return replace(self.setting, batch=number)

    def _open(self, party: PartyId) -> None:
        """All that its store knows, and the batch after."""
        node = self.nodes[party]
        node.number, node.machines, node.ahead = 0, {}, []
        self._begin(party)

    def _begin(self, party: PartyId) -> None:
        node = self.nodes[party]
        machine = self._batch(node.number).member(node.index)
        machine.restore(node.space.rows())
        node.machines[node.number] = machine
        self._step(party, node.number, machine.start)

    def _advance(self, party: PartyId) -> None:
        node = self.nodes[party]
        if not node.running.done or node.number + 1 == len(WAVES):
            return
        before = node.running
        node.number += 1
        link = self._link
        self._begin(party)
        if link != self._link:
            return  # it has died on the way, and began anew
        before.retire()
        self._step(party, node.number, partial(node.running.reconnected, self._peer(party)))
        ahead, node.ahead = node.ahead, []
        for sender, number, data in ahead:
            self._to_server(sender, party, number, data)
        if party == LEADER:
            self._queue.append(self._try_again)

    def _step(self, party: PartyId, number: int, act: Callable[[], None]) -> None:
        at, self.steps = self.steps, self.steps + 1
        node, dying = self.nodes[party], self.deaths.get(at, ())
        machine = node.machines[number]
        act()
        writes, said = machine.writes(), machine.outgoing()
        self.drops += [e for e in machine.events() if isinstance(e, Dropped)]
        if number < node.number and writes:
            said = []  # of a batch that is over: it would change what is over, and has no answer
        elif party not in dying or self.committed:
            node.space.commit(writes)
        for one in dying:
            self._die(one)
        if dying:
            if party not in dying:
                self._say(party, number, said)
            self._meet()
            return
        self._say(party, number, said)
        if number == node.number:
            self._advance(party)

    def _say(self, party: PartyId, number: int, said: list[Any]) -> None:
        for message in said:
            if tag_of(message.data) is Tag.TOTAL:
                self.released[party, number].add(message.data)
            self._queue.append(
                partial(self._arrives, self._link, party, message.to, number, message.data)
            )

    def _die(self, party: PartyId) -> None:
        self.restarts.append(party)
        self._link += 1
        self._queue.clear()  # all links of a server are gone, and here is no other server
        if party == LEADER:
            self._ids = {}
        self._open(party)

    def _meet(self) -> None:
        """New links: between the servers in the order of the batches, and to everybody else."""
        self._link += 1
        link = self._link
        for party, node in self.nodes.items():
            for number in sorted(node.machines):
                if link != self._link:
                    return  # another death has made them anew
                machine = node.machines[number]
                again = partial(machine.reconnected, self._peer(party))
                self._step(party, number, again)
        self._queue.append(self._try_again)
        for number, collector in self.collectors.items():
            if collector.phase and not collector.done:
                for party in self.nodes:
                    collector.reconnected(party)
                self._drain_collector(number)

    @staticmethod
    def _peer(party: PartyId) -> PartyId:
        return HELPER if party == LEADER else LEADER

    # Messages

    def _settle(self) -> None:
        while self._queue:
            self._queue.popleft()()

    def _arrives(self, link: int, sender: PartyId, to: PartyId, number: int, data: bytes) -> None:
        if link != self._link:
            return
        if to in self.nodes:
            self._to_server(sender, to, number, data)
        elif to == COLLECTOR:
            self.collectors[number].receive(sender, data)
            self._drain_collector(number)
        else:
            self._to_client(sender, to, data)

    def _to_server(self, sender: PartyId, to: PartyId, number: int, data: bytes) -> None:
        node = self.nodes[to]
        if number in node.machines:
            self._step(to, number, partial(node.machines[number].receive, sender, data))
        elif sender in self.nodes:
            node.ahead.append((sender, number, data))

    def _to_client(self, sender: PartyId, to: PartyId, data: bytes) -> None:
        at = self._ids if sender == LEADER else {c: PartyId(c) for c in self.clients}
        for client in [c for c, id in at.items() if id == to and not self.clients[c].done]:
            self.clients[client].receive(sender, data)
            self._drain_client(client)

    def _drain_client(self, client: int) -> None:
        for message in self.clients[client].outgoing():
            self._queue.append(partial(self._from_client, self._link, client, message))

    def _from_client(self, link: int, client: int, message: Any) -> None:
        """It names no batch: whatever runs takes it, or what ran last answers."""
        if link != self._link or (message.to == LEADER and client not in self._ids):
            return
        sender = self._ids[client] if message.to == LEADER else PartyId(client)
        number = self.nodes[message.to].number
        self._to_server(sender, message.to, number, message.data)

    def _drain_collector(self, number: int) -> None:
        for message in self.collectors[number].outgoing():
            self._queue.append(
                partial(self._arrives, self._link, COLLECTOR, message.to, number, message.data)
            )

    def _free_id(self) -> PartyId:
        """One that the leader waits for and nobody has, or one that it knows nothing of."""
        waiting = self.nodes[LEADER].running.waiting_for
        free = {p for p in waiting if p < FIRST_RESERVED} - set(self._ids.values())
        return min(free, default=PartyId(1000 + len(self._ids)))
