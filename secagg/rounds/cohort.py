"""Who sits where in a round, as far as they have proved who they are."""

from __future__ import annotations

from collections.abc import Container, Iterable

from secagg.types import PartyId


# Theory of operation.
#
# A round numbers those that it takes by arrival, and the number is the party that the machine
# knows. Of each it keeps what the link had proved when the round was opened: this is what the row
# of the round holds of its people, so that after a restart the same ones, and nobody else, take
# their seats again, and what its result says who was in the sum.
#
# Who has proved nothing has an empty entry. Such a seat is its first link's alone: anybody could
# say to be the one who sat there.
#
# Every identity that comes is looked up in every round that runs, and is in few of them, so the
# seats of an identity are an index. Usually it is one seat; where links of one identity may be
# several, it is as many, and the lowest that is empty is taken first. Whether the machine still
# waits for the seat is not known here.
#
# Impossible: a cohort that changes. Who comes later waits for the next round.
class Cohort(tuple[bytes | None, ...]):
    """The identities of those on the first seats, None where there is none."""

    def __init__(self, identities: Iterable[bytes | None]) -> None:
        self._seats: dict[bytes, list[PartyId]] = {}
        for i, identity in enumerate(self):
            if identity is not None:
                self._seats.setdefault(identity, []).append(PartyId(i))

    def seats(self, identity: bytes) -> Iterable[PartyId]:
        """Those of whoever has proved to be this, the lowest first."""
        return self._seats.get(identity, ())

    def members(self, among: Container[PartyId] | None = None) -> dict[PartyId, bytes]:
        """The identities that were proved, by seat; all, or those of `among`."""
        return {
            seat: identity
            for identity, seats in self._seats.items()
            for seat in seats
            if among is None or seat in among
        }
