"""Who is there, and with which keys: closing it fixes U1."""

from __future__ import annotations

from collections.abc import Collection

from secagg.errors import InvalidKey
from secagg.types import PartyId
from secagg.wire.codec import Reader
from secagg_protocols.rows import Taken, number_of, numbered
from secagg_protocols.secagg.cohort import at_least
from secagg_protocols.secagg.dealing import check_advertised
from secagg_protocols.secagg.messages import AdvertiseKeys, Tag
from secagg_protocols.secagg.stages.base import KEYS, Drop, Stage, cohort_of
from secagg_protocols.secagg.states import ServerState
from secagg_protocols.secagg.terms import Terms


# Keys are compared over the whole cohort, and not within a neighbourhood: the graph does not exist
# yet, as it hangs on the session id, and that hangs on all keys. Whoever copies another's key is
# dropped here and the one who was first is not (S4); no client can be made to fail by being copied.
class Advertise(Stage):
    """Takes keys of everybody in 0 to n - 1; quorum is the plan's min_clients."""

    state, tag = ServerState.ADVERTISE_KEYS, Tag.ADVERTISE_KEYS
    kinds = frozenset([KEYS])

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self._advertised: dict[PartyId, AdvertiseKeys] = {}
        self._keys: set[bytes] = set()

    @classmethod
    def read(cls, terms: Terms, taken: Taken) -> Advertise:
        """Each row is judged as the message was. Raises WireError or InvalidKey."""
        stage = cls(terms)
        for party, body in taken.under(KEYS, terms.params.clients):
            stage.take(PartyId(party), Reader(body))
        return stage

    @property
    def quorum(self) -> bool:
        return len(self._advertised) >= self.terms.params.min_clients

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        """Rule S4: canonical, not of small order, and unique over the cohort."""
        advertised = AdvertiseKeys.read(reader)
        reader.finish()
        check_advertised([advertised])
        if not self._keys.isdisjoint(advertised.both):
            raise InvalidKey("another client has advertised this key")
        self._keys.update(advertised.both)
        self._advertised[sender] = advertised
        return (numbered(KEYS, sender),)

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """Rule S5, U1. Whoever advertised and was lost since still counts: its keys were real."""
        params = self.terms.params
        at_least(len(self._advertised), params.min_clients, "clients advertised keys")
        return self.following(cohort_of(self.terms, self._advertised))

    def row(self, key: bytes) -> bytes | None:
        return b"".join(self._advertised[PartyId(number_of(key))].both)
