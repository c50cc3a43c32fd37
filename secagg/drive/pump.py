"""The synchronous pump: one session in one process. Read this first.

It is the whole contract between drivers and machines: drain after every call, carry each message to
the party it names, close a phase, run jobs. Everything else a driver does (deadlines, sockets,
threads) is added around these four. Without a network, what has not come by the end of a turn never
will, so every turn closes its phase: a client that has nothing to say, for want of an input
perhaps, is late.

Of several servers the first leads, and the collector asks once the leader has done its part. One
process that plays them all holds every key, and so gives no privacy; what it runs are the very
machines of a real deployment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import TypeAlias

from secagg.drive.executor import run_jobs
from secagg.errors import RemoteProtocolError
from secagg.sansio import Machine, Need, Outgoing, RingTotal, ServerMachine
from secagg.types import COLLECTOR, SERVER, PartyId

Gone: TypeAlias = Callable[[PartyId, str], bool]
"""(party, phase) -> whether the client vanishes instead of sending its message of that phase."""

Servers: TypeAlias = Mapping[PartyId, ServerMachine]
"""Everybody but the clients, as `Family.machines` gives them."""

Said: TypeAlias = tuple[PartyId, Outgoing]
"""Who says it, and what to whom."""

Wire: TypeAlias = Callable[[PartyId, Outgoing], Sequence[bytes]]
"""(sender, message) -> what arrives between servers in its place."""


def unchanged(sender: PartyId, message: Outgoing) -> Sequence[bytes]:
    """The Wire that carries each message once, as it is."""
    return (message.data,)


def run(
    servers: Servers,
    clients: Mapping[PartyId, Machine],
    *,
    gone: Gone = lambda party, phase: False,
    executor: Executor | None = None,
) -> RingTotal:
    """Runs the session to its end and returns the total, or raises the Aborted that ended it.

    executor: runs the servers' jobs; without one they run here, one after the other.
    """
    live = dict(clients)
    start(servers)
    for client in live.values():
        client.start()
    while not over(servers):
        _upload(servers, live, gone)
        _download(settle(servers), live)
        advance(servers, executor)
        _download(settle(servers), live)
    return total(servers, clients)


def start(servers: Servers) -> None:
    """All but the collector, who starts when the leader has done its part (`advance`)."""
    for party, machine in servers.items():
        if party != COLLECTOR:
            machine.start()


def over(servers: Servers) -> bool:
    """Whether there is a sum, or will be none."""
    return _summing(servers).done or servers[SERVER].ended is not None


def settle(servers: Servers, wire: Wire = unchanged) -> list[Said]:
    """Carries what servers and collector say to each other until nobody says more.

    Returns the rest, which is for clients.
    """
    outside: list[Said] = []
    quiet = False
    while not quiet:
        quiet = True
        for sender, machine in servers.items():
            for message in machine.outgoing():
                if message.to not in servers:
                    outside.append((sender, message))
                    continue
                quiet = False
                for data in wire(sender, message):
                    servers[message.to].receive(sender, data)
    return outside


def advance(servers: Servers, executor: Executor | None = None) -> None:
    """What is due when nobody says more: jobs, a close, the collection, or the end of its time."""
    leader, summing = servers[SERVER], _summing(servers)
    if leader.need is Need.JOBS:
        run_jobs(leader.jobs(), leader.finish, executor)
    elif leader.need is not Need.NOTHING:
        leader.close_phase()
    elif not summing.phase:
        summing.start()
    elif not summing.done:
        summing.close_phase()


def total(servers: Servers, clients: Iterable[PartyId]) -> RingTotal:
    """Once it is over. A collector is told how many contributed; who they are, the leader knows.

    clients: all that there were. Raises the Aborted that ended the session.
    """
    leader, summing = servers[SERVER], _summing(servers)
    if leader.ended is not None or summing is leader:
        return leader.result()
    contributors = leader.contributors
    dropped = frozenset(clients) - contributors
    return replace(summing.result(), contributors=contributors, dropped=dropped)


def deliver(servers: Servers, sender: PartyId, message: Outgoing) -> None:
    """A client's message to a server; one to anybody else goes nowhere."""
    if message.to in servers and message.to != COLLECTOR:
        servers[message.to].receive(sender, message.data)


def _summing(servers: Servers) -> ServerMachine:
    """Whoever has the sum in the end."""
    return servers.get(COLLECTOR, servers[SERVER])


def _upload(servers: Servers, live: dict[PartyId, Machine], gone: Gone) -> None:
    """In ascending order of party; the result must not depend on it."""
    leader = servers[SERVER]
    for party, client in list(live.items()):
        if gone(party, client.phase):
            del live[party]
            leader.lost(party)
            continue
        for message in client.outgoing():
            deliver(servers, party, message)
        client.acknowledged()  # nothing is lost within a process
    for party in leader.waiting_for - live.keys() - servers.keys():
        leader.lost(party)


def _download(said: Sequence[Said], live: Mapping[PartyId, Machine]) -> None:
    for sender, message in said:
        if message.to not in live:
            continue
        try:
            live[message.to].receive(sender, message.data)
        except RemoteProtocolError:
            pass  # its session is over; what it still has to say is drained like any message
