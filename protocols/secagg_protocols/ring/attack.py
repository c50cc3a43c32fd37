"""The collusion attack, on messages as they were sent (specs/21-ring.md §5)."""

from __future__ import annotations

from secagg.errors import WireError
from secagg.layout import RingVector
from secagg.protocol import Session
from secagg.types import AbortReason, Buffer
from secagg_protocols.ring.messages import decode
from secagg_protocols.ring.vectors import minus


def collude(session: Session, before: Buffer, after: Buffer) -> RingVector:
    """The value of the party between two neighbours who compare notes.

    before: the message that the left one sent to it. after: the one that the right one got of it.
    They differ by what the party added, whatever the offset is. Of the initiator's neighbours the
    difference is its value less the sum of all, which it then tells them.
    Raises WireError for bytes that are no vector of this session.
    """
    return minus(session.layout, _vector(session, after), _vector(session, before))


def _vector(session: Session, message: Buffer) -> RingVector:
    content = decode(session, message)[1]
    if isinstance(content, AbortReason):
        raise WireError("an abort carries no vector")
    return content
