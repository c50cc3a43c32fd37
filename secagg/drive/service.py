"""The server's side of asyncio: rounds with whoever is connected.

The machine has neither clock nor network; here are both. Every call into it is followed by a drain
of what it wants sent, also after one that raised. All calls come from one event loop, so it needs
no lock; only jobs leave the loop, for an executor.

Nothing is kept across a crash: a service that restarts announces new rounds, with fresh keys at
every client, and never resumes an old one. So a message marked `commit` may leave at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, TypeAlias

from secagg import errors, party
from secagg.arguments import flag, integer, seconds
from secagg.drive.clock import FLUSH_TIMEOUT, PhaseClock, RoundReport, why
from secagg.drive.executor import check_executor, run_jobs_async
from secagg.errors import (
    IntegrityError,
    LinkTimeout,
    LocalProtocolError,
    ParameterError,
    TransportError,
    WireError,
)
from secagg.plans.plan import Plan
from secagg.sansio import Disputed, Dropped, Event, Job
from secagg.transport.base import DEFAULT_MAX_SIZE, MAX_SIZE, Link
from secagg.types import MAX_CLIENTS, AbortReason, Fault, PartyId, Randomness, system_randomness
from secagg.wire.frame import (
    NONCE_SIZE,
    Announce,
    DigestOnly,
    Frame,
    Message,
    Over,
    decode_frame,
    payload_digest,
)

log = logging.getLogger(__name__)

MAX_LINKS = 10_000
MAX_FRAMES = 64
"""Frames that one client may send between two announcements. A protocol has at most a message a
phase, and a late one of the round before; whoever sends this many is flooding."""
MAX_DEADLINE = (1 << 32) // 1000
"""Seconds. An announcement has milliseconds in 32 bits."""
MAX_OUTBOX = 64
"""Frames that wait for one slow client before it counts as gone."""

Deadlines: TypeAlias = Mapping[str, float] | float
"""Seconds that a phase lasts at most: one number for all, or one for each of the protocol's."""

Observer: TypeAlias = Callable[[Event], None]


class Service:
    """Rounds with whoever is connected, over links that any transport brings to `on_link`.

    Clients are nobody in particular: their ids are their order of arrival among those connected
    when a round is announced. Semi-honest only: without a roster, one that holds many links holds
    many ids.
    """

    def __init__(
        self,
        *,
        max_size: int = DEFAULT_MAX_SIZE,
        max_links: int = MAX_LINKS,
        randomness: Randomness = system_randomness,
    ) -> None:
        self.port: int | None = None
        self.report: RoundReport | None = None
        """Of the last round, also of one that failed."""
        self._max_size = integer("max_size", max_size, 1, MAX_SIZE)
        self._max_links = integer("max_links", max_links, 1, MAX_CLIENTS)
        self._randomness = randomness
        self._members: dict[_Member, None] = {}  # in order of arrival
        self._changed = asyncio.Condition()
        self._round: _Round | None = None
        self._closing = False

    @property
    def connected(self) -> int:
        return len(self._members)

    async def on_link(self, link: Link) -> None:
        """Keeps a client until its link is gone, it misbehaves, or the service closes."""
        if self._closing or len(self._members) >= self._max_links:
            log.warning("a client was turned away: %d links are open", len(self._members))
            return
        member = _Member(link)
        self._members[member] = None
        reader = asyncio.create_task(self._read(member))
        try:
            async with self._changed:
                self._changed.notify_all()
            await asyncio.wait({reader, member.writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            bug = _bug(reader, member.writer)
            self._forget(member, bug)
            reader.cancel()
            member.writer.cancel()
            await asyncio.gather(reader, member.writer, return_exceptions=True)
            await link.close()
        if bug is not None:
            raise bug

    async def ready(self, clients: int, timeout: float | None = None) -> None:
        """Waits until that many clients are connected; LinkTimeout after `timeout` seconds, which
        with 0 is at once unless they are."""
        clients = integer("clients", clients, 0, MAX_CLIENTS)
        if timeout is not None:
            timeout = seconds("timeout", timeout, zero=True)
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: self.connected >= clients)
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
    ) -> party.Aggregate:
        """One round with the first `plan.threat.clients` connected; the rest wait for the next.

        Ids that nobody takes are lost at once. payload: the task; every client receives it with
        the announcement, or with inline=False only its digest, and fetches it elsewhere. deadlines:
        seconds by a monotonic clock, from the moment a phase is entered; a phase also ends as soon
        as it waits for nobody. executor: runs the machine's jobs, by default in threads. A job
        holds keys that the protocol opened to the server only, so one on another machine must use
        TLS, unless insecure_executor=True (`secagg.drive.executor.check_executor`). Jobs have no
        deadline. observer: is called with every event of the machine, in the loop, as it happens;
        it must not raise.

        Raises errors.Aborted (BelowThreshold) and IntegrityError when there is no sum to give;
        every client is told either way, and the connections stay for the next round. Raises
        PolicyRefused for the executor, before anything is announced if it is known by then.
        """
        await asyncio.to_thread(check_executor, executor, insecure_executor=insecure_executor)
        if self._round is not None:
            raise LocalProtocolError("one round at a time: the last one is still running")
        limits = _limits(plan.info.phases, deadlines)
        inline = flag("inline", inline)
        announced = tuple(self._members)[: plan.threat.clients]
        nonce = self._randomness(NONCE_SIZE)
        digest = payload_digest(payload)
        self._round = running = _Round(plan, nonce, digest, announced, limits, observer)
        try:
            running.announce(payload if inline else DigestOnly(digest))
            return await running.run(executor, insecure_executor)
        finally:
            self._round = None
            self.report = running.report

    async def close(self) -> None:
        """Lets what is due leave, for at most FLUSH_TIMEOUT seconds, then closes every link."""
        self._closing = True
        writers = [member.writer for member in self._members]
        for member in tuple(self._members):
            member.post(None)
        if writers:
            await asyncio.wait(writers, timeout=FLUSH_TIMEOUT)
        for writer in writers:
            writer.cancel()

    async def _read(self, member: _Member) -> None:
        while True:
            frame = decode_frame(await member.link.receive(), limit=self._max_size)
            if not isinstance(frame, Message):
                raise WireError("a client sends messages; it neither announces nor ends a round")
            member.count()
            if self._round is not None:
                self._round.receive(member, frame)

    def _forget(self, member: _Member, bug: Exception | None) -> None:
        del self._members[member]
        if self._round is not None:
            self._round.lost(member, bug)


class _Member:
    """A connected client and what waits to be sent to it. A slow one delays nobody else."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._outbox: asyncio.Queue[Frame | None] = asyncio.Queue(MAX_OUTBOX)
        self._frames = 0
        self.writer = asyncio.create_task(self._write())

    def post(self, frame: Frame | None) -> None:
        """Queues a frame; None is the last. A client that lets its queue fill up is gone."""
        if isinstance(frame, Announce):
            self._frames = 0
        try:
            self._outbox.put_nowait(frame)
        except asyncio.QueueFull:
            self.writer.cancel()

    def count(self) -> None:
        self._frames += 1
        if self._frames > MAX_FRAMES:
            raise WireError(f"more than {MAX_FRAMES} frames since the last announcement")

    async def _write(self) -> None:
        # encoded only here, so that a large task is not held once per client that waits for it
        while (frame := await self._outbox.get()) is not None:
            await self.link.send(frame.encode())


class _Round:
    """One server machine, its members by id, and its clock."""

    def __init__(
        self,
        plan: Plan,
        nonce: bytes,
        digest: bytes,
        announced: Sequence[_Member],
        limits: Mapping[str, float],
        observer: Observer | None,
    ) -> None:
        self._plan = plan
        self._nonce = nonce
        self._machine = party.Server(plan, nonce=nonce, payload_digest=digest)
        self._members = {PartyId(i): member for i, member in enumerate(announced)}
        self._parties = {member: i for i, member in self._members.items()}
        self._limits = limits
        self._observer = observer
        self._clock = PhaseClock()
        self._bytes_up = self._bytes_down = 0
        self._faults: dict[PartyId, Fault] = {}
        self._disputed: set[tuple[PartyId, PartyId]] = set()
        self._failure: Exception | None = None
        self._wake = asyncio.Event()

    @property
    def report(self) -> RoundReport:
        number = max(1, len(self._parties))
        up, down = self._bytes_up / number, self._bytes_down / number
        faults, disputed = dict(self._faults), frozenset(self._disputed)
        return RoundReport(self._clock.stop(), up, down, faults, disputed)

    def announce(self, payload: bytes | DigestOnly) -> None:
        plan = self._plan.encode()
        milliseconds = tuple(math.ceil(s * 1000) for s in self._limits.values())
        for i, member in self._members.items():
            member.post(Announce(self._nonce, i, milliseconds, plan, payload))

    async def run(self, executor: Executor | None, insecure: bool) -> party.Aggregate:
        over = Over(self._nonce, AbortReason.CANCELLED, 0, 0)
        try:
            await self._phases(executor, insecure)
            total = self._machine.aggregate()
            over = Over(self._nonce, None, len(total.contributors), len(total.dropped))
            return total
        except errors.Aborted as aborted:
            over = self._without_result(aborted.reason)
            raise
        except IntegrityError:
            over = self._without_result(AbortReason.INTEGRITY)
            raise
        finally:
            self._end(over)

    def receive(self, member: _Member, frame: Message) -> None:
        if frame.nonce != self._nonce or member not in self._parties:
            return  # of another round: late, or meant for nobody
        self._bytes_up += len(frame.data)
        self._call(self._machine.receive, self._parties[member], frame.data)

    def lost(self, member: _Member, bug: Exception | None) -> None:
        """bug: what showed while a message was handled; what the machine then holds is not used."""
        if member not in self._parties:
            return
        if bug is not None:
            self._failure = bug
            self._wake.set()
        else:
            self._call(self._machine.lost, self._parties[member])

    async def _phases(self, executor: Executor | None, insecure: bool) -> None:
        machine = self._machine
        self._call(machine.start)
        for i in range(len(self._members), self._plan.threat.clients):
            self._call(machine.lost, PartyId(i))
        while not machine.done and self._failure is None:
            if jobs := machine.jobs():
                await run_jobs_async(jobs, self._finish, executor, insecure_executor=insecure)
            elif not machine.waiting_for:
                self._call(machine.close_phase)
            else:
                await self._wait()
        if self._failure is not None:
            raise self._failure

    async def _wait(self) -> None:
        """Until something happened, or the phase's time is up."""
        self._wake.clear()
        deadline = self._clock.entered + self._limits[self._machine.phase]
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._wake.wait()
        except TimeoutError:
            self._call(self._machine.close_phase)

    def _finish(self, job: Job, value: Any) -> None:
        if self._failure is not None:  # no further job of a round that has failed
            raise self._failure
        self._call(self._machine.finish, job, value)

    def _call(self, call: Callable[..., None], *args: object) -> None:
        try:
            call(*args)
        finally:
            self._drain()

    def _drain(self) -> None:
        for out in self._machine.outgoing():
            if out.to in self._members:
                self._bytes_down += len(out.data)
                self._members[out.to].post(Message(self._nonce, out.data))
        for event in self._machine.events():
            if isinstance(event, Dropped):
                self._faults[event.party] = event.fault
                log.info("party %d was dropped: %s", event.party, why(event))
            elif isinstance(event, Disputed):
                self._disputed.add((event.dealer, event.holder))
                log.debug("a share of party %d at %d is unusable", event.dealer, event.holder)
            if self._observer is not None:
                self._observer(event)
        self._clock.enter("" if self._machine.done else self._machine.phase)
        self._wake.set()

    def _without_result(self, reason: AbortReason) -> Over:
        dropped = self._plan.threat.clients - len(self._machine.alive)
        return Over(self._nonce, reason, 0, dropped)

    def _end(self, over: Over) -> None:
        if not self._machine.done:
            self._call(self._machine.abort, AbortReason.CANCELLED)
        for member in self._parties:
            member.post(over)


def _bug(*ends: asyncio.Task[None]) -> Exception | None:
    """A bad or lost client ends its own link only; any other exception is ours, and not hidden."""
    for end in ends:
        error = end.exception() if end.done() and not end.cancelled() else None
        if isinstance(error, WireError):
            log.warning("a client was dropped: %s", error)
        elif isinstance(error, Exception) and not isinstance(error, TransportError):
            return error
    return None


def _limits(phases: Sequence[str], deadlines: Deadlines) -> dict[str, float]:
    """Seconds by phase, in the protocol's order; ParameterError unless each has exactly one."""
    if not isinstance(deadlines, Mapping):
        deadlines = dict.fromkeys(phases, deadlines)
    if deadlines.keys() != set(phases):
        raise ParameterError(
            f"deadlines are needed for the phases {', '.join(phases)}, and for no others"
        )
    limits = {phase: seconds(f"the deadline of {phase}", deadlines[phase]) for phase in phases}
    for phase, limit in limits.items():
        if limit >= MAX_DEADLINE:
            raise ParameterError(f"the deadline of {phase} must be below {MAX_DEADLINE} seconds")
    return limits
