"""A service of a task whose clients sign, its administrator, and sites of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import secagg
from secagg.cli.enrolling import Whose, write_seed
from secagg.crypto import sign
from secagg.drive.participant import Inputs, Participant
from secagg.plans.terms import Terms
from secagg.policy import Policy
from secagg.roster import Roster, SignedRoster
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent, Contribution, Outcome
from secagg.service.attending import Caller
from secagg.service.config import Config
from secagg.service.placing import Placing
from secagg.service.serving import Serving
from secagg.service.site import Site
from secagg.store.identity import Identity
from secagg.store.memory import MemoryLedger
from secagg.types import Seed
from tests.service import place
from tests.service.place import LENGTH, TASK, Place, given, seed

LEAST, MOST = 4, 5
TERMS = Terms.of(
    {"update": secagg.Integer(LENGTH, max=9)},
    (LEAST, MOST),
    corrupt=0,
    dropout=0,
    adversary="active",
)
ADMIN = Seed(b"administrator".ljust(32))
ADMIN_KEY = sign.public_key(ADMIN)
DAY = 86_400


@dataclass
class Signing:
    """The folder of such a service, and those of its sites."""

    place: Place
    ledgers: dict[int, MemoryLedger] = field(default_factory=dict)

    @classmethod
    def made(cls, folder: Path) -> Signing:
        made = Place.made(folder / "service")
        (made.folder / f"{TASK}.task").write_bytes(TERMS.encode())
        return cls(made)

    def config(self, port: int = 0, **task: Any) -> Config:
        config = self.place.config(LEAST, roster_authority=ADMIN_KEY, **task)
        return replace(config, listen=replace(config.listen, port=port))

    def site(self, serving: Serving, number: int, **other: Any) -> Site:
        """With its key in a folder of its own."""
        folder = self.place.folder.parent / place.name(number)
        if not folder.exists():
            folder.mkdir()
            write_seed(folder / "key", Whose.IDENTITY, seed(number))
        made = replace(place.site(serving, number), terms=TERMS.digest(), admin=ADMIN_KEY)
        return replace(made, identity=folder / "key", **other)

    @contextmanager
    def calling(self, placing: Placing, number: int, inputs: Inputs) -> Iterator[tuple[Any, ...]]:
        """After `Placing.begin`: who calls, and what takes part."""
        ledger = self.ledgers.setdefault(number, MemoryLedger())
        with Identity.open(placing.site.identity) as identity:
            member = placing.member(identity, ledger)
            with member.enter(ledger) as membership:
                caller = Caller(placing.site, identity.seed)
                caller.renew = lambda rounds: placing.renew(rounds, ledger)
                rounds = ClientRounds(Consent(terms=TERMS), returning=True, member=membership)
                more: dict[str, Any] = {"ledger": ledger, "most": 1, "around": caller.around}
                yield caller, Participant(rounds, inputs, **more)

    async def attend(
        self,
        site: Site,
        number: int,
        inputs: Inputs | None = None,
        timeout: float = 30.0,
        unknown: int = 0,
    ) -> tuple[Outcome, ...]:
        """One round. unknown: as of a Policy."""
        placing = Placing(site, ADMIN_KEY, Policy(unknown=unknown))
        await placing.begin(timeout)
        with self.calling(placing, number, inputs or (lambda offer: named(number))) as made:
            caller, participant = made
            found: tuple[Outcome, ...] = await caller.stay(participant, 1, timeout=timeout)
            return found


def named(number: int, name: str = "monday") -> Contribution:
    """Of a site, whose every value is its number."""
    return replace(given(number), name=name)


def signed(
    serving: Serving,
    epoch: int,
    members: Sequence[int | None],
    *,
    by: Seed = ADMIN,
    ends: float = 30 * DAY,
) -> SignedRoster:
    """A roster of those sites, for that service. ends: seconds from now."""
    keys = tuple(None if one is None else sign.public_key(seed(one)) for one in members)
    roster = Roster(epoch, int(time.time() + ends), serving.service.key, keys)
    return SignedRoster.sign(roster, by)
