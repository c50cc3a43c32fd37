"""One server machine, n client machines, and a network between them that fails on schedule.

Everything that goes wrong is data in a `Schedule`, so a property test can draw it, shrink it and
print it; what data cannot say, such as a lying peer, is a `Wire` function. There is no clock and
no hidden randomness: the same schedule gives the same run.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

from secagg.drive.ensemble import Ensemble, Keys
from secagg.drive.pump import deliver
from secagg.errors import RemoteProtocolError
from secagg.layout import Expander, Layout, RingVector
from secagg.mask import add_streams
from secagg.protocol import Params, ProtocolInfo, Session
from secagg.sansio import ClientMachine, Event, Machine, Outgoing, RingTotal, ServerMachine
from secagg.types import SERVER, PartyId, Randomness


def counter_randomness(seed: bytes) -> Randomness:
    """Call i for n bytes gives the first n of SHAKE-256(seed, i). For tests and vectors only.

    Whoever knows the seed knows every secret, and two machines with one seed share their masks.
    """
    calls = 0

    def draw(size: int) -> bytes:
        nonlocal calls
        calls += 1
        return hashlib.shake_256(seed + calls.to_bytes(8)).digest(size)

    return draw


def server_keys(params: Params, seed: bytes) -> Keys:
    """Of all servers and their collector, as public as the seed."""
    return Keys(params.servers, counter_randomness(seed + b"servers"))


def plain_sum(
    layout: Layout, inputs: Mapping[PartyId, RingVector], contributors: Collection[PartyId]
) -> list[list[int]]:
    """The oracle: the sum over the contributors in Python integers, modulo each segment's ring."""
    return [
        [
            sum(int(inputs[party][number][i]) for party in contributors) % segment.group.modulus
            for i in range(segment.length)
        ]
        for number, segment in enumerate(layout.segments)
    ]


class Act(enum.Enum):
    """What happens to one client's message of one phase, and to the client."""

    GONE = "gone"  # vanishes instead of sending, and the server is told
    SILENT = "silent"  # vanishes instead of sending, and nobody is told
    LEAVES = "leaves"  # sends, then vanishes, and the server is told
    DEAF = "deaf"  # sends, then vanishes, and nobody is told
    LATE = "late"  # arrives after the phase was closed
    DUPLICATE = "duplicate"  # arrives twice
    REPLAY = "replay"  # arrives, and once more after the phase was closed
    CORRUPT = "corrupt"  # arrives with one bit flipped: bit `flip`, modulo its length
    ECHO = "echo"  # arrives, and the server's answer comes back twice


_VANISHES = (Act.GONE, Act.SILENT, Act.LEAVES, Act.DEAF)
_UNSENT = (Act.GONE, Act.SILENT)


@dataclass(frozen=True)
class Schedule:
    """Everything that goes wrong in one run; the empty schedule is the round without faults.

    acts: by (phase, party). order: by phase, in which order uploads arrive; parties not named
    come after those that are. close_after: by phase, after how many uploads its deadline strikes;
    what comes later is late. flip: the bit that Act.CORRUPT changes.
    """

    acts: Mapping[tuple[str, PartyId], Act] = field(default_factory=dict)
    order: Mapping[str, Sequence[PartyId]] = field(default_factory=dict)
    close_after: Mapping[str, int] = field(default_factory=dict)
    flip: int = 0

    def arranged(self, phase: str, parties: Collection[PartyId]) -> list[PartyId]:
        """The parties in the order in which their uploads arrive in that phase."""
        named = [party for party in self.order.get(phase, ()) if party in parties]
        return named + sorted(set(parties) - set(named))


@dataclass(frozen=True, slots=True)
class Carried:
    """One message as it was sent. phase: the server's, when the network took it."""

    phase: str
    sender: PartyId
    to: PartyId
    data: bytes = field(repr=False)


Wire: TypeAlias = Callable[[Carried], Sequence[bytes]]
"""What arrives, in order, in place of a message: nothing, the message, or anything else."""


def honest(message: Carried) -> Sequence[bytes]:
    """The wire that carries every message as it is."""
    return (message.data,)


class Network:
    """Runs one session under a schedule and keeps a log of all that was sent and reported.

    sent: every message before the wire touched it. events: (party, event), SERVER for the
    server's. refusals: the clients that ended their session with RemoteProtocolError. Whatever
    else a machine raises leaves `run`, after its mailbox was drained.
    """

    def __init__(
        self,
        server: ServerMachine,
        clients: Mapping[PartyId, ClientMachine],
        schedule: Schedule | None = None,
        wire: Wire = honest,
    ) -> None:
        self.server, self.clients = server, dict(clients)
        self.schedule, self.wire = schedule or Schedule(), wire
        self.sent: list[Carried] = []
        self.events: list[tuple[PartyId, Event]] = []
        self.refusals: dict[PartyId, RemoteProtocolError] = {}
        self.present = set(self.clients)
        self._up: dict[PartyId, list[Outgoing]] = {party: [] for party in self.clients}
        self._down: list[Outgoing] = []
        self._started = False

    @classmethod
    def of(
        cls,
        info: ProtocolInfo,
        session: Session,
        inputs: Mapping[PartyId, RingVector],
        *,
        seed: bytes = b"",
        schedule: Schedule | None = None,
        wire: Wire = honest,
        expander: Expander = add_streams,
    ) -> Network:
        """Machines of one protocol, each client with its input and randomness of its own.

        Of several servers all keys come from the seed, and the session's committee is replaced.
        """
        server: ServerMachine
        if info.server is not None:
            server = info.server(session, expander=expander)
        else:
            keys = server_keys(session.params, seed)
            server = Ensemble(info, session, keys, expander=expander)
            session = replace(session, committee=keys.committee)
        clients = {
            party: info.client(
                session,
                party,
                randomness=counter_randomness(seed + party.to_bytes(4)),
                expander=expander,
            )
            for party in inputs
        }
        network = cls(server, clients, schedule, wire)
        for party, vector in inputs.items():
            clients[party].set_input(vector, session.payload_digest)
            network.drain(party)
        return network

    def run(self) -> RingTotal:
        """To the end: the total, or the errors.Aborted that the server's result() raises."""
        self.start()
        while not self.server.done:
            self.step()
        return self.server.result()

    def run_until(self, phase: str) -> Network:
        """Up to the moment when the server is in `phase` and the clients' messages are queued."""
        self.start()
        while self.server.phase != phase:
            self.step()
        return self

    def start(self) -> None:
        if self._started:
            return
        self._started = True
        self.call(SERVER, self.server.start)
        for party, client in self.clients.items():
            self.call(party, client.start)

    def step(self) -> None:
        """One phase: uploads, the close (or the jobs), what came too late, downloads."""
        phase = self.server.phase
        arriving, after = self._uploads(phase)
        limit = self.schedule.close_after.get(phase, len(arriving))
        for message in arriving[:limit]:
            self._upload(message)
        self._advance()
        for message in arriving[limit:] + after:
            self._upload(message)
        self._downloads(phase)

    def call(self, party: PartyId, act: Callable[[], None]) -> None:
        """One call on one machine, drained whatever it raised, as the drivers' contract says."""
        try:
            act()
        except RemoteProtocolError as error:
            if party == SERVER:
                raise
            self.refusals[party] = error
        finally:
            self.drain(party)

    def drain(self, party: PartyId) -> None:
        """Takes what a machine wants sent and what it reports, into queues and the log."""
        machine: Machine = self.server if party == SERVER else self.clients[party]
        self.events += [(party, event) for event in machine.events()]
        for message in machine.outgoing():
            if party == SERVER:
                self._down.append(message)
            else:
                self._up[party].append(message)

    def lose(self, party: PartyId) -> None:
        """Tells the server that a client is gone, now."""
        self.call(SERVER, partial(self.server.lost, party))

    def hand_over(self, sender: PartyId, message: Outgoing) -> None:
        """To the server or servers at once, past the schedule, the wire and the log."""
        self.call(SERVER, partial(deliver, self.server, sender, message))

    def repeat(self, party: PartyId) -> None:
        """Hands over what a client has said and the network has not taken yet: it will again."""
        for message in self._up[party]:
            self.hand_over(party, message)

    def queued(self, party: PartyId) -> list[bytes]:
        """What a client has said and the network has not taken yet."""
        return [message.data for message in self._up[party]]

    def _uploads(self, phase: str) -> tuple[list[Carried], list[Carried]]:
        """(what arrives before the deadline, what arrives after it)"""
        arriving, after = [], []
        for party in self.schedule.arranged(phase, self.present):
            act = self.schedule.acts.get((phase, party))
            messages = [Carried(phase, party, m.to, m.data) for m in self._up[party]]
            self._up[party] = []
            if act in _VANISHES:
                self.present.discard(party)
            if act in _UNSENT:
                messages = []
            elif act is Act.LATE:
                after += messages
                messages = []
            elif act is Act.CORRUPT:
                messages = [self._corrupted(message) for message in messages]
            elif act is Act.REPLAY:
                after += messages
            arriving += messages * 2 if act is Act.DUPLICATE else messages
            if act is Act.GONE:
                self.lose(party)
        return arriving, after

    def _corrupted(self, message: Carried) -> Carried:
        data = bytearray(message.data)
        at, bit = divmod(self.schedule.flip % (8 * len(data)), 8)
        data[at] ^= 1 << bit
        return Carried(message.phase, message.sender, message.to, bytes(data))

    def _upload(self, message: Carried) -> None:
        self.sent.append(message)
        for data in self.wire(message):
            self.hand_over(message.sender, Outgoing(message.to, data))
        if self.schedule.acts.get((message.phase, message.sender)) is Act.LEAVES:
            self.lose(message.sender)

    def _advance(self) -> None:
        if self.server.done:
            return
        jobs = list(self.server.jobs())
        for job in jobs:
            self.call(SERVER, partial(self.server.finish, job, job()))
        if not jobs:
            self.call(SERVER, self.server.close_phase)

    def _downloads(self, phase: str) -> None:
        messages, self._down = self._down, []
        for message in messages:
            self.sent.append(Carried(phase, message.sender, message.to, message.data))
            if message.to not in self.present:
                continue
            arriving = list(self.wire(self.sent[-1]))
            if self.schedule.acts.get((phase, message.to)) is Act.ECHO:
                arriving *= 2
            for one in arriving:
                self.deliver(message.to, one, message.sender)

    def deliver(self, to: PartyId, data: bytes, sender: PartyId = SERVER) -> None:
        """Hands bytes to a client at once, past the schedule, the wire and the log."""
        self.call(to, partial(self.clients[to].receive, sender, data))
