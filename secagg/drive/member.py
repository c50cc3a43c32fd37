"""One of several servers, over links: reports from clients, and batches agreed on with the others.

    service = MemberService(task, index, secrets, store, peers={1: "wss://helper.example"})
    async with listen(service.on_link, port=8000, max_size=service.max_size):
        reports = await service.run()

Who answers for what, and when, is specs/20-additive.md §8 and §9, and `secagg.rounds.member`.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from secagg.arguments import integer, seconds
from secagg.committee import ServerSecrets
from secagg.drive.arrival import Arriving
from secagg.drive.outbound import FLUSH_TIMEOUT
from secagg.drive.reporting import called
from secagg.drive.shell import Shell
from secagg.effects import Peer
from secagg.errors import LocalProtocolError, ParameterError, PolicyRefused, StorageError
from secagg.plans.task import Task
from secagg.rounds.batches import BatchReport, Epoch
from secagg.rounds.greeting import Greeted, Script, callees, message_limit
from secagg.rounds.hellos import Greeter
from secagg.rounds.lingering import DEADLINE, PATIENCE, Terms
from secagg.rounds.member import MemberRounds
from secagg.rounds.quota import MAX_LINKS
from secagg.rounds.round import Observer
from secagg.store.base import Store
from secagg.transport import websocket
from secagg.transport.base import Link, address_of
from secagg.transport.opening import Backoff, Opener
from secagg.types import MAX_CLIENTS, PartyId, Randomness, server_id, system_randomness

__all__ = ["BatchReport", "MemberService"]

RESERVE = 16
"""Links beyond the clients' that may be open: for servers, collectors, and whoever says hello."""

PeerAt: TypeAlias = str | Opener
"""A helper's URL, or what opens a link to it."""


class MemberService:
    """A server of one epoch, from its first batch to its last. Used once.

    peers: at the leader, every helper by index; helpers are called on and call on nobody. batches:
    how many the epoch has, the same number at every server. deadline: seconds that a leader takes
    reports for one batch, from when this process opened it; it ends sooner when every client has
    reported, and what has come is then decided for at most `patience` seconds more. Below the
    minimum batch it aborts. patience: seconds of silence after which a leader gives up a server
    that it waits for. A helper never gives up: it has signed, and must not undo it, or has
    nothing to lose by waiting.

    linger: seconds that `run` waits after the last batch for a collector to say that it has the sum
    of every locked batch. When it has, the epoch is closed, in the store, and the sealed shares of
    reports that are in no sum are deleted from it; a service started on it
    raises PolicyRefused, unless collect_only=True: it then answers collectors and does nothing
    else. As sums may have to be collected again, a closed epoch is never deleted here.

    observer: is called with every event of the running machine, in the loop; it must not raise.

    What it decides is `secagg.rounds.member`; on_link and run are all there is to drive it.
    """

    def __init__(
        self,
        task: Task,
        index: int,
        secrets: ServerSecrets,
        store: Store,
        *,
        peers: Mapping[int, PeerAt] | None = None,
        batches: int = 1,
        deadline: float = DEADLINE,
        patience: float = PATIENCE,
        linger: float = math.inf,
        collect_only: bool = False,
        observer: Observer | None = None,
        max_links: int = MAX_LINKS,
        randomness: Randomness = system_randomness,
        backoff: Backoff | None = None,
    ) -> None:
        """Raises ParameterError for keys of another server, and for peers that are not exactly the
        helpers."""
        index = integer("index", index, 0, len(task.committee.servers) - 1)
        batches = integer("batches", batches, 1, (1 << 32) - 1)
        terms = Terms(
            seconds("deadline", deadline),
            seconds("patience", patience),
            seconds("linger", linger, zero=True),
            collect_only,
            integer("max_links", max_links, 1, MAX_CLIENTS),
        )
        if secrets.public != task.committee.servers[index]:
            raise ParameterError(f"these are not the secret keys of server {index} of the task")
        self.max_size = message_limit(task)
        epoch = Epoch(task, index, secrets, batches)
        self._rounds = MemberRounds(epoch, terms, time.monotonic(), observer)
        self._greeted = Greeted(
            self._rounds,
            _scripts(Greeter(task, index, secrets.signing, randomness)),
            most=terms.links + RESERVE,
        )
        self._shell = Shell(
            self._greeted,
            store=store,
            openers=called(task, _openers(task, index, peers or {})),
            backoff=backoff,
            news=self._news,
        )
        self._ended = asyncio.Event()
        self._started = False
        self._names = map("link {}".format, itertools.count(1))

    @property
    def reports(self) -> list[BatchReport]:
        """Of the batches that are over, those before a restart included."""
        return self._rounds.reports

    def stop(self) -> None:
        """`run` ends its turn, closes every link and returns; the same service, made again on the
        same store, goes on. For a signal handler of the loop."""
        self._ended.set()

    async def on_link(self, link: Link) -> None:
        """Whoever comes, until the link is gone or the service ends."""
        try:
            if not self._ended.is_set():
                peer = Peer(next(self._names), address=address_of(link))
                known = partial(self._greeted.known, peer)
                await self._shell.serve(peer, Arriving(link, known))
        except (PolicyRefused, StorageError):
            return  # what ends the service is for whoever runs it
        finally:
            await link.close()

    async def run(self) -> list[BatchReport]:
        """Every batch, then the collector; what became of each.

        Raises PolicyRefused for a closed epoch, and StorageError where the store fails: nothing is
        sent from then on (fail-stop).
        """
        if self._started:
            raise LocalProtocolError("run() is called once")
        self._started = True
        goodbye = 0.0  # whoever is cancelled, or broken, says nothing more
        try:
            self._shell.start()
            await self._shell.until(self._ended.wait())
            goodbye = FLUSH_TIMEOUT
        finally:
            self._ended.set()
            await self._shell.close(goodbye)
            self._greeted.close()
            self._rounds.close()
        return self.reports

    def _news(self) -> None:
        if self._rounds.over:
            self._ended.set()


def _scripts(greeter: Greeter) -> Callable[[Peer], Script]:
    """Whom this side has called is greeted by it; whoever else comes greets it."""
    called = callees(greeter.task)

    def script(peer: Peer) -> Script:
        known = called.get(peer)
        return greeter.answer() if known is None else greeter.call(server_id(0) - known)

    return script


def _openers(task: Task, index: int, peers: Mapping[int, PeerAt]) -> dict[PartyId, Opener]:
    expected = set(range(1, len(task.committee.servers))) if index == 0 else set()
    if peers.keys() != expected:
        which = f"helpers {sorted(expected)}" if expected else "no other server"
        raise ParameterError(f"server {index} calls on {which}, not on {sorted(peers)}")
    return {server_id(helper): _opener(task, at) for helper, at in peers.items()}


def _opener(task: Task, at: PeerAt) -> Opener:
    async def open_link() -> Link:
        if isinstance(at, str):
            return await websocket.connect(at, max_size=message_limit(task))
        return await at()

    return open_link
