"""`secagg join --service`: what the file of a site says, in the place of a URL and a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import typer

from secagg.cli import options
from secagg.cli.enrolled import NAMES
from secagg.cli.output import notice
from secagg.drive.participant import Participant
from secagg.plans.terms import Terms
from secagg.service.attending import Caller
from secagg.service.program import Attendance
from secagg.service.site import Site
from secagg.service.web import trust
from secagg.shown import short

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

    @contextmanager
    def open(self) -> Iterator[None]:
        """With its identity, which is this process's alone meanwhile."""
        with self.attendance.caller(notice) as self.caller:
            yield

    async def stay(self, participant: Participant, timeout: float) -> None:
        """For one round, as one input is for one sum."""
        if self.caller is not None:
            await self.caller.stay(participant, 1, timeout=timeout)


def called(ctx: typer.Context, path: Path) -> Called:
    """Raises InputError and ParameterError for files that do not fit each other."""
    options.refuse_given(ctx, _OTHERS, _OF_THE_SITE)
    found = Called(Attendance.of(path))
    trust(found.site.authority)
    return found
