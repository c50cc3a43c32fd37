"""What one server opens, seals and signs in one batch (specs/20-additive.md §4, §6)."""

from __future__ import annotations

from secagg.committee import ServerSecrets
from secagg.crypto import hpke, sign
from secagg.crypto.hpke import OpeningKey
from secagg.errors import InvalidTag, LocalProtocolError
from secagg_protocols.reports.context import Context
from secagg_protocols.reports.messages import Included, Receipt, Sealed, Statement, Total
from secagg_protocols.reports.scheme import Opening, Sum


# No check here compares a context. The info of a share has task, report, front, role and index in
# it, and that of a total the set and its count: what was sealed for anything else does not open,
# and so cannot be used by a machine that forgot to ask. HPKE takes no associated data, hence all in
# info.
#
# Which of the two keys is forgotten when is a rule (A13). The one that opens goes with the batch: a
# server that is taken over afterwards opens no report of it from this machine. The one that signs
# stays, as a receipt that was lost must be given again for as long as the epoch lasts (A3).
class Seals:
    """The private keys of server `index`, and what they are for."""

    def __init__(self, context: Context, number: int, index: int, secrets: ServerSecrets) -> None:
        self._context, self._index = context, index
        self._number, self._batch = number, context.batch(number)
        self._signing = secrets.signing
        self._opening: OpeningKey | None = secrets.opening_key()

    def __repr__(self) -> str:
        return f"Seals(index={self._index})"

    def forget(self) -> None:
        """Nothing more is opened. Receipts of a batch that is over are signed still."""
        self._opening = None

    def unseal(self, sealed: Sealed) -> Opening | None:
        """What is to be opened of this server's share; None for one that is not sealed to it, or
        under another front."""
        if self._opening is None:
            raise LocalProtocolError("a batch that has ended opens no shares")
        head = sealed.head
        info = self._context.share_info(head.id, head.front, self._index)
        try:
            plaintext = self._opening.open(sealed.data, info)
        except InvalidTag:
            return None
        return Opening(self._context.scheme, self._index, head.id, head.public, plaintext)

    def receipt(self, id: bytes, digest: bytes) -> Receipt:
        """The same bytes whenever asked: signing is deterministic."""
        signed = Receipt.to_sign(self._context.id, self._index, digest)
        return Receipt(id, self._index, sign.sign(self._signing, signed))

    def statement(self, included: Included) -> bytes:
        """This server's signature under a set."""
        return sign.sign(self._signing, included.to_sign(self._batch))

    def total(self, agreement: Statement, total: Sum) -> bytes:
        """The message to the collector. Sealing is randomised, so it is made once."""
        included, scheme = agreement.included, self._context.scheme
        info = self._context.total_info(self._number, included, self._index)
        sealed = hpke.seal(self._context.committee.collector, scheme.write(total), info)
        # over the ciphertext: the collector knows whose a total is before it opens anything
        signed = Total.to_sign(self._batch, self._index, included, sealed)
        return Total(agreement, sealed, sign.sign(self._signing, signed)).encode(self._batch)
