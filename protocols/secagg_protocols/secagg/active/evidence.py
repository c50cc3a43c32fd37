"""What convicts a member of a session, or its server (specs/12-active.md §8)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING

from secagg.types import PartyId
from secagg.wire.codec import Writer
from secagg_protocols.secagg.active.cohort import Deliveries, SignedCohort, write_session
from secagg_protocols.secagg.active.dealing import params_of
from secagg_protocols.secagg.active.messages import ShareKeys

if TYPE_CHECKING:
    from secagg_protocols.secagg.active.stages import Fixed, Given, WrongSecret, WrongShare

# Made when the lie is seen, of what the server has at hand then, as with its stage all of it goes.
# A server makes evidence against members only; against a server somebody else has to. What it makes
# is no more than a file: who believes it is whoever verifies it (`convicting`), and what follows is
# the administrator's business, with the roster of the next epoch.
#
# Each is whole in itself: whoever has the signed roster can check it, and needs to believe nobody.
# It shows no share but those of a dealer whose secret is what it is about.

VERSION = 1


class Kind(enum.IntEnum):
    """What is proved, by its number in the bytes."""

    TWO_STATEMENTS = 1
    WRONG_SHARE = 2
    WRONG_SECRET = 3
    COMPLAINTS = 4
    DELIVERY = 5


def of_share(fixed: Fixed, wrong: WrongShare) -> bytes:
    """Rule R5: a holder answered with another share than it was dealt, and had not complained."""
    writer = _begin(Kind.WRONG_SHARE, fixed.cohort)
    _body(writer, fixed.deliveries, wrong.dealer)
    _delivery(writer, fixed.deliveries, wrong.holder)
    _complaints(writer, fixed.cohort, wrong.holder, fixed.given[wrong.holder])
    writer.bitmap(fixed.survivors, fixed.cohort.size)
    return writer.raw(b"".join(wrong.digests)).raw(wrong.signature).finish()


def of_secret(fixed: Fixed, wrong: WrongSecret) -> bytes:
    """Rule R6: t shares as they were dealt, of a secret that its dealer has not announced."""
    writer = _begin(Kind.WRONG_SECRET, fixed.cohort)
    _body(writer, fixed.deliveries, wrong.dealer)
    writer.u8(wrong.dealer not in fixed.survivors)
    for x, share in sorted(wrong.shares.items()):
        writer.u32(x - 1).raw(share)
    return writer.finish()


def of_complaints(deliveries: Deliveries, given: Mapping[int, Given], party: PartyId) -> bytes:
    """Rule R7: more holders complain of a dealer than can lie. given: by holder."""
    cohort = deliveries.cohort
    dealer = cohort.index[party]
    near = [h for h in cohort.neighbours(dealer) if h in given]
    holders = [h for h in near if cohort.position(h, dealer) in given[h].failed]
    writer = _begin(Kind.COMPLAINTS, cohort)
    _body(writer, deliveries, dealer)
    for holder in holders[: params_of(cohort.terms).tolerated + 1]:
        _delivery(writer, deliveries, holder)
        _complaints(writer, cohort, holder, given[holder])
    return writer.finish()


def of_delivery(
    frame: bytes, dealer: int, said: ShareKeys, holder: int, rest: bytes, signature: bytes
) -> bytes:
    """A list that has not what its dealer says that it dealt. frame: of `verifying.frame_of`.
    rest, signature: of the list, as the holder has it."""
    writer = Writer().u8(VERSION).u8(Kind.DELIVERY).raw(frame)
    writer.u32(dealer).raw(said.body).raw(said.signature)
    return writer.u32(holder).raw(rest).raw(signature).finish()


def _begin(kind: Kind, cohort: SignedCohort) -> Writer:
    """Version and kind, and the frame: what offer, session and graph follow from."""
    writer = Writer().u8(VERSION).u8(kind)
    return writer.raw(write_session(cohort.terms)).raw(cohort.encoded)


def _body(writer: Writer, deliveries: Deliveries, dealer: int) -> None:
    said = deliveries.dealt[dealer]
    writer.u32(dealer).raw(said.body).raw(said.signature)


def _delivery(writer: Writer, deliveries: Deliveries, holder: int) -> None:
    _, signature = deliveries.signed[holder]
    rest = deliveries.to(holder).rest(deliveries.cohort.size)
    writer.u32(holder).raw(rest).raw(signature)


def _complaints(writer: Writer, cohort: SignedCohort, holder: int, given: Given) -> None:
    writer.bitmap(given.failed, len(cohort.neighbours(holder)))
    writer.raw(given.vector).raw(given.signature)
