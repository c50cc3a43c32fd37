"""What must become of a session of active mode under a schedule, by counting alone.

Who is there after each phase, and whether that is enough: written from specs/12-active.md §1, §2.5
and §6 with sets and sums. It knows no message, no key and no machine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from secagg.testing import Act, Schedule
from secagg.types import PartyId
from secagg_protocols.secagg.active.params import ActiveParams

Parties = frozenset[PartyId]
_GOES = (Act.GONE, Act.SILENT, Act.LEAVES, Act.DEAF)


@dataclass(frozen=True)
class Graph:
    """What follows from the session id: of U1, who holds whose shares, and who may sign."""

    holders: Callable[[PartyId], Parties]
    signers: Parties
    quorum: int


class Short(Exception):
    """Too few are left. The phase."""


class Count:
    """A session as it is counted. graph: from U1 to what follows from its id."""

    def __init__(
        self,
        params: ActiveParams,
        parties: Collection[PartyId],
        schedule: Schedule,
        graph: Callable[[Parties], Graph],
    ) -> None:
        self._params, self._schedule, self._graph = params, schedule, graph
        self._present, self._alive = set(parties), set(parties)

    def contributors(self) -> Parties:
        """U3, or Short."""
        params = self._params
        u1 = self._phase("advertise-keys", self._alive)
        self._enough("advertise-keys", len(u1), params.min_clients)
        graph = self._graph(u1)
        self._alive &= u1

        u2 = self._core(self._phase("share-keys", u1) & self._alive, graph)
        self._enough("share-keys", len(u2), params.min_survivors)
        self._alive &= u2

        u3 = self._phase("masked-input", u2)
        self._enough("masked-input", len(u3), params.min_survivors)
        wanted = [p for p in u2 if p in u3 or graph.holders(p) & u3]
        self._recoverable("masked-input", wanted, u3, graph)

        u4 = self._phase("consistency", u3 & graph.signers)
        self._enough("consistency", len(u4), graph.quorum)
        self._recoverable("consistency", wanted, u3, graph)

        u5 = self._phase("unmask", u3)
        for party in wanted:
            self._enough("unmask", len(graph.holders(party) & u5), params.threshold)
        return u3

    def _recoverable(
        self, phase: str, wanted: Collection[PartyId], u3: Parties, graph: Graph
    ) -> None:
        """Whether those of U3 who are still there are enough for every secret."""
        for party in wanted:
            left = len(graph.holders(party) & u3 & self._alive)
            self._enough(phase, left, self._params.threshold)

    def _phase(self, name: str, awaited: Collection[PartyId]) -> Parties:
        """Whose message is taken in time; of those awaited nobody else is heard again."""
        saying = self._alive & self._present & set(awaited)
        arriving: list[tuple[PartyId, Act | None]] = []
        for party in self._schedule.arranged(name, set(self._present)):
            act = self._schedule.acts.get((name, party))
            if act in _GOES:
                self._present.discard(party)
            if act is Act.GONE:
                self._alive.discard(party)
            if party in saying and act not in (Act.GONE, Act.SILENT, Act.LATE):
                arriving += [(party, act)] * (2 if act is Act.DUPLICATE else 1)
        taken = set()
        for party, act in arriving[: self._schedule.close_after.get(name, len(arriving))]:
            if act is Act.CORRUPT:
                continue
            taken.add(party)
            if act is Act.LEAVES:
                self._alive.discard(party)
        self._alive -= set(awaited) - taken
        return frozenset(taken)

    def _core(self, sharers: Collection[PartyId], graph: Graph) -> Parties:
        """Less and less, until each that is left has t holders in it."""
        kept = frozenset(sharers)
        few = {p for p in kept if len(graph.holders(p) & kept) < self._params.threshold}
        return self._core(kept - few, graph) if few else kept

    def _enough(self, phase: str, number: int, needed: int) -> None:
        if number < needed:
            raise Short(phase)
