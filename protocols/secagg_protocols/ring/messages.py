"""Partial, total and abort, bound to one session (specs/21-ring.md §3)."""

from __future__ import annotations

from secagg.crypto import labels
from secagg.errors import BadTag, WireError
from secagg.layout import Layout, RingVector
from secagg.protocol import Session
from secagg.types import AbortReason, Buffer
from secagg.wire.codec import Reader
from secagg.wire.header import read_header, write_header
from secagg.wire.vector import read_vector, write_vector

# The nonce is bound where the other protocols bind a session id: a round has no message before the
# first vector from which both sides could compute one. Without it a partial sum of yesterday's
# round of the same plan would be taken today.

PARTIAL = 1
TOTAL = 2
ABORT = 3


def binding_of(session: Session) -> bytes:
    """The nonce is in it: nothing else tells two rounds of one plan apart. 32 bytes."""
    return labels.digest(labels.SESSION, session.offer("ring"), session.nonce)


def encode(tag: int, session: Session, vector: RingVector) -> bytes:
    """PARTIAL or TOTAL; elements are reduced modulo their ring."""
    writer = write_header(tag, binding_of(session))
    return write_vector(writer, session.layout, vector).finish()


def abort(session: Session, reason: AbortReason) -> bytes:
    """A party's last word, to everybody: whoever waits for a sum waits in vain."""
    return write_header(ABORT, binding_of(session)).u8(reason.code).finish()


def decode(session: Session, message: Buffer) -> tuple[int, RingVector | AbortReason]:
    """The tag with its vector, or ABORT with its reason; WireError for anything else."""
    reader = Reader(message)
    tag, binding = read_header(reader)
    if binding != binding_of(session):
        raise WireError("bound to another session")
    content = _abort(reader) if tag == ABORT else _vector(tag, reader, session.layout)
    reader.finish()
    return tag, content


def _abort(reader: Reader) -> AbortReason:
    code = reader.u8("reason")
    reason = AbortReason.from_code(code)
    if reason is None:
        raise WireError(f"abort reason {code} is unknown")
    return reason


def _vector(tag: int, reader: Reader, layout: Layout) -> RingVector:
    if tag not in (PARTIAL, TOTAL):
        raise BadTag(f"tag {tag} is unknown")
    return read_vector(reader, layout).unpack()
