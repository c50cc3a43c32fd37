"""check_protocol: the rules that every protocol must keep, whoever wrote it.

Each rule is one function over a Bench, which makes fresh machines of one session. A rule that is
broken raises ConformanceError with its name. The suite knows nothing of a protocol but its
ProtocolInfo, so it checks what drivers rely on; what a protocol promises against liars is for the
protocol's own tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest

from secagg.errors import Aborted, InputError, LocalProtocolError, SecAggError
from secagg.protocol import OneServer, ProtocolInfo, SeveralServers
from secagg.sansio import Outgoing
from secagg.suite import SUITE_1, Suite
from secagg.testing import members, restarts
from secagg.testing.accounts import (
    ends_are_told,
    events_are_in_order,
    mailboxes_are_drained,
    sets_are_consistent,
    the_lost_are_not_alive,
)
from secagg.testing.bench import (
    SEED,
    THREATS,
    Bench,
    ConformanceError,
    demand,
    demand_raises,
    dropped,
    everywhere,
    garbage,
    same,
)
from secagg.testing.network import Act, Carried, Network, Schedule, counter_randomness
from secagg.threat import Threat
from secagg.types import SERVER, AbortReason, PartyId


def check_protocol(
    info: ProtocolInfo, *, threat: Threat | None = None, suite: Suite = SUITE_1
) -> None:
    """Raises ConformanceError, naming the rule, unless machines of this protocol behave. Anything
    but a SecAggError that leaves a machine is passed on as it is.

    threat: what to ask parameters for; by default the first of a few small ones that is feasible.
    It must leave room for at least one dropout. suite: of the sessions, of which there are some
    hundred, of a few clients each.
    """
    bench = Bench.of(info, (threat,) if threat else THREATS, suite)
    for rule in (*_RULES, *_rules_of(info)):
        try:
            rule(bench)
        except (ConformanceError, SecAggError) as error:
            name = rule.__name__.removeprefix("_").replace("_", "-")
            raise ConformanceError(f"{name}: {info.name}: {error}") from error


def _rules_of(info: ProtocolInfo) -> tuple[Callable[[Bench], None], ...]:
    match info.family:
        case OneServer():
            return restarts.RULES
        case SeveralServers():
            return members.RULES


def _parameters_survive_encoding(bench: Bench) -> None:
    params = bench.params
    demand(bench.info.decode_params(params.encode()) == params, "decode(encode(params)) differs")
    broken = bench.info.check(bench.threat, params)
    demand(broken is None, f"check() refuses what parameters() found: {broken}")


def _sums_are_exact(bench: Bench) -> None:
    total = bench.exact(bench.network(), "without faults")
    demand(total.contributors == frozenset(bench.inputs), "without faults somebody is missing")


def _drops_in_every_phase_are_survived(bench: Bench) -> None:
    for phase in bench.phases:
        for act in (Act.GONE, Act.SILENT, Act.LEAVES, Act.DEAF, Act.LATE):
            count = bench.spare(phase)
            victims = bench.parties[1 : 1 + count]
            network = bench.network(Schedule({(phase, p): act for p in victims}))
            why = f"{count} clients {act.value} in {phase}"
            total = bench.exact(network, why)
            demand(total.dropped <= set(victims), f"{why}: a client without a fault was left out")
            if phase == bench.phases[0] and act in (Act.GONE, Act.SILENT, Act.LATE):
                demand(total.dropped == set(victims), f"{why}: they count as contributors")


def _arrival_order_is_irrelevant(bench: Bench) -> None:
    reference = bench.run(bench.network())
    orders = (bench.parties[::-1], bench.parties[3:] + bench.parties[:3])
    for order in orders:
        schedule = Schedule(order=dict.fromkeys(bench.phases, order))
        total = bench.run(bench.network(schedule))
        demand(same(total, reference), "another order of arrival gives another total")


def _runs_repeat(bench: Bench) -> None:
    if not bench.info.repeats:
        return
    first, second = bench.network(), bench.network()
    bench.run(first), bench.run(second)
    demand(first.sent == second.sent, "the same randomness gives other messages")


def _duplicates_are_idempotent(bench: Bench) -> None:
    reference = bench.run(bench.network())
    for act in (Act.DUPLICATE, Act.REPLAY, Act.ECHO):
        network = bench.network(everywhere(bench, act))
        total = bench.exact(network, f"every message {act.value}")
        demand(same(total, reference), f"every message {act.value}: the total changes")
        demand(not dropped(network), f"every message {act.value}: somebody is dropped for it")
        demand(not network.refusals, f"every message {act.value}: a client refuses")


def _a_second_answer_is_the_same(bench: Bench) -> None:
    """A client repeats the identical bytes, or nothing."""
    network = bench.network(everywhere(bench, Act.ECHO))
    bench.run(network)
    for phase in bench.phases:
        for party in bench.parties:
            said = {(m.to, m.data) for m in network.sent if (m.phase, m.sender) == (phase, party)}
            heard = {to for to, _ in said}
            demand(len(said) == len(heard), f"client {party} says two different things in {phase}")


def _machines_are_used_once(bench: Bench) -> None:
    network = bench.network()
    server, client = network.server, network.clients[PartyId(0)]
    vector, digest = bench.inputs[PartyId(0)], bench.session.payload_digest
    local = LocalProtocolError
    demand_raises(local, server.close_phase, "close_phase() before start()")
    demand_raises(local, server.result, "result() before the end")
    network.start()
    _start_no_more(network, "a second start()")
    demand_raises(local, client.start, "a second start() of a client")
    demand_raises(local, lambda: client.set_input(vector, digest), "a second set_input()")
    demand_raises(local, lambda: server.finish(lambda: 0, 0), "finish() of an unknown job")
    demand_raises(local, server.result, "result() before the end")
    bench.exact(network, "after calls that were refused")
    demand_raises(local, server.close_phase, "close_phase() after the end")
    _start_no_more(network, "start() after the end")


def _start_no_more(network: Network, when: str) -> None:
    """Neither a server nor a collector, if it has begun."""
    for party, machine in network.servers.items():
        if machine.phase:
            demand_raises(LocalProtocolError, machine.start, f"party {party}: {when}")


def _other_inputs_are_refused(bench: Bench) -> None:
    session, vector = bench.session, bench.inputs[PartyId(0)]
    client = bench.client(PartyId(0), counter_randomness(b"other inputs"))
    demand_raises(
        InputError,
        lambda: client.set_input(vector[:1], session.payload_digest),
        "set_input() with a segment missing",
    )
    demand_raises(
        InputError, lambda: client.set_input(vector, bytes(32)), "set_input() for another task"
    )
    demand(client.done, "after set_input() for another task the client goes on")


def _garbage_drops_its_sender_only(bench: Bench) -> None:
    """Every kind of it once, from as many liars at a time as may vanish."""
    for phase in bench.phases:
        liars = bench.parties[1 : 1 + bench.spare(phase)]
        said = bench.network().run_until(phase)
        kinds = [garbage(said.queued(liar)[0])[i :: len(liars)] for i, liar in enumerate(liars)]
        for bad in zip_longest(*kinds):
            lies = {p: data for p, data in zip(liars, bad, strict=True) if data is not None}
            _check_garbage(bench, phase, lies)


def _check_garbage(bench: Bench, phase: str, lies: Mapping[PartyId, bytes]) -> None:
    def wire(message: Carried) -> Sequence[bytes]:
        return (lies.get(message.sender, message.data) if message.phase == phase else message.data,)

    network = bench.network(wire=wire)
    why = f"{' and '.join(str(len(bad)) for bad in lies.values())} wrong bytes in {phase}"
    try:
        total = bench.exact(network, why)
    except SecAggError as error:
        raise ConformanceError(f"{why}: the server raises {type(error).__name__}") from error
    demand(dropped(network) == lies.keys(), f"{why}: dropped are {sorted(dropped(network))}")
    if phase == bench.phases[0]:
        demand(not lies.keys() & total.contributors, f"{why}: its sender contributes")


def _two_different_messages_drop_their_sender(bench: Bench) -> None:
    """What was added before stays added: exactness is over the contributors as reported."""
    for phase in bench.phases:
        if not bench.spare(phase):
            continue

        def wire(message: Carried, phase: str = phase) -> Sequence[bytes]:
            other = message.data[:-1] + bytes([message.data[-1] ^ 0x40])
            lies = (message.phase, message.sender) == (phase, 1)
            return (message.data, other) if lies else (message.data,)

        network = bench.network(wire=wire)
        bench.exact(network, f"a client that says two things in {phase}")
        demand(dropped(network) == {1}, f"saying two things in {phase} is not its sender's fault")


def _strangers_are_ignored(bench: Bench) -> None:
    reference = bench.run(bench.network())

    def wire(message: Carried) -> Sequence[bytes]:
        if message.sender in network.clients:
            for stranger in (PartyId(bench.params.clients), message.to):
                network.hand_over(stranger, Outgoing(message.to, message.data))
            for stranger in (PartyId(bench.params.clients), SERVER):
                network.lose(stranger)
        else:
            client = network.clients[message.to]
            network.call(message.to, partial(client.receive, PartyId(0), b"forged"))
        return (message.data,)

    network = bench.network(wire=wire)
    demand(same(bench.run(network), reference), "what a stranger says changes the total")
    demand(not dropped(network), "what a stranger says drops somebody")


def _other_sessions_are_refused(bench: Bench) -> None:
    """Messages of a session with another task have no effect but their sender's drop."""
    session = bench.session
    other = replace(session, payload_digest=bytes(32))
    for phase in bench.phases:
        if not bench.spare(phase):
            continue
        foreign = Network.of(bench.info, other, bench.inputs, seed=SEED).run_until(phase)
        _check_garbage(bench, phase, {PartyId(1): foreign.queued(PartyId(1))[0]})


def _too_few_clients_end_the_round(bench: Bench) -> None:
    for phase in bench.phases:
        network = bench.network(Schedule(close_after={phase: 0}))
        error = demand_raises(Aborted, partial(bench.run, network), f"nobody in {phase}")
        reason = error.reason if isinstance(error, Aborted) else None
        demand(reason is AbortReason.BELOW_THRESHOLD, f"nobody in {phase}: the reason is {reason}")
        told = [m for m in network.sent if m.sender == SERVER and m.phase == phase]
        demand(not told, f"nobody in {phase}: yet the server answers")
    first = bench.phases[0]
    gone = bench.parties[: bench.spare(first) + 1]
    network = bench.network(Schedule({(first, p): Act.GONE for p in gone}))
    demand_raises(Aborted, lambda: bench.run(network), "one client fewer than the parameters ask")
    still = [c for p, c in network.clients.items() if p not in gone and not c.done]
    demand(not still, "the clients are not told that the round has ended")


def _aborts_end_everything(bench: Bench) -> None:
    for phase in bench.phases:
        network = bench.network().run_until(phase)
        network.call(SERVER, partial(network.server.abort, AbortReason.CANCELLED))
        network.call(SERVER, partial(network.server.abort, AbortReason.LOST))
        demand(network.server.done, f"{phase}: abort() does not end the server")
        error = demand_raises(Aborted, network.server.result, f"result() after abort in {phase}")
        reason = error.reason if isinstance(error, Aborted) else None
        demand(reason is AbortReason.CANCELLED, f"{phase}: the reason is {reason}")
        network.step()
        going = [p for p, client in network.clients.items() if not client.done]
        demand(not going and not network.refusals, f"{phase}: abort() does not reach the clients")
        after = [m for m in network.sent if m.sender == SERVER]
        demand(
            {m.to for m in after} == set(bench.inputs),
            f"{phase}: abort() does not reach everybody",
        )


def _the_ended_stay_ended(bench: Bench) -> None:
    """An abort before start() is an end like any other."""
    network = bench.network()
    for machine in (*network.servers.values(), network.clients[PartyId(0)]):
        machine.abort(AbortReason.CANCELLED)
        machine.outgoing(), machine.events()
        demand(machine.done, "abort() before start() does not end a machine")
        demand_raises(LocalProtocolError, machine.start, "start() after abort()")
        machine.receive(SERVER, b"late")
        machine.lost(SERVER)
        demand(not machine.outgoing(), "an ended machine says more")


def _clients_can_leave(bench: Bench) -> None:
    for phase in bench.phases:
        if not bench.spare(phase):
            continue
        network = bench.network().run_until(phase)
        leaver = network.clients[PartyId(1)]
        if leaver.done:  # it has said its last word already, and that stands
            continue
        network.call(PartyId(1), partial(leaver.abort, AbortReason.CANCELLED))
        demand(leaver.done, f"{phase}: abort() does not end a client")
        bench.exact(network, f"a client aborts in {phase}")
        demand(1 in dropped(network), f"{phase}: a client that left is not dropped")


def _a_lost_server_ends_a_client(bench: Bench) -> None:
    network = bench.network()
    client = network.clients[PartyId(0)]
    client.start()
    client.lost(SERVER)
    client.outgoing(), client.events()
    demand(client.done, "a client goes on without its server")
    client.lost(SERVER)
    demand(not client.outgoing() and not client.events(), "an ended client says more")


def _costs_are_what_is_sent(bench: Bench) -> None:
    network = bench.network()
    bench.run(network)
    cost = bench.info.cost(bench.threat, bench.params, bench.session.layout)
    for party in bench.parties:
        up = sum(len(m.data) for m in network.sent if m.sender == party)
        down = sum(len(m.data) for m in network.sent if m.to == party)
        demand(up == cost.upload_bytes, f"upload is {up}, and cost() says {cost.upload_bytes}")
        demand(
            down == cost.download_bytes, f"download is {down}, cost() says {cost.download_bytes}"
        )
    largest = max(len(m.data) for m in network.sent)
    demand(largest <= cost.largest_message, f"a message of {largest} bytes is above the largest")
    if cost.uploads:
        steps = bench.info.phases(bench.params, bench.session.suite)
        demand(len(cost.uploads) == len(steps), "there are other steps than uploads")
        sent = [len(m.data) for m in network.sent if m.sender == bench.parties[0]]
        demand(sent == list(cost.uploads), f"uploads are {sent}, and cost() says {cost.uploads}")
    tags = {m.data[2] for m in network.sent}
    demand(tags <= bench.info.messages.keys(), "a message has a tag that `messages` does not name")


_RULES: tuple[Callable[[Bench], None], ...] = (
    _parameters_survive_encoding,
    mailboxes_are_drained,
    _sums_are_exact,
    _machines_are_used_once,
    _other_inputs_are_refused,
    _duplicates_are_idempotent,
    sets_are_consistent,
    the_lost_are_not_alive,
    events_are_in_order,
    ends_are_told,
    _runs_repeat,
    _arrival_order_is_irrelevant,
    _a_second_answer_is_the_same,
    _drops_in_every_phase_are_survived,
    _garbage_drops_its_sender_only,
    _two_different_messages_drop_their_sender,
    _strangers_are_ignored,
    _other_sessions_are_refused,
    _too_few_clients_end_the_round,
    _aborts_end_everything,
    _the_ended_stay_ended,
    _clients_can_leave,
    _a_lost_server_ends_a_client,
    _costs_are_what_is_sent,
)
