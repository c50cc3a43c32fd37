"""A service and its clients as processes that may be killed, each by its own number.

They are forked from one that has loaded everything, as to start an interpreter takes longer than a
round; what dies is a process, and what is left of it is on disk. A client has its ledger there, and
writes down whatever it was told, so that its word can be held against the service's.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bench.common import Row
from bench.service_ground import HOST, Ground, Tasked, seed
from bench.service_oracle import payload, slots
from secagg.drive.participant import Participant
from secagg.drive.shell import Shell
from secagg.effects import Peer, Write
from secagg.errors import SecAggError, StorageError
from secagg.plans.terms import Terms
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent, Contribution, Offer, Outcome
from secagg.service import config, serving
from secagg.service.attending import Caller
from secagg.service.site import Site
from secagg.store.base import Store
from secagg.store.ledger import SqliteLedger
from secagg.store.memory import MemoryStore
from secagg.transport.base import Link

FOREVER = 1_000_000
AWAY = 600.0
"""Seconds that a client waits for its service to come back."""
FAILED = 3
"""What a service exits with that has stopped by itself."""


def here() -> Any:
    """Where processes are forked from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "bench.service_warm"])
    return context


class Moments:
    """at: the moment at which this process is killed, from 1 on; 0 for never."""

    def __init__(self, at: int) -> None:
        self._left = at

    def passes(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class _Mortal(Shell):
    """Dies before or after a transaction, or a frame."""

    moments = Moments(0)

    def __init__(self, rounds: Any, *, store: Store | None = None, **more: Any) -> None:
        super().__init__(rounds, store=_Dying(store or MemoryStore(), self.moments), **more)

    async def serve(self, peer: Peer, link: Link) -> Any:
        return await super().serve(peer, _Sending(link, self.moments))


class _Dying(Store):
    def __init__(self, store: Store, moments: Moments) -> None:
        self._store, self._moments = store, moments
        self.rows, self.close = store.rows, store.close  # type: ignore[method-assign]

    def commit(self, writes: Sequence[Write]) -> None:
        self._moments.passes()
        self._store.commit(writes)
        self._moments.passes()


class _Sending:
    """A link whose sender dies before or after a frame has left."""

    def __init__(self, link: Link, moments: Moments) -> None:
        self._link, self._moments = link, moments

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    async def send(self, data: bytes) -> None:
        self._moments.passes()
        await self._link.send(data)
        self._moments.passes()


def serve(file: Path, at: int) -> None:
    """at: as of `Moments`."""
    _logged(file.parent / "log")
    _Mortal.moments = Moments(at)
    serving.Shell = _Mortal  # type: ignore[misc]
    try:
        asyncio.run(serving.serve(config.read(file).get(), lambda one: None))
    except StorageError as error:
        logging.getLogger("bench").error("stopped: %s", error)
        os._exit(FAILED)


def attend(job: Row, member: int, folder: Path) -> None:
    """A client for ever; `folder` has its ledger and what it was told."""
    _logged(folder / "log")
    with SqliteLedger.open(folder / f"{member}.ledger") as ledger:
        asyncio.run(_Attending(job, member, folder / f"{member}.told").run(ledger))


@dataclass
class _Attending:
    job: Row
    member: int
    told: Path

    async def run(self, ledger: SqliteLedger) -> None:
        job, none = self.job, Path("none")
        terms, nonces = Terms.decode(bytes.fromhex(job["terms"])), dict[int, bytes]()
        authority, name, key = Path(job["authority"]), f"member-{self.member}", job["key"]
        known = (bytes.fromhex(key), authority, name, job["task"], none, none, terms.digest())
        caller = Caller(Site(job["url"], HOST, *known), seed(self.member))

        async def give(offer: Offer) -> Contribution:
            nonces[offer.round] = offer.nonce
            slot = slots(self.member - job["first"], job["slots"])
            own = payload(self.member, offer.nonce, job["payload"])
            # a name of its own in each round: the ledger on disk is asked for it
            return Contribution({"slot": slot, "payload": own}, name=offer.nonce.hex())

        def heard(outcome: Outcome) -> None:
            reason = None if outcome.reason is None else outcome.reason.value
            nonce = nonces.get(outcome.round, b"").hex()
            line = {"nonce": nonce, "reason": reason, "included": outcome.included}
            line |= {"why": outcome.why, "detail": outcome.detail, "life": os.getpid()}
            with self.told.open("a") as file:
                file.write(json.dumps(line) + "\n")

        while True:
            participant = Participant(
                ClientRounds(Consent(terms=terms), returning=True),
                give,
                ledger=ledger,
                most=FOREVER,
                heard=heard,
                around=caller.around,
            )
            try:
                await caller.stay(participant, FOREVER, timeout=AWAY)
            except SecAggError as error:
                logging.getLogger("bench").warning("%s: %s", type(error).__name__, error)
                await asyncio.sleep(0.1)


@dataclass
class Cast:
    """The service of a ground and a client for each member, as processes. folder: the clients'."""

    ground: Ground
    task: Tasked
    folder: Path

    def __post_init__(self) -> None:
        self._context = here()
        self._job = self.ground.site(self.task)
        self.server: BaseProcess | None = None
        self.clients: dict[int, BaseProcess] = {}

    def serve(self, at: int = 0) -> BaseProcess:
        (self.ground.folder / "state" / "console.token").unlink(missing_ok=True)
        self.server = self._started(serve, self.ground.config, at)
        return self.server

    def attend(self, member: int) -> BaseProcess:
        self.clients[member] = self._started(attend, self._job, member, self.folder)
        return self.clients[member]

    @property
    def listens(self) -> bool:
        token = self.ground.folder / "state" / "console.token"
        return token.is_file() and bool(token.stat().st_size)

    def close(self) -> None:
        for process in [*self.clients.values(), *([self.server] if self.server else [])]:
            process.kill()
            process.join()

    def told(self) -> list[tuple[int, Row]]:
        """Whatever clients were told, whole lines alone: the last may be of one that was killed."""
        found = []
        for member in self.task.members:
            path = self.folder / f"{member}.told"
            lines = path.read_text().split("\n")[:-1] if path.exists() else []
            found += [(member, json.loads(line)) for line in lines]
        return found

    def _started(self, function: Any, *given: Any) -> BaseProcess:
        process: BaseProcess = self._context.Process(target=function, args=given, daemon=True)
        process.start()
        return process


def _logged(path: Path) -> None:
    logging.basicConfig(filename=path, level=logging.WARNING, force=True)
