"""`secagg join --service`: what the file of a site says, in the place of a URL and a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import typer

from secagg.cli import options
from secagg.cli.enrolled import NAMES, keep_told
from secagg.cli.hosting import check_folder
from secagg.cli.output import notice
from secagg.drive.enrolled import Member
from secagg.drive.participant import Participant
from secagg.plans.terms import Terms
from secagg.rounds.offer import Outcome
from secagg.service.attending import Caller
from secagg.service.placing import Placing
from secagg.service.program import Attendance
from secagg.service.site import Site
from secagg.service.web import trust
from secagg.shown import short
from secagg.store.base import Ledger

_OF_THE_SITE = "is said by the file of --service: leave it out"
_OTHERS = ("urls", "plan", "plan_digest", "task", "task_digest", "payload", "ledger", *NAMES)


@dataclass
class Called:
    """A site, its service, and the terms that it pins."""

    attendance: Attendance
    caller: Caller | None = field(default=None, repr=False)

    __repr__ = short

    @property
    def site(self) -> Site:
        return self.attendance.site

    @property
    def terms(self) -> Terms:
        return self.attendance.terms

    @property
    def placing(self) -> Placing | None:
        """Of a task whose clients sign."""
        return self.attendance.placing

    @contextmanager
    def open(self, ledger: Ledger) -> Iterator[Member | None]:
        """As `Attendance.caller`, after its `begin`."""
        with self.attendance.caller(notice, ledger) as (self.caller, member):
            yield member

    def keep(self, outcome: Outcome) -> None:
        """As `Enrolled.keep`."""
        if self.placing is not None:
            keep_told(self.site.told, outcome)

    async def stay(self, participant: Participant, timeout: float) -> None:
        """For one round, as one input is for one sum."""
        if self.caller is not None:
            await self.caller.stay(participant, 1, timeout=timeout)


def called(ctx: typer.Context, path: Path) -> Called:
    """Raises InputError and ParameterError for files that do not fit each other."""
    options.refuse_given(ctx, _OTHERS, _OF_THE_SITE)
    found = Called(Attendance.of(path))
    trust(found.site.authority)
    if found.site.told is not None:
        check_folder(found.site.told, "[roster] told")
    return found
