"""What convicts a member of a session, or its server (specs/12-active.md §8)."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from secagg.types import PartyId
from secagg.wire.codec import Writer
from secagg_protocols.secagg.active.dealing import roster_of

if TYPE_CHECKING:
    from secagg_protocols.secagg.active.stages import Fixed, WrongSecret, WrongShare

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
    writer = _begin(Kind.WRONG_SHARE, fixed)
    _body(writer, fixed, wrong.dealer)
    _delivery(writer, fixed, wrong.holder)
    _complaints(writer, fixed, wrong.holder)
    writer.bitmap(fixed.survivors, fixed.cohort.size)
    return writer.raw(b"".join(wrong.digests)).raw(wrong.signature).finish()


def of_secret(fixed: Fixed, wrong: WrongSecret) -> bytes:
    """Rule R6: t shares as they were dealt, of a secret that its dealer has not announced."""
    writer = _begin(Kind.WRONG_SECRET, fixed)
    _body(writer, fixed, wrong.dealer)
    writer.u8(wrong.dealer not in fixed.survivors)
    for x, share in sorted(wrong.shares.items()):
        writer.u32(x - 1).raw(share)
    return writer.finish()


def of_complaints(fixed: Fixed, party: PartyId) -> bytes:
    """Rule R7: more holders complain of a dealer than can lie."""
    dealer = fixed.cohort.index[party]
    holders = [h for h, failed in sorted(fixed.masked.failed.items()) if dealer in failed]
    writer = _begin(Kind.COMPLAINTS, fixed)
    _body(writer, fixed, dealer)
    writer.u32(len(holders))
    for holder in holders:
        _delivery(writer, fixed, holder)
        _complaints(writer, fixed, holder)
    return writer.finish()


def _begin(kind: Kind, fixed: Fixed) -> Writer:
    """Version and kind, and the frame: what offer, session and graph follow from."""
    cohort = fixed.cohort
    session = cohort.terms.session
    writer = Writer().u8(VERSION).u8(kind).prefixed(session.plan).raw(session.payload_digest)
    writer.raw(session.nonce).raw(roster_of(cohort.terms).digest)
    writer.bitmap(cohort.ids, cohort.clients).raw(b"".join(keys.body for keys in cohort.keys))
    return writer.raw(cohort.signature)


def _body(writer: Writer, fixed: Fixed, dealer: int) -> None:
    said = fixed.deliveries.dealt[dealer]
    writer.u32(dealer).raw(said.body).raw(said.signature)


def _delivery(writer: Writer, fixed: Fixed, holder: int) -> None:
    _, signature = fixed.deliveries.signed[holder]
    rest = fixed.deliveries.to(holder).rest(fixed.cohort.size)
    writer.u32(holder).raw(rest).raw(signature)


def _complaints(writer: Writer, fixed: Fixed, holder: int) -> None:
    given = fixed.given[holder]
    writer.bitmap(given.failed, len(fixed.cohort.neighbours(holder)))
    writer.raw(given.vector).raw(given.signature)
