"""With whom a client's inputs were summed, and which sums would be too close to those.

Memory, Earlier and Taken are values of one process; what must outlive it are Notes, which are in a
ledger before what they speak of leaves (specs/14-roster.md §6).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from secagg.crypto import labels
from secagg.effects import Note
from secagg.errors import PolicyRefused, StorageError, WireError
from secagg.policy import MOST, Policy
from secagg.shown import short
from secagg.store.base import Ledger
from secagg.types import PartyId
from secagg.wire.codec import Reader, Writer, encode_bitmap

VERSION = 1
_OFFER = 32

# Theory of operation.
#
# Two sums whose sets of contributors differ by one member differ by that member's input, if the
# others give what they gave before, and by about that if they give much the same. No session can
# see it: each has its own U3, all signatures are right, and names (`secagg.rounds.claims`) protect
# against the very same input only. So a client remembers the U3 of each round that it has taken
# part in, and signs no other that is close to one of them.
#
# Close is less than `group` honest members. Of those who differ all that are corrupt may be some,
# and they know their own inputs: so it is less than group + A, and not less than group
# (specs/decisions/031-change-of-survivors.md).
#
# A round has three stages. Its masked input leaves: from then on it may be in a sum of anybody.
# The client signs a U3: it may still be in another one, as the server may have shown others another
# U3, and a quorum without this client makes that one final. The client has seen the quorum over its
# own: now it is known. What is not known counts against `unknown`, of which none is allowed unless
# the policy says so, and a set that was signed is compared with in any case.
#
# Two rounds may be of two plans. The difference of their sums tells of the inputs of both, so each
# plan's bound holds of it: a round of a plan that counts nobody as corrupt must not tell of one
# that promised a group in spite of a hundred.
#
# Places are never used again (specs/14-roster.md §1), so sets of different epochs compare; whose
# places they are, the administrator's key says.


def change_bound(group: int, corrupted: int) -> int:
    """By how many members two sets of survivors must differ, if they differ: `group` honest ones
    more than all that may be corrupt. group: the fewest honest inputs of a sum of the plan."""
    return group + corrupted


class Stage(enum.IntEnum):
    """How far a round has come, as a client sees it."""

    KEPT = 0
    """It is over, and its masked input has never left."""
    LEFT = 1
    """Its masked input may have left: with whom it is summed is not known."""
    AGREED = 2
    """The client has signed a U3, and others may have signed another one."""
    CONFIRMED = 3
    """A quorum has signed the same U3."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One round. order: of them all. offer: 32 bytes. least: `change_bound` of its plan. survivors:
    U3 as a number, bit i for party i; 0 where none was signed."""

    order: int
    offer: bytes
    stage: Stage
    least: int
    survivors: int = 0

    __repr__ = short

    def encode(self) -> bytes:
        size = (self.survivors.bit_length() + 7) // 8
        writer = Writer().u8(VERSION).u64(self.order).raw(self.offer).u8(self.stage).u32(self.least)
        return writer.raw(self.survivors.to_bytes(size, "little")).finish()

    @classmethod
    def decode(cls, value: bytes) -> Taken:
        """Raises StorageError."""
        reader = Reader(value)
        try:
            version, order = reader.u8("version"), reader.u64("order")
            offer, stage = reader.fixed(_OFFER, "offer"), Stage(reader.u8("stage"))
            least = reader.u32("least")
        except (WireError, ValueError):
            raise StorageError("a round that the ledger remembers is damaged") from None
        made = cls(order, offer, stage, least, int.from_bytes(reader.rest(), "little"))
        if version != VERSION or made.encode() != value:
            raise StorageError(
                "a round that the ledger remembers is damaged, or of a later version"
            )
        return made


@dataclass(frozen=True, slots=True)
class Earlier:
    """What judges the survivors of one round by all others. sets: their U3s, as numbers, each with
    the `change_bound` of its round's plan. unknown: how many are not known, of which `most` are
    allowed. least: `change_bound` of this round's."""

    sets: tuple[tuple[int, int], ...]
    unknown: int
    least: int
    most: int = 0

    __repr__ = short

    def check_unknown(self) -> None:
        """Before the masked input leaves, as afterwards this round would be unknown too. Raises
        PolicyRefused."""
        if self.unknown > self.most:
            raise PolicyRefused(
                f"unknown: of {self.unknown} earlier rounds of this roster it is not known with "
                f"whom the input was summed, and this client's policy allows {self.most}: such a "
                "sum and this one may differ by this client alone. If those rounds simply failed, "
                f"unknown = {self.unknown} in the policy lets this client go on"
            )

    def judge(self, survivors: frozenset[PartyId]) -> None:
        """Before the client signs them. Raises PolicyRefused unless they differ from every earlier
        U3 by nobody or by enough members."""
        self.check_unknown()
        now = as_number(survivors)
        for before, bound in self.sets:
            apart = (before ^ now).bit_count()
            if 0 < apart < (least := max(bound, self.least)):
                raise PolicyRefused(
                    f"change: the survivors differ from those of an earlier round of this roster "
                    f"by {apart} members, and this client's policy demands none or {least}: "
                    "the difference of the two sums would be that of a few"
                )


class Memory:
    """The rounds that one identity has taken part in, under one administrator.

    Each method that changes it returns the Note that must be in the ledger before what it speaks of
    leaves. Only one process has it at a time, as `secagg.store.identity` sees to.
    """

    def __init__(self, lineage: bytes, slots: Mapping[int, Taken], policy: Policy) -> None:
        """lineage: 32 bytes, of `lineage`. slots: what is remembered, by the place of its note."""
        self._lineage, self._policy = lineage, policy
        self._slots = dict(slots)

    @classmethod
    def read(cls, ledger: Ledger, admin: bytes, member: bytes, policy: Policy) -> Memory:
        """What a ledger remembers. admin, member: Ed25519 keys. Raises StorageError."""
        whose = labels.digest(labels.TAKEN_PART, admin, member)
        return cls(whose, dict(_read_slots(ledger, whose)), policy)

    def __len__(self) -> int:
        """Rounds that it remembers."""
        return len(self._slots)

    def earlier(self, offer: bytes, least: int) -> Earlier:
        """What judges the round of that offer. least: `change_bound` of its plan."""
        policy = self._policy
        if not policy.change:
            return Earlier((), 0, 0)
        others = [o for o in self._slots.values() if o.offer != offer and o.stage is not Stage.KEPT]
        sets = {(one.survivors, one.least) for one in others if one.stage is not Stage.LEFT}
        unknown = sum(one.stage is not Stage.CONFIRMED for one in others)
        return Earlier(tuple(sets), unknown, least, policy.unknown)

    def left(self, offer: bytes, least: int) -> Note:
        """The masked input is about to leave. least: `change_bound` of the round's plan. Raises
        PolicyRefused where there is no room to remember the round."""
        found = self._of(offer)
        if found is not None:
            return self._note(found, self._slots[found])
        slot = self._free()
        order = max((one.order for one in self._slots.values()), default=0) + 1
        return self._note(slot, Taken(order, offer, Stage.LEFT, least))

    def check_room(self) -> None:
        """Raises PolicyRefused where there is no room to remember another round."""
        self._free()

    def kept(self, offer: bytes) -> Note:
        """What `left` announced has not left, and never will. Raises PolicyRefused where more has
        happened since."""
        slot = self._known(offer)
        if self._slots[slot].stage > Stage.LEFT:
            raise PolicyRefused(
                "change: survivors of this round were signed, so its input has left"
            )
        return self._note(slot, replace(self._slots[slot], stage=Stage.KEPT))

    def agreed(self, offer: bytes, survivors: frozenset[PartyId]) -> Note:
        """The client's signature of this U3 is about to leave. Raises PolicyRefused for a second
        one."""
        slot, number = self._known(offer), as_number(survivors)
        taken = self._slots[slot]
        if taken.stage is not Stage.LEFT and taken.survivors != number:
            raise PolicyRefused("change: other survivors of this round were signed before")
        if taken.stage is Stage.LEFT:
            taken = replace(taken, stage=Stage.AGREED, survivors=number)
        return self._note(slot, taken)

    def confirmed(self, offer: bytes) -> Note:
        """A quorum has signed the same U3, and the answer is about to leave. Raises PolicyRefused
        where this client has signed none."""
        slot = self._known(offer)
        if self._slots[slot].stage is Stage.LEFT:
            raise PolicyRefused("change: this client has signed no survivors of this round")
        return self._note(slot, replace(self._slots[slot], stage=Stage.CONFIRMED))

    def _known(self, offer: bytes) -> int:
        slot = self._of(offer)
        if slot is None:
            raise PolicyRefused("change: the masked input of this round has not left")
        return slot

    def _of(self, offer: bytes) -> int | None:
        return next((slot for slot, one in self._slots.items() if one.offer == offer), None)

    def _free(self) -> int:
        """That of a round that came to nothing; the next place; or one of two rounds of the same
        survivors, of which one says it all; or, if the policy forgets, the oldest round's."""
        for slot, one in self._slots.items():
            if one.stage is Stage.KEPT:
                return slot
        if len(self._slots) < MOST:
            return next(slot for slot in range(MOST) if slot not in self._slots)
        seen: set[tuple[int, int]] = set()
        for slot, one in self._slots.items():
            if one.stage is Stage.CONFIRMED and (one.survivors, one.least) in seen:
                return slot
            if one.stage is Stage.CONFIRMED:
                seen.add((one.survivors, one.least))
        if not self._policy.forget:
            raise PolicyRefused(
                f"forget: {MOST} rounds with different survivors are remembered, and there is no "
                "room for another: forget = true in the policy drops the oldest, and what its sum "
                "tells with a later one is then not looked at"
            )
        return min(self._slots, key=self._worth)

    def _worth(self, slot: int) -> tuple[bool, int]:
        """What is not known goes last: it would be forgotten that there is something to ask."""
        return self._slots[slot].stage is not Stage.CONFIRMED, self._slots[slot].order

    def _note(self, slot: int, taken: Taken) -> Note:
        before, self._slots[slot] = self._slots.get(slot), taken
        known = None if before is None else before.encode()
        return Note(_place(self._lineage, slot), taken.encode(), known)


def write(ledger: Ledger, note: Note) -> None:
    """Durably, before what it speaks of leaves. Raises StorageError, also where somebody else has
    written there: a copy of the identity, whose rounds this one does not know."""

    def change(known: bytes | None) -> bytes:
        if known not in (note.before, note.value):
            raise StorageError(
                "the ledger has a round there that this client does not know: another process "
                "takes part with a copy of its identity, or its file was replaced meanwhile; stop "
                "all of them, and start one"
            )
        return note.value

    ledger.note(note.key, change)


def as_number(parties: frozenset[PartyId]) -> int:
    """Bit i for party i."""
    size = max(parties, default=-1) + 1
    return int.from_bytes(encode_bitmap(parties, size), "little")


def _read_slots(ledger: Ledger, lineage: bytes) -> Iterator[tuple[int, Taken]]:
    """All of them, in 0.1 s: one whose note was not stored, where the next one's was, must not
    hide what stands behind it."""
    for slot in range(MOST):
        value = ledger.noted(_place(lineage, slot))
        if value is not None:
            yield slot, Taken.decode(value)


def _place(lineage: bytes, slot: int) -> bytes:
    return labels.digest(labels.TAKEN_PART, lineage, slot)
