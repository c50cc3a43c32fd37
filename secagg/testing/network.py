"""The servers' machines, n clients', and a network between them that fails on schedule.

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

from secagg.committee import Keys
from secagg.drive import pump
from secagg.drive.pump import Said, Servers
from secagg.errors import LocalProtocolError, RemoteProtocolError
from secagg.layout import Expander, Layout, RingVector
from secagg.mask import add_streams
from secagg.players import Players
from secagg.protocol import OneServer, Params, ProtocolInfo, Session, SeveralServers
from secagg.sansio import ClientMachine, Event, Outgoing, RingTotal, ServerMachine
from secagg.shown import short
from secagg.suite import Suite
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


def players(params: Params, suite: Suite, seed: bytes) -> Players | None:
    """Everybody's keys where clients sign, as public as the seed, of as many places as clients."""
    if not suite.signed:
        return None
    return Players.of(params.clients, counter_randomness(seed + b"roster"))


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

    __repr__ = short

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

    servers: by party, as `Family.machines` gives them. between: what arrives of what they say to
    each other. sent: every message from or to a client, before the wire touched it. events: (party,
    event). refusals: the clients that ended their session with RemoteProtocolError. Whatever else a
    machine raises leaves `run`, after its mailbox was drained.
    """

    def __init__(
        self,
        servers: Servers,
        clients: Mapping[PartyId, ClientMachine],
        schedule: Schedule | None = None,
        wire: Wire = honest,
        between: pump.Wire = pump.unchanged,
    ) -> None:
        self.servers, self.clients = dict(servers), dict(clients)
        self.schedule, self.wire, self.between = schedule or Schedule(), wire, between
        self.sent: list[Carried] = []
        self.events: list[tuple[PartyId, Event]] = []
        self.refusals: dict[PartyId, RemoteProtocolError] = {}
        self.present = set(self.clients)
        self._up: dict[PartyId, list[Outgoing]] = {party: [] for party in self.clients}
        self._down: list[Said] = []
        self._started = False

    @property
    def server(self) -> ServerMachine:
        """The one there is, or the first, which leads."""
        return self.servers[SERVER]

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

        Of several servers, and where clients sign, all keys come from the seed, and the session's
        committee or roster is replaced.
        """
        keys, cast = None, players(session.params, session.suite, seed)
        if cast is not None:
            session = replace(session, roster=cast.roster)
        match info.family:
            case SeveralServers():
                keys = server_keys(session.params, seed)
                session = replace(session, committee=keys.committee)
            case OneServer():
                pass
        clients = {
            party: info.family.client(
                session,
                party,
                randomness=counter_randomness(seed + party.to_bytes(4)),
                expander=expander,
                signing=cast.members[party] if cast else None,
            )
            for party in inputs
        }
        signing = cast.server if cast else None
        servers = info.family.machines(session, keys, expander=expander, signing=signing)
        network = cls(servers, clients, schedule, wire)
        for party, vector in inputs.items():
            clients[party].set_input(vector, session.payload_digest)
            network.drain(party)
        return network

    def run(self) -> RingTotal:
        """To the end: the total, or raises the errors.Aborted that ended it."""
        self.start()
        while not self.over:
            self.step()
        return self.result()

    @property
    def over(self) -> bool:
        """Whether there is a sum, or will be none."""
        return pump.over(self.servers)

    def result(self) -> RingTotal:
        return pump.total(self.servers, self.clients)

    def run_until(self, phase: str) -> Network:
        """Up to the moment when the server is in `phase` and the clients' messages are queued.

        Raises LocalProtocolError where the session has ended before, or has no such phase.
        """
        self.start()
        while self.server.phase != phase:
            if self.over:
                raise LocalProtocolError(f"the session has ended, and was not in {phase!r}")
            self.step()
        return self

    def start(self) -> None:
        if self._started:
            return
        self._started = True
        self.call(SERVER, partial(pump.start, self.servers))
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
            if party not in self.clients:
                raise
            self.refusals[party] = error
        finally:
            self.drain(party)

    def drain(self, party: PartyId) -> None:
        """Takes what a client wants sent and what it reports, into queues and the log.

        Of any other party: of all servers, once what they say to each other has been carried.
        """
        if party in self.clients:
            self._up[party] += self.clients[party].outgoing()
        else:
            self._down += pump.settle(self.servers, self.between)
        drained = {party: self.clients[party]} if party in self.clients else self.servers
        for one, machine in drained.items():
            self.events += [(one, event) for event in machine.events()]

    def lose(self, party: PartyId) -> None:
        """Tells the server that a client is gone, now."""
        self.call(SERVER, partial(self.server.lost, party))

    def hand_over(self, sender: PartyId, message: Outgoing) -> None:
        """To the server or servers at once, past the schedule, the wire and the log."""
        self.call(SERVER, partial(pump.deliver, self.servers, sender, message))

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
        if not self.over:
            self.call(SERVER, partial(pump.advance, self.servers))

    def _downloads(self, phase: str) -> None:
        messages, self._down = self._down, []
        for sender, message in messages:
            self.sent.append(Carried(phase, sender, message.to, message.data))
            if message.to not in self.present:
                continue
            arriving = list(self.wire(self.sent[-1]))
            if self.schedule.acts.get((phase, message.to)) is Act.ECHO:
                arriving *= 2
            for one in arriving:
                self.deliver(message.to, one, sender)

    def deliver(self, to: PartyId, data: bytes, sender: PartyId = SERVER) -> None:
        """Hands bytes to a client at once, past the schedule, the wire and the log."""
        self.call(to, partial(self.clients[to].receive, sender, data))
