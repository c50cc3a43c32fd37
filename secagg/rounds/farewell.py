"""How rounds ended for those who may not have heard it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from secagg.effects import Write
from secagg.errors import WireError
from secagg.rounds.base import END, ROUNDS, Outbox
from secagg.types import Fault
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import Over, decode_frame

# Theory of operation.
#
# A round's last word is said once to each client, and three deaths lie in its way: of a link, of
# the client before it has stored what it heard, and of the server between the transaction that ends
# the round and its posts. A client that misses it waits as long as it trusts its server to work,
# and must then suppose that its input is in a sum. So the end of a round keeps where each identity
# stood, and says it again whenever that identity comes back. Who knows it already takes no notice:
# a round that has ended for a client is none of its own.
#
# Nobody acknowledges a last word, so nothing says when it may be forgotten; the newest few rounds
# are kept, in one row each, and of older ones the end alone.
#
# It is said to identities only. Who has proved nothing cannot come back, and telling whoever asks
# where somebody stood would tell strangers who took part. The row of an end takes the place of all
# rows of its round, in one transaction: there is no moment at which a server that is started again
# finds a round that is over and running, or neither.

KEPT = 16
"""Rounds whose standings are kept. A peer that comes back is posted as many frames at most."""
_MAX_IDENTITY = 1 << 16
_NONE = 0


@dataclass(frozen=True, slots=True)
class Farewell:
    """over: how the round ended. standings: by identity, as `Over.standing`."""

    over: Over
    standings: Mapping[bytes, Fault | None] = field(default_factory=dict, repr=False)

    def encode(self) -> bytes:
        writer = Writer().prefixed(self.over.encode()).u32(len(self.standings))
        for identity, standing in self.standings.items():
            writer.prefixed(identity).u8(standing.code if standing else _NONE)
        return writer.finish()

    @classmethod
    def decode(cls, row: bytes) -> Farewell:
        """Raises WireError for what is no such row."""
        reader = Reader(row)
        over = decode_frame(reader.prefixed(len(row), "end"), limit=len(row))
        if not isinstance(over, Over):
            raise WireError("the row of an end holds the last word of its round")
        number = reader.u32("number of standings")
        entries = [
            (reader.prefixed(_MAX_IDENTITY, "identity"), Fault.from_code(reader.u8("standing")))
            for _ in range(number)
        ]
        reader.finish()
        return cls(over, dict(entries))


class Farewells:
    """Those of the newest rounds, in the order in which these ended."""

    def __init__(self, outbox: Outbox, durable: bool) -> None:
        self._outbox, self._durable = outbox, durable
        self._kept: dict[bytes, Farewell] = {}

    def add(self, farewell: Farewell) -> None:
        """In place of all rows of its round."""
        if self._durable:
            self._outbox.forget(farewell.over.nonce)
            self._write(farewell)
        self._keep(farewell)

    def restore(self, row: bytes) -> None:
        """Of ends that were restored nobody knows the order."""
        self._keep(Farewell.decode(row))

    def to(self, identity: bytes) -> list[Over]:
        """What to say to it, now that it has come back."""
        return [
            replace(one.over, standing=one.standings[identity])
            for one in self._kept.values()
            if identity in one.standings
        ]

    def _keep(self, farewell: Farewell) -> None:
        """Beyond KEPT the oldest one's row is cut to its end."""
        if not farewell.standings:
            return
        self._kept[farewell.over.nonce] = farewell
        if len(self._kept) > KEPT:
            oldest = self._kept.pop(next(iter(self._kept)))
            if self._durable:
                self._write(Farewell(oldest.over))

    def _write(self, farewell: Farewell) -> None:
        row = Write(END, farewell.encode())
        self._outbox.write(farewell.over.nonce, ROUNDS, [row])
