"""`secagg serve --role`: one server of several, which keeps what it acknowledged in a file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secagg import arguments
from secagg.cli import pinned
from secagg.cli.options import Role
from secagg.cli.output import notice, warn
from secagg.cli.running import UNKNOWN
from secagg.cli.targets import check_target, write_whole
from secagg.committee import ServerSecrets
from secagg.drive import warm
from secagg.drive.listening import listen
from secagg.drive.member import MemberService
from secagg.errors import ParameterError
from secagg.plans.task import Task
from secagg.rounds.batches import BatchReport
from secagg.sim.footprint import peak_rss
from secagg.store.sqlite import SqliteStore
from secagg.transport import websocket


@dataclass(frozen=True)
class Settings:
    """peers: of a leader, the helpers' URLs by index. deadline, patience, linger: seconds."""

    task: Task
    index: int
    secrets: ServerSecrets
    store: Path
    peers: dict[int, str]
    batches: int
    deadline: float
    patience: float
    linger: float


def settings(
    role: Role,
    task: Path | None,
    key: Path | None,
    store: Path | None,
    peers: Sequence[str],
    batches: int,
    deadline: float,
    patience: float,
    linger: float,
) -> Settings:
    """ParameterError unless the key is of a server of that role, with the peers that it needs."""
    if task is None or key is None or store is None:
        raise ParameterError("a server of several needs --task, --key and --store")
    agreed = pinned.read_task(task)
    index, secrets = pinned.read_server_key(key, agreed)
    right = Role.HELPER if index else Role.LEADER
    if role is not right:
        raise ParameterError(f"{key} is the key of server {index}: its role is {right}")
    if role is Role.LEADER:
        helpers = agreed.plan.params.servers - 1
        if len(peers) != helpers:
            raise ParameterError(
                f"the leader needs --peer URL for each of the {helpers} helpers, in the task's "
                f"order, and {len(peers)} are given"
            )
    elif peers:
        raise ParameterError("--peer is the leader's: a helper waits for the leader to come")
    for url in peers:
        websocket.check_url(url)
    check_target(store, "--store")
    arguments.seconds("--deadline", deadline)
    arguments.seconds("--patience", patience)
    arguments.seconds("--linger", linger, zero=True)
    by_index = dict(enumerate(peers, start=1))
    times = (deadline, patience, linger)
    return Settings(agreed, index, secrets, store, by_index, batches, *times)


@dataclass
class Serving:
    """One server of several, from its start to its figures; done: the batches that are over."""

    settings: Settings
    collect_only: bool
    done: list[BatchReport] = field(default_factory=list)

    async def run(self, host: str, port: int, port_file: Path | None) -> None:
        chosen = self.settings
        warm.up(chosen.task.plan)
        with SqliteStore.open(chosen.store, owner=_owner(chosen)) as store:
            service = MemberService(
                chosen.task,
                chosen.index,
                chosen.secrets,
                store,
                peers=chosen.peers,
                batches=chosen.batches,
                deadline=chosen.deadline,
                patience=chosen.patience,
                linger=chosen.linger,
                collect_only=self.collect_only,
            )
            size = service.max_size
            async with listen(service.on_link, host, port, max_size=size) as bound:
                digest = chosen.task.digest().hex()
                notice(f"server {chosen.index} on port {bound} of {host}", port=bound)
                notice(f"task digest {digest}", task_digest=digest)
                if port_file is not None:
                    write_whole(port_file, f"{bound}\n".encode(), force=True)
                await self._until_stopped(service)

    async def _until_stopped(self, service: MemberService) -> None:
        """A signal cancels this task, not the service in the middle of a commit."""
        running = asyncio.create_task(service.run())
        try:
            self.done += await asyncio.shield(running)
        except asyncio.CancelledError:
            service.stop()
            self.done += await running
            raise
        finally:
            self._warn()

    def _warn(self) -> None:
        for one in self.done:
            if one.reason is None:
                of = "" if one.reports is None else f", of {one.reports} reports"
                notice(f"batch {one.batch}: its sum is locked{of}", batch=one.batch)
            else:
                warn(f"batch {one.batch} gave no sum: {one.detail}")
        if len(self.done) == self.settings.batches and (left := self.done[-1].pending):
            warn(f"{left} reports are stored and in no sum: no batch is left that could take them")

    @property
    def failed(self) -> bool:
        return any(one.reason is not None for one in self.done)

    def answer(self) -> dict[str, object]:
        """The last batch's figures under the names of `simulate`, and every batch's."""
        every = [_figures(one) for one in self.done]
        nothing: dict[str, Any] = {"contributors": None, "dropped": 0, "error": None, "phases": {}}
        figures = every[-1] if every else nothing
        return {
            "task_digest": self.settings.task.digest().hex(),
            "server": self.settings.index,
            **UNKNOWN,
            **figures,
            "bytes_up": None,
            "bytes_down": None,
            "server_seconds": time.process_time(),
            "peak_rss": peak_rss(),
            "batches": every,
        }


def _owner(chosen: Settings) -> bytes:
    """Binds the store to its task and its server: another's is refused when it is opened."""
    return chosen.task.digest() + bytes([chosen.index])


def _figures(one: BatchReport) -> dict[str, Any]:
    return {
        "batch": one.batch,
        "contributors": one.reports,
        "dropped": len(one.faults),
        "pending": one.pending,
        "error": one.reason.value if one.reason else None,
        "phases": dict(one.phases),
    }
