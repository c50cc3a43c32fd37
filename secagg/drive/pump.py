"""The synchronous pump: one session in one process. Read this first.

It is the whole contract between drivers and machines: drain after every call, carry messages,
close a phase, run jobs. Everything else a driver does (deadlines, sockets, threads) is added
around these four. Without a network, what has not come by the end of a turn never will, so every
turn closes its phase: a client that has nothing to say, for want of an input perhaps, is late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor

from secagg.drive.ensemble import Several
from secagg.drive.executor import run_jobs
from secagg.errors import RemoteProtocolError
from secagg.sansio import Machine, Outgoing, RingTotal, ServerMachine
from secagg.types import PartyId

Gone = Callable[[PartyId, str], bool]
"""(party, phase) -> whether the client vanishes instead of sending its message of that phase."""


def run(
    server: ServerMachine,
    clients: Mapping[PartyId, Machine],
    *,
    gone: Gone = lambda party, phase: False,
    executor: Executor | None = None,
) -> RingTotal:
    """Runs the session to its end and returns the total, or raises the Aborted that ended it.

    executor: runs the server's jobs; without one they run here, one after the other.
    """
    live = dict(clients)
    server.start()
    for client in live.values():
        client.start()
    while not server.done:
        _upload(server, live, gone)
        _advance(server, executor)
        _download(server, live)
    return server.result()


def _upload(server: ServerMachine, live: dict[PartyId, Machine], gone: Gone) -> None:
    """In ascending order of party; the result must not depend on it."""
    for party, client in list(live.items()):
        if gone(party, client.phase):
            del live[party]
            server.lost(party)
            continue
        for message in client.outgoing():
            deliver(server, party, message)
        client.acknowledged()  # nothing is lost within a process
    for party in server.waiting_for - live.keys():
        server.lost(party)


def _advance(server: ServerMachine, executor: Executor | None) -> None:
    jobs = server.jobs()
    run_jobs(jobs, server.finish, executor)
    if not jobs and not server.done:
        server.close_phase()


def _download(server: ServerMachine, live: Mapping[PartyId, Machine]) -> None:
    for message in server.outgoing():
        if message.to in live:
            _deliver(live[message.to], message)


def deliver(server: ServerMachine, sender: PartyId, message: Outgoing) -> None:
    """To the one server there is, or to the one of several that the message is for."""
    if isinstance(server, Several):
        server.deliver(message.to, sender, message.data)
    else:
        server.receive(sender, message.data)


def _deliver(client: Machine, message: Outgoing) -> None:
    try:
        client.receive(message.sender, message.data)
    except RemoteProtocolError:
        pass  # its session is over; what it still has to say is drained like any message
