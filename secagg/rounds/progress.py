"""How far a round has come that runs, for whoever looks on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from secagg.rounds.cohort import Cohort
from secagg.shown import short
from secagg.types import Fault, PartyId

# Theory of operation.
#
# Whoever looks on sees what the round's server knows already, and nothing is counted or kept for
# its sake: a look is a value, made when somebody looks, and the round goes on as if nobody had.
#
# Everybody of a cohort is at one of three things. The machine waits for something of it; or it is
# out, whatever for; or it has sent what the phase asks for. So the three numbers add up to the
# cohort, in every phase, and the last follows from the others. Who owes is the machine's word, as
# is who is alive: a client that has lost its link and may come back owes, since its seat waits.
#
# A phase closes at its deadline, unless the server itself works: then nobody is late, and there is
# no moment to count down to. Bytes are those of this life of the process, as in a report.
#
# Faults are as far as this process has seen them. Who was dropped before a restart is out without
# one, and a reader says so rather than to guess.
#
# Impossible: a party that owes and is out, as nobody waits for whom it has dropped.


@dataclass(frozen=True, slots=True)
class Progress:
    """phase: that runs, of `phases` in their order; empty between two. due: when it closes at the
    latest, in monotonic seconds; infinite while the server itself works. up, down: bytes of
    protocol messages of all clients, in this life of the process. owe: of whom the phase waits for
    something. gone: who is out of it, with the fault where it is known. cohort: who sits where."""

    phase: str
    phases: Sequence[str]
    due: float
    up: int
    down: int
    owe: frozenset[PartyId]
    gone: Mapping[PartyId, Fault | None]
    cohort: Cohort = field(repr=False)

    __repr__ = short

    @property
    def last(self) -> bool:
        """Whether its sum is being opened."""
        return self.phase not in self.phases[:-1]
