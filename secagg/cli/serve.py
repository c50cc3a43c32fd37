"""`secagg serve`: the service, for a number of rounds of one field named "update"."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from secagg import planner
from secagg.cli import member, options
from secagg.cli.output import handled, report, rows, save_array, warn, write_whole
from secagg.cli.service import (
    FAILED_ROUND,
    STOPPED,
    UNKNOWN,
    clip_notice,
    revealed,
    run_until_stopped,
)
from secagg.drive.aio import Service, message_limit
from secagg.drive.aio import serve as open_service
from secagg.errors import Aborted, IntegrityError, LinkTimeout, ParameterError, TooLarge
from secagg.fields import FixedPoint
from secagg.footprint import peak_rss
from secagg.party import Aggregate
from secagg.planner import Plan
from secagg.transport.base import DEFAULT_MAX_SIZE
from secagg.types import AbortReason


class _Running(Protocol):
    """A service from its start to its figures: alone, or one of several servers."""

    @property
    def failed(self) -> bool: ...
    async def run(self, host: str, port: int, port_file: Path | None) -> None: ...
    def answer(self) -> dict[str, object]: ...


def serve(
    clients: Annotated[int | None, typer.Option(help="The most clients that take part.")] = None,
    length: Annotated[int | None, typer.Option(help="Elements of a client's vector.")] = None,
    bits: Annotated[int | None, typer.Option(help="Bits of one element.")] = None,
    host: options.Host = "127.0.0.1",
    port: options.Port = 0,
    port_file: options.PortFile = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, over the same connections.")] = 1,
    deadline: Annotated[float, typer.Option(help="Seconds that each phase lasts at most.")] = 30.0,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for all clients; then start with who is there.")
    ] = 60.0,
    clip: options.Clip = 1.0,
    max_weight: options.MaxWeight = 1,
    corrupt: options.Corrupt = "0.1",
    dropout: options.Dropout = "0.2",
    min_clients: options.MinClients = None,
    protocol: options.Protocol = None,
    clipped: options.Clipped = False,
    payload: Annotated[Path | None, typer.Option(help="The task that every client gets.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the last round's mean, as .npy.")] = None,
    role: options.ServerRole = None,
    task: options.TaskFile = None,
    key: options.KeyFile = None,
    store: options.Store = None,
    peer: options.Peers = None,
    batches: options.Batches = 1,
    patience: options.Patience = 60.0,
    linger: options.Linger = math.inf,
    collect_only: options.CollectOnly = False,
    as_json: options.Json = False,
) -> None:
    """Serve rounds of private sums to clients that `join`.

    Alone it needs --clients, --length and --bits; the plan's digest is printed on standard error:
    clients pin it with --plan-digest. With --role it is one server of several, sums the batches of
    a --task, and goes on from its --store when the same command is given again. The exit code is
    0, 1 when a round or batch gave no sum, 2 for an error, 143 when stopped by a signal.
    """
    with handled(as_json):
        running: _Running
        sizes, files = (clients, length, bits), (task, key, store)
        if role is not None:
            if any(size is not None for size in sizes):
                raise ParameterError("a server with a --role has its sizes from the --task")
            chosen = member.settings(
                role, *files, peer or (), batches, deadline, patience, linger, collect_only
            )
            running = member.Serving(chosen)
        else:
            if peer or any(file is not None for file in files):
                raise ParameterError("--task, --key, --store and --peer come with a --role")
            weights = (clip, max_weight)
            plan = _plan(*sizes, *weights, corrupt, dropout, min_clients, protocol, clipped)
            running = _Serving(plan, _payload(payload), rounds, deadline, wait, out)
        stopped = run_until_stopped(running.run(host, port, port_file))
    answer = running.answer()
    report(answer, as_json, lambda: rows(_readable(answer)))
    if stopped or running.failed:
        raise typer.Exit(STOPPED if stopped else FAILED_ROUND)


def _plan(
    clients: int | None,
    length: int | None,
    bits: int | None,
    clip: float,
    max_weight: int,
    corrupt: str,
    dropout: str,
    min_clients: int | None,
    protocol: str | None,
    clipped: bool,
) -> Plan:
    if clients is None or length is None or bits is None:
        raise ParameterError("serve needs --clients, --length and --bits, or a --role and --task")
    return planner.plan(
        clients=clients,
        fields={"update": FixedPoint(length, clip, bits)},
        corrupt=corrupt,
        dropout=dropout,
        min_clients=min_clients,
        max_weight=max_weight,
        protocol=protocol,
        clipped=clipped,
    )


def _payload(file: Path | None) -> bytes:
    payload = file.read_bytes() if file is not None else b""
    # an announcement is the only frame that carries either; clients refuse larger ones
    if len(payload) > DEFAULT_MAX_SIZE - planner.MAX_ENCODED:
        raise TooLarge(f"a payload of {len(payload)} bytes; clients take {DEFAULT_MAX_SIZE}")
    return payload


@dataclass
class _Serving:
    plan: Plan
    payload: bytes
    rounds: int
    deadline: float
    wait: float
    out: Path | None
    done: list[dict[str, Any]] = field(default_factory=list)

    async def run(self, host: str, port: int, port_file: Path | None) -> None:
        async with open_service(host, port, max_size=message_limit(self.plan)) as service:
            typer.echo(f"serving on port {service.port} of {host}", err=True)
            typer.echo(f"plan digest {self.plan.digest().hex()}", err=True)
            typer.echo(clip_notice(self.plan), err=True)
            if port_file is not None:
                write_whole(port_file, f"{service.port}\n".encode(), force=True)
            try:
                await service.ready(self.plan.threat.clients, self.wait)
            except LinkTimeout as late:
                warn(f"{late}: starting with those")
            for _ in range(self.rounds):
                await self._round(service)

    async def _round(self, service: Service) -> None:
        begun = time.process_time()
        total: Aggregate | None = None
        reason: AbortReason | None = None
        try:
            total = await service.run_round(self.plan, self.payload, deadlines=self.deadline)
        except (Aborted, IntegrityError) as ended:
            reason = ended.reason if isinstance(ended, Aborted) else AbortReason.INTEGRITY
            warn(f"round {len(self.done) + 1} gave no sum: {ended}")
        self.done.append(
            {
                "contributors": len(total.contributors) if total else 0,
                "dropped": len(total.dropped) if total else self.plan.threat.clients,
                "error": reason.value if reason else None,
                "clipped": revealed(total),
                **_traffic(service),
                "server_seconds": time.process_time() - begun,
            }
        )
        if clipped := revealed(total):
            warn(f"round {len(self.done)}: clients clipped {clipped} elements of their inputs")
        if total is not None and self.out is not None:
            save_array(self.out, total.mean["update"])

    @property
    def failed(self) -> bool:
        return any(one["error"] for one in self.done)

    def answer(self) -> dict[str, object]:
        """The last round's figures under the names of `simulate`, and every round's."""
        nothing = {"contributors": 0, "dropped": 0, "phases": {}, "bytes_up": None}
        last = self.done[-1] if self.done else {**nothing, "bytes_down": None}
        figures = {**UNKNOWN, **last, "peak_rss": peak_rss()}
        return {"plan_digest": self.plan.digest().hex(), **figures, "rounds": self.done}


def _traffic(service: Service) -> dict[str, object]:
    """Bytes are the mean of a client that was announced to."""
    last = service.report
    if last is None:
        return {"phases": {}, "bytes_up": None, "bytes_down": None}
    return {
        "phases": dict(last.phases),
        "bytes_up": last.bytes_up,
        "bytes_down": last.bytes_down,
    }


def _readable(answer: dict[str, object]) -> dict[str, object]:
    digests = ("plan_digest", "task_digest", "server")
    names = (*digests, "contributors", "dropped", "error", "clipped", "server_seconds", "peak_rss")
    return {name: answer[name] for name in names if answer.get(name) is not None}
