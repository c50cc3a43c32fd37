"""Several servers and their collector in one process, seen as one server: for trials and tests.

It gives no privacy, as it holds every key; what it runs are the very machines of a real deployment.
Clients reach the leader through `receive`, and every server through `deliver`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from secagg.committee import Committee, ServerSecrets, opening_secret
from secagg.effects import Write
from secagg.errors import Aborted, LocalProtocolError, ParameterError
from secagg.layout import Expander
from secagg.protocol import ProtocolInfo, Session
from secagg.sansio import Aborted as AbortedEvent
from secagg.sansio import (
    CollectorMachine,
    Event,
    Finished,
    Job,
    MemberMachine,
    Need,
    Outgoing,
    RingTotal,
)
from secagg.types import (
    COLLECTOR,
    FIRST_RESERVED,
    SERVER,
    AbortReason,
    Buffer,
    NonCopyable,
    PartyId,
    Randomness,
    Seed,
    server_id,
)

Wire: TypeAlias = Callable[[PartyId, Outgoing], Sequence[bytes]]
"""(sender, message) -> what arrives between servers in its place."""


def _honest(sender: PartyId, message: Outgoing) -> Sequence[bytes]:
    return (message.data,)


class Several(NonCopyable):
    """What stands for several servers, each of which a client may speak to.

    A base class, as a driver asks for every message whether it has one before it, and asking a
    protocol takes longer than handling a small message.
    """

    def deliver(self, to: PartyId, sender: PartyId, message: Buffer, /) -> None:
        """A client's message to one of the servers; one to anybody else goes nowhere."""
        raise NotImplementedError


class Keys:
    """The secret keys of every server and of the collector, for a process that plays them all."""

    def __init__(self, servers: int, randomness: Randomness, *, epoch: int = 0) -> None:
        self.servers = tuple(ServerSecrets.generate(randomness) for _ in range(servers))
        self.collector: Seed = opening_secret(randomness)
        self.committee = Committee(
            tuple(secrets.public for secrets in self.servers),
            ServerSecrets(self.collector, self.collector).public.sealing,
            epoch,
        )


class Ensemble(Several):
    """A ServerMachine made of m members and a collector, with a wire between them.

    members: by party. After every call what the servers say to each other is carried until they
    are quiet. Closing `upload` runs the batch to its end.
    """

    def __init__(
        self,
        info: ProtocolInfo,
        session: Session,
        keys: Keys,
        *,
        expander: Expander,
        wire: Wire = _honest,
    ) -> None:
        if info.member is None or info.collector is None:
            raise ParameterError(f"{info.name} has one server")
        session = replace(session, committee=keys.committee)
        self.members: Mapping[PartyId, MemberMachine] = {
            server_id(index): info.member(session, index, secrets, expander=expander)
            for index, secrets in enumerate(keys.servers)
        }
        self.collector: CollectorMachine = info.collector(session, keys.collector)
        self._leader = self.members[SERVER]
        self._clients = session.params.clients
        self._wire = wire
        self._outgoing: list[Outgoing] = []
        self._events: list[Event] = []

    @property
    def phase(self) -> str:
        return self._leader.phase

    @property
    def done(self) -> bool:
        return self.collector.done or self._failure() is not None

    @property
    def ended(self) -> AbortedEvent | None:
        return self._leader.ended or self.collector.ended

    @property
    def need(self) -> Need:
        """Until the batch is summed and collected."""
        if self.done or not self.phase:
            return Need.NOTHING
        return Need.MESSAGES if self.waiting_for else Need.CLOSE

    @property
    def alive(self) -> frozenset[PartyId]:
        return self._leader.alive

    @property
    def contributors(self) -> frozenset[PartyId]:
        return self._leader.contributors

    @property
    def waiting_for(self) -> frozenset[PartyId]:
        waiting = frozenset() if self.done else self._leader.waiting_for
        return frozenset(party for party in waiting if party < FIRST_RESERVED)

    @property
    def quorum(self) -> bool:
        return self._leader.quorum

    def start(self) -> None:
        for member in self.members.values():
            member.start()
        self._settle()

    def receive(self, sender: PartyId, message: Buffer, /) -> None:
        self.deliver(SERVER, sender, message)

    def deliver(self, to: PartyId, sender: PartyId, message: Buffer, /) -> None:
        if to in self.members:
            self._call(partial(self.members[to].receive, sender, message))

    def lost(self, party: PartyId, /) -> None:
        self._call(partial(self._leader.lost, party))

    def abort(self, why: AbortReason, /) -> None:
        self._call(partial(self._leader.abort, why))

    def close_phase(self) -> None:
        if self.done:
            raise LocalProtocolError("no phase is open")
        self._call(self._leader.close_phase)
        if self._failure() is None and self._leader.done:
            self._call(self.collector.start)

    def jobs(self) -> Sequence[Job]:
        return ()

    def finish(self, job: Job, value: Any, /) -> None:
        raise LocalProtocolError("no job was handed out")

    def result(self) -> RingTotal:
        """The collector's, with the contributors as the leader knows them."""
        if (failure := self._failure()) is not None:
            raise failure
        total = self.collector.result()
        contributors = self._leader.contributors
        everyone = frozenset(map(PartyId, range(self._clients)))
        return replace(total, contributors=contributors, dropped=everyone - contributors)

    def outgoing(self) -> list[Outgoing]:
        drained, self._outgoing = self._outgoing, []
        return drained

    def events(self) -> list[Event]:
        drained, self._events = self._events, []
        return drained

    def acknowledged(self) -> None:
        """Nothing is kept here for repeats."""

    def reconnected(self, party: PartyId, /) -> None:
        """Nothing is lost within a process."""

    def writes(self) -> list[Write]:
        return []

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        raise LocalProtocolError("what stands for several servers takes no rows up")

    def _failure(self) -> Aborted | None:
        """What ended the batch at the leader, without whom there is none."""
        if not self._leader.done:
            return None
        try:
            self._leader.result()
        except Aborted as failure:
            return failure
        except LocalProtocolError:  # a member has no result: it ended well
            return None
        raise LocalProtocolError("a member of several servers has a result of its own")

    def _call(self, call: Callable[[], None]) -> None:
        try:
            call()
        finally:
            self._settle()

    def _settle(self) -> None:
        """Carries what the servers and the collector say until nobody says more."""
        inside = {**self.members, COLLECTOR: self.collector}
        quiet = False
        while not quiet:
            quiet = True
            for sender, machine in inside.items():
                for message in machine.outgoing():
                    quiet = False
                    if message.to not in inside:
                        self._outgoing.append(message)
                        continue
                    for data in self._wire(sender, message):
                        inside[message.to].receive(sender, data)
        self._report()

    def _report(self) -> None:
        """The leader's events, save that it is the collector who finishes."""
        self._events += [e for e in self._leader.events() if not isinstance(e, Finished)]
        for index in range(1, len(self.members)):
            self.members[server_id(index)].events()
        ends = (Finished, AbortedEvent)
        self._events += [e for e in self.collector.events() if isinstance(e, ends)]
