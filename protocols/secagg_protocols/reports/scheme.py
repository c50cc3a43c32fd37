"""What a batch machine does not know: how a vector is split, judged, added and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from secagg.errors import WireError
from secagg.layout import RingVector
from secagg.types import Randomness
from secagg_protocols.reports.shape import Shape

# Theory of operation.
#
# A machine of this package carries reports from clients to servers, decides with the other servers
# which of them count, and releases totals. What is in a share it never looks at: that is a
# `Scheme`.
#
# A report at a server goes
#
#     received --open--> opened --begin--> checking --end--> verdict --every server's--> decision
#
# and a scheme says whether the two middle steps exist. Without exchanges a share that opens is one
# that counts, and `checking` is skipped. With one exchange `begin` gives this server's part of a
# proof, `combine` makes one message of all m parts, at the leader, and `end` turns the message and
# what this server kept into a share, or refuses the report. Two exchanges are none that anybody has
# built: a scheme for which one is not enough needs another state here, and not a trick in
# `combine`.
#
# The state in between is not written down. What is stored is what came: the report, and the
# combined message once there is one; `open`, `begin` and `end` are functions of these and of
# nothing else, so a server that starts again computes what it had. That is why they draw no
# randomness, and why one that ends on a message has ended on it for ever.
#
# Whatever is wrong with a report is a `WireError` here, whichever step finds it: a machine rejects
# the report for it and goes on. A scheme raises nothing else for what a client sent.

Share: TypeAlias = Any
"""A share that counts, or will once it is checked; only its scheme knows what it is."""
Checking: TypeAlias = Any
"""What a server keeps of a share between its part of the proof and the combined message."""
Sum: TypeAlias = Any
"""What shares are added to."""


class Scheme(Protocol):
    """How one plan's vectors become shares, for every party of its sessions.

    It has no state: two calls with the same arguments give the same, `split` and the randomness
    that it draws aside. All its sizes are in `shape`, since no message says how long it is.
    """

    @property
    def shape(self) -> Shape:
        """Bytes of everything, and with `exchanges` whether reports are checked."""

    @property
    def jobs(self) -> bool:
        """Whether `open` and `begin` are slow enough to be jobs: the scheme is then picklable."""

    def split(
        self, vector: RingVector, id: bytes, randomness: Randomness, /
    ) -> tuple[bytes, Sequence[bytes]]:
        """The public share, and the m plaintexts in the order of the servers. vector: consumed.
        id: of the report, 16 bytes that are fresh, so its nonce."""

    def open(self, index: int, id: bytes, public: bytes, plaintext: bytes, /) -> Share:
        """Server `index`'s share. WireError for bytes that are none."""

    def begin(self, share: Share, /) -> tuple[Checking, bytes]:
        """With one exchange: what to keep, and this server's part, shape.part bytes."""

    def combine(self, parts: Sequence[bytes], /) -> bytes:
        """All m parts in the order of the servers, into shape.message bytes. WireError if what
        they say together is that the report is not valid."""

    def end(self, checking: Checking, message: bytes, /) -> Share:
        """The share, now one that counts. WireError where it does not."""

    def zeros(self) -> Sum:
        """The sum of no reports."""

    def add(self, total: Sum, share: Share, /) -> None:
        """In place; of two sums too, as `read` gives them."""

    def write(self, total: Sum, /) -> bytes:
        """A server's total as it is sealed to the collector, shape.total bytes."""

    def read(self, data: bytes, /) -> Share:
        """The same back, to be added. WireError for bytes that are none."""

    def store(self, total: Sum, /) -> bytes:
        """A running sum as a row, which is written often and never sent."""

    def restore(self, row: bytes, /) -> Sum:
        """The same back. StorageError for another length."""

    def vector(self, total: Sum, /) -> RingVector:
        """The sum of all totals, as elements of the plan's rings."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A share as this server has it. checking, part: of a scheme with an exchange; share is then
    None until it has ended."""

    share: Share | None = field(repr=False)
    checking: Checking | None = field(default=None, repr=False)
    part: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Opening:
    """One plaintext to open, as a job: pure, picklable where its scheme is.

    It has this server's share of one report, which its own executor may see, and no key.
    """

    scheme: Scheme = field(repr=False)
    index: int
    id: bytes
    public: bytes
    plaintext: bytes = field(repr=False)

    def __call__(self) -> Opened | None:
        """None for a share that is none."""
        try:
            share = self.scheme.open(self.index, self.id, self.public, self.plaintext)
            if not self.scheme.shape.exchanges:
                return Opened(share)
            return Opened(None, *self.scheme.begin(share))
        except WireError:
            return None
