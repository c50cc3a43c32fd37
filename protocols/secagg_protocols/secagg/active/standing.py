"""The states of a client in active mode: those of suite 1, with what they must prove beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from secagg.types import PartyId
from secagg_protocols.secagg import standing
from secagg_protocols.secagg.messages import SharePair
from secagg_protocols.secagg.states import ClientState

# What a state of suite 1 holds is held in one of these as it is, so that what deals, opens, masks
# and answers is the same code for both. Beside it stands what statements are about: who U1 is, and
# digests of what this client was shown. None of that is secret.
#
# They are in no row: a client of this suite that died is a dropout (specs/12-active.md §5 V9).


@dataclass(frozen=True, slots=True)
class Seat:
    """One client's place in U1, and who else is there. ids: of U1, ascending. leaf: its own."""

    place: standing.Place
    ids: tuple[PartyId, ...]
    leaf: bytes

    @property
    def session(self) -> bytes:
        return self.place.session

    @property
    def index(self) -> int:
        return self.place.index

    @property
    def size(self) -> int:
        return self.place.size


@dataclass(frozen=True, slots=True)
class WantShares:
    """Shares are dealt. leaves: of the neighbours, by index, of the keys that it was shown."""

    state: ClassVar[ClientState] = ClientState.WANT_SHARES
    seat: Seat
    dealt: standing.WantShares
    leaves: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class WantInput:
    """Shares are opened. sharers, delivery: the digests of U2 and of the list it was given."""

    state: ClassVar[ClientState] = ClientState.WANT_INPUT
    seat: Seat
    opened: standing.WantInput
    sharers: bytes
    delivery: bytes


@dataclass(frozen=True, slots=True)
class WantSurvivors:
    """It has masked."""

    state: ClassVar[ClientState] = ClientState.WANT_SURVIVORS
    seat: Seat
    masked: standing.WantSurvivors
    sharers: bytes


@dataclass(frozen=True, slots=True)
class WantQuorum:
    """It has been shown U3, found it good, and has signed it if it is a signer. survivors: U3."""

    state: ClassVar[ClientState] = ClientState.WANT_QUORUM
    seat: Seat
    masked: standing.WantSurvivors
    sharers: bytes
    survivors: frozenset[int]

    @property
    def held(self) -> Mapping[int, SharePair]:
        return self.masked.held
