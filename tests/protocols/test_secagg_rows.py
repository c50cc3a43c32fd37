"""Rows of SecAgg and SecAgg+: what a machine goes on from (specs/10-secagg.md §12).

That a restored machine says the same bytes is a rule of every protocol, and check_protocol's. Here
is what is in the rows, when they go, and what is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from secagg import errors
from secagg.errors import LocalProtocolError, StorageError
from secagg.mask import add_streams
from secagg.protocol import Session
from secagg.sansio import Aborted, ClientMachine, Dropped, Finished, Ignored, Need
from secagg.testing import Act, Schedule, counter_randomness, plain_sum
from secagg.testing.bench import Bench, same
from secagg.testing.restarts import Frail
from secagg.threat import Threat
from secagg.types import SERVER, AbortReason, Fault, PartyId
from secagg_protocols.secagg import SECAGG, SECAGG_PLUS
from secagg_protocols.secagg.messages import Abort, Tag
from secagg_protocols.secagg.params import SecAggParams, secagg_plus_parameters
from tests.networks import (
    COMPLETE,
    LAYOUT,
    PAYLOAD,
    PHASES,
    REGULAR,
    Script,
    inputs_of,
    network_of,
    secrets_of,
    session_of,
    standing,
)

Rows = dict[bytes, bytes]
SCRIPT = Script()


def stored(machine: Any, rows: Rows | None = None) -> Rows:
    """The store after what changed, which is not `rows` itself."""
    kept = dict(rows or {})
    for write in machine.writes():
        if write.value is None:
            del kept[write.key]  # nothing is deleted that was never there
        else:
            kept[write.key] = write.value
    return kept


def fresh_client(
    params: SecAggParams = COMPLETE, session: Session | None = None, me: int = 0
) -> ClientMachine:
    made = session or session_of(params)
    draw = counter_randomness(b"another process")
    return SECAGG.family.client(made, PartyId(me), randomness=draw, expander=add_streams)


def restored(rows: Rows, params: SecAggParams = COMPLETE) -> ClientMachine:
    client = fresh_client(params)
    client.restore(reversed(rows.items()))
    return client


# A client


@pytest.mark.parametrize("received", range(4))
@pytest.mark.parametrize("given", [True, False], ids=["input", "no-input"])
def test_rule_c10_a_client_goes_on_where_it_was(received: int, given: bool) -> None:
    old = SCRIPT.client(received, with_input=given) if given or received < 3 else SCRIPT.client(3)
    rows = stored(old)
    new = restored(rows)
    assert standing(new) == standing(old) and new.phase == old.phase and new.done == old.done
    assert stored(new) == {}  # nothing has changed
    old.reconnected(SERVER)
    new.start()
    assert new.outgoing() == old.outgoing() != []
    assert [type(e) is Finished for e in new.events()][-1] == (received == 3)
    if new.done:
        return
    if not given or received < 2:  # the input is in no row
        new.set_input(inputs_of(6)[PartyId(0)], PAYLOAD)
    if received:
        for place in range(received, 3):
            new.receive(SERVER, SCRIPT.inbox[place])
        assert [m.data for m in new.outgoing()][-1] == SCRIPT.outbox[-1]


def test_rule_c10_what_was_said_before_the_last_answer_is_known_and_not_said_again() -> None:
    client = restored(stored(SCRIPT.client(3)))
    client.start()
    client.outgoing(), client.events()
    for message, again in zip(SCRIPT.inbox, (0, 0, 1), strict=True):
        client.receive(SERVER, message)
        assert len(client.outgoing()) == again
        assert [type(event) for event in client.events()] == [Ignored]


@pytest.mark.parametrize("received", range(4))
def test_rule_c9_what_a_client_has_forgotten_is_in_no_row(received: int) -> None:
    """The walk: rows as they would be in a store, after each message."""
    client = SCRIPT.client(0)
    rows, ever = stored(client), set(secrets_of(client))
    for message in SCRIPT.inbox[:received]:
        client.receive(SERVER, message)
        client.acknowledged()
        rows = stored(client, rows)
        ever |= set(secrets_of(client))
    known, everything = set(secrets_of(client)), b"|".join(rows.values())
    assert not {one for one in ever - known if one in everything}
    assert bool({one for one in known if one in everything}) == (received < 3)
    assert not any(lane.tobytes() in everything for lane in inputs_of(6)[PartyId(0)])
    assert not received or set(rows) == {b"state"}


def test_the_last_reply_is_a_row_until_it_is_acknowledged() -> None:
    client = SCRIPT.client(2)
    rows = stored(client)
    assert rows[b"reply"].endswith(SCRIPT.outbox[2])
    client.acknowledged()
    assert set(stored(client, rows)) == {b"state"}
    client.receive(SERVER, SCRIPT.inbox[2])
    rows = stored(client, rows)
    assert rows[b"reply"].endswith(SCRIPT.outbox[3])


@pytest.mark.parametrize("received", range(4))
def test_a_client_that_ended_is_restored_as_over(received: int) -> None:
    client = SCRIPT.client(received)
    rows = stored(client)
    offer = session_of(COMPLETE).offer("secagg")
    client.receive(SERVER, Abort(AbortReason.CANCELLED).encode(offer))
    rows = stored(client, rows)
    assert set(rows) == {b"state"}
    new = restored(rows)
    assert new.done and new.ended == Aborted(AbortReason.CANCELLED)
    new.start()
    assert new.events() == [Aborted(AbortReason.CANCELLED)] and not new.outgoing()
    for message in SCRIPT.inbox:
        new.receive(SERVER, message)
        assert not new.outgoing()


def test_a_client_that_was_never_started_has_no_rows() -> None:
    client = fresh_client()
    assert client.writes() == []
    client.restore([])
    client.start()
    assert len(client.outgoing()) == 1


@pytest.mark.parametrize(
    "begin",
    [
        lambda client: client.start(),
        lambda client: client.set_input(inputs_of(6)[PartyId(0)], PAYLOAD),
        lambda client: client.abort(AbortReason.CANCELLED),
        lambda client: client.restore(()),
        lambda client: client.restore(stored(SCRIPT.client(1)).items()),
    ],
    ids=["start", "input", "abort", "empty", "restore"],
)
def test_rows_come_first_and_once(begin: Callable[[ClientMachine], None]) -> None:
    client = fresh_client()
    begin(client)
    with pytest.raises(LocalProtocolError, match="restore"):
        client.restore(stored(SCRIPT.client(1)).items())


@pytest.mark.parametrize(
    ("session", "me"),
    [
        (replace(session_of(COMPLETE), nonce=bytes([1]) * 16), 0),
        (replace(session_of(COMPLETE), payload_digest=bytes(32)), 0),
        (session_of(COMPLETE), 1),
    ],
    ids=["nonce", "task", "party"],
)
def test_rows_of_another_session_are_refused(session: Session, me: int) -> None:
    with pytest.raises(StorageError, match="another session or party"):
        fresh_client(session=session, me=me).restore(stored(SCRIPT.client(1)).items())


def refused(machine: Any, rows: dict[bytes, bytes]) -> None:
    """§12.1: nothing of them is restored."""
    before = repr(machine), machine.phase, machine.ended, machine.done
    with pytest.raises(StorageError):
        machine.restore(rows.items())
    after = repr(machine), machine.phase, machine.ended, machine.done
    assert after == before and machine.outgoing() == [] == machine.events()


@pytest.mark.parametrize("received", range(4))
def test_rows_that_are_none_are_refused(received: int) -> None:
    rows = stored(SCRIPT.client(received))
    for key, value in rows.items():
        for bad in (b"", b"\2" + value[1:], value[:33], value[:-1], value + b"\0"):
            refused(fresh_client(), {**rows, key: bad})
    refused(fresh_client(), {**rows, b"other": rows[b"state"]})
    refused(fresh_client(), {b"reply": rows[b"reply"]})


@pytest.mark.parametrize("received", range(4))
def test_flipped_rows_are_refused_or_decode_to_a_state(received: int) -> None:
    """Never anything but a StorageError, whatever the bytes."""
    body = stored(SCRIPT.client(received))[b"state"]
    for at in range(33, len(body)):
        for bit in (1, 128):
            bad = body[:at] + bytes([body[at] ^ bit]) + body[at + 1 :]
            client = fresh_client()
            try:
                client.restore([(b"state", bad)])
            except StorageError:
                continue
            client.start()


def test_a_client_is_carried_in_six_kilobytes() -> None:
    """secagg+ at n = 100: every message handled by another process, replies handed over with the
    rows, which 28 bytes of a nonce and a tag seal."""
    params = secagg_plus_parameters(Threat(100, Fraction(1, 10), Fraction(1, 5)))
    assert isinstance(params, SecAggParams) and params.degree == 38
    network = network_of(params, info=SECAGG_PLUS)
    network.start()
    sizes = []
    client = network.clients[PartyId(3)]
    rows = {}
    while not network.server.done:
        client.acknowledged()
        rows = stored(client, rows)
        sizes.append(sum(map(len, (*rows, *rows.values()))) + 28)
        network.step()
    assert max(sizes) <= 6 << 10 and min(sizes) > 32, sizes
    assert Tag.UNMASK_ANSWER in {m.data[2] for m in network.sent if m.sender == 3}


def test_the_repr_of_a_write_shows_no_row() -> None:
    for write in SCRIPT.client(1).writes():
        assert write.value is not None and repr(write.value)[2:12] not in repr(write)


def test_regular_graphs_restore_too() -> None:
    script = Script(REGULAR)
    for received in range(4):
        old = script.client(received)
        new = fresh_client(REGULAR)
        new.restore(stored(old).items())
        assert standing(new) == standing(old)


# A server


def server_of(session: Session | None = None) -> Any:
    return SECAGG.family.server(session or session_of(COMPLETE), expander=add_streams)  # type: ignore[misc]


def server_rows(phase: str, heard: int) -> tuple[Any, Rows]:
    """A server that has taken so many messages of a phase, and its store after every call."""
    network = network_of(COMPLETE)
    rows: Rows = {}
    network.start()
    while network.server.phase != phase:
        network.step()
        rows = stored(network.server, rows)
    for party in range(heard):
        network.repeat(PartyId(party))
    return network.server, stored(network.server, rows)


@pytest.mark.parametrize("phase", PHASES)
def test_rule_s11_a_vector_changes_as_many_rows_however_many_there_are(phase: str) -> None:
    network = network_of(COMPLETE)
    network.run_until(phase)
    network.server.writes()
    changed = []
    for party in range(6):
        network.repeat(PartyId(party))
        changed.append({write.key.partition(b"/")[0] for write in network.server.writes()})
    kind = {
        "advertise-keys": {b"keys"},
        "share-keys": {b"dealt"},
        "masked-input": {b"failed", b"sum"},
        "unmask": {b"shares"},
    }[phase]
    assert changed == [kind | {b"seen"}] * 6
    assert network.server.writes() == []


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("heard", [0, 3, 6])
def test_rule_s11_a_restored_server_tells_those_it_waits_for(phase: str, heard: int) -> None:
    old, rows = server_rows(phase, heard)
    new = server_of()
    new.restore(reversed(rows.items()))
    new.start()
    told = new.outgoing()
    assert new.waiting_for == old.waiting_for == frozenset(range(heard, 6))
    assert {m.to for m in told} == (set() if phase == PHASES[0] else set(range(heard, 6)))
    assert all(m.commit for m in told)
    for party in range(6):
        old.reconnected(PartyId(party))
    assert told == old.outgoing()
    assert stored(new) == {}


def test_rule_s11_who_was_dropped_stays_dropped_and_is_named_again() -> None:
    old, rows = server_rows("share-keys", 2)
    old.lost(PartyId(4))
    new = server_of()
    new.restore(stored(old, rows).items())
    new.start()
    assert Dropped(PartyId(4), Fault.LOST) in new.events()
    assert 4 not in new.alive and 4 not in {m.to for m in new.outgoing()}


def test_rule_s2_a_restored_server_knows_repeats_and_equivocation() -> None:
    network = network_of(COMPLETE).run_until("share-keys")
    said = network.queued(PartyId(0))[0]
    network.repeat(PartyId(0))
    new = server_of()
    new.restore(stored(network.server).items())
    new.start(), new.events()
    new.receive(PartyId(0), said)
    assert new.events() == [Ignored(PartyId(0), "duplicate")]
    new.receive(PartyId(0), said[:-1] + bytes([said[-1] ^ 1]))
    assert [e.fault for e in new.events() if isinstance(e, Dropped)] == [Fault.EQUIVOCATION]


@pytest.mark.parametrize("end", ["finished", "aborted"])
def test_rule_s10_an_ended_session_keeps_its_end_alone_in_rows_too(end: str) -> None:
    network = network_of(COMPLETE, schedule=Schedule({("masked-input", PartyId(4)): Act.GONE}))
    rows: Rows = {}
    network.start()
    while not network.server.done:
        if end == "aborted" and network.server.need is Need.JOBS:
            network.server.abort(AbortReason.CANCELLED)
        else:
            network.step()
        before, rows = rows, stored(network.server, rows)
    assert {b"sum", b"commitments"} < before.keys()
    left = {b"state", b"gone/" + bytes([0, 0, 0, 4])}
    assert rows.keys() == left | ({b"total"} if end == "finished" else set())
    new = server_of()
    new.restore(rows.items())
    assert new.done
    new.start()
    assert not new.outgoing()
    if end == "finished":
        old = network.server.result()
        assert new.result().contributors == old.contributors == {0, 1, 2, 3, 5}
        assert all((a == b).all() for a, b in zip(new.result().vector, old.vector, strict=True))
    else:
        assert new.ended == network.server.ended
        with pytest.raises(errors.Aborted, match="cancelled"):
            new.result()


def test_a_server_put_down_amid_its_jobs_does_them_again() -> None:
    network = network_of(COMPLETE, schedule=Schedule({("masked-input", PartyId(4)): Act.GONE}))
    rows: Rows = {}
    network.start()
    while network.server.need is not Need.JOBS:
        network.step()
        rows = stored(network.server, rows)
    first = network.server.jobs()
    network.server.finish(first[0], first[0]())
    assert network.server.writes() == []  # the sum that is stored is the one before any job
    new = server_of()
    new.restore(rows.items())
    new.start()
    assert new.need is Need.JOBS
    while not new.done:
        for job in new.jobs():
            new.finish(job, job())
    got = [lane.tolist() for lane in new.result().vector]
    assert got == plain_sum(LAYOUT, inputs_of(6), new.result().contributors)


def test_rows_are_asked_for_from_the_beginning_or_not_at_all() -> None:
    """Once the answers have become secrets, there is nothing left to write them from."""
    network = network_of(COMPLETE).run_until("unmask")
    network.step()
    with pytest.raises(LocalProtocolError, match="from the beginning"):
        network.server.writes()


@pytest.mark.parametrize("phase", PHASES)
def test_a_servers_rows_that_are_not_whole_are_refused(phase: str) -> None:
    _, rows = server_rows(phase, 3)
    other = replace(session_of(COMPLETE), nonce=bytes([1]) * 16)
    with pytest.raises(StorageError, match="another session"):
        server_of(other).restore(rows.items())
    for key, value in rows.items():
        for bad in (b"", b"\2" + value[1:], value[:-1], value + b"\0"):
            refused(server_of(), {**rows, key: bad})
    refused(server_of(), {**rows, b"other": rows[b"state"]})
    for key in {b"state", b"sum", b"commitments"} & rows.keys():
        refused(server_of(), {k: v for k, v in rows.items() if k != key})
    for kind in {key.partition(b"/")[0] for key in rows if b"/" in key}:
        beyond = {kind + b"/" + bytes([0, 0, 1, 0]): next(iter(rows.values()))}
        refused(server_of(), {**rows, **beyond})


@pytest.mark.parametrize("params", [COMPLETE, REGULAR], ids=["complete", "regular"])
def test_rule_s11_one_restart_at_any_call_changes_nothing(params: SecAggParams) -> None:
    """Of the server, or of one client, and a drop meanwhile: the sum is that of no restart."""
    info = {COMPLETE: SECAGG, REGULAR: SECAGG_PLUS}[params]
    session = session_of(params)
    threat = Threat(params.clients, Fraction(0), Fraction(1, 4))
    bench = Bench(info, threat, session, inputs_of(params.clients))
    schedule = Schedule({("masked-input", PartyId(1)): Act.LEAVES})
    reference = bench.run(Frail(bench, schedule))
    for who in (SERVER, PartyId(0)):
        call, seen = 0, True
        while seen:
            chosen = (who, call)
            network = Frail(bench, schedule, lambda party, at, chosen=chosen: (party, at) == chosen)
            assert same(bench.run(network), reference)
            call, seen = call + 1, network.restarts > 0
        assert call > (4 if who == 0 else 3 * params.clients)


@pytest.mark.parametrize("phase", PHASES[1:])
def test_a_servers_row_of_who_is_gone_is_missed(phase: str) -> None:
    """It is the only one that says so: without it the server would wait for somebody who has no
    place in its sets, or speak to them. Whatever else is missing, a machine that takes the rest
    goes on from it."""
    network = network_of(COMPLETE)
    network.start()
    network.lose(PartyId(5))
    rows: Rows = stored(network.server)
    while network.server.phase != phase:
        network.step()
        rows = stored(network.server, rows)
    refused(server_of(), {k: v for k, v in rows.items() if k != b"gone/" + bytes([0, 0, 0, 5])})
    taken = 0
    for key in rows:
        new = server_of()
        try:
            new.restore([(k, v) for k, v in rows.items() if k != key])
        except StorageError:
            continue
        taken += 1
        new.start()
        assert new.alive == frozenset(range(5))
    assert taken < len(rows)
