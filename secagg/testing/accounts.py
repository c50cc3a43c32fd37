"""Rules of check_protocol about what machines say of themselves, as drivers read it."""

from __future__ import annotations

from secagg import sansio
from secagg.sansio import Need
from secagg.testing.bench import Bench, demand, everywhere
from secagg.testing.network import Act
from secagg.types import SERVER, AbortReason, PartyId


def sets_are_consistent(bench: Bench) -> None:
    """waiting_for, alive and quorum, as a driver reads them around every message."""
    network = bench.network()
    server = network.server
    demand(not server.waiting_for, "waiting_for holds somebody before start()")
    demand(server.need is Need.NOTHING, "it needs something before start()")
    network.start()
    for phase in bench.phases:
        demand(server.phase == phase, f"after its close comes {server.phase!r}, not {phase!r}")
        demand(server.waiting_for == server.alive, f"{phase}: waiting_for is not all clients")
        demand(server.need is Need.MESSAGES, f"{phase}: nobody has spoken, need is {server.need}")
        for party in bench.parties:
            network.repeat(party)
            demand(party not in server.waiting_for, f"{phase}: client {party} is waited for still")
            demand(party in server.alive, f"{phase}: client {party} is not alive")
        demand(server.quorum, f"{phase}: all have spoken and quorum is false")
        demand(server.need is Need.CLOSE, f"{phase}: all have spoken, and need is {server.need}")
        network.step()  # what it carries are duplicates by now
    bench.exact(network, "messages handed over one by one")
    demand(not server.waiting_for, "waiting_for holds somebody after the end")
    demand(server.need is Need.NOTHING, "it needs something after the end")
    machines = (*network.servers.values(), *network.clients.values())
    demand(not any(one.ended for one in machines), "a session with a sum has ended without success")


def the_lost_are_not_alive(bench: Bench) -> None:
    """Whoever is lost is waited for no more, and dropped once, whatever still comes from it."""
    network = bench.network()
    network.start()
    network.lose(PartyId(0))
    server = network.server
    demand(PartyId(0) not in server.alive | server.waiting_for, "a lost client is alive")
    before = len(network.events)
    network.lose(PartyId(0))
    network.repeat(PartyId(0))
    again = [e for _, e in network.events[before:] if isinstance(e, sansio.Dropped)]
    demand(not again, "a lost client is dropped twice")


def mailboxes_are_drained(bench: Bench) -> None:
    """outgoing() and events() hand out each thing once."""
    network = bench.network()
    bench.run(network)
    for machine in (network.server, *network.clients.values()):
        machine.outgoing(), machine.events()
        demand(not machine.outgoing() and not machine.events(), "a message is handed out twice")


def events_are_in_order(bench: Bench) -> None:
    """Phases in the order of the protocol, each with its quorum, and one end, which is the last."""
    network = bench.network(everywhere(bench, Act.DUPLICATE))
    bench.run(network)
    for party in (SERVER, *network.clients):
        events = [e for who, e in network.events if who == party]
        phases = [e.phase for e in events if isinstance(e, sansio.PhaseEntered)]
        known = [p for p in phases if p in bench.phases]
        expected = [p for p in bench.phases if p in known]
        demand(known == expected, f"party {party}: phases are entered in the order {known}")
        ends = [i for i, e in enumerate(events) if isinstance(e, sansio.Finished | sansio.Aborted)]
        demand(len(ends) == 1, f"party {party}: {len(ends)} events say that it ended")
    reported = [e for who, e in network.events if who == SERVER]
    quorums = [e.phase for e in reported if isinstance(e, sansio.QuorumReached)]
    demand(quorums == list(bench.phases), f"quorum is reported for {quorums}")
    entered = [e.phase for e in reported if isinstance(e, sansio.PhaseEntered)]
    demand(
        [p for p in entered if p in bench.phases] == list(bench.phases),
        f"the server reports the phases {entered}",
    )
    last = [e for e in reported if not isinstance(e, sansio.Ignored | sansio.Unkept)][-1]
    demand(isinstance(last, sansio.Finished), f"the server's last event is {last}")


def ends_are_told(bench: Bench) -> None:
    """`ended`, by whoever has ended without success, whether its events were read or not."""
    for phase in bench.phases:
        network = bench.network().run_until(phase)
        before = [network.server, *(c for c in network.clients.values() if not c.done)]
        demand(not any(one.ended for one in before), f"{phase}: a machine that runs has ended")
        network.server.abort(AbortReason.CANCELLED)
        for read in ("unread", "read"):
            ended = network.server.ended
            reason = ended.reason if ended else None
            demand(reason is AbortReason.CANCELLED, f"{phase}: {read}, it ended for {reason}")
            network.drain(SERVER)
        network.step()
        demand(all(one.ended for one in before), f"{phase}: a client does not say why it ended")
