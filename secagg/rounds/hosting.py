"""The machine of a round at its server, and who sits on which of its seats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from secagg import errors, party
from secagg.crypto import labels
from secagg.effects import NAMESPACE_SIZE, Peer, Write
from secagg.errors import BelowThreshold, LocalProtocolError, ParameterError
from secagg.plans.task import Task
from secagg.rounds.cohort import Cohort
from secagg.rounds.enrolled import Host
from secagg.rounds.opening import Opening
from secagg.rounds.selection import Candidate, Select, seated
from secagg.sansio import Aborted, PhasedMailbox, RingTotal
from secagg.shown import short
from secagg.types import AbortReason, Buffer, PartyId

# Theory of operation.
#
# Where nobody signs, a party's number is the order in which it came, and says nothing. Where
# clients sign it is a place in the roster, as the key at that place is what every message of it is
# checked against. So candidates are only those links that have proved a place, whom a selection
# picks is whom the session invites, and a seat is the place of who sits there.
#
# A server that writes down what it fixes has pieces of a transcript to store (specs/12-active.md
# §7). They are rows of the rounds' own, in a namespace of their own, which does not end with the
# session's: they are written with the rows that are committed before what they speak of leaves,
# and go when the application has what they add up to (`secagg.rounds.filing`).
#
# Such a session does not go on from rows, and a machine of it cannot be made again, for it would
# be the second one of its identity. What stands in its place after a restart has ended already, and
# knows whom it had asked: they hear that the session is lost, and the application has what was
# written down of it by then.


@dataclass(frozen=True)
class Seating:
    """seats: who is where. cohort: as `Cohort` has it. invited: where clients sign, whom of the
    roster the session asks."""

    seats: Mapping[PartyId, Peer]
    cohort: Sequence[bytes | None]
    invited: frozenset[PartyId] | None = None

    __repr__ = short


def seating(task: Task, select: Select, here: Sequence[Candidate], host: Host | None) -> Seating:
    """Whom `select` picks, by arrival; where clients sign, of those who are in the roster, each at
    its place.

    Raises ParameterError for a selection that cannot be, and, where clients sign, for a server
    without their roster or with an older one than the task's, or another administrator's;
    BelowThreshold where fewer members are picked than a round begins with: nobody is asked then.
    """
    plan = task.plan
    if not plan.suite.signed:
        peers = seated(select(plan, here), plan, here)
        seats = {PartyId(i): peer for i, peer in enumerate(peers)}
        return Seating(seats, [peer.identity for peer in peers])
    host = _checked(host, task)
    members = [one for one in here if host.place(one.identity) is not None]
    peers = seated(select(plan, members), plan, members)
    places = {place: peer for peer in peers if (place := host.place(peer.identity)) is not None}
    if len(places) < len(peers):
        raise ParameterError("a member was picked over two links: each has one place in a round")
    if len(places) < plan.params.min_clients:
        raise BelowThreshold(
            f"{len(places)} members of the roster are here, and a round of the plan begins with "
            f"{plan.params.min_clients}"
        )
    whose: list[bytes | None] = [None] * host.roster.size
    for place, peer in places.items():
        whose[place] = peer.identity
    return Seating(places, whose, frozenset(places))


def _checked(host: Host | None, task: Task) -> Host:
    if host is None:
        raise ParameterError(
            "clients of this plan sign, and this server has no roster of them: give it the signed "
            "roster, and the server's identity"
        )
    host.roster.check_size(task.plan.threat.population, task.plan.params.min_clients)
    pin = task.pin
    if pin is not None and (pin.admin != host.signed.admin or pin.epoch > host.roster.epoch):
        raise ParameterError(
            f"the task's roster is of epoch {pin.epoch} of the administrator {pin.admin.hex()}, "
            f"and this server has epoch {host.roster.epoch} of {host.signed.admin.hex()}"
        )
    return host


def machine_of(opening: Opening, seating: Seating, host: Host | None) -> party.Server:
    """The server of a round that begins, or goes on from rows."""
    plan, digest = opening.task.plan, opening.task.payload_digest
    nonce, noise = opening.nonce, opening.noise
    if not plan.suite.signed or host is None:
        return party.Server(plan, nonce=nonce, payload_digest=digest, noise=noise)
    return party.Server(
        plan,
        nonce=nonce,
        payload_digest=digest,
        noise=noise,
        roster=host.roster,
        signing=host.signing,
        invited=seating.invited,
    )


def taken_up(opening: Opening, cohort: Sequence[bytes | None]) -> party.Server:
    """The server of a round that another process began."""
    plan = opening.task.plan
    if not plan.suite.signed:
        return machine_of(opening, Seating({}, cohort), None)
    return party.Server(
        plan,
        nonce=opening.nonce,
        payload_digest=opening.task.payload_digest,
        noise=opening.noise,
        machine=Gone(Cohort(cohort).members()),
    )


class Gone(PhasedMailbox):
    """A server that is no more. Nothing can be asked of it but why."""

    phase, done, quorum = "", True, False
    waiting_for: frozenset[PartyId] = frozenset()
    contributors: frozenset[PartyId] = frozenset()

    def __init__(self, parties: Iterable[PartyId]) -> None:
        super().__init__()
        self.alive = frozenset(parties)
        self._why = Aborted(AbortReason.LOST, "the server was started again")

    def start(self) -> None:
        raise LocalProtocolError("this session has ended with its process")

    def close_phase(self) -> None:
        raise LocalProtocolError("no phase is open")

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        """Nothing is expected of anybody."""

    def lost(self, party: PartyId, /) -> None:
        """Whoever that is has nothing to lose here."""

    def abort(self, why: AbortReason, /) -> None:
        """It has ended."""

    def result(self) -> RingTotal:
        raise errors.Aborted(AbortReason.LOST, "the server was started again")


_PIECE, _EVIDENCE = b"t", b"v"


def written_in(nonce: bytes) -> bytes:
    """The namespace of what the server of that session has written down."""
    return labels.digest(labels.WRITTEN, nonce)[:NAMESPACE_SIZE]


class Written:
    """A session's transcript and evidence, as far as they have come."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._evidence: list[bytes] = []

    def restore(self, own: Mapping[bytes, bytes]) -> bool:
        """own: the rows of its namespace. False where it is another's, or there are none."""
        self._pieces = [own[key] for key in sorted(own) if key[:1] == _PIECE]
        self._evidence = [own[key] for key in sorted(own) if key[:1] == _EVIDENCE]
        return 0 < len(own) == len(self._pieces) + len(self._evidence)

    @property
    def transcript(self) -> bytes:
        return b"".join(self._pieces)

    @property
    def evidence(self) -> tuple[bytes, ...]:
        return tuple(self._evidence)

    def take(self, machine: party.Server) -> list[Write]:
        """What is new, as rows."""
        rows = []
        for kind, kept, new in (
            (_PIECE, self._pieces, machine.transcript()),
            (_EVIDENCE, self._evidence, machine.evidence()),
        ):
            for piece in new:
                rows.append(Write(kind + len(kept).to_bytes(4), piece))
                kept.append(piece)
        return rows
