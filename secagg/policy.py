"""What a client demands beyond the protocol's own rules: floors of a plan, and the newest roster.

The server chooses the plan and hands out the roster, and each may keep every rule and still be made
for one victim (specs/14-roster.md §5). So a client has floors of its own, and notes the newest
roster that it has seen in a ledger, before it relies on it. `secagg.earlier` is about the sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

from secagg.arguments import flag, integer, kind_of, ratio, settle
from secagg.crypto import labels
from secagg.errors import ParameterError, PolicyRefused, StorageError, WireError
from secagg.plans.plan import Plan
from secagg.roster import Pin, Roster, SignedRoster
from secagg.shown import short
from secagg.store.base import Ledger
from secagg.suite import SUITE_2
from secagg.types import MAX_CLIENTS, MAX_ROSTER
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import DIGEST_SIZE

VERSION = 1
MOST = 4096
"""Rounds that a client remembers (`secagg.earlier`)."""


@dataclass(frozen=True)
class Policy:
    """The floors of one client. All but `change` and `suites` demand nothing unless they are set.

    roster: N, at least. clients: n, at least. threshold: of the holders of a secret's shares the
    fraction that opens it, at least. corrupt: the fraction of the roster that a plan must count as
    corrupt, at least. group: the fewest honest inputs of a sum that a lying server can have, at
    least; no plan of a suite without signatures has it. suites: numbers of those that are taken.
    ring_bits: of the widest ring, at most. change: whether survivors must differ by nobody or by
    enough. unknown: rounds of which it is not known with whom the input was summed, at most.
    forget: whether the oldest round is forgotten where there is no room, rather than the next one
    refused.
    Raises ParameterError.
    """

    roster: int = 0
    clients: int = 0
    threshold: Fraction = Fraction(0)
    corrupt: Fraction = Fraction(0)
    group: int = 0
    suites: tuple[int, ...] = (SUITE_2.number,)
    ring_bits: int = 64
    change: bool = True
    unknown: int = 0
    forget: bool = False

    __repr__ = short

    def __post_init__(self) -> None:
        if not isinstance(self.suites, tuple | list) or not self.suites:
            raise ParameterError(f"suites must be a list of numbers, not {kind_of(self.suites)}")
        settle(
            self,
            roster=integer("roster", self.roster, 0, MAX_ROSTER),
            clients=integer("clients", self.clients, 0, MAX_CLIENTS),
            threshold=ratio("threshold", self.threshold),
            corrupt=ratio("corrupt", self.corrupt),
            group=integer("group", self.group, 0, MAX_CLIENTS),
            suites=tuple(integer("suites", each, 1, 255) for each in self.suites),
            ring_bits=integer("ring_bits", self.ring_bits, 1, 64),
            change=flag("change", self.change),
            unknown=integer("unknown", self.unknown, 0, MOST),
            forget=flag("forget", self.forget),
        )

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Policy:
        """From a file's table. Raises ParameterError for a key that no policy has: a floor that is
        misspelt would be none."""
        known = [each.name for each in fields(cls)]
        for name in table:
            if name not in known:
                raise ParameterError(
                    f"a policy has no {str(name)[:64]!r}; it has {', '.join(known)}"
                )
        return cls(**table)

    def check(self, plan: Plan) -> None:
        """Before anything is said in a round of the plan. Raises PolicyRefused, which names the
        field and the bound (threat T8)."""
        if plan.suite.number not in self.suites:
            listed = ", ".join(map(str, self.suites))
            raise PolicyRefused(
                f"suites: the plan is of suite {plan.suite.number}, and this client's policy takes "
                f"suite {listed}"
            )
        holders = plan.params.degree + 1
        _at_least("roster", "the plan's roster", plan.threat.population, self.roster)
        _at_least("clients", "the plan's clients", plan.threat.clients, self.clients)
        _at_least("corrupt", "what the plan counts as corrupt", plan.threat.corrupt, self.corrupt)
        share = Fraction(plan.threshold, holders)
        _at_least("threshold", f"{plan.threshold} of {holders} holders", share, self.threshold)
        # none of the others bounds it: with all of 1000 there, and a tenth corrupt, 36 of 37
        # holders may open a secret, and a group is 2
        group = plan.promise.numbers.get("group", 0)
        _at_least("group", "the fewest honest inputs of a sum", group, self.group)
        if plan.ring_bits > self.ring_bits:
            raise PolicyRefused(
                f"ring_bits: the plan's widest ring has {plan.ring_bits} bits, and this client's "
                f"policy takes {self.ring_bits} at most"
            )


def _at_least(name: str, what: str, found: Fraction | int, floor: Fraction | int) -> None:
    if found < floor:
        raise PolicyRefused(
            f"{name}: {what} is {_shown(found)}, and this client's policy demands "
            f"{_shown(floor)} or more"
        )


def _shown(value: Fraction | int) -> str:
    return f"{float(value):.6g}" if isinstance(value, Fraction) else str(value)


def admit(ledger: Ledger, pin: Pin, signed: SignedRoster, now: float) -> Roster:
    """The roster, if the pin and everything that this ledger has seen before let it through.

    It is the newest from then on, and noted, durably, before it is returned. now: seconds of Unix
    time. Raises PolicyRefused for what the pin refuses, an epoch below the newest, and another
    roster of the same epoch; StorageError where the ledger fails or is damaged.
    """
    roster = pin.verify(signed, now)

    def newer(known: bytes | None) -> bytes:
        if known is not None:
            _check_newer(roster, known)
        return Writer().u8(VERSION).u32(roster.epoch).raw(roster.digest).finish()

    ledger.note(labels.digest(labels.NEWEST, signed.admin), newer)
    return roster


def _check_newer(roster: Roster, known: bytes) -> None:
    reader = Reader(known)
    try:
        version, epoch = reader.u8("version"), reader.u32("epoch")
        digest = reader.rest()
    except WireError:
        version, epoch, digest = 0, 0, b""
    if version != VERSION or len(digest) != DIGEST_SIZE:
        raise StorageError(
            "what the ledger knows of the newest roster is damaged, or of a later version"
        )
    if roster.epoch < epoch:
        raise PolicyRefused(
            f"the roster is of epoch {roster.epoch}, and one of epoch {epoch} was seen: an older "
            "one may have members who are excluded by now; get the newest from the administrator"
        )
    if roster.epoch == epoch and roster.digest != digest:
        raise PolicyRefused(
            f"two rosters of epoch {epoch} are signed by the same administrator, {digest.hex()} "
            f"and {roster.digest.hex()}: somebody shows different members to different clients; "
            "keep both files, and ask the administrator"
        )
