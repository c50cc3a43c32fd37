"""What each client has said before, so that it is heard once (specs/10-secagg.md §9, S2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container

from secagg.crypto.fingerprint import Fingerprints
from secagg.errors import WireError
from secagg.types import Buffer, PartyId, Randomness, Seed
from secagg.wire.codec import Reader
from secagg_protocols.rows import Taken, number_of, numbered
from secagg_protocols.secagg.messages import NAMES

SEEN = b"seen/"
"""A row of each client: its fingerprints, by kind of message."""
# Under a key that clients do not have, 128 bits cannot be aimed at: a client that wants another
# message to pass for its first one has to guess.
_PRINT = 16


class Repeats:
    """A fingerprint of each client's message of each kind, under a key of this session's own.

    A message is not kept: the fingerprint is 16 bytes of it, and a masked vector may be megabytes.
    The key is a row, or a server that comes back would take every repeat for equivocation.
    """

    def __init__(self, randomness: Randomness) -> None:
        self._prints = Fingerprints(randomness)
        self._seen: dict[PartyId, dict[int, bytes]] = defaultdict(dict)

    @property
    def key(self) -> Seed:
        return self._prints.key

    def said(self, sender: PartyId, tag: int) -> bool:
        return tag in self._seen[sender]

    # A repeat is told from equivocation by this and nothing else, so it is asked before the state
    # is: the same bytes are harmless in whichever phase they come again, late ones too (rule S2).
    def same(self, sender: PartyId, tag: int, message: Buffer) -> bool:
        return self._seen[sender][tag] == self._prints.of(message)

    def remember(self, sender: PartyId, tag: int, message: Buffer) -> bytes:
        """The key of the row that this changes."""
        self._seen[sender][tag] = self._prints.of(message)
        return numbered(SEEN, sender)

    def row(self, key: bytes) -> bytes:
        seen = self._seen[PartyId(number_of(key))]
        return b"".join(bytes([tag]) + seen[tag] for tag in sorted(seen))

    @classmethod
    def read(cls, key: bytes, clients: int, taken: Taken, names: Container[int] = NAMES) -> Repeats:
        """names: the tags that there are."""
        repeats = cls(lambda size: key)
        for party, body in taken.under(SEEN, clients):
            repeats._seen[PartyId(party)] = _read_prints(Reader(body), names)
        return repeats


def _read_prints(reader: Reader, names: Container[int]) -> dict[int, bytes]:
    """By tag. WireError for one that is no message's, or that stands twice."""
    prints: dict[int, bytes] = {}
    while reader.remaining:
        number = reader.u8("tag")
        if number not in names or number in prints:
            raise WireError("a fingerprint of no kind of message, or a second one")
        prints[number] = reader.fixed(_PRINT, "fingerprint")
    return prints
