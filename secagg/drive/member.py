"""One of several servers, over links: reports from clients, and batches agreed on with the others.

    service = MemberService(task, index, secrets, store, peers={1: "wss://helper.example"})
    async with websocket.listen(service.on_link, port=8000, max_size=service.max_size):
        reports = await service.run()

Who answers for what, and when, is specs/20-additive.md §8 and §9; what a crash may find is the work
of `secagg.drive.turns`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TypeAlias

from secagg.arguments import integer, seconds
from secagg.committee import ServerSecrets
from secagg.drive.batches import Batches, BatchReport
from secagg.drive.handshake import greet
from secagg.drive.outbound import FLUSH_TIMEOUT
from secagg.drive.peers import Arrived, Gone, Lane, Linked, Peer
from secagg.drive.turns import MAX_WAITING, Turns
from secagg.effects import MACHINE, ROUNDS, Write
from secagg.errors import (
    CryptoError,
    LocalProtocolError,
    ParameterError,
    PolicyRefused,
    RemoteProtocolError,
    TransportError,
    WireError,
)
from secagg.plans.task import Task
from secagg.rounds.greeting import Greeter, message_limit
from secagg.rounds.round import Observer
from secagg.store.base import Store
from secagg.store.space import Space
from secagg.transport import websocket
from secagg.transport.base import Link
from secagg.transport.router import (
    Backoff,
    Channel,
    Connected,
    Disconnected,
    Opener,
    Received,
    Router,
)
from secagg.types import (
    MAX_CLIENTS,
    SERVER,
    PartyId,
    Randomness,
    Role,
    server_id,
    system_randomness,
)
from secagg.wire.frame import Frame, Message, Over, decode_frame

__all__ = ["BatchReport", "MemberService"]

MAX_LINKS, MAX_FRAMES, MAX_OUTBOX = 10_000, 64, 64
"""Links; frames of a client for one report; frames that wait for it before it counts as gone."""

log = logging.getLogger(__name__)

DEADLINE, PATIENCE = 60.0, 30.0
RESERVE = 16
"""Links beyond the clients' that may be open: for servers, collectors, and whoever says hello."""
CLOSED = b"closed"
"""The row that ends an epoch, beside those of its machines."""

_REFUSED = (WireError, CryptoError, RemoteProtocolError, TransportError)

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
    else. As anybody may say that they are the collector, a closed epoch is never deleted here.

    observer: is called with every event of the running machine, in the loop; it must not raise.
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
        deadline, patience = seconds("deadline", deadline), seconds("patience", patience)
        max_links = integer("max_links", max_links, 1, MAX_CLIENTS)
        linger = seconds("linger", linger, zero=True)
        if secrets.public != task.committee.servers[index]:
            raise ParameterError(f"these are not the secret keys of server {index} of the task")
        self.max_size = message_limit(task)
        self._task, self._index = task, index
        self._own = Space(store, task.nonce(), ROUNDS)
        self._rows = Space(store, task.nonce(), MACHINE)
        self._patience, self._linger = patience, linger
        self._collect_only, self._max_links = collect_only, max_links
        self._greeter = Greeter(task, index, secrets.signing, randomness)
        openers = _openers(task, index, self._greeter, peers or {})
        self._router = Router(openers, backoff=backoff, retried=_REFUSED)
        self._untold = set(openers)
        self._batches = Batches(task, index, secrets, batches, observer)
        self._turns = Turns(
            task,
            index,
            self._rows,
            self._batches,
            [task.nonce(number) for number in range(batches)],
            deadline=deadline,
            patience=patience,
            room=max(2, MAX_WAITING // self.max_size),
        )
        self._peers: set[Peer] = set()
        self._greeting = 0
        self._started = self._stopping = self._ended = False

    @property
    def reports(self) -> list[BatchReport]:
        """Of the batches that are over, those before a restart included."""
        return list(self._batches.reports)

    def stop(self) -> None:
        """`run` ends its turn, closes every link and returns; the same service, made again on the
        same store, goes on. For a signal handler of the loop."""
        self._stopping = True
        self._turns.wake.set()

    async def on_link(self, link: Link) -> None:
        """Whoever comes, until the link is gone or the service ends."""
        peer = await self._greet(link)
        if peer is None:
            await link.close()
            return
        self._peers.add(peer)
        try:
            await self._read(peer)
        except TransportError:
            return  # as good an end of a link as any
        except WireError as error:
            log.warning("a %s was let go: %s", peer.role.name.lower(), error)
        finally:
            self._peers.discard(peer)
            self._lane(peer).put_now(Gone(peer))
            await peer.channel.close()

    async def run(self) -> list[BatchReport]:
        """Every batch, then the collector; what became of each.

        Raises PolicyRefused for a closed epoch, and StorageError where the store fails: nothing is
        sent from then on (fail-stop).
        """
        if self._started:
            raise LocalProtocolError("run() is called once")
        self._started = True
        try:
            await self._open()
            async with self._router:
                helpers = asyncio.create_task(self._hear_helpers())
                try:
                    await self._serve(helpers)
                finally:
                    helpers.cancel()
                    await asyncio.wait({helpers})
                self._ended = True
                await self._leave()
        finally:
            self._ended = True
            await asyncio.gather(*(peer.channel.close() for peer in tuple(self._peers)))
        return self.reports

    # Links

    async def _greet(self, link: Link) -> Peer | None:
        if self._ended or len(self._peers) + self._greeting >= self._max_links + RESERVE:
            log.warning("a link was turned away: %d are open", len(self._peers))
            return None
        self._greeting += 1
        try:
            role = (await greet(link, self._greeter.answer())).role
            self._admit(role)
        except _REFUSED as error:
            log.warning("a link was refused: %s", error)
            return None
        finally:
            self._greeting -= 1
        most = None if role is Role.SERVER else MAX_OUTBOX
        party = SERVER if role is Role.SERVER else PartyId(0)  # only the leader calls
        peer = Peer(role, party, Channel(link, most=most))
        if role is Role.SERVER:
            self._turns.others.put_now(Linked(peer))
        return peer

    def _admit(self, role: Role) -> None:
        """RemoteProtocolError for whoever has no business here, or not now."""
        if self._ended:
            raise RemoteProtocolError("the service has ended")
        if role is not Role.CLIENT:
            return
        if self._index > 0 and not self._task.plan.params.direct:
            raise RemoteProtocolError("clients speak to the leader only, which relays")
        if len(self._peers) >= self._max_links:
            raise RemoteProtocolError(f"{self._max_links} links are open")

    async def _read(self, peer: Peer) -> None:
        lane = self._lane(peer)
        for number in itertools.count(1):
            frame = decode_frame(await peer.channel.receive(), limit=self.max_size)
            if not isinstance(frame, Message | Over):
                raise WireError("nobody announces anything to a server of several")
            if peer.role is Role.CLIENT and number > MAX_FRAMES:
                raise WireError(f"more than {MAX_FRAMES} frames for one report")
            await lane.put(Arrived(peer, frame))

    def _lane(self, peer: Peer) -> Lane:
        return self._turns.clients if peer.role is Role.CLIENT else self._turns.others

    async def _hear_helpers(self) -> None:
        others = self._turns.others
        helpers: dict[PartyId, Peer] = {}
        while True:
            news = await self._router.receive()
            if isinstance(news, Connected):
                helpers[news.party] = peer = Peer(Role.SERVER, news.party, news.channel)
                others.put_now(Linked(peer))
            elif isinstance(news, Disconnected):
                others.put_now(Gone(helpers.pop(news.party)))
            elif (frame := self._frame(news)) is not None:
                await others.put(Arrived(helpers[news.party], frame))

    def _frame(self, news: Received) -> Frame | None:
        try:
            return decode_frame(news.data, limit=self.max_size)
        except WireError as error:
            log.warning("the link to party %d is given up: %s", news.party, error)
            self._router.renew(news.party)
            return None

    # The epoch

    async def _open(self) -> None:
        rows = await asyncio.to_thread(lambda: list(self._rows.rows()))
        closed = any(key == CLOSED for key, _ in self._own.rows())
        if closed and not self._collect_only:
            raise PolicyRefused(
                f"epoch {self._task.committee.epoch} is closed, and takes no more reports: make a "
                "task with a new epoch, or start with collect_only to answer its collector again"
            )
        self._batches.open(rows, closed=closed)
        if self._collect_only:
            self._batches.end()

    async def _serve(self, helpers: asyncio.Task[None]) -> None:
        """Turn after turn: the batches, then the collector; then the epoch is closed."""
        helpers.add_done_callback(lambda _: self._turns.wake.set())
        over = math.inf
        while not (self._stopping or self._may_go(over)):
            await self._turns.wait(over, over + self._patience, over + self._linger)
            await self._turns.turn()
            if helpers.done():
                helpers.result()  # raises what no further attempt to reach a helper can mend
            if self._batches.finished and over == math.inf:
                over = time.monotonic()
        if not self._collect_only and self._batches.finished and self._all_fetched():
            closed = self._own.under([Write(CLOSED, b"")])
            await self._turns.commit(self._batches.closing(), closed)

    def _may_go(self, over: float) -> bool:
        """over: since when no batch is left. A leader stays until it has told every helper how the
        last one ended, though no longer than `patience`; whoever fetched it knows that all know."""
        now = time.monotonic()
        if now < over:
            return False
        self._untold -= self._turns.linked
        told = not self._untold or self._batches.number - 1 in self._turns.fetched
        return now >= over + self._linger or (
            self._all_fetched() and (told or now >= over + self._patience)
        )

    def _all_fetched(self) -> bool:
        return self._batches.locked <= self._turns.fetched

    async def _leave(self) -> None:
        """Lets what is due leave, for at most FLUSH_TIMEOUT seconds."""
        channels = [peer.channel for peer in self._peers]
        await asyncio.gather(
            self._router.flush(FLUSH_TIMEOUT), *(c.flush(FLUSH_TIMEOUT) for c in channels)
        )


def _openers(
    task: Task, index: int, greeter: Greeter, peers: Mapping[int, PeerAt]
) -> dict[PartyId, Opener]:
    expected = set(range(1, len(task.committee.servers))) if index == 0 else set()
    if peers.keys() != expected:
        which = f"helpers {sorted(expected)}" if expected else "no other server"
        raise ParameterError(f"server {index} calls on {which}, not on {sorted(peers)}")
    return {server_id(helper): _opener(task, greeter, helper, at) for helper, at in peers.items()}


def _opener(task: Task, greeter: Greeter, helper: int, at: PeerAt) -> Opener:
    """Opens a link, and closes it where whoever answers is not that helper."""

    async def connect() -> Link:
        if isinstance(at, str):
            return await websocket.connect(at, max_size=message_limit(task))
        return await at()

    async def open_link() -> Link:
        async with AsyncExitStack() as otherwise:
            link = await connect()
            otherwise.push_async_callback(link.close)
            await greet(link, greeter.call(helper))
            otherwise.pop_all()
            return link

    return open_link
