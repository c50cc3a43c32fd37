"""`secagg join --identity`: a client that signs, as its files have it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from secagg.cli.enrolling import parse_key, read_roster
from secagg.cli.hosting import check_folder
from secagg.cli.output import warn
from secagg.cli.policies import read_policy
from secagg.cli.targets import write_whole
from secagg.crypto import labels
from secagg.drive.enrolled import Member
from secagg.errors import ParameterError
from secagg.plans.task import Task
from secagg.policy import Policy
from secagg.proved import told
from secagg.roster import Pin, SignedRoster
from secagg.rounds.offer import Outcome
from secagg.shown import short
from secagg.store.identity import Identity

NAMES = ("identity", "members", "admin", "policy", "told")


@dataclass(frozen=True)
class Enrolled:
    """identity: its file. told: a folder. The others as of a Member."""

    identity: Path
    signed: SignedRoster
    pin: Pin
    policy: Policy
    told: Path | None = None

    __repr__ = short

    @contextmanager
    def open(self) -> Iterator[Member]:
        """The identity is this process's alone meanwhile."""
        with Identity.open(self.identity) as identity:
            yield Member(identity, self.signed, self.pin, self.policy)

    def keep(self, outcome: Outcome) -> None:
        """As `keep_told`."""
        keep_told(self.told, outcome)


def keep_told(folder: Path | None, outcome: Outcome) -> None:
    """What the server has signed to this client in a round, and what convicts it. Files are named
    by their digests, so none is another's. folder: None keeps nothing."""
    if folder is not None and outcome.statements:
        _keep(folder, told(outcome.statements), "told")
    for one in outcome.report.evidence:
        where = "" if folder is None else f": {_keep(folder, one, 'evidence')}"
        warn(f"the server has signed two things that cannot both be true{where}")


def _keep(folder: Path, data: bytes, kind: str) -> Path:
    path = folder / f"{hashlib.sha256(data).hexdigest()[:32]}.{kind}"
    try:
        write_whole(path, data, force=True, mode=0o600)
    except OSError as error:
        warn(f"{path} cannot be written: {error.strerror}")
    return path


def enrolled(given: Mapping[str, Any], task: Task | None) -> Enrolled | None:
    """What `join` was given; roster and administrator are the task's where it has them. None of a
    client that signs nothing. Raises ParameterError, PolicyRefused, and what reading raises."""
    signed, pin = None, None if task is None else task.pin
    match task:
        case Task(members=SignedRoster() as own):
            signed = own
    if given["identity"] is None:
        for name in NAMES[1:]:
            if given[name] is not None:
                raise ParameterError(f"--{name} comes with --identity: of a client that signs")
        if signed is not None:
            raise ParameterError(
                "clients of this task sign: give the --identity whose key is in its roster"
            )
        return None
    if given["ledger"] is None:
        raise ParameterError(
            "a client that signs remembers what it has said: give a --ledger, the same each time"
        )
    if given["members"] is not None:
        signed = read_roster(given["members"], "--members")
    if given["admin"] is not None:
        admin = parse_key(given["admin"], "the administrator", "secagg roster init")
        if pin is not None:
            pin.check_admin(admin)
        pin = pin or Pin(admin)
    if signed is None or pin is None:
        raise ParameterError(
            "a client that signs knows the roster and who signs it: give --members FILE and "
            "--admin HEX, the administrator's key as somebody whom you trust has said it; or a "
            "--task that has them"
        )
    policy = read_policy(given["policy"]) if given["policy"] is not None else Policy()
    if given["told"] is not None:
        check_folder(given["told"], "--told")
    return Enrolled(given["identity"], signed, pin, policy, given["told"])


def name_of(values: npt.NDArray[Any], payload_digest: bytes) -> bytes:
    """What an input is called that its owner gives no name: the same values, as an answer to the
    same payload, have the same one, of whatever type and shape they are."""
    return labels.digest(labels.INPUT, _told(values), payload_digest)


def _told(values: npt.NDArray[Any]) -> bytes:
    """One way to write values: as float64 where that has all of them, -0.0 as 0.0, else as integers
    of 64 bits."""
    flat = values.reshape(-1)
    if flat.dtype.kind == "f" or -_EXACT <= int(flat.min()) <= int(flat.max()) <= _EXACT:
        return (flat.astype("<f8") + 0.0).tobytes()
    return flat.astype(f"<{flat.dtype.kind}8").tobytes()


_EXACT = 1 << 53
"""Up to here a float64 has all integers."""
