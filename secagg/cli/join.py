"""`secagg join`: one client of a service, with a vector from a file."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy.typing as npt
import typer

from secagg import arguments
from secagg.budget import Budget
from secagg.cli import logs, options, pinned, private
from secagg.cli.called import Called, called
from secagg.cli.enrolled import NAMES, Enrolled, enrolled, name_of
from secagg.cli.joined import figures, line
from secagg.cli.npy import Vector
from secagg.cli.output import handled, notice, report, rows, warn
from secagg.cli.pinned import NO_TASK, parse_digest
from secagg.cli.reporting import Reporting, prepare
from secagg.cli.running import UNKNOWN, leave, run_until_stopped
from secagg.cli.targets import check_target
from secagg.committee import Committee
from secagg.drive import warm
from secagg.drive.aio import Contribution, Offer, Outcome
from secagg.drive.enrolled import entered
from secagg.drive.participant import Participant, counting
from secagg.drive.rejoin import stay, try_input
from secagg.errors import ParameterError, PolicyRefused, Spent, TransportError
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.plans.terms import Terms
from secagg.protocol import OneServer, SeveralServers
from secagg.rounds.client import PATIENCE, ClientRounds
from secagg.rounds.membership import Membership
from secagg.rounds.offer import Consent
from secagg.rounds.part import SPENT
from secagg.schema import MAX_WEIGHT
from secagg.sim.footprint import peak_rss
from secagg.store.base import Ledger
from secagg.store.ledger import SqliteLedger

_OF_A_TASK = ("task_digest", "payload")
_TOLD = ("max_epsilon", "max_delta", "unit")
_OF_ONE = "is of one server: a report is one by itself"
_FORGETS = (
    "is new: it knows of no input that this identity has given before, and of nobody with whom one "
    "was summed. If there was another ledger, stop, and give that one"
)
_UNNAMED = (
    "the vector has no --name, and the task no payload to name it by: rounds are not compared, and "
    "two sums may differ by this vector alone"
)


def join(
    ctx: typer.Context,
    input: options.Input,
    urls: options.SomeUrls = None,
    service: options.SiteFile = None,
    weight: Annotated[int, typer.Option(help="This client's weight in the mean.")] = 1,
    plan: Annotated[
        Path | None, typer.Option(help="Take part in this plan only: `secagg plan --out`.")
    ] = None,
    plan_digest: Annotated[
        str | None, typer.Option(metavar="HEX", help="Take part in the plan of this digest only.")
    ] = None,
    task: options.TaskFile = None,
    task_digest: Annotated[
        str | None, typer.Option(metavar="HEX", help="What the task must be; else it is explained.")
    ] = None,
    payload: Annotated[
        Path | None, typer.Option(help="With --task: the bytes that it is about, if any.")
    ] = None,
    max_epsilon: private.MaxEpsilon = None,
    max_delta: private.MaxDelta = None,
    unit: private.AgreedUnit = None,
    budget: options.BudgetFile = None,
    timeout: options.Timeout = 60.0,
    name: options.InputName = None,
    ledger: options.LedgerFile = None,
    identity: options.IdentityFile = None,
    members: options.Members = None,
    admin: options.Admin = None,
    policy: options.PolicyFile = None,
    told: options.ToldFolder = None,
    log_level: logs.LogLevel = logs.Level.WARNING,
    log_json: logs.LogJson = False,
    as_json: options.Json = False,
) -> None:
    """Take part in every round of a service until it closes the connection; or report once.

    A server that is not there yet, or is lost, is tried again. A vector with a --name is in at most
    one sum of this command; run again with the same --ledger, it refuses a name that was used (exit
    code 2). Without one it is named by a round's payload, or else two sums may differ by it.

    With neither --plan nor --plan-digest the server chooses the plan: its parameters are derived
    again and checked, and what they promise is printed on standard error. A --task of one server
    pins plan and payload. With one of several the vector goes to them as one report, the same bytes
    until it is stored; run again, it makes another. With --max-epsilon a plan that tells more is
    refused, pinned or not, as is one of a delta above --max-delta, or of single examples without
    --unit example; with --budget all plans are counted. The exit code is 0, 1 when a round gave no
    sum, 2 for an error, also of a full server, 3 for a sum without this client, 143 after a signal.
    """
    logs.configure(log_level, log_json)
    with handled(as_json):
        vector = Vector.open(input)
        arguments.integer("--weight", weight, 0, MAX_WEIGHT)
        running = _running(ctx, urls or [], vector, weight)
        stopped = run_until_stopped(running.run())
        if not stopped:
            running.check()
        answer = running.answer()
        report(answer, as_json, lambda: rows({**_each(running), **_readable(answer)}))
    leave(stopped, running.failed, running.left_out)


def _running(
    ctx: typer.Context, urls: list[str], vector: Vector, weight: int
) -> _Joining | Reporting:
    given = options.values(ctx)
    timeout = given["timeout"]
    if given["service"] is not None:
        site = called(ctx, given["service"])
        kept = given["name"], site.site.ledger, given["budget"]
        waits = _waits(ctx, timeout)
        consent = Consent(terms=site.terms, **{n: given[n] for n in _TOLD})
        return _joining("", vector, weight, consent, *kept, waits, None, site)
    if not urls:
        raise ParameterError("join needs the URL of a server, or the --service that it is of")
    pinned_by = given["plan"] or given["plan_digest"]
    task = given["task"]
    agreed = None if task is None else _agreed(task, given["task_digest"], pinned_by)
    of_one = None if isinstance(agreed, Terms) else agreed
    told = {name: given[name] for name in _TOLD}
    match agreed:
        case Task(members=Committee()):
            options.refuse_given(ctx, ("name", "ledger", *NAMES), _OF_ONE)
            Consent(**told).check_privacy(agreed.plan.privacy)
            explained = given["task_digest"] is None
            files = given["payload"], given["budget"]
            return prepare(agreed, explained, urls, vector, weight, *files, timeout)
        case _:
            _check_one(ctx, urls, agreed)
            consent = _consent(given["plan"], given["plan_digest"], agreed)
            consent, waits = replace(consent, **told), _waits(ctx, timeout)
            kept = given["name"], given["ledger"], given["budget"]
            who = enrolled(given, of_one)
            return _joining(urls[0], vector, weight, consent, *kept, waits, who)


def _agreed(path: Path, digest: str | None, plan: object) -> Task | Terms:
    if plan is not None:
        raise ParameterError("a task contains its plan: leave out --plan and --plan-digest")
    return pinned.read_any_task(path, None if digest is None else parse_digest(digest, "task"))


def _check_one(ctx: typer.Context, urls: list[str], task: Task | Terms | None) -> None:
    """Without the digest that the user expects, what a task promises is printed."""
    if task is None:
        if len(urls) > 1:
            raise ParameterError(NO_TASK)
        options.refuse_given(ctx, _OF_A_TASK, f"is of a task: {NO_TASK}")
    else:
        options.refuse_given(ctx, ("payload",), "is what the one server of this task announces")
    pinned.check_urls(urls, 1, "a client of one server")
    if task is not None and not options.given(ctx, "task_digest"):
        pinned.explain_task(task)


def _consent(plan: Path | None, plan_digest: str | None, task: Task | Terms | None) -> Consent:
    """What the server has to announce: this task or plan, one of these terms, or any."""
    if isinstance(task, Terms):
        return Consent(terms=task)
    if task is not None:
        return Consent(task=task)
    chosen = _read_plan(plan) if plan is not None else None
    return Consent(chosen, parse_digest(plan_digest, "plan") if plan_digest is not None else None)


def _waits(ctx: typer.Context, timeout: float) -> tuple[float, float]:
    """For the server to be there, and beyond a round's deadlines: it may compute for long."""
    timeout = arguments.seconds("--timeout", timeout)
    return timeout, timeout if options.given(ctx, "timeout") else PATIENCE


def _joining(
    url: str,
    vector: Vector,
    weight: int,
    consent: Consent,
    name: str | None,
    ledger: Path | None,
    budget: Path | None,
    waits: tuple[float, float],
    who: Enrolled | None,
    site: Called | None = None,
) -> _Joining:
    """Everything is checked before the server hears anything."""
    check_target(ledger, "--ledger")
    made = _Joining(url, vector, weight, consent, name, ledger, budget, *waits, who, site)
    made.try_input()
    return made


@dataclass
class _Joining:
    """timeout: seconds until the server must be reached. patience: as of ClientRounds."""

    url: str
    vector: Vector
    weight: int
    consent: Consent
    name: str | None
    ledger: Path | None
    budget: Path | None
    timeout: float
    patience: float
    who: Enrolled | None = None
    site: Called | None = None
    participant: Participant | None = None
    shown: set[bytes] = field(default_factory=set)
    warned: bool = False
    values: npt.NDArray[Any] | None = None

    def try_input(self) -> None:
        """With a plan that is known beforehand, an input that does not fit it meets no server."""
        if (plan := self._known) is not None:
            self.consent.check_privacy(plan.privacy)
            try_input(plan, self._given(plan))

    @property
    def _known(self) -> Plan | None:
        """Of terms one of them, which is as wide as any in what an input must fit."""
        task, terms = self.consent.task, self.consent.terms
        if terms is not None:
            return terms.plan(terms.most, terms.population)
        return self.consent.plan if task is None else task.plan

    async def run(self) -> None:
        """With ledger and budget open: what leaves is in them before, and synced."""
        warm.up(self._known)
        with ExitStack() as files:
            ledger = budget = None
            if self.ledger is not None:
                if self._signs and not self.ledger.exists():
                    notice(f"--ledger {self.ledger} {_FORGETS}")
                ledger = files.enter_context(SqliteLedger.open(self.ledger))
            if self.budget is not None:
                budget = files.enter_context(Budget(self.budget, anchor=ledger))
            member = None
            if self.site is not None and ledger is not None:
                await self.site.attendance.begin(self.timeout)
                member = files.enter_context(self.site.open(ledger))
            elif self.who is not None:
                member = files.enter_context(self.who.open())
            await self._run(ledger, budget, files.enter_context(entered(member, ledger)))

    async def _run(
        self, ledger: Ledger | None, budget: Budget | None, member: Membership | None
    ) -> None:
        given: dict[str, Any] = {"counting": counting(budget), "member": member}
        rounds = ClientRounds(
            self.consent, patience=self.patience, returning=self.site is not None, **given
        )
        kept: dict[str, Any] = {"ledger": ledger, "budget": budget, "heard": self._heard}
        if self.site is not None and self.site.caller is not None:
            kept |= {"most": 1, **self.site.caller.kept}
        self.participant = Participant(rounds, self._contribute, **kept)
        if self.site is not None:
            await self.site.stay(self.participant, self.timeout)
        else:
            await stay(self.url, self.participant, timeout=self.timeout, told=notice)

    def _heard(self, outcome: Outcome) -> None:
        """At once: who waits for the last round may be killed before it."""
        if (keeper := self.who or self.site) is not None:
            keeper.keep(outcome)

    @property
    def _signs(self) -> bool:
        return self.who is not None or (self.site is not None and self.site.placing is not None)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Also of the rounds that a signal has interrupted."""
        return () if self.participant is None else tuple(self.participant.outcomes)

    def check(self) -> None:
        """And say why this client left a round or was left out: of a server that lies, nobody else
        would."""
        for one in self.outcomes:
            if one.detail:
                warn(f"round {one.round}: {one.detail}")
        if not self.outcomes:
            raise TransportError(
                "the server closed the link before it announced a round: it may have all the "
                "clients it takes, or have ended; if it is one of several, give the --task"
                + "; or its roster is another than this client's"
                * (self.who is not None)
            )
        if self.ledger is not None and all(one.why == SPENT for one in self.outcomes):
            raise Spent(
                f"this input is in a sum already, or may be: --ledger {self.ledger} knows of its "
                "use. Another vector needs another --name"
            )

    @property
    def failed(self) -> bool:
        return any(outcome.reason is not None for outcome in self.outcomes)

    @property
    def left_out(self) -> bool:
        """Whether there is a sum without this client."""
        return any(o.reason is None and not o.included for o in self.outcomes)

    def _contribute(self, offer: Offer) -> Contribution:
        if self.consent.pinned is None:
            self._show(offer.plan)
        given = self._given(offer.plan)
        if self.name is None and self._signs and self.values is not None:
            return replace(given, name=name_of(self.values, offer.payload_digest))
        if self.name is None and not offer.names_inputs and not self.warned:
            self.warned = True
            warn(_UNNAMED)
        return given

    def _given(self, plan: Plan) -> Contribution:
        """Read once, when the plan is known that says how long it must be."""
        if self.values is None:
            self.values = pinned.read_vector(self.vector, plan)
        return Contribution({pinned.only_field(plan): self.values}, self.weight, name=self.name)

    def _show(self, plan: Plan) -> None:
        """Nothing that reveals the vector has been sent yet."""
        if plan.digest() not in self.shown:
            self.shown.add(plan.digest())
            notice(plan.explain())  # it names the digest
            warn("the server chose this plan; --plan or --plan-digest would pin it")

    def answer(self) -> dict[str, object]:
        """The last round's figures under the names of `simulate`, and every round's.

        client_seconds is the processor time of this whole process, start-up included.
        """
        every = [figures(outcome) for outcome in self.outcomes]
        nothing = {"contributors": 0, "dropped": 0, "clipped": 0, "phases": {}}
        nothing |= {"bytes_up": 0, "bytes_down": 0, "included": False, "why": "", "spent": False}
        nothing["detail"] = ""
        used = {"client_seconds": time.process_time(), "peak_rss": peak_rss()}
        return {**UNKNOWN, **(every[-1] if every else nothing), **used, "rounds": every}


def _each(running: _Joining | Reporting) -> dict[str, str]:
    """One line a round: what became of it is not that of the last."""
    if isinstance(running, Reporting):
        return {}
    return {f"round {one.round}": line(one) for one in running.outcomes}


def _readable(answer: dict[str, object]) -> dict[str, object]:
    """Of a report, or of the last round what that has cost."""
    of_report = () if "rounds" in answer else ("task_digest", "stored", "error", "clipped")
    names = (*of_report, "bytes_up", "bytes_down", "peak_rss")
    return {name: answer[name] for name in names if answer.get(name) is not None}


def _read_plan(path: Path) -> Plan:
    """A plan that the user chose: also one that protects nobody, if that is the choice."""
    plan = pinned.read_plan(path, allow_unprotected=True)
    match plan.info.family:
        case OneServer():
            return plan
        case SeveralServers():
            raise PolicyRefused(NO_TASK)
