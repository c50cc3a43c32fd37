"""Federated averaging over a real service, and beside it the same training without cryptography.

The parent process is the server. Its clients are processes of their own on a loopback WebSocket;
some are killed on the way, and take part again in the next round.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secagg import party
from secagg.demo import data, model
from secagg.demo.check import Contribution, Masked, judge, plain_mean, unmask_nothing
from secagg.demo.client import FIELD, Orders, training_generator
from secagg.demo.deaths import Schedule, schedule
from secagg.demo.fleet import Fleet
from secagg.demo.folder import Folder
from secagg.demo.model import Flat, Samples
from secagg.demo.result import Progress, Result, Row
from secagg.demo.tap import UPLOAD, Tap
from secagg.demo.task import Task
from secagg.drive import pump
from secagg.drive.aio import Service, message_limit
from secagg.drive.listening import listen
from secagg.errors import ParameterError
from secagg.fields import FixedPoint
from secagg.plans import choose
from secagg.plans.plan import Plan
from secagg.sansio import Dropped, Event, PhaseEntered
from secagg.types import SERVER, Fault, PartyId
from secagg.wire.frame import DIGEST_SIZE, NONCE_SIZE

CLIP = 2.0
"""Of one element of an update. About twice the largest that this training makes, so that nothing
is clipped, and the count of what was says so."""

BITS = 16

CONNECT_TIMEOUT = 60.0
"""Seconds for all clients to start and connect, many processes on few cores."""


@dataclass(frozen=True)
class Settings:
    """protocol: None is the plan's choice. corrupt, dropout: for 16 clients, 4 that may collude and
    4 that may drop. alpha: how unevenly the classes are dealt."""

    clients: int = 16
    rounds: int = 8
    seed: int = 1
    protocol: str | None = None
    corrupt: str = "0.2"
    dropout: str = "0.25"
    alpha: float = 0.5
    deadline: float = 60.0


async def run(settings: Settings, progress: Progress) -> Result:
    """The whole demo. Raises InputError without scikit-learn, ParameterError where no plan exists,
    ClientFailed, and errors.Aborted where more clients were lost than the plan withstands."""
    begun = time.monotonic()
    generator = np.random.default_rng(settings.seed)
    training, held_out = data.load(generator)
    split = data.dirichlet_split(training.labels, settings.clients, settings.alpha, generator)
    parts = [training.take(rows) for rows in split]
    plan = make_plan(settings, parts)
    start = model.initial(generator)
    deaths = schedule(plan, settings.rounds, generator)
    progress.clients = settings.clients
    progress.stage = "compiling what clients and server compute with (only the first time)"
    await asyncio.to_thread(warm_up, plan)
    with tempfile.TemporaryDirectory(prefix="secagg-demo-") as path:  # 0700
        folder = Folder(Path(path))
        for client, samples in enumerate(parts):
            folder.put_samples(client, samples)
        federation = _Federation(start, settings, plan, parts, held_out, folder, deaths, progress)
        masked = await federation.train()
    seconds = time.monotonic() - begun
    rows = tuple(progress.rows)
    return Result(plan, rows, masked, len(training), len(held_out), settings.seed, seconds)


def make_plan(settings: Settings, parts: Sequence[Samples]) -> Plan:
    """Weights are numbers of samples. Their bound is public, so it is a power of two and not the
    largest client's number. Raises ParameterError where the protocol cannot withstand this, or has
    no masks to show. Rounding is to nearest: without randomness the parent can recompute it.
    """
    plan = choose.plan(
        clients=settings.clients,
        fields={FIELD: FixedPoint(model.LENGTH, CLIP, BITS)},
        corrupt=settings.corrupt,
        dropout=settings.dropout,
        protocol=settings.protocol,
        max_weight=1 << max(map(len, parts)).bit_length(),
    )
    if UPLOAD not in plan.phase_names:
        raise ParameterError(f"protocol {plan.protocol} masks nothing: take secagg+ or secagg")
    return plan


def warm_up(plan: Plan) -> None:
    """One round in this process, with a drop: compiles and caches every kernel of plan's shapes.

    The clients then load them; else each of them would compile for itself.
    """
    nonce, digest = bytes(NONCE_SIZE), bytes(DIGEST_SIZE)
    clients = {}
    for i in map(PartyId, range(plan.threat.clients)):
        clients[i] = party.Client(plan, i, nonce=nonce, payload_digest=digest)
        clients[i].set_input({FIELD: np.zeros(model.LENGTH)}, payload_digest=digest)
    server = party.Server(plan, nonce=nonce, payload_digest=digest)
    drops = plan.threat.dropped > 0
    pump.run(
        {SERVER: server},
        clients,
        gone=lambda i, phase: drops and i == 0 and phase == UPLOAD,
    )
    server.aggregate()


class _Federation:
    """model: the global one, from secure means. plain: from float64 means over the same clients."""

    def __init__(
        self,
        start: Flat,
        settings: Settings,
        plan: Plan,
        parts: Sequence[Samples],
        held_out: Samples,
        folder: Folder,
        deaths: Schedule,
        progress: Progress,
    ) -> None:
        self.model = self.plain = start
        self._settings = settings
        self._plan = plan
        self._parts = parts
        self._held_out = held_out
        self._folder = folder
        self._deaths = deaths
        self._progress = progress
        self._lost: set[int] = set()  # in this round, with their links
        self._tap = Tap(plan.phase_names)
        self._service = Service(max_size=message_limit(plan))

    async def train(self) -> Masked:
        """All rounds, over one connection per client for as long as it lives; a row for each, and
        one upload of the last round beside the truth."""
        clients = range(self._settings.clients)
        async with Fleet() as fleet, self._listening() as url:
            for number in range(1, self._settings.rounds + 1):
                self._progress.stage = f"round {number}: waiting for all clients to be connected"
                await fleet.start(self._orders(client, url) for client in clients)
                await fleet.guard(self._service.ready(len(clients), CONNECT_TIMEOUT))
                self._progress.begin(number)
                contributors = await fleet.guard(self._round(number))
                await fleet.guard(fleet.buried(self._lost))
        return self._shown(number, min(contributors))

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[str]:
        """`aio.serve`, but with the tap between the sockets and the service."""
        limit = message_limit(self._plan)
        async with listen(
            lambda link: self._service.on_link(self._tap.on(link)), max_size=limit
        ) as port:
            try:
                yield f"ws://127.0.0.1:{port}"
            finally:
                await self._service.close()

    def _orders(self, client: int, url: str) -> Orders:
        deaths = {
            (round, dying[client]) for round, dying in self._deaths.items() if client in dying
        }
        return Orders(
            client=client,
            url=url,
            plan_digest=self._plan.digest(),
            folder=self._folder,
            seed=self._settings.seed,
            deaths=frozenset(deaths),
        )

    async def _round(self, number: int) -> list[int]:
        """The clients whose updates were summed."""
        begun = time.monotonic()
        self._lost.clear()
        total = await self._service.run_round(
            self._plan,
            Task(number, self.model).encode(),
            deadlines=self._settings.deadline,
            observer=self._observe,
        )
        seconds = time.monotonic() - begun
        who = self._folder.clients(number)
        contributors = sorted(who[i] for i in total.contributors)
        verdict = judge(self._plan, total, [self._true(number, c) for c in contributors])
        self.model = self.model + total.mean[FIELD]
        self.plain = self.plain + plain_mean([self._without(number, c) for c in contributors])
        up, down = self._traffic()
        self._progress.rows.append(
            Row(
                round=number,
                contributors=len(contributors),
                dropped=dict(sorted(self._progress.dropped.items())),
                exact=verdict.exact,
                max_abs_error=verdict.max_abs_error,
                clipped=verdict.clipped,
                accuracy=model.accuracy(self.model, self._held_out),
                plain_accuracy=model.accuracy(self.plain, self._held_out),
                seconds=seconds,
                bytes_up=up,
                bytes_down=down,
            )
        )
        return contributors

    def _observe(self, event: Event) -> None:
        """A client that died has left a note of who it was before it did: see folder."""
        if isinstance(event, PhaseEntered):
            self._progress.phase = event.phase
        elif isinstance(event, Dropped):
            client = self._folder.clients(self._progress.round).get(event.party)
            if client is None:
                return  # an id that nobody took
            if event.fault is Fault.LOST:
                self._lost.add(client)
            how = "" if event.fault is Fault.LOST else f" ({event.fault.value})"
            self._progress.lose(client, self._progress.phase + how)

    def _true(self, number: int, client: int) -> Contribution:
        return Contribution(self._folder.update(number, client), len(self._parts[client]))

    def _without(self, number: int, client: int) -> Contribution:
        """What the client would have given in the run without cryptography: the same training on
        the same samples in the same order, from that run's own model."""
        samples = self._parts[client]
        generator = training_generator(self._settings.seed, number, client)
        update = model.update(self.plain, samples, model.Training(), generator)
        return Contribution(update, len(samples))

    def _traffic(self) -> tuple[float, float]:
        report = self._service.report
        return (report.bytes_up, report.bytes_down) if report else (0.0, 0.0)

    def _shown(self, number: int, client: int) -> Masked:
        parties = {c: i for i, c in self._folder.clients(number).items()}
        upload = self._tap.uploads[parties[client]]
        return unmask_nothing(self._plan, client, self._true(number, client), upload)
