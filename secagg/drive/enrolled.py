"""What a client has where clients sign, as it comes from files: for `participate` and `join`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from secagg.arguments import instance
from secagg.earlier import Memory
from secagg.errors import ParameterError
from secagg.policy import Policy, admit
from secagg.roster import Pin, Roster, SignedRoster
from secagg.rounds.membership import Membership
from secagg.shown import short
from secagg.store.base import Ledger
from secagg.store.identity import Identity


@dataclass(frozen=True)
class Member:
    """identity: open, and this process's alone. roster: as its file has it. pin: the administrator
    whom this client trusts, and the lowest epoch. policy: its own floors."""

    identity: Identity = field(repr=False)
    roster: SignedRoster
    pin: Pin
    policy: Policy = Policy()

    __repr__ = short

    def __post_init__(self) -> None:
        instance("identity", self.identity, Identity)
        instance("roster", self.roster, SignedRoster)
        instance("pin", self.pin, Pin)
        instance("policy", self.policy, Policy)

    @contextmanager
    def enter(self, ledger: Ledger | None) -> Iterator[Membership]:
        """Before the first link, and until the last one is gone: the roster is the newest that the
        ledger has seen, and what it remembers of earlier sums is read. Meanwhile nobody else takes
        part with this identity.

        Raises ParameterError without a ledger and for whoever is not in the roster, PolicyRefused
        for a roster that the pin or the ledger refuses, StorageError where the ledger fails and for
        an identity that takes part already.
        """
        if ledger is None:
            raise ParameterError(
                "where clients sign, one remembers what it has said: give it a ledger, the same "
                "in all its lives (secagg.store.ledger.SqliteLedger; --ledger FILE)"
            )
        with self.identity.alone():
            now = time.time()
            roster = admit(ledger, self.pin, self.roster, now)
            memory = Memory.read(ledger, self.pin.admin, self.identity.public, self.policy)
            until = time.monotonic() + (roster.not_after - now)
            seed = self.identity.seed
            yield Membership(roster, self.pin.admin, seed, self.policy, memory, until)


def renewed(membership: Membership, roster: Roster) -> Membership:
    """Of the same member, with the same memory, under a roster that was admitted since. Raises
    ParameterError for whoever is not in it."""
    until = time.monotonic() + (roster.not_after - time.time())
    return replace(membership, roster=roster, until=until)


@contextmanager
def entered(member: Member | None, ledger: Ledger | None) -> Iterator[Membership | None]:
    """As `Member.enter`; nothing of a client that signs nothing."""
    if member is None:
        yield None
        return
    with instance("member", member, Member).enter(ledger) as membership:
        yield membership
