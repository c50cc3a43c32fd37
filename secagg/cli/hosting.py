"""`secagg serve --members`: a server alone whose clients sign, and its transcripts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secagg.cli.enrolling import read_roster
from secagg.cli.output import notice, warn
from secagg.cli.targets import check_target
from secagg.errors import InputError, ParameterError
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.roster import Pin, SignedRoster
from secagg.rounds.clock import RoundReport
from secagg.service.transcripts import Transcripts
from secagg.shown import short
from secagg.store.identity import Identity
from secagg.store.sqlite import SqliteStore

NEEDED = "with --members, the signed roster of the clients"


@dataclass(frozen=True)
class Hosting:
    """signed: the roster. key: the file of the server's identity. transcripts: a folder. store: as
    of a Service."""

    signed: SignedRoster
    key: Path
    transcripts: Path | None = None
    store: Path | None = None

    __repr__ = short

    @contextmanager
    def open(self) -> Iterator[dict[str, Any]]:
        """What the service takes; the identity is this process's alone meanwhile."""
        with ExitStack() as stack:
            identity = stack.enter_context(Identity.open(self.key))
            store, owner = None, b"members of " + self.signed.roster.server
            if self.store is not None:
                store = stack.enter_context(SqliteStore.open(self.store, owner=owner))
            files = self.file if self.transcripts is not None else None
            who = {"roster": self.signed, "identity": identity, "files": files}
            yield {**who, "store": store}

    def check(self, plan: Plan) -> None:
        """ParameterError for a plan that is not of this roster."""
        if not plan.suite.signed:
            raise ParameterError(
                "clients of this plan sign nothing, and --members is of those who do: plan with "
                "--adversary active"
            )
        self.signed.roster.check_size(plan.threat.population, plan.params.min_clients)

    def file(self, report: RoundReport) -> bool:
        """As `Transcripts.keep`."""
        if (kept := self._kept) is None:
            return False
        if evidence := kept.files(report)[1]:
            warn(f"somebody can be convicted of a lie: {', '.join(map(str, evidence))}")
        return kept.keep(report)

    def kept(self, report: RoundReport | None) -> dict[str, object]:
        """The names of these files, as far as they are there."""
        transcript, evidence = self._files(report)
        there = [str(path) for path in transcript if path.exists()]
        named = [str(path) if path.exists() else None for path in evidence]
        return {"transcript": there[0] if there else None, "evidence": named}

    def missing(self, report: RoundReport | None) -> bool:
        """Whether one of them is not."""
        return not all(path.exists() for files in self._files(report) for path in files)

    @property
    def _kept(self) -> Transcripts | None:
        return None if self.transcripts is None else Transcripts(self.transcripts, _unkept)

    def _files(self, report: RoundReport | None) -> tuple[dict[Path, bytes], dict[Path, bytes]]:
        return ({}, {}) if self._kept is None else self._kept.files(report)


def _unkept(why: str) -> None:
    warn(f"{why}, if there is a --store" if why.endswith("the store keeps it") else why)


def hosting(
    members: Path | None,
    key: Path | None,
    transcripts: Path | None,
    store: Path | None,
    task: Task | None,
) -> Hosting | None:
    """What `serve` was given; the roster is the task's where --members names none. None where
    clients sign nothing. Raises ParameterError, PolicyRefused for a roster that is over, or that
    clients who pin the task would not take, and what reading it raises."""
    signed = read_roster(members, "--members") if members is not None else None
    match task:
        case Task(members=SignedRoster() as own):
            signed = own if signed is None else signed
    if signed is None:
        if key is not None:
            raise ParameterError(f"--key comes with a --role, or {NEEDED}")
        if transcripts is not None:
            raise ParameterError(f"--transcripts comes {NEEDED}")
        return None
    if key is None:
        raise ParameterError(
            "a server of members signs what it says: give its --key, of `secagg identity`"
        )
    pin = None if task is None else task.pin
    roster = (pin or Pin(signed.admin)).verify(signed, time.time())
    if transcripts is not None:
        check_folder(transcripts, "--transcripts")
    check_target(store, "--store")
    found = f"roster of epoch {roster.epoch}, {len(roster.members)} members"
    notice(f"{found}, of the administrator {signed.admin.hex()}", admin=signed.admin.hex())
    return Hosting(signed, key, transcripts, store)


def check_folder(folder: Path, what: str) -> None:
    """Made, for its owner alone, if it is not there. InputError or ParameterError for none that
    can be written to."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "a file's name has no NUL character"
        raise InputError(f"{what} {folder}: no folder can be made there: {why}") from None
    check_target(folder / "x.transcript", what, force=True)
