"""The server's side of asyncio: rounds with whoever is connected, over links of any transport.

What a round is, who is in it and when it ends is `secagg.rounds.server`; how that is carried out,
`secagg.drive.shell`. Here it is arranged for an application that awaits its rounds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable
from typing import Any, TypeAlias

from secagg import party
from secagg.arguments import functions, instance, integer, kind_of, octets, seconds
from secagg.drive.arrival import Arriving
from secagg.drive.executor import check_executor
from secagg.drive.shell import Shell
from secagg.effects import Peer
from secagg.errors import BelowThreshold, LinkTimeout, LocalProtocolError, ParameterError
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.roster import SignedRoster
from secagg.rounds.clock import Deadlines as Deadlines
from secagg.rounds.clock import RoundReport
from secagg.rounds.enrolled import Host
from secagg.rounds.greeting import Greeted
from secagg.rounds.hosting import written_in
from secagg.rounds.quota import MAX_LINKS, Limits
from secagg.rounds.round import End
from secagg.rounds.round import Observer as Observer
from secagg.rounds.selection import Candidate, Select, arrival, chosen
from secagg.rounds.server import ServerRounds
from secagg.store.base import Store
from secagg.store.identity import Identity
from secagg.transport.base import Link, address_of, identity_of
from secagg.types import MAX_CLIENTS, Randomness, system_randomness
from secagg.wire.frame import DEFAULT_MAX_SIZE, payload_digest

log = logging.getLogger(__name__)

STRANGERS = 16
"""Links beyond the members' that may be open, of those who have not greeted yet."""

Files: TypeAlias = Callable[[RoundReport], bool]
"""Puts what was written down of a round in a safe place; whether it is there."""
Keep: TypeAlias = Callable[[party.Aggregate], object]
"""Keeps a result: in a file, or wherever it is safe."""


@dataclass(frozen=True, slots=True)
class _Awaited:
    """A round and its caller. ended: the round has. over: so has the call, with its keep."""

    ended: asyncio.Future[End]
    caller: asyncio.Task[Any] | None = field(default_factory=asyncio.current_task)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Service:
    """Rounds with whoever is connected, over links that any transport brings to `on_link`.

    Clients are nobody in particular unless their links prove who they are: their ids are their
    order of arrival among those picked for a round, and one that holds many links holds many ids.
    With a roster every link proves a place in it, and plans against a server that lies run.
    """

    def __init__(
        self,
        *,
        max_size: int = DEFAULT_MAX_SIZE,
        max_links: int = MAX_LINKS,
        limits: Limits | None = None,
        select: Select = arrival,
        store: Store | None = None,
        randomness: Randomness = system_randomness,
        roster: SignedRoster | None = None,
        identity: Identity | None = None,
        files: Files | None = None,
    ) -> None:
        """max_size, max_links: bytes of a frame, and links; or all limits at once. select: whom a
        round takes, unless it says otherwise. store: rounds that were interrupted go on, with
        clients whose links prove who they are; another service may not have it open. Where clients
        sign such a round is lost, and what was written down of it is in its report. roster,
        identity: the signed roster of the clients, and the server's identity in it: then every
        client greets, and one that is in no roster has no link. files: where clients sign, is
        called with the report of each round that has ended, however it did and in whichever
        process, while the store has its transcript and evidence, which go when it returns True; it
        may be called with a report again, and must not raise. Raises ParameterError for another
        server's identity."""
        self.port: int | None = None
        self.report: RoundReport | None = None
        """Of the round that ended last, also of one that failed; where clients sign, with its
        transcript and with what convicts somebody."""
        self.interrupted: list[RoundReport] = []
        """Of rounds that a process before this one began, and whose results nobody awaits."""
        limits = limits or Limits(frame=max_size, links=max_links)
        self._identity = identity
        host = _host(roster, identity, randomness)
        functions(files=files)
        self._files = files
        more: dict[str, Any] = {"host": host, "files": files is not None}
        options = {"randomness": randomness, **more}
        self._rounds = ServerRounds(limits, select=select, durable=store is not None, **options)
        self._greeted = _greeting(self._rounds, host, limits)
        self._shell = Shell(self._greeted or self._rounds, store=store, news=self._news)
        self._awaited: dict[bytes, _Awaited] = {}
        self._arrived = 0
        self._holds = store is not None
        self._closing = False

    @property
    def connected(self) -> int:
        """How many clients have a link."""
        return self._rounds.connected

    @property
    def members(self) -> tuple[Candidate, ...]:
        """Everybody with a link, by arrival: who they have proved to be, if they have, and how they
        did in their last rounds."""
        return self._rounds.here

    async def on_link(self, link: Link) -> None:
        """Keeps a client until its link is gone, it misbehaves, or the service closes."""
        if self._closing:
            return
        self._arrived += 1
        name = f"client {self._arrived}"
        peer = Peer(name, identity_of(link), address=address_of(link))
        if self._greeted is not None:
            link = Arriving(link, partial(self._greeted.known, peer))
        await self._shell.serve(peer, link)

    async def ready(self, clients: int, timeout: float | None = None) -> None:
        """Waits until that many clients are connected; LinkTimeout after `timeout` seconds, which
        with 0 is at once unless they are."""
        self._require_open()
        clients = integer("clients", clients, 0, MAX_CLIENTS)
        if timeout is not None:
            timeout = seconds("timeout", timeout, zero=True)
        self._shell.start()
        try:
            async with asyncio.timeout(timeout):
                while self.connected < clients:
                    await self._shell.turn()
        except TimeoutError:
            raise LinkTimeout(
                f"{self.connected} of {clients} clients connected within {timeout} seconds"
            ) from None

    async def run_round(
        self,
        plan: Plan,
        payload: bytes = b"",
        *,
        deadlines: Deadlines,
        inline: bool = True,
        executor: Executor | None = None,
        insecure_executor: bool = False,
        observer: Observer | None = None,
        clients: Sequence[Candidate | bytes] | None = None,
        select: Select | None = None,
        keep: Keep | None = None,
    ) -> party.Aggregate:
        """One round with `plan.threat.clients` of the connected; the rest wait for the next. Other
        rounds, of any plans, may run at the same time over the same links.

        Ids that nobody takes are lost at once. payload: the task; every client receives it with
        the announcement, or with inline=False only its digest, and fetches it elsewhere. deadlines:
        seconds by a monotonic clock, from the moment a phase is entered; a phase also ends as soon
        as it waits for nobody. executor: runs the machine's jobs, by default in threads. A job
        holds keys that the protocol opened to the server only, so one on another machine must use
        TLS, unless insecure_executor=True (`secagg.drive.executor.check_executor`). Jobs have no
        deadline. observer: is called with every event of the machine, in the loop, as it happens;
        it must not raise. clients: exactly these, of `members` or by identity. select: another way
        to pick them than the service's own (`secagg.rounds.selection`). keep: a function, or
        a coroutine function, that puts the result in a safe place before any client hears that
        there is one; what it raises, this raises, and they hear that the round was cancelled.

        Raises errors.Aborted (BelowThreshold) and IntegrityError when there is no sum to give, and
        every client is told either way; PolicyRefused for the executor, before anything is
        announced if it is known by then; ParameterError for messages larger than `max_size`.
        """
        self._require_open()
        functions(observer=observer, select=select, keep=keep)
        await asyncio.to_thread(check_executor, executor, insecure_executor=insecure_executor)
        self._require_open()  # it may have closed meanwhile
        self._shell.start()
        select = select if clients is None else _exactly(clients)
        self._shell.wake()
        nonce = self._opened(
            plan,
            payload,
            deadlines=deadlines,
            inline=inline,
            select=select,
            hold=self._holds or keep is not None,
            observer=observer,
        )
        ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._awaited[nonce] = _Awaited(ended)
        self._shell.workshop.executors[nonce] = executor, insecure_executor
        try:
            await self._shell.until(ended)
            total: party.Aggregate = ended.result().get()
            await self._kept(nonce, total, keep)
            return total
        finally:
            self._over(nonce)

    async def until(self, event: Awaitable[Any]) -> None:
        """Until it has come; raises what has ended the service, such as a StorageError."""
        self._shell.start()
        await self._shell.until(event)

    async def close(self) -> None:
        """Cancels the rounds that run and waits for each `keep` that is under way, as its clients
        hear what has become of the result. Then lets what is due leave, for at most FLUSH_TIMEOUT
        seconds, and closes every link."""
        self._closing = True
        for nonce in self._rounds.running:
            self._rounds.cancel(nonce, time.monotonic())
        self._shell.wake()
        try:
            await self._called()
        finally:
            await self._shell.close()
            self._rounds.close()
            if self._greeted is not None:
                self._greeted.close()

    async def _called(self) -> None:
        """Until every call of `run_round` is over, but for one whose `keep` closes the service."""
        here = asyncio.current_task()
        for call in [one for one in self._awaited.values() if one.caller is not here]:
            await call.over.wait()

    def _opened(self, plan: Plan, payload: bytes, **given: Any) -> bytes:
        task = Task(plan, payload_digest=payload_digest(octets("payload", payload)))
        try:
            return self._rounds.open(task, payload, now=time.monotonic(), **given)
        except BelowThreshold:  # too few members are here, and nobody was asked
            self.report = RoundReport({}, 0.0, 0.0)
            raise

    def _require_open(self) -> None:
        if self._closing:
            raise LocalProtocolError("the service is closed, and takes neither clients nor rounds")

    async def _kept(self, nonce: bytes, total: party.Aggregate, keep: Keep | None) -> None:
        """Without `keep` it is safe with whoever has it returned; of a service with a store clients
        hear of it only then, as the next process would have nobody to give it to."""
        if keep is not None and isawaitable(waiting := keep(total)):
            await waiting
        if self._holds or keep is not None:
            self._rounds.tell(nonce, time.monotonic())

    def _over(self, nonce: bytes) -> None:
        """Whether it has ended by itself or whoever awaited it has given up."""
        self._awaited.pop(nonce).over.set()
        self._rounds.cancel(nonce, time.monotonic())
        if nonce in self._rounds.running:  # held, and its result was not kept
            self._rounds.tell(nonce, time.monotonic(), kept=False)
        self._shell.workshop.stop(nonce)
        self._shell.wake()
        del self._shell.workshop.executors[nonce]

    def _file(self, place: bytes, report: RoundReport) -> None:
        if self._files is not None and self._files(report):
            self._rounds.filing.filed(place)

    def _news(self) -> None:
        for place, report in self._rounds.filing.left().items():
            self._file(place, report)
        for end in self._rounds.ends():
            self.report = end.report
            if end.report.transcript:
                self._file(written_in(end.nonce), end.report)
            if (call := self._awaited.get(end.nonce)) is not None:
                call.ended.set_result(end)
                continue
            number, phases = end.nonce.hex()[:8], _spent(end.report)
            if end.nonce in self._rounds.running:  # held by a process that is no more
                self.interrupted.append(end.report)
                self._rounds.tell(end.nonce, time.monotonic(), kept=False)
                self._shell.wake()
                log.warning("nobody is left to keep the result of round %s (%s)", number, phases)
            elif end.error is not None:
                log.warning("round %s ended without a result (%s): %s", number, phases, end.error)


def _host(
    roster: SignedRoster | None, identity: Identity | None, randomness: Randomness
) -> Host | None:
    if roster is None and identity is None:
        return None
    if roster is None or identity is None:
        raise ParameterError("a server of members needs both their roster and its own identity")
    instance("identity", identity, Identity)
    return Host(instance("roster", roster, SignedRoster), identity.seed, randomness)


def _greeting(rounds: ServerRounds, host: Host | None, limits: Limits) -> Greeted | None:
    """Links that have not greeted yet are beside those that have."""
    if host is None:
        return None
    most, timeout = limits.links + STRANGERS, limits.hello
    return Greeted(rounds, lambda peer: host.greet(), most=most, timeout=timeout)


def _exactly(clients: Sequence[Candidate | bytes]) -> Select:
    if isinstance(clients, bytes | str) or not isinstance(clients, Iterable):
        raise ParameterError(
            "clients must be a list of those of `members`, or of their identities, not "
            f"{kind_of(clients)}"
        )
    return chosen([c.peer if isinstance(c, Candidate) else c for c in clients])


def _spent(report: RoundReport) -> str:
    """In which phases it was, and for how long."""
    return ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in report.phases.items())
