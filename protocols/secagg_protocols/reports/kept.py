"""What a client keeps of its report, and the rows of it (specs/20-additive.md §7.4, §9.8)."""

from __future__ import annotations

from collections.abc import Iterable

from secagg.effects import Write
from secagg.errors import StorageError
from secagg.types import AbortReason, PartyId, server_id
from secagg.wire.header import DIGEST_SIZE
from secagg_protocols.reports.messages import Head
from secagg_protocols.reports.shape import ID_SIZE

# | key | value |
# |---|---|
# | `m`, `u8` server | the message for it, until it is acknowledged: sealed shares |
# | `k` | id, report digest, `u16`: a bit for each server whose receipt is missing; until the end |
# | `e` | once it has ended: empty where all have it, else `u8` reason |

# No row holds a secret: what is kept is sealed to servers, and the report's own key is forgotten.
# So this store needs no key, and whoever reads it learns which report it was, and nothing that is
# in it. What rows cannot do is to keep a client from making a second report after it was set back:
# that is a claim's.

_MESSAGE, _KNOWN, _ENDED = b"m", b"k", b"e"
_MASK = 2
_FOREIGN = "these are no rows of a report of this client: use its own store"


class Kept:
    """A report until it is stored everywhere. missing: servers whose receipts have not come."""

    def __init__(self, servers: int) -> None:
        self.id = self.digest = b""
        self.messages: dict[PartyId, bytes] = {}
        self.missing = set(range(servers))
        self._servers = servers
        self._changed: dict[bytes, bytes | None] = {}

    def put(self, head: Head, messages: dict[PartyId, bytes]) -> None:
        """messages: by server, the whole of what each is sent; a leader that relays is sent all."""
        self.id, self.digest = head.id, head.digest
        self.messages = messages
        for party, data in messages.items():
            self._changed[_key(party)] = data
        self._mark()

    def has(self, index: int, party: PartyId | None) -> None:
        """That server has its share. party: whose message is then of no more use."""
        self.missing.discard(index)
        self._mark()
        if party is not None and self.messages.pop(party, None) is not None:
            self._changed[_key(party)] = None

    def forget(self) -> None:
        for party in self.messages:
            self._changed[_key(party)] = None
        self.messages = {}

    def end(self, reason: AbortReason | None) -> None:
        """reason: None where every server has the report. Only the row that says so is left."""
        self.forget()
        if self.id:
            self._changed[_KNOWN] = None
        self._changed[_ENDED] = b"" if reason is None else bytes([reason.code])

    def writes(self) -> list[Write]:
        changed, self._changed = self._changed, {}
        return [Write(key, value) for key, value in changed.items()]

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> bool | AbortReason | None:
        """None: it goes on, or had not begun. Else it has ended, for that reason if for one."""
        ended: bool | AbortReason | None = None
        for key, value in rows:
            if key == _ENDED:
                ended = _reason(value)
            elif key == _KNOWN:
                self._know(value)
            elif key[:1] == _MESSAGE and len(key) == 2 and key[1] < self._servers:
                self.messages[server_id(key[1])] = bytes(value)
            else:
                raise StorageError(_FOREIGN)
        if self.messages and not self.id:
            raise StorageError(_FOREIGN)
        return ended

    def _know(self, value: bytes) -> None:
        """Raises StorageError for a row of another size, with no server missing, or with one too
        many."""
        missing = int.from_bytes(value[-_MASK:])
        if len(value) != ID_SIZE + DIGEST_SIZE + _MASK or not 0 < missing < 1 << self._servers:
            raise StorageError(_FOREIGN)
        self.id, self.digest = bytes(value[:ID_SIZE]), bytes(value[ID_SIZE:-_MASK])
        self.missing = {index for index in range(self._servers) if missing >> index & 1}

    def _mark(self) -> None:
        mask = sum(1 << index for index in self.missing)
        self._changed[_KNOWN] = self.id + self.digest + mask.to_bytes(_MASK)


def _key(party: PartyId) -> bytes:
    return _MESSAGE + bytes([server_id(0) - party])


def _reason(value: bytes) -> bool | AbortReason:
    if not value:
        return True
    reason = AbortReason.from_code(value[0]) if len(value) == 1 else None
    if reason is None:
        raise StorageError(_FOREIGN)
    return reason
