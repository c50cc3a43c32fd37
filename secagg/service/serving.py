"""The process of a service: one door, rounds of all its tasks, one store; asyncio.

It arranges, and decides nothing: who may come is the register's, when a round is its pace's, what
is kept the books', and what a link may cost the doors'.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.routing import Route

from secagg.drive import outbound, warm
from secagg.drive.listening import listen
from secagg.drive.shell import Shell
from secagg.effects import Peer, Write
from secagg.errors import SecAggError, StorageError
from secagg.plans.terms import Terms
from secagg.rights import Action, ServiceRole
from secagg.rounds.admissions import Actor
from secagg.rounds.attempts import Attempts
from secagg.rounds.pace import Paced, Scheduled
from secagg.rounds.quota import Limits
from secagg.rounds.reception import Reception
from secagg.rounds.round import End
from secagg.rounds.server import ServerRounds
from secagg.rounds.visitors import Visitors
from secagg.service import audit, copying, page, public, reloading, room, upkeep
from secagg.service.audit import Deed
from secagg.service.board import Board
from secagg.service.books import OWNER, Books, outcome
from secagg.service.checking import is_loopback
from secagg.service.clerk import Clerk
from secagg.service.config import Config, Pursued
from secagg.service.console import console
from secagg.service.copying import Copy, Verdict
from secagg.service.desk import TOKEN, enrolling, leave_token, new_token, vouching
from secagg.service.events import Watching
from secagg.service.gate import Gate
from secagg.service.hosted import Hosted
from secagg.service.members import Members
from secagg.service.metrics import Metrics
from secagg.service.outs import Outs
from secagg.service.porter import Porter, console_url
from secagg.service.public import Payloads
from secagg.service.results import arrays_in
from secagg.service.settings import credentials_of, limits_of, pace_of, read_terms
from secagg.service.timed import Timed
from secagg.service.trial import TRIAL
from secagg.store.identity import Identity
from secagg.store.sqlite import SqliteStore
from secagg.transport.base import Link
from secagg.transport.websocket import AsgiApp
from secagg.watch import Event, Refused
from secagg.wire.frame import payload_digest
from secagg.wire.hello import Service
from secagg.wire.pace import Why

log = logging.getLogger(__name__)

IDENTITY, STORE, PAYLOADS, COPY = "server.key", "service.db", "payloads", "audit.jsonl"
"""Names in the folder of the state."""
Mount: TypeAlias = Callable[[AsgiApp, int], int]
"""Takes an application whose messages have that many bytes at most; says at which port it is."""
DRAIN = 10.0
"""Seconds that rounds which run have to end by themselves, once the process is told to."""


class Serving:
    """A service that runs, in one loop. Made by `opened`."""

    def __init__(
        self, config: Config, identity: Identity, store: SqliteStore, version: str = ""
    ) -> None:
        """version: of this package, for the numbers. Raises InputError and ParameterError for tasks
        that cannot be served."""
        self.config = config
        self.ports = 0, 0
        """Where it listens: for clients, and for its console."""
        self.metrics = Metrics(version)
        epoch = time.time() - time.monotonic()
        self.books = Books(Service(config.name, identity.public))
        self.members = Members(config, identity.seed, self.books, lambda: self.unix)
        self.payloads = Payloads(config.state / PAYLOADS)
        tasks = {one.name: self._scheduled(one) for one in config.tasks}
        self.payloads.drop(frozenset(payload_digest(one.payload) for one in tasks.values()))
        limits = limits_of(config.limits, [one.terms for one in tasks.values()])
        watch = self.metrics.watch()
        inner = ServerRounds(limits, durable=True, watch=watch, files=True)
        paced = Paced(inner, tasks, of=lambda peer: peer.task, epoch=epoch)
        self.rounds = Hosted(paced, self.books, epoch, self._ended)
        service, seed = self.books.admissions.service, identity.seed
        reception = Reception(service, seed, self.members.why_not, host=self.members.host)
        self.gate = Gate(self.rounds, inner, reception, limits, watch)
        visits = Reception(service, seed, lambda key, role, _: self._why_no_session(key, role))
        visitors = Visitors(visits.visit, self._why_no_session, hello=config.limits.hello)
        board, of = Board(self.books, lambda: paced.tasks, inner.progress), config.limits
        self.watching = Watching(board, visitors, Clerk(self).seen, version, of.viewers, of.events)
        timed = Timed(store, partial(self.metrics.saw, "commit_seconds"))
        self._shell = Shell(self.gate.greeted, store=timed, news=self._news)
        self._store = store
        self.copy, self._outs = Copy(config.state / COPY), Outs(config.tasks)
        self.gate.attempts = Attempts(config.limits.enrolments)
        self.credentials = credentials_of(config)

    # For whoever has it run

    @asynccontextmanager
    async def listening(self, mount: Mount | None = None) -> AsyncIterator[None]:
        """Takes up what the store has, then opens its door; or is mounted, in another's."""
        self.copy.check(self._store.rows(audit.NAMESPACE))
        with self._copying():
            self.copy.mend(self._store.rows(audit.NAMESPACE))
        self._shell.start()
        await self._shell.turn()
        self.members.start(lambda: self.terms)
        await self.write([self.books.note(Deed.STARTED, OWNER, self.unix)])
        clerk, token = Clerk(self), new_token()
        porter = Porter.of(self.config, token, self.watching.visitors, self._actor, self._known)
        routes = [*enrolling(clerk, self._allowed), *self.members.routes()]
        if self.authority is not None:
            routes.append(vouching(self.authority))
        async with AsyncExitStack() as doors:
            self.ports = (
                await doors.enter_async_context(self._public(mount, *routes)),
                await doors.enter_async_context(
                    self._behind(console(clerk, porter, self.watching, page.ROUTES))
                ),
            )
            leave_token(self.config.state, self.ports[1], token)
            try:
                yield
            finally:
                (self.config.state / TOKEN).unlink(missing_ok=True)
                self.watching.stop()
                await self._close()

    @property
    def paced(self) -> Paced:
        """The rounds of its tasks."""
        return self.rounds.paced

    @property
    def service(self) -> Service:
        """As clients know it."""
        return self.books.admissions.service

    @property
    def terms(self) -> Mapping[str, Terms]:
        """Of each task."""
        return {name: one.terms for name, one in self.rounds.paced.tasks.items()}

    @property
    def stopping(self) -> bool:
        """Whether it drains: no further round begins."""
        tasks = self.rounds.paced.tasks
        held = any(tasks[one.name].held is Why.DRAINING for one in self.config.tasks)
        return held and not self.copy.failed

    @property
    def authority(self) -> bytes | None:
        """The certificate, PEM, of a trial's authority beside the chain; None where clients trust
        whom their machines do."""
        chain = self.config.listen.certificate
        path = None if chain is None else chain.with_name(TRIAL)
        return path.read_bytes() if path is not None and path.is_file() else None

    @property
    def url(self) -> str:
        """As clients call it."""
        port = self.ports[0]
        return f"https://{self.config.name}" + ("" if port == 443 else f":{port}")

    @property
    def console_url(self) -> str:
        """Where its console is, for whoever is on this machine or, beyond loopback, reaches it."""
        return console_url(self.config, self.ports[1])

    async def run(self, stop: asyncio.Event) -> None:
        """Until it is told to stop, or the store fails, or what looks after it: that ends all
        (rule B3), as who has ended would stay, and results be kept for ever, in silence."""
        beside = [asyncio.create_task(one(self)) for one in (upkeep.sweep, upkeep.watch)]
        try:
            await self._shell.until(outbound.unless_ended(stop.wait(), beside))
        finally:
            for task in beside:
                task.cancel()

    def arrays_of(self, nonce: bytes) -> bytes:
        """Of a result that is kept; StorageError where it is not."""
        for _, value in self._store.rows(arrays_in(nonce)):
            return value
        raise StorageError("the arrays of a result are not in the store")

    async def verify(self, kept: str | None) -> Verdict:
        """Of the audit, as far as it goes now, and of its copy: `copying.verified`."""
        await self.write([])
        rows, path = self._store.rows(audit.NAMESPACE), self.copy.path
        upto = self.books.audit.number
        return await asyncio.to_thread(copying.verified, rows, path, kept, upto)

    async def write(self, writes: Sequence[Write]) -> None:
        """Until these are stored."""
        self.rounds.write(writes)
        await self._shell.settle()

    def reload(self, read: Callable[[], Config] | None = None) -> bool:
        """The configuration again, and every file that it names; whether it is in force now. Where
        anything is wrong with it the log says what, and nothing changes. read: None keeps the
        configuration, and reads its files."""
        before = self.config
        try:
            config = before if read is None else read()
            limits = self.gate.limits
            fresh = reloading.prepared(before, config, limits, self._scheduled)
        except SecAggError as error:
            said = "nothing is read again: %s", error
            log.error(*said, extra=Event.RELOAD_REFUSED.line)
            return False
        what = reloading.changes(before, config, self.rounds.paced.scheduled, fresh.tasks)
        self.config = fresh.config
        self._outs.become(fresh.config.tasks)
        self.gate.attempts = Attempts(fresh.config.limits.enrolments)
        self.gate.bound(fresh.limits)
        self.watching.bound(fresh.config.limits)
        self.rounds.paced.become(fresh.tasks, time.monotonic())
        if self.credentials is not None and fresh.credentials is not None:
            self.credentials.become(fresh.credentials)
        self.rounds.write([self.books.note(Deed.RELOADED, OWNER, self.unix, **what)])
        self._shell.wake()
        log.info("the configuration was read again: %s", what, extra=Event.RELOADED.line)
        return True

    @property
    def unix(self) -> int:
        """Now, by the monotonic clock that this process began with."""
        return self.rounds.unix(time.monotonic())

    async def drain(self, seconds: float = DRAIN) -> None:
        """No further round begins; until those that run are over, or so many seconds are."""
        self.rounds.paced.drain(time.monotonic())
        await self.write([self.books.note(Deed.DRAINING, OWNER, self.unix)])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.rounds.paced.idle:
                    await self._shell.turn()

    def dismiss(self) -> None:
        """Whoever may not stay any more is let go, with all links and streams."""
        now = time.monotonic()
        self.gate.greeted.dismiss(self._may_not_stay, now)
        upkeep.forget(self.books, self.paced.tasks, self.unix)
        self.watching.wake()
        self._shell.wake()

    # Inside

    def _public(self, mount: Mount | None, *routes: Route) -> AbstractAsyncContextManager[int]:
        app = public.application(self.payloads, *routes)
        if mount is not None:
            inner = self.gate.mounted(self._shell.serve, app)
            return contextlib.nullcontext(mount(inner, self.gate.limits.frame))
        return self.gate.listening(self._shell.serve, self.config.listen, self.credentials, app)

    def _behind(self, app: Starlette) -> AbstractAsyncContextManager[int]:
        """Without links. Beyond loopback under the same certificate."""
        host, port = self.config.admin
        few = Limits(links=1, passing=64 + self.config.limits.viewers)
        tls = None if is_loopback(host) else self.credentials
        return listen(_nobody, host, port, limits=few, tls=tls, app=app)

    async def _close(self) -> None:
        await self.write([self.books.note(Deed.STOPPED, OWNER, self.unix)])
        for nonce in self.gate.inner.running:
            self.gate.inner.cancel(nonce, time.monotonic())
        self._shell.wake()
        await self._shell.close()
        self.gate.inner.close()
        self.gate.greeted.close()
        self.watching.visitors.close()

    def _scheduled(self, task: Pursued) -> Scheduled:
        terms = read_terms(task.plan)
        payload = b"" if task.payload is None else self.payloads.keep(task.payload)[0]
        enrolled = partial(self.members.enrolled, task.name)
        host = partial(self.members.host, task.name)
        more: dict[str, Any] = {"prevented": self._prevented, "host": host}
        return Scheduled(terms, pace_of(task, terms), enrolled, payload, hold=True, **more)

    def _allowed(self, address: str) -> bool:
        allowed = self.gate.attempts.allowed(address, time.monotonic())
        if not allowed:
            self.metrics.watch().refused(Refused.RATE)
        return allowed

    def _prevented(self) -> str:
        return self.copy.reason or room.wanting(self.config)

    def _why_no_session(self, key: bytes, role: ServiceRole) -> str | None:
        return self.books.admissions.why_no_session(key, role, self.unix)

    def _known(self) -> set[str]:
        """Tasks that there are, or were and left a result."""
        return {*self.terms, *(one.task for one in self.books.results.all())}

    def _actor(self, key: bytes, action: Action, task: str | None) -> Actor:
        return self.books.admissions.actor(key, action, task, self.unix)

    def _may_not_stay(self, peer: Peer) -> bool:
        key, task = peer.identity or b"", peer.task or ""
        return self.members.why_not(key, ServiceRole.CLIENT, task) is not None

    def _ended(self, task: str, end: End) -> None:
        self.watching.board.ended(task, end, self.unix)
        self.metrics.add("rounds", task=task, outcome=outcome(end))
        report = end.report
        for phase, seconds in report.phases.items():
            self.metrics.saw("phase_seconds", seconds, task=task, phase=phase)
        for party, fault in report.faults.items():
            phase = report.dropped_in.get(party, "")
            self.metrics.add("dropped", task=task, phase=phase, fault=fault.value)
        log.info("a round of %s ended: %s", task, outcome(end), extra=Event.ROUND_ENDED.line)
        self.rounds.write(self.members.ended(task, end))

    def _news(self) -> None:
        """After each turn: what was stored is copied, and counted."""
        stored = self.rounds.stored()
        self._outs.write(stored.ends)
        with self._copying():
            self.copy.add(stored.lines)
        if self.members.news(self.gate.inner.filing):
            self.dismiss()
        self.watching.news()

    @contextlib.contextmanager
    def _copying(self) -> Iterator[None]:
        """Where lines of the audit cannot be copied no further round begins, whatever an operator
        says: whoever watches the copy would not see it."""
        try:
            yield
        except (OSError, StorageError) as error:
            why = getattr(error, "strerror", None) or error
            said = "no further round: no copy of the audit at %s: %s", COPY, why
            log.error(*said, extra=Event.AUDIT_NOT_COPIED.line)
            self.copy.failed = True
            self.rounds.paced.drain(time.monotonic())
            self._shell.wake()


async def _nobody(link: Link) -> None:
    """A console has no links."""


@asynccontextmanager
async def opened(
    config: Config, version: str = "", mount: Mount | None = None
) -> AsyncIterator[Serving]:
    """A service that listens, inside the running loop. Its state is this process's alone. version:
    of this package, which its numbers name. mount: takes its public part, in place of a door.

    Raises StorageError for a state that another process has, or that is damaged; InputError and
    ParameterError for what the configuration names and does not fit.
    """
    await asyncio.to_thread(warm.up)
    with Identity.open(config.state / IDENTITY) as identity:
        owner = Service(config.name, identity.public).digest
        with SqliteStore.open(config.state / STORE, owner=owner, log=config.limits.wal) as store:
            serving = Serving(config, identity, store, version)
            async with serving.listening(mount):
                yield serving


async def serve(
    config: Config,
    started: Callable[[Serving], None],
    version: str = "",
    read: Callable[[], Config] | None = None,
) -> None:
    """Until SIGTERM or SIGINT, which let rounds that run end, for at most DRAIN seconds; SIGHUP
    reads the configuration again, as `Serving.reload`."""
    async with opened(config, version) as serving:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # not every platform's loop can
                loop.add_signal_handler(number, stop.set)
        with contextlib.suppress(NotImplementedError, AttributeError):
            loop.add_signal_handler(signal.SIGHUP, serving.reload, read)
        started(serving)
        await serving.run(stop)
        await serving.drain()
