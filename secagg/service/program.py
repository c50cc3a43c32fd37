"""A program takes part in a service's task, by the file that `secagg enrol` has made: `attend` in
asyncio, and `join_service` for programs without.

    outcomes = await secagg.attend("site-1.toml", inputs, rounds=1)
    outcomes = secagg.join_service("site-1.toml", {"update": values}, name="monday")
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from secagg.arguments import function, integer, seconds
from secagg.drive import warm
from secagg.drive.blocking import MOST_ROUNDS, Fields, contribution, giver, in_this_thread
from secagg.drive.enrolled import Member, entered
from secagg.drive.participant import Inputs, Participant
from secagg.drive.rejoin import try_input
from secagg.errors import InputError
from secagg.plans.plan import Plan
from secagg.plans.terms import Terms
from secagg.rounds.client import PATIENCE, ClientRounds
from secagg.rounds.offer import Consent, Outcome
from secagg.schema import MAX_WEIGHT
from secagg.service.attending import Caller
from secagg.service.placing import Placing, placing_of
from secagg.service.renewing import finish
from secagg.service.settings import read_terms
from secagg.service.site import Site
from secagg.shown import short
from secagg.store.base import Ledger
from secagg.store.identity import Identity
from secagg.store.ledger import SqliteLedger

SitePath = str | os.PathLike[str]


async def attend(
    site: SitePath,
    inputs: Inputs,
    *,
    rounds: int | None = 1,
    timeout: float = 60.0,
    patience: float = PATIENCE,
    told: Callable[[str], None] = lambda text: None,
) -> tuple[Outcome, ...]:
    """Takes part in so many rounds of the service and the task that the site's file names.

    site: path of the file of `secagg enrol`. Its key and its ledger, beside it, are this call's
    alone meanwhile. inputs: as of `secagg.participate`; an offer has its payload, fetched if need
    be. rounds: after so many it leaves; None stays. timeout: seconds that the service may be out of
    reach, at the beginning or in between; when its next round is, it says itself, and that is
    waited for beside them. patience: seconds that a round may last beyond its own deadlines. told:
    hears, for people, of every link and every wait.

    A link that is lost, or a service that is started again, is come back to, if it is there in the
    same phase also for the round that runs. Returns an Outcome for each round, as they ended; one
    that was lost with the service is among them.

    Raises InputError, ParameterError and StorageError for files that cannot be read, do not fit
    each other, or are in use; TransportError where the service is out of reach for longer than
    `timeout` and no round has ended, or does not let this site in; and whatever
    `secagg.participate` raises.
    """
    function("inputs", inputs)
    here = Attendance.of(site)
    return await here.run(inputs, _number(rounds), timeout, patience, told)


def join_service(
    site: SitePath,
    fields: Fields,
    *,
    weight: int = 1,
    name: str | bytes | None = None,
    rounds: int | None = 1,
    timeout: float = 60.0,
    patience: float = PATIENCE,
    told: Callable[[str], None] = lambda text: None,
) -> tuple[Outcome, ...]:
    """As `attend`, and blocks meanwhile.

    fields, weight, name: as of `secagg.join`. A function is called in this thread; under a name an
    input is in one sum of this site at most, whatever process gives it again. told is called in
    another thread. Raises what `attend` does, and before any link InputError for fields that do not
    fit the task.
    """
    weight, most = integer("weight", weight, 0, MAX_WEIGHT), _number(rounds)
    give, here = giver(fields, weight, name), Attendance.of(site)
    if not callable(fields):
        try_input(here.plan, contribution(fields, weight, name))
    return in_this_thread(give, lambda inputs: here.run(inputs, most, timeout, patience, told))


@dataclass(frozen=True)
class Attendance:
    """A site and the terms that it pins. placing: of a task whose clients sign."""

    site: Site
    terms: Terms
    placing: Placing | None = None

    __repr__ = short

    @classmethod
    def of(cls, path: SitePath) -> Attendance:
        """Raises InputError and ParameterError for files that do not fit each other."""
        site = Site.read(Path(path))
        terms = read_terms(terms_file(site))
        if terms.digest() != site.terms:
            raise InputError(
                f"{terms_file(site)} has other terms than those that {path} pins: enrol again, or "
                "ask the service's administrator which are meant"
            )
        return cls(site, terms, placing_of(site, terms))

    @property
    def plan(self) -> Plan:
        """One that follows from the terms: as wide as any in what an input must fit."""
        return self.terms.plan(self.terms.most, self.terms.population)

    async def begin(self, timeout: float) -> None:
        """Whatever has to be asked for before the first link, for so many seconds."""
        if self.placing is not None:
            await self.placing.begin(timeout)

    @contextmanager
    def caller(
        self, told: Callable[[str], None], ledger: Ledger
    ) -> Iterator[tuple[Caller, Member | None]]:
        """After `begin`. With its identity, which is this process's alone meanwhile; and what it is
        where clients sign."""
        finish(self.site, told)
        with Identity.open(self.site.identity) as identity:
            caller, placing = Caller(self.site, identity.seed, told), self.placing
            if placing is None:
                yield caller, None
                return
            caller.renew = lambda rounds: placing.renew(rounds, ledger)
            yield caller, placing.member(identity, ledger)

    async def run(
        self,
        inputs: Inputs,
        rounds: int | None,
        timeout: float,
        patience: float,
        told: Callable[[str], None],
    ) -> tuple[Outcome, ...]:
        timeout, patience = seconds("timeout", timeout), seconds("patience", patience)
        await asyncio.to_thread(warm.up, self.plan)
        consent = Consent(terms=self.terms)
        await self.begin(timeout)
        with ExitStack() as files:
            ledger = files.enter_context(SqliteLedger.open(self.site.ledger))
            caller, member = files.enter_context(self.caller(told, ledger))
            own = files.enter_context(entered(member, ledger))
            decided = ClientRounds(consent, patience=patience, returning=True, member=own)
            kept = caller.kept
            participant = Participant(decided, inputs, ledger=ledger, most=rounds, **kept)
            return await caller.stay(participant, rounds, timeout=timeout)


def terms_file(site: Site) -> Path:
    """Beside the site's identity, by the name of the task."""
    return site.identity.with_name(f"{site.task}.task")


def _number(rounds: int | None) -> int | None:
    return None if rounds is None else integer("rounds", rounds, 1, MOST_ROUNDS)
