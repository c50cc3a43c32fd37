"""`secagg serve`: the service, for a number of rounds of one field named "update"."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from secagg import arguments
from secagg.cli import logs, member, options, pinned, private
from secagg.cli.enrolling import places_for
from secagg.cli.hosting import Hosting, hosting
from secagg.cli.output import handled, notice, report, rows, warn
from secagg.cli.running import UNKNOWN, clip_notice, leave, revealed, run_until_stopped
from secagg.cli.targets import (
    ARRAY,
    array_bytes,
    check_distinct,
    check_name,
    check_target,
    every_round,
    numbered,
    save_somewhere,
    write_whole,
)
from secagg.cli.told import Told, lines
from secagg.drive import warm
from secagg.drive.aio import Service, message_limit
from secagg.drive.aio import serve as open_service
from secagg.drive.listening import descriptors
from secagg.errors import Aborted, IntegrityError, LinkTimeout, ParameterError
from secagg.party import Aggregate
from secagg.plans import choose
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.rounds.clock import RoundReport
from secagg.rounds.quota import MAX_LINKS, Limits
from secagg.sim.footprint import peak_rss
from secagg.types import AbortReason
from secagg.wire.frame import payload_digest


class _Running(Protocol):
    """A service from its start to its figures: alone, or one of several servers."""

    @property
    def failed(self) -> bool: ...
    async def run(self, host: str, port: int, port_file: Path | None) -> None: ...
    def answer(self) -> dict[str, object]: ...


_OF_A_PLAN = (
    *("max_weight", "corrupt", "dropout", "min_clients"),
    *("protocol", "clipped", "roster", "liars"),
)
_SIZES = ("clients", "length", "bits", "clip")
_ALONE = (*_SIZES, "rounds", "wait", "payload", "out", "budget", *_OF_A_PLAN, *private.NAMES)
_HAS_ROLE = "is of a server alone: one with a --role has its sizes from the --task"
_OF_A_TASK = (*_SIZES, *_OF_A_PLAN, *private.NAMES)
_OF_MEMBERS = ("members", "transcripts")
_OF_SEVERAL = ("peer", "batches", "patience", "linger", "collect_only")
_NO_STORE = (
    "comes with a --role, or with --members: a server alone keeps nothing, as clients that have "
    "not proved who they are cannot come back to its rounds"
)


def serve(
    ctx: typer.Context,
    clients: options.SomeClients = None,
    length: options.SomeLength = None,
    bits: options.SomeBits = None,
    host: options.Host = "127.0.0.1",
    port: options.Port = 0,
    port_file: options.PortFile = None,
    rounds: options.Rounds = 1,
    deadline: options.Deadline = 30.0,
    wait: options.Wait = 60.0,
    clip: options.Clip = 1.0,
    max_weight: options.MaxWeight = 1,
    corrupt: options.Corrupt = "0.1",
    dropout: options.Dropout = "0.2",
    min_clients: options.MinClients = None,
    protocol: options.Protocol = None,
    clipped: options.Clipped = False,
    roster: options.Roster = None,
    liars: options.Liars = 0,
    epsilon: private.Epsilon = None,
    delta: private.Delta = None,
    norm: private.Norm = None,
    unit: private.Unit = private.Units.CLIENT,
    examples: private.Examples = None,
    trust: private.Trust = private.Trusts.DISTRIBUTED,
    payload: Annotated[Path | None, typer.Option(help="The task that every client gets.")] = None,
    out: options.Means = None,
    budget: options.Told = None,
    role: options.ServerRole = None,
    task: options.TaskFile = None,
    key: options.KeyFile = None,
    members: options.Members = None,
    transcripts: options.Transcripts = None,
    store: options.Store = None,
    peer: options.Peers = None,
    batches: options.Batches = 1,
    patience: options.Patience = 60.0,
    linger: options.Linger = math.inf,
    collect_only: options.CollectOnly = False,
    config: options.ConfigFile = None,
    log_level: logs.LogLevel = logs.Level.WARNING,
    log_json: logs.LogJson = False,
    as_json: options.Json = False,
) -> None:
    """Serve rounds of private sums to clients that `join`.

    Alone it needs --clients, --length and --bits, or a --task of one server with its --payload; it
    prints the digest that clients pin on standard error. With --role it is one server of several,
    sums a --task's batches, and goes on from its --store when given again. A mean without room in
    --out goes to a temporary folder. With --members clients sign. The exit code is 0, 1 when a
    round or batch gave no sum, or a mean or transcript is not in its place, 2 for an error, 143
    after a signal.
    """
    logs.configure(log_level, log_json)
    with handled(as_json):
        stopped, failed = _served(ctx)
    leave(stopped, failed)


def _served(ctx: typer.Context) -> tuple[bool, bool]:
    """Whether a signal ended it, and whether a round failed."""
    given = options.values(ctx)
    as_json, port_file, role = (given[name] for name in ("as_json", "port_file", "role"))
    if given["config"] is not None:
        from secagg.cli.configured import configured  # with what only a service needs

        configured(ctx, given["config"], as_json)
        return False, False
    check_target(port_file, "--port-file")
    running: _Running = _by_itself(ctx) if role is None else _of_several(ctx, role)
    stopped = run_until_stopped(running.run(given["host"], given["port"], port_file))
    report(running.answer(), as_json, lambda: rows(_readable(running.answer())))
    return stopped, running.failed


def _of_several(ctx: typer.Context, role: options.Role) -> member.Serving:
    options.refuse_given(ctx, (*_ALONE, *_OF_MEMBERS), _HAS_ROLE)
    given = options.values(ctx)
    names = ("batches", "deadline", "patience", "linger")
    batches, deadline, patience, linger = (given[name] for name in names)
    task, key, store, peers = given["task"], given["key"], given["store"], given["peer"] or ()
    of = member.settings(role, task, key, store, peers, batches, deadline, patience, linger)
    return member.Serving(of, given["collect_only"])


def _by_itself(ctx: typer.Context) -> _Serving:
    options.refuse_given(ctx, _OF_SEVERAL, "comes with a --role: of several servers")
    given = options.values(ctx)
    task, payload, rounds, out = (given[name] for name in ("task", "payload", "rounds", "out"))
    agreed = pinned.counted(task, pinned.read_any_task(task)) if task is not None else None
    members, key = given["members"], given["key"]
    host = hosting(members, key, given["transcripts"], given["store"], agreed)
    if host is None:
        options.refuse_given(ctx, ("store",), _NO_STORE)
    plan = _plan(ctx, host) if agreed is None else _agreed(ctx, agreed, payload)
    if host is not None:
        host.check(plan)
    elif plan.suite.signed:
        raise ParameterError("clients of this plan sign: give --members, and this server's --key")
    _check_out(plan, rounds, out, given["port_file"])
    told = Told.checked(given["budget"], plan)
    return _alone(plan, payload, rounds, given["deadline"], given["wait"], out, told, host)


def _plan(ctx: typer.Context, host: Hosting | None) -> Plan:
    given = options.values(ctx)
    clients, *sizes = (given[name] for name in ("clients", "length", "bits"))
    if None in (clients, *sizes):
        raise ParameterError("serve needs --clients, --length and --bits, or a --task")
    asked: dict[str, Any] = {name: given[name] for name in _OF_A_PLAN}
    if host is not None:
        size = places_for(host.signed, clients)
        asked |= {"adversary": "active", "roster": asked["roster"] or size}
    return choose.plan(clients=clients, **private.asked(ctx), **asked)


def _agreed(ctx: typer.Context, task: Task, payload: Path | None) -> Plan:
    """Of a task of one server, whose payload must be at hand: every client gets it."""
    digest = payload_digest(pinned.read_payload(payload))
    task.check_rounds("comes with a --role: which one of them is this?")
    options.refuse_given(ctx, _OF_A_TASK, "is already in the --task: leave it out")
    if digest != task.payload_digest:
        raise ParameterError(
            f"--task is about bytes of the digest {task.payload_digest.hex()}, and --payload has "
            f"{digest.hex()}"
        )
    pinned.only_field(task.plan)
    private.check_rounds(task.plan, options.values(ctx)["rounds"])
    found = task.digest().hex()
    notice(f"task digest {found}", task_digest=found)
    return task.plan


def _alone(
    plan: Plan,
    payload: Path | None,
    rounds: int,
    deadline: float,
    wait: float,
    out: Path | None,
    told: Told,
    host: Hosting | None,
) -> _Serving:
    options.deadline(deadline)
    arguments.seconds("--wait", wait, zero=True)
    _limits(plan)
    return _Serving(plan, pinned.read_payload(payload), rounds, deadline, wait, out, told, host)


def _limits(plan: Plan) -> Limits:
    """ParameterError with both numbers where this process may not hold a link for each client."""
    clients, limit = plan.threat.clients, descriptors()
    wanted = Limits(frame=message_limit(plan), links=max(MAX_LINKS, clients))
    needed = wanted.descriptors(clients)
    if limit is not None and needed > limit:
        raise ParameterError(
            f"--clients {clients} needs {needed} open files, a link for each and some to spare, "
            f"and this process may have {limit}: raise that limit (ulimit -n), or ask for fewer"
        )
    return wanted.within(limit)


def _check_out(plan: Plan, rounds: int, out: Path | None, port_file: Path | None) -> None:
    """All of its files, by name, and room for them together."""
    files = list(every_round(out, rounds))
    named = {f"--out of round {number}": file for number, file in enumerate(files, start=1)}
    check_distinct({"--out": out, "--port-file": port_file, **named})
    size = array_bytes(plan.schema.fields[0][1].length)
    check_target(out, "--out", suffix=ARRAY, size=size * (1 + len(files)))
    for file in files:
        check_name(file, "--out")


@dataclass
class _Serving:
    plan: Plan
    payload: bytes
    rounds: int
    deadline: float
    wait: float
    out: Path | None
    told: Told
    host: Hosting | None = None
    done: list[dict[str, Any]] = field(default_factory=list)
    not_saved: bool = False
    begun: float = math.nan
    saved: dict[str, object] = field(default_factory=dict)

    async def run(self, host: str, port: int, port_file: Path | None) -> None:
        limits = _limits(self.plan)
        warm.up(self.plan)
        with self.told, ExitStack() as files:
            who = {} if self.host is None else files.enter_context(self.host.open())
            await self._open(host, port, port_file, limits, who)

    async def _open(
        self, host: str, port: int, port_file: Path | None, limits: Limits, who: dict[str, Any]
    ) -> None:
        async with open_service(host, port, limits=limits, **who) as service:
            try:
                await self._serve(service, host, port_file)
            except asyncio.CancelledError:
                await service.close()
                if not math.isnan(self.begun):
                    self._record(service, None, AbortReason.CANCELLED)
                raise

    async def _serve(self, service: Service, host: str, port_file: Path | None) -> None:
        digest = self.plan.digest().hex()
        notice(f"serving on port {service.port} of {host}", port=service.port)
        notice(f"plan digest {digest}", plan_digest=digest)
        notice(clip_notice(self.plan))
        if port_file is not None:
            write_whole(port_file, f"{service.port}\n".encode(), force=True)
        for _ in range(self.rounds):
            try:
                await service.ready(self.plan.threat.clients, self.wait)
            except LinkTimeout as late:
                warn(f"{late}: starting with those")
            await self._round(service)

    async def _round(self, service: Service) -> None:
        self.begun, self.saved = time.process_time(), {}
        total: Aggregate | None = None
        reason: AbortReason | None = None
        try:
            total = await service.run_round(
                self.plan, self.payload, deadlines=self.deadline, keep=partial(self._save, service)
            )
        except (Aborted, IntegrityError) as ended:
            reason = ended.reason if isinstance(ended, Aborted) else AbortReason.INTEGRITY
            warn(f"round {len(self.done) + 1} gave no sum: {ended}")
        else:
            number, lost = len(self.done) + 1, len(total.dropped)
            notice(
                f"round {number}: the sum of {len(total.contributors)} clients, without {lost}",
                round=number,
            )
        self._record(service, total, reason)
        if clipped := revealed(total):
            warn(f"round {len(self.done)}: clients clipped {clipped} elements of their inputs")

    def _record(
        self, service: Service, total: Aggregate | None, reason: AbortReason | None
    ) -> None:
        """Of the round that has ended, or that a signal has interrupted."""
        if total is None:
            self._name_files(service.report)
        self.done.append(
            {
                "contributors": len(total.contributors) if total else 0,
                "dropped": len(total.dropped) if total else self.plan.threat.clients,
                "error": reason.value if reason else None,
                "clipped": revealed(total),
                "privacy": self.told.label(total),
                **_traffic(service),
                "server_seconds": time.process_time() - self.begun,
                **self.saved,
            }
        )
        self.begun = math.nan

    def _save(self, service: Service, total: Aggregate) -> None:
        """The round's own file where there are several, and the one of the last round so far.

        Before any client hears that there is a sum; and before that, that it was told.
        """
        self.told.record(total)
        self._name_files(service.report)
        if self.out is None:
            return
        number, mean = len(self.done) + 1, total.mean[pinned.only_field(self.plan)]
        own = numbered(self.out, number) if self.rounds > 1 else self.out
        saved = save_somewhere(own, mean)
        if own != self.out and not saved.failed:
            last = save_somewhere(self.out, mean)
            saved = last if last.failed else saved
        if saved.failed:
            warn(f"round {number}: {saved.failed}")
        self.not_saved |= bool(saved.failed)
        self.saved |= saved.figures("out", mean)

    def _name_files(self, report: RoundReport | None) -> None:
        """Of what was written down of a round whose clients sign."""
        if self.host is not None:
            self.saved |= self.host.kept(report)
            self.not_saved |= self.host.missing(report)

    @property
    def failed(self) -> bool:
        return self.not_saved or any(one["error"] for one in self.done)

    def answer(self) -> dict[str, object]:
        """The last round's figures under the names of `simulate`, and every round's."""
        nothing = {"contributors": 0, "dropped": 0, "phases": {}, "bytes_up": None, "privacy": None}
        last = self.done[-1] if self.done else {**nothing, "bytes_down": None}
        figures = {**UNKNOWN, **last, "peak_rss": peak_rss()}
        both = {"rounds": self.done, "budget": self.told.figures()}
        return {"plan_digest": self.plan.digest().hex(), **figures, **both}


def _traffic(service: Service) -> dict[str, object]:
    """Bytes are the mean of a client that was announced to."""
    last = service.report
    if last is None:
        unknown: dict[str, object] = {"bytes_up": None, "bytes_down": None}
        return {"phases": {}, **unknown, "faults": {}, "disputed": []}
    return {
        "phases": dict(last.phases),
        "bytes_up": last.bytes_up,
        "bytes_down": last.bytes_down,
        "faults": dict(Counter(fault.value for fault in last.faults.values())),
        "disputed": sorted(last.disputed),  # (dealer, holder): one of the two lied
    }


def _readable(answer: dict[str, object]) -> dict[str, object]:
    digests = ("plan_digest", "task_digest", "server")
    figures = ("contributors", "dropped", "error", "clipped", "server_seconds", "peak_rss")
    names = (*digests, *figures, "out", "out_values")
    shown = {name: answer[name] for name in names if answer.get(name) is not None}
    return {**shown, **private.lines(answer.get("privacy")), **lines(answer.get("budget"))}
