"""Ends without success, and the rows of them: whoever had ended has ended when it is taken up.

A driver that makes a machine from rows asks it how it stands before it asks it anything else. One
that had ended and does not say so is started, given an input, and waited for: by its driver, and by
an application that was told already that this session is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from secagg.errors import LocalProtocolError
from secagg.testing.bench import Bench, demand, demand_raises
from secagg.testing.network import Network
from secagg.testing.store import Store
from secagg.types import COLLECTOR, SERVER, AbortReason, PartyId

Fresh = Callable[[PartyId], Any]
"""Another machine of this party, without rows."""

_NONSENSE = b"\xff" * 64


def ends_are_in_rows(bench: Bench, network: Callable[[], Any], fresh: Fresh) -> None:
    """Each party ends before it is started and in each phase, in each way; then all who have ended
    with it are made anew. network: a new one, with `stores`."""
    servers = tuple(network().servers)
    for phase in ("", *bench.phases):
        for party in (*servers, PartyId(0)):
            for how, end in _ways(servers, party, phase):
                running = network()
                if phase:
                    running.run_until(phase)
                machine = _machine(running, party)
                if machine.done or bool(machine.phase) is not bool(phase):
                    continue  # it has ended well, or is started later than the others
                running.call(party, partial(end, machine))
                if phase:
                    running.step()  # whoever is told has ended as well
                for one in running.stores:
                    _ask(running, one, fresh, f"{phase or 'before start()'}: {party} ends by {how}")


def _ways(
    servers: Sequence[PartyId], party: PartyId, phase: str
) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """Of its own accord; for want of clients; without a server that it cannot do without; and by
    what that one says."""
    yield "abort()", lambda machine: machine.abort(AbortReason.CANCELLED)
    if not phase:
        return
    if party == SERVER:
        yield "close_phase()", lambda machine: machine.close_phase()
    others = [one for one in servers if one not in (party, COLLECTOR)]
    if others:
        peer = max(others)  # the leader, or its first helper
        yield "lost()", lambda machine: machine.lost(peer)
        yield "nonsense", lambda machine: machine.receive(peer, _NONSENSE)


def _machine(network: Network, party: PartyId) -> Any:
    return network.clients[party] if party in network.clients else network.servers[party]


def _ask(network: Any, party: PartyId, fresh: Fresh, why: str) -> None:
    """Of whoever has ended without success. A collector may write no rows: it begins anew."""
    old, store = _machine(network, party), network.stores[party]
    if old.ended is not None and (party != COLLECTOR or store.rows):
        says_how_it_ended(old, store, fresh(party), f"{why}; {party}")


def says_how_it_ended(old: Any, store: Store, new: Any, who: str) -> None:
    """From when it is taken up, and whether its events are read or not."""
    new.restore(list(store.rows.items())[::-1])
    for when, then in (("is taken up", new.start), ("is started", new.events), ("was read", None)):
        known = new.ended and new.ended.reason
        demand(new.done, f"{who} {when} and goes on, though it had ended")
        demand(known is old.ended.reason, f"{who} {when}: it ended with {old.ended}, now {known}")
        if then is not None:
            then()
    demand_raises(LocalProtocolError, new.start, f"{who} taken up: a second start()")
