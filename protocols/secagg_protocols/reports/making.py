"""A report is made: a vector split, its shares sealed and tied together (20-additive.md §4, §5)."""

from __future__ import annotations

from secagg.crypto import hpke, sign
from secagg.layout import RingVector
from secagg.types import Randomness, Seed
from secagg_protocols.reports.context import Context
from secagg_protocols.reports.messages import Report, front
from secagg_protocols.reports.shape import ID_SIZE

# The order of the draws is fixed for the vectors (20-additive.md §4.6). The id is drawn and not
# derived: of a client's name or of its input it would tell the servers, from one epoch to the next,
# that they have the same client. The report's key signs once, and its secret ends with this
# function.


def make_report(context: Context, vector: RingVector, randomness: Randomness) -> Report:
    """vector: consumed. Draws the id, 16 bytes; the secret of the report's key, 32; then what the
    scheme draws. Sealing draws besides, from the operating system and never from here."""
    id = randomness(ID_SIZE)
    secret = Seed(randomness(Seed.SIZE))
    public, shares = context.scheme.split(vector, id, randomness)
    # before the first seal, whose info it is in; the manifest can only come after the last
    bound = front(sign.public_key(secret), public)
    sealed = tuple(
        hpke.seal(server.sealing, share, context.share_info(id, bound, index))
        for index, (server, share) in enumerate(zip(context.committee.servers, shares, strict=True))
    )
    return Report.of(context.id, id, public, sealed, secret)
