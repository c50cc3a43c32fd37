"""A vector into shares, and what each is bound to (specs/20-additive.md §3, §4).

Share 0 is the vector less the streams of m - 1 fresh seeds, packed; share j is seed j. Any m - 1 of
them are uniform whatever the vector is: without seed j its stream is a one-time pad on share 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from secagg.committee import Committee
from secagg.crypto import hpke, labels, sign
from secagg.errors import InvalidSignature, ParameterError, WireError
from secagg.layout import Expander, Layout, RingVector
from secagg.protocol import Session
from secagg.types import Randomness, Seed
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import SUITE, VERSION
from secagg.wire.vector import PackedVector, read_vector, write_vector
from secagg_protocols.additive.params import AdditiveParams
from secagg_protocols.reports.messages import ID_SIZE, Included, Receipt, Report, front

NAME = "additive"
_SERVER, _COLLECTOR = b"server", b"collector"


@dataclass(frozen=True)
class Context:
    """What every party knows alike. id: of the task; it binds every report to all of this."""

    params: AdditiveParams
    layout: Layout
    committee: Committee
    id: bytes

    @classmethod
    def of(cls, session: Session) -> Context:
        """Raises ParameterError unless the session has the servers that its parameters count
        and a minimum batch that its corrupt clients cannot see through."""
        if not isinstance(session.params, AdditiveParams):
            raise ParameterError("the session's parameters are not those of additive sums")
        committee = session.committee
        if committee is None or len(committee.servers) != session.params.servers:
            raise ParameterError(
                f"additive sums need the keys of their {session.params.servers} servers: "
                "give the session a committee of that many"
            )
        session.check_smallest_sum()  # specs/20-additive.md §2
        return cls(session.params, session.layout, committee, session.offer(NAME))

    def batch(self, number: int) -> bytes:
        """32 bytes that bind what servers say of one batch."""
        return labels.digest(labels.BATCH, self.id, number)

    def is_signed(self, index: int, message: bytes, signature: bytes) -> bool:
        """Whether server `index` has signed these bytes."""
        try:
            sign.verify(self.committee.servers[index].signing, message, signature)
        except InvalidSignature:
            return False
        return True

    def is_receipt(self, index: int, digest: bytes, signature: bytes) -> bool:
        """Whether server `index` has signed that it has stored its share of the report."""
        return self.is_signed(index, Receipt.to_sign(self.id, index, digest), signature)

    def share_info(self, id: bytes, front: bytes, index: int) -> bytes:
        """The HPKE info of a share: all of its context, as no associated data exists.

        front: digest of the report's key and public share.
        """
        return labels.encode(
            labels.SHARE_SEAL,
            NAME.encode("ascii"),
            VERSION,
            SUITE,
            self.id,
            id,
            front,
            _SERVER,
            index,
        )

    def total_info(self, number: int, included: Included, index: int) -> bytes:
        """The HPKE info of a server's total."""
        return labels.encode(
            labels.TOTAL_SEAL,
            NAME.encode("ascii"),
            VERSION,
            SUITE,
            self.id,
            number,
            included.digest,
            included.count,
            _COLLECTOR,
            index,
        )

    def stream_keys(self, seed: Seed, id: bytes, index: int) -> list[bytes]:
        """One mask key for each segment: a seed never keys AES itself."""
        return [
            labels.derive(seed, labels.SHARE, self.id, id, index, segment).expose()
            for segment in range(len(self.layout.segments))
        ]


def make_report(
    context: Context, vector: RingVector, randomness: Randomness, expander: Expander
) -> Report:
    """vector: consumed. Draws the id, 16 bytes; the secret of the report's key, 32; then m - 1
    seeds of 32 each, by index."""
    id, public = randomness(ID_SIZE), b""
    secret = Seed(randomness(Seed.SIZE))
    bound = front(sign.public_key(secret), public)
    seeds = [Seed(randomness(Seed.SIZE)) for _ in range(1, context.params.servers)]
    keys = [context.stream_keys(seed, id, index) for index, seed in enumerate(seeds, start=1)]
    for segment, lane in enumerate(vector):
        expander(lane, b"".join(key[segment] for key in keys), bytes(len(keys)))
    packed = write_vector(Writer(), context.layout, vector).finish()
    sealed = tuple(
        hpke.seal(server.sealing, share, context.share_info(id, bound, index))
        for index, (server, share) in enumerate(
            zip(context.committee.servers, [packed, *(s.expose() for s in seeds)], strict=True)
        )
    )
    return Report.of(context.id, id, public, sealed, secret)


class Share(Protocol):
    """An opened share."""

    def add_to(self, total: RingVector, /) -> None: ...


@dataclass(frozen=True)
class SeedShare:
    """A helper's share: one key for each segment, which stand for the whole vector."""

    keys: list[bytes] = field(repr=False)
    expander: Expander

    def add_to(self, total: RingVector, /) -> None:
        for lane, key in zip(total, self.keys, strict=True):
            self.expander(lane, key, b"\x01")


def read_packed(layout: Layout, plaintext: bytes) -> PackedVector:
    """The leader's share, valid as a whole; WireError for padding that is set."""
    reader = Reader(plaintext)
    vector = read_vector(reader, layout)
    reader.finish()
    return vector


def read_seed(plaintext: bytes) -> Seed:
    """WireError for another length."""
    if len(plaintext) != Seed.SIZE:
        raise WireError(f"a seed is {Seed.SIZE} bytes, not {len(plaintext)}")
    return Seed(plaintext)
