"""Rounds whose clients sign, driven by hand: a roster, its server, members with memories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from secagg.crypto import sign
from secagg.earlier import Memory
from secagg.fields import Integer
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.players import Players
from secagg.policy import Policy
from secagg.roster import Roster, SignedRoster
from secagg.rounds.enrolled import Host
from secagg.rounds.membership import Membership
from secagg.rounds.offer import Contribution, Offer
from secagg.store.memory import MemoryLedger
from secagg.testing import counter_randomness
from secagg.types import PartyId, Seed
from tests.rounds.world import LENGTH, Client, World, vector

ADMIN = Seed(b"admin".ljust(32))
PLACES = 9
CAST = Players.of(PLACES, counter_randomness(b"members"))
SIGNED = SignedRoster.sign(CAST.roster, ADMIN)
HOST = Host(SIGNED, CAST.server)
STRICT = Policy()
WITHOUT_CHANGE = Policy(change=False)
"""Takes rounds whose survivors differ by a few, as most tests are of one thing at a time."""


def active(clients: int = 6, **options: Any) -> Plan:
    """Of the roster of nine, one of whom may be corrupt."""
    given: dict[str, Any] = {"corrupt": "0.1", "dropout": "0.2", "protocol": "secagg"}
    fields = {"update": Integer(LENGTH, 1000)}
    given = {"roster": PLACES} | given | options
    return plan(clients=clients, fields=fields, adversary="active", **given)


def key_of(place: int) -> bytes:
    return sign.public_key(CAST.members[place])


def membership(
    place: int,
    notes: MemoryLedger,
    policy: Policy = STRICT,
    *,
    roster: Roster = CAST.roster,
    until: float = 1e9,
) -> Membership:
    memory = Memory.read(notes, SIGNED.admin, key_of(place), policy)
    seed = CAST.members[place]
    return Membership(roster, SIGNED.admin, seed, policy, memory, until)


def named(place: int, offer: Offer) -> Contribution:
    values = {"update": np.array(vector(place, offer.round))}
    return Contribution(values, name=f"{place} {offer.round}")


def member(
    world: World,
    place: int,
    give: Callable[[Offer], Contribution | None] | None = None,
    *,
    policy: Policy = STRICT,
    **more: Any,
) -> Client:
    """Linked, and proved: what a greeting leaves is the identity."""
    notes = MemoryLedger()
    return world.client(
        str(place),
        give or (lambda offer: named(place, offer)),
        identity=key_of(place),
        member=membership(place, notes, policy),
        notes=notes,
        **more,
    )


def world_of(*places: int, policy: Policy = STRICT, **more: Any) -> World:
    world = World(host=HOST, **more)
    for place in places:
        member(world, place, policy=policy)
    return world


def at(*places: int) -> frozenset[PartyId]:
    return frozenset(map(PartyId, places))
