"""What one server opens, seals and signs in one batch (specs/20-additive.md §4, §6)."""

from __future__ import annotations

from secagg.committee import ServerSecrets
from secagg.crypto import hpke, sign
from secagg.crypto.hpke import OpeningKey
from secagg.errors import LocalProtocolError
from secagg.layout import Expander, RingVector
from secagg.wire.codec import Writer
from secagg.wire.vector import write_vector
from secagg_protocols.additive.sharing import Context, SeedShare, Share, read_packed, read_seed
from secagg_protocols.reports.messages import Included, Receipt, Sealed, Statement, Total


class Seals:
    """The private keys of server `index`, and what they are for."""

    def __init__(
        self,
        context: Context,
        number: int,
        index: int,
        secrets: ServerSecrets,
        *,
        expander: Expander,
    ) -> None:
        self._context, self._index = context, index
        self._number, self._batch = number, context.batch(number)
        self._signing = secrets.signing
        self._opening: OpeningKey | None = secrets.opening_key()
        self._expander = expander

    def __repr__(self) -> str:
        return f"Seals(index={self._index})"

    def forget(self) -> None:
        """Nothing more is opened. Receipts of a batch that is over are signed still."""
        self._opening = None

    def open(self, sealed: Sealed) -> Share:
        """The share of this server; InvalidTag or WireError for one that is none."""
        if self._opening is None:
            raise LocalProtocolError("a batch that has ended opens no shares")
        id = sealed.head.id
        info = self._context.share_info(id, sealed.head.front, self._index)
        plaintext = self._opening.open(sealed.data, info)
        if self._index == 0:
            return read_packed(self._context.layout, plaintext)
        seed = read_seed(plaintext)
        return SeedShare(self._context.stream_keys(seed, id, self._index), self._expander)

    def receipt(self, id: bytes, digest: bytes) -> Receipt:
        """The same bytes whenever asked: signing is deterministic."""
        signed = Receipt.to_sign(self._context.id, self._index, digest)
        return Receipt(id, self._index, sign.sign(self._signing, signed))

    def statement(self, included: Included) -> bytes:
        """This server's signature under a set."""
        return sign.sign(self._signing, included.to_sign(self._batch))

    def total(self, agreement: Statement, vector: RingVector) -> bytes:
        """The message to the collector. Sealing is randomised, so it is made once."""
        packed = write_vector(Writer(), self._context.layout, vector).finish()
        included = agreement.included
        info = self._context.total_info(self._number, included, self._index)
        sealed = hpke.seal(self._context.committee.collector, packed, info)
        signed = Total.to_sign(self._batch, self._index, included, sealed)
        return Total(agreement, sealed, sign.sign(self._signing, signed)).encode(self._batch)
