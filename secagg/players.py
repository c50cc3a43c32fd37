"""Every key of a roster at once, for a process that plays all of its parties."""

from __future__ import annotations

from dataclasses import dataclass, field

from secagg.crypto import sign
from secagg.crypto.randomness import checked
from secagg.roster import Roster
from secagg.shown import short
from secagg.types import Randomness, Seed

FOR_EVER = (1 << 64) - 1
"""The end of a roster that has none."""


@dataclass(frozen=True)
class Players:
    """server: the seed of its key. members: by place. roster: of these keys, signed by nobody.

    It gives no privacy, and proves nothing: who has these can say anything in anybody's name.
    """

    server: Seed = field(repr=False)
    members: tuple[Seed, ...] = field(repr=False)
    roster: Roster

    __repr__ = short

    @classmethod
    def of(cls, places: int, randomness: Randomness) -> Players:
        """Of a roster of so many members, all of them there."""
        draw = checked(randomness)
        server, *members = (Seed(draw(Seed.SIZE)) for _ in range(1 + places))
        keys = tuple(sign.public_key(seed) for seed in members)
        return cls(server, tuple(members), Roster(0, FOR_EVER, sign.public_key(server), keys))
