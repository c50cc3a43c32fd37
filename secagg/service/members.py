"""What a service has of its tasks whose clients sign: their rosters, and what is written down of
their rounds (specs/51-admission.md §6)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from starlette.routing import Route

from secagg.effects import Write
from secagg.errors import ParameterError, SecAggError, StorageError
from secagg.plans.terms import Terms
from secagg.rights import ServiceRole
from secagg.roster import SignedRoster, moment
from secagg.rounds.admission import Admission
from secagg.rounds.admissions import Actor
from secagg.rounds.clock import RoundReport
from secagg.rounds.enrolled import Host
from secagg.rounds.epochs import InForce, Taken, Wanted
from secagg.rounds.filing import Filing
from secagg.rounds.hosting import written_in
from secagg.rounds.round import End
from secagg.service.books import Books
from secagg.service.config import Config
from secagg.service.desk import posting
from secagg.service.hosted import Hosted
from secagg.service.transcripts import Transcripts
from secagg.service.whole import write_whole
from secagg.types import Buffer, Seed
from secagg.verify import verify_evidence
from secagg.watch import Event

# Theory of operation.
#
# The register, which is the owner's, says who is enrolled; the roster, which is somebody else's,
# who is a client where a server may lie. Both have to name somebody, or there is no link: so whom
# the owner revokes is out at once (rule N5), and whom the administrator has not signed is not in
# yet.
#
# A transcript is in the store before anything of it is said, as rows of the round's, and becomes a
# file when the round is over; until that is there the rows stay, over restarts too (rule N7). The
# rosters lie beside the transcripts, as nobody verifies one without the other, also in years.

log = logging.getLogger(__name__)


class Turning(Protocol):
    """A service that runs, as far as it is needed here."""

    rounds: Hosted

    async def write(self, writes: Sequence[Write]) -> None: ...


TRANSCRIPTS, ROSTERS = "transcripts", "rosters"
"""Folders in that of the state."""
_SOON = 7 * 86_400


class Members:
    """Of one service that runs. Without such a task there is nothing in it, and no folder."""

    def __init__(
        self, config: Config, signing: Seed, books: Books, unix: Callable[[], int]
    ) -> None:
        """signing: the seed of the service's key, which is the server's in every roster. unix: the
        seconds of now. Raises StorageError where no folder can be made."""
        named = ((one.name, one.roster_authority) for one in config.tasks)
        self.in_force = InForce(signing, {task: key for task, key in named if key is not None})
        self._books, self._state, self._unix = books, config.state, unix
        self._transcripts = Transcripts(config.state / TRANSCRIPTS, _unkept)
        if self.admins:
            _make(config.state / TRANSCRIPTS)
            _make(config.state / ROSTERS)
        self._reports: list[tuple[bytes, RoundReport]] = []
        self._terms: Callable[[], Mapping[str, Terms]] = dict
        self._stale = False

    @property
    def admins(self) -> Mapping[str, bytes]:
        """Of each such task who signs its roster."""
        return self.in_force.admins

    def start(self, terms: Callable[[], Mapping[str, Terms]]) -> None:
        """Once the books are restored: the newest rosters are in force. terms: of each task, as
        they are at any moment."""
        self._terms = terms
        for task, admin in self.admins.items():
            if (signed := self._books.epochs.of(admin)) is not None:
                self.in_force.enact(task, signed)
                self._copy(signed)

    # Rosters

    def host(self, task: str) -> Host | None:
        """The server of the roster that is in force."""
        return self.in_force.host(task)

    def enrolled(self, task: str) -> int | None:
        """Of how many a round's clients are chosen now; None where there is no roster of them."""
        if task in self.admins:
            return self.in_force.places(task, self._unix())
        return self._books.enrolled(task, self._unix())

    def why_not(self, key: bytes, role: ServiceRole, task: str) -> str | None:
        """Why who has proved this key has no link, for the log; None if it has."""
        now = self._unix()
        why = self._books.admissions.why_not(key, role, task, now)
        return why or self.in_force.why_not(task, key, now)

    def routes(self) -> list[Route]:
        """Where sites find the rosters that are in force."""
        return [posting(self.posted)] if self.admins else []

    def posted(self, task: str) -> bytes | None:
        """The file of the roster in force, for whoever asks: nothing in it is secret."""
        host = self.in_force.host(task)
        return None if host is None else host.signed.encode()

    def take(self, data: Buffer) -> Taken:
        """A roster that was signed elsewhere, if it may be the next one. Raises as `Epochs.take`,
        and ParameterError for one that is too large for the terms of a task."""
        admins = frozenset(self.admins.values())
        taken = self._books.epochs.take(data, admins, self._books.admissions, self._unix())
        self.in_force.check(taken.signed, self._populations)
        return taken

    async def bring(self, data: Buffer, by: Actor, to: Turning) -> dict[str, Any]:
        """The next roster: stored when this returns, and in force as soon as no round of its task
        runs. Raises as `take`."""
        taken = self.take(data)
        await to.write(self._books.take(taken, by.name, self._unix()))
        signed, roster = taken.signed, taken.signed.roster
        for task in self._behind(signed):
            enact = partial(self._enact, task, signed)
            to.rounds.paced.between(task, enact, time.monotonic())
        await to.write([])
        sizes = {"members": len(roster.members), "places": roster.size}
        return {"epoch": roster.epoch, **sizes, "after_the_round_of": self._behind(signed)}

    def _enact(self, task: str, signed: SignedRoster) -> None:
        """From now on, as no round of the task runs; who may not stay is let go with the turn."""
        self.in_force.enact(task, signed)
        self._stale = True
        self._copy(signed)

    @property
    def _populations(self) -> dict[str, int]:
        return {task: one.population for task, one in self._terms().items()}

    def wanted(self, task: str) -> dict[str, Any]:
        """For the administrator of that task's roster, or, of no name, of the only one there is:
        what the next epoch lacks (rule N1). Raises ParameterError."""
        admin, found = self._lacks(task)
        newest = self._books.epochs.of(admin)
        return {
            "roster_authority": admin.hex(),
            "server": self._books.admissions.service.key.hex(),
            "epoch": None if newest is None else newest.roster.epoch,
            "requests": {one.name: one.encode().hex() for one in found.requests},
            "exclude": list(found.leavers),
        }

    def _lacks(self, task: str) -> tuple[bytes, Wanted]:
        """Of which administrator, and what."""
        admins = set(self.admins.values()) if not task else {self.admins.get(task)}
        if len(admins) != 1 or None in admins:
            known = ", ".join(self.admins) or "none"
            raise ParameterError(f"of which roster? Tasks whose clients sign: {known}")
        admin = next(key for key in admins if key is not None)
        tasks = [name for name, key in self.admins.items() if key == admin]
        return admin, self._books.epochs.wanted(admin, tasks, self._books.admissions)

    def _behind(self, signed: SignedRoster) -> list[str]:
        """Tasks of which a round runs, so that this roster waits until it is over."""
        ours = [task for task, admin in self.admins.items() if admin == signed.admin]
        return [task for task in ours if self.posted(task) != signed.encode()]

    def outstanding(self, entry: Admission) -> str | None:
        """What the next roster has to say of a client, in words."""
        for task in set(entry.tasks) & self.admins.keys():
            _, lacks = self._lacks(task)
            if entry in lacks.asking:
                return "waits for the next epoch: `secagg service roster export`"
            if entry.name in lacks.leavers:
                return "is asked no more; exclude it, and sign the next epoch"
        return None

    def status(self, task: str) -> dict[str, Any] | None:
        """Of the roster in force, for whoever looks at the task; None where clients do not sign."""
        if task not in self.admins:
            return None
        _, lacks = self._lacks(task)
        waiting = {"waiting": len(lacks.asking), "to_exclude": len(lacks.leavers)}
        if (host := self.host(task)) is None:
            return {"epoch": None, "members": 0, "places": 0, "ends": None, **waiting}
        roster = host.roster
        ends = moment(roster.not_after)
        sizes = {"members": len(roster.members), "places": roster.size}
        return {"epoch": roster.epoch, **sizes, "ends": ends, **waiting}

    def reasons(self, now: int) -> Iterator[str]:
        """Why no round of a task can be, or soon cannot."""
        for task in self.admins:
            host, begin = self.host(task), f"roster: {task}"
            if host is None:
                yield f"{begin} has none yet: `secagg service roster import` takes the first"
            elif host.roster.not_after < now + _SOON:
                yield f"{begin}: epoch {host.roster.epoch} ends {moment(host.roster.not_after)}"
            elif host.roster.size > self._populations[task]:
                yield f"{begin} has more places than its terms are for"

    # Rounds

    def ended(self, task: str, end: End) -> list[Write]:
        """What was written down of a round is filed after the turn; lines about who has lied."""
        if not end.report.transcript:
            return []
        self._reports.append((written_in(end.nonce), end.report))
        keys = [self._convicted(task, one) for one in end.report.evidence]
        return [self._books.convicted(task, end.nonce, key, self._unix()) for key in keys]

    def news(self, filing: Filing) -> bool:
        """After each turn. Whether links have to be looked through, as another roster is in force,
        or something is to be stored again, as rows may go now."""
        stale, self._stale = self._stale, False
        left = [*filing.left().items(), *self._reports]
        self._reports = []
        kept = [place for place, report in left if self._transcripts.keep(report)]
        for place in kept:
            filing.filed(place)
        return stale or bool(kept)

    def _convicted(self, task: str, evidence: bytes) -> bytes:
        """By what key; empty where it is of an epoch that is over, and its roster has to be looked
        for."""
        host = self.host(task)
        try:
            verdict = None if host is None else verify_evidence(evidence, host.signed)
        except SecAggError:
            verdict = None
        if verdict is None:
            said = "there is evidence in %s of a lie in a round of %s", TRANSCRIPTS, task
            log.warning(*said, extra=Event.CONVICTED.line)
            return b""
        lied = "%s has lied in a round of %s: %s", verdict.who, task, verdict.what
        log.warning(*lied, extra=Event.CONVICTED.line)
        return verdict.key

    def _copy(self, signed: SignedRoster) -> None:
        """For whoever verifies a transcript. The store has it."""
        path = self._state / ROSTERS / roster_name(signed)
        try:
            if not path.exists():
                write_whole(path, signed.encode())
        except OSError as error:
            said = "no copy of a roster at %s: %s", path, error.strerror
            log.error(*said, extra=Event.ROSTER_NOT_COPIED.line)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror}") from None


def _unkept(why: str) -> None:
    log.error("%s", why, extra=Event.TRANSCRIPT_NOT_KEPT.line)


def roster_name(signed: SignedRoster) -> Path:
    """Of its copy: whose it is, and of which epoch."""
    return Path(f"{signed.admin.hex()[:16]}-{signed.roster.epoch}.roster")
