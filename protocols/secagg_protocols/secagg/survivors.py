"""The one door to revealing shares (specs/10-secagg.md §8, rules C8 and C9)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from secagg.errors import LocalProtocolError, RemoteProtocolError
from secagg.wire.codec import Reader
from secagg_protocols.secagg.messages import SharePair

# Only `check_survivors`, and in active mode `check_agreed`, makes a SurvivorSet, and only a
# SurvivorSet opens `reveal_shares`: skipping the check does not type-check, and fails at run time
# too.

# Why a type and not a flag: the worst that a client can do is to give both shares of one dealer,
# for then the server has both masks and the input. Whoever calls `reveal_shares` must have a set
# that passed the checks, and a call that lacks one is an error of the type checker, long before a
# server is there to use it. The precedent is the proof-carrying types of TLS stacks.
#
# Impossible: a SurvivorSet of a set that was not checked, short of using this module's private
# name; and two answers to two sets, because the state that holds the shares is gone with the first.
_CHECKED: Final = object()


@dataclass(frozen=True, slots=True)
class View:
    """What one client knows of the graph when it is shown U3.

    index: its own. holders: its neighbours in U2 and itself. sharers: U2 as the bitmap it came as:
    as a set, it would be most of what a client holds in a large cohort.
    """

    index: int
    holders: frozenset[int]
    sharers: bytes
    threshold: int
    min_survivors: int

    def in_u2(self) -> frozenset[int]:
        return Reader(self.sharers).bitmap(8 * len(self.sharers), "U2")


class SurvivorSet:
    """A U3 that has passed every local check of a client."""

    __slots__ = ("members",)

    def __init__(self, members: frozenset[int], token: object) -> None:
        if token is not _CHECKED:
            raise LocalProtocolError("a SurvivorSet is made by what checks it alone")
        self.members = members


def check_survivors(view: View, members: frozenset[int]) -> SurvivorSet:
    """Rule C8: U3 as the server states it, or RemoteProtocolError saying what it breaks.

    Of suite 1, where the server is believed in what no client can check alone.
    """
    check_members(view, members)
    return SurvivorSet(members, _CHECKED)


def check_agreed(
    view: View, members: frozenset[int], agreed: Callable[[frozenset[int]], None]
) -> SurvivorSet:
    """Rules C8 and V8: as above, and a quorum has signed the same set.

    agreed: raises unless the quorum's signatures are of this very set and this client's own U2.
    """
    check_members(view, members)
    agreed(members)
    return SurvivorSet(members, _CHECKED)


def check_members(view: View, members: frozenset[int]) -> None:
    """Rule C8, and nothing is opened by it: in active mode it comes before the signature, and the
    quorum after it."""
    # Its vector was sent and may be in the sum. Under a set without it its neighbours reveal their
    # shares of its s_sk, and with that go the pairwise masks of its vector.
    if view.index not in members:
        raise RemoteProtocolError("the survivor set omits this client, whose input was sent")
    if not members <= view.in_u2():
        raise RemoteProtocolError("the survivor set holds a client outside U2")
    if len(members) < view.min_survivors:
        raise RemoteProtocolError(
            f"{len(members)} survivors, and this plan asks for {view.min_survivors}"
        )
    # With fewer than t of its holders in U3 its own secrets could not be rebuilt from honest
    # answers: the server would have no use for the answer, and this client none for giving it.
    if len(members & view.holders) < view.threshold:
        raise RemoteProtocolError(
            f"{len(members & view.holders)} holders survive, and the threshold is {view.threshold}"
        )


def reveal_shares(survivors: SurvivorSet, held: Mapping[int, SharePair]) -> tuple[bytes, ...]:
    """Rule C9: for each dealer by ascending index its b share if it survived, else its s share.

    Never both: that one dealer's pair gives up exactly one share is this expression.
    """
    return tuple(
        held[dealer].b_share if dealer in survivors.members else held[dealer].s_share
        for dealer in dealers(held)
    )


def dealers(held: Collection[int]) -> list[int]:
    """The order in which an answer lists the dealers."""
    return sorted(held)
