"""What a malicious server can open of what it was told, by counting shares and by linear algebra.

A masked vector is its input, its self mask, and a mask for each pair. A secret of which fewer than
t shares are known is as good as random, and so is each mask that hangs on it: so what is learnt of
the inputs are those linear combinations of the vectors in which no unknown mask is left, and
nothing else. They are a vector space, and its reduced basis is what is judged.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from secagg.types import PartyId

Parties = frozenset[PartyId]


@dataclass(frozen=True, slots=True)
class Said:
    """What one honest client has said. session: in which it has dealt. sharers: the U2 that it has
    masked for, or None. survivors: the U3 that it has opened its shares for, or None."""

    session: Hashable
    sharers: Parties | None = None
    survivors: Parties | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """both: of whom the server has both secrets. sums: the reduced basis of what it can compute, by
    client the factor of its input. sessions: of each client that has said anything."""

    both: Parties
    sums: tuple[Mapping[PartyId, Fraction], ...]
    sessions: Mapping[PartyId, Hashable]

    def broken(self, least: int) -> str:
        """What of the promise does not hold, or nothing: of each session one sum, of `least` honest
        inputs or more, and no input in two."""
        if self.both:
            return "both secrets of a client"
        if any(set(one.values()) != {1} for one in self.sums):
            return "a combination that is no sum"
        if any(a.keys() & b.keys() for a, b in combinations(self.sums, 2)):
            return "an input in two sums"
        of = [{self.sessions[party] for party in one} for one in self.sums]
        if any(len(one) > 1 for one in of) or any(a & b for a, b in combinations(of, 2)):
            return "two sums of a session, or one of two"
        if any(len(one) < least for one in self.sums):
            return f"a sum of {min(map(len, self.sums))}"
        return ""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """A server that has one or more `corrupt` clients, of what the honest have said."""

    corrupt: Parties
    threshold: int
    said: Mapping[PartyId, Said]
    cohorts: Mapping[Hashable, Parties]
    """U1, by session."""

    def knows(self, dealer: PartyId, survived: bool) -> bool:
        """Whether it has t shares of this client's b (survived), or of its s_sk."""
        session = self.said[dealer].session
        shares = len(self.corrupt & self.cohorts[session])  # who is corrupt has been dealt both
        for one in self.said.values():
            if one.session == session and one.sharers and one.survivors is not None:
                shares += dealer in one.sharers and (dealer in one.survivors) is survived
        return shares >= self.threshold

    def opened(self) -> Opened:
        b = {party for party in self.said if self.knows(party, True)}
        s = {party for party in self.said if self.knows(party, False)}
        # a vector whose self mask is unknown is in no combination: nothing else has that mask
        vectors = [party for party in sorted(b) if self.said[party].sharers is not None]
        rows = [self._unknown(party, s) for party in vectors]
        basis = left_null_space(rows)
        sums = tuple(
            {party: factor for party, factor in zip(vectors, one, strict=True) if factor}
            for one in basis
        )
        sessions = {party: one.session for party, one in self.said.items()}
        return Opened(frozenset(b & s), sums, sessions)

    def _unknown(self, party: PartyId, s: Collection[PartyId]) -> dict[Hashable, int]:
        """The pairwise masks in its vector that the server cannot compute, with their signs."""
        one = self.said[party]
        masks: dict[Hashable, int] = {}
        for peer in (one.sharers or frozenset()) - self.corrupt - {party}:
            if party not in s and peer not in s:
                # an honest peer of another session is another mask, that nobody cancels
                masks[one.session, frozenset((party, peer))] = 1 if party < peer else -1
        return masks


def left_null_space(rows: Sequence[Mapping[Hashable, int]]) -> list[list[Fraction]]:
    """The reduced basis of all a with sum a_i rows_i = 0, exactly."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    size = len(rows)
    work = [
        [Fraction(row.get(key, 0)) for key in columns] + [Fraction(i == j) for j in range(size)]
        for i, row in enumerate(rows)
    ]
    rank = _reduce(work, range(len(columns)))
    basis = [row[len(columns) :] for row in work[rank:]]
    _reduce(basis, range(size))
    return basis


def _reduce(work: list[list[Fraction]], columns: range) -> int:
    """To reduced row echelon form over these columns, in place; the rank."""
    rank = 0
    for column in columns:
        pivot = next((i for i in range(rank, len(work)) if work[i][column]), None)
        if pivot is None:
            continue
        work[rank], work[pivot] = work[pivot], work[rank]
        factor = work[rank][column]
        work[rank] = [x / factor for x in work[rank]]
        for i, row in enumerate(work):
            if i != rank and row[column]:
                work[i] = [x - row[column] * y for x, y in zip(row, work[rank], strict=True)]
        rank += 1
    return rank
