"""How long everything is: no message of a batch has a length in it (specs/20-additive.md §6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from secagg.crypto import hpke
from secagg.crypto.sign import KEY_SIZE, SIGNATURE_SIZE
from secagg.wire.header import DIGEST_SIZE, HEADER_SIZE

# Two reports of one plan are as long as each other, and so are two verdicts that say the same: who
# watches the links learns which messages there were, how verdicts went among them, and nothing of
# an input. A length on the wire would be one more thing to disagree about, and to allocate by.

ID_SIZE = 16
RECEIPT_SIZE = HEADER_SIZE + ID_SIZE + 1 + SIGNATURE_SIZE


@dataclass(frozen=True)
class Shape:
    """The sizes that a plan fixes, in bytes.

    sealed: each server's sealed share. total: a server's total before it is sealed. public: the
    public share, which additive sums leave empty. part, message: of a check, a server's part and
    what all of them make together; both None where reports are not checked.
    """

    sealed: tuple[int, ...]
    total: int
    public: int = 0
    part: int | None = None
    message: int | None = None

    @classmethod
    def of(
        cls,
        shares: Sequence[int],
        total: int,
        *,
        public: int = 0,
        part: int | None = None,
        message: int | None = None,
    ) -> Shape:
        """shares: the plaintexts, in the order of the servers."""
        sealed = tuple(hpke.OVERHEAD + size for size in shares)
        return cls(sealed, total, public, part, message)

    @property
    def exchanges(self) -> int:
        """0 or 1: how often servers speak about a report before its verdict."""
        return 0 if self.part is None else 1

    @property
    def head(self) -> int:
        fixed = HEADER_SIZE + ID_SIZE + KEY_SIZE + SIGNATURE_SIZE
        return fixed + self.public + DIGEST_SIZE * len(self.sealed)

    @property
    def report(self) -> int:
        return self.head + sum(self.sealed)

    def report_share(self, index: int) -> int:
        return self.head + self.sealed[index]

    @property
    def total_message(self) -> int:
        """Of a server to the collector."""
        signatures = SIGNATURE_SIZE * (len(self.sealed) + 1)
        return HEADER_SIZE + 4 + DIGEST_SIZE + self.total + hpke.OVERHEAD + signatures
