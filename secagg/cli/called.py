"""`secagg join --service`: what the file of a site says, in the place of a URL and a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import typer

from secagg.cli import options, renewing
from secagg.cli.enrolled import NAMES
from secagg.cli.output import notice
from secagg.drive.participant import Participant
from secagg.errors import InputError
from secagg.plans.terms import Terms
from secagg.service.attending import Caller
from secagg.service.settings import read_terms
from secagg.service.site import Site
from secagg.service.web import trust
from secagg.shown import short
from secagg.store.identity import Identity

_OF_THE_SITE = "is said by the file of --service: leave it out"
_OTHERS = ("urls", "plan", "plan_digest", "task", "task_digest", "payload", "ledger", *NAMES)


@dataclass
class Called:
    """A site, its service, and the terms that it pins."""

    site: Site
    terms: Terms
    caller: Caller | None = field(default=None, repr=False)

    __repr__ = short

    @contextmanager
    def open(self) -> Iterator[None]:
        """With its identity, which is this process's alone meanwhile."""
        renewing.finish(self.site)
        with Identity.open(self.site.identity) as identity:
            self.caller = Caller(self.site, identity.seed, notice)
            yield

    async def stay(self, participant: Participant, timeout: float) -> None:
        """For one round, as one input is for one sum."""
        if self.caller is not None:
            await self.caller.stay(participant, 1, timeout=timeout)


def called(ctx: typer.Context, path: Path) -> Called:
    """Raises InputError and ParameterError for files that do not fit each other."""
    options.refuse_given(ctx, _OTHERS, _OF_THE_SITE)
    site = Site.read(path)
    trust(site.authority)
    terms = read_terms(terms_file(site))
    if terms.digest() != site.terms:
        raise InputError(
            f"{terms_file(site)} has other terms than those that {path} pins: enrol again, or ask "
            "the service's administrator which are meant"
        )
    return Called(site, terms)


def terms_file(site: Site) -> Path:
    """Beside the site's identity, by the name of the task."""
    return site.identity.with_name(f"{site.task}.task")
