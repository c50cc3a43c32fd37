"""Reports that a network, or a lying leader, puts together or replaces (threats T1, T13).

Shares are bound to the key of their report, and the key signs the manifest: shares that another
hand has put together are refused before they are opened. A report that is replaced whole is a
report; what its client hears are receipts for another than its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from secagg.crypto import hpke, sign
from secagg.drive.pump import Wire
from secagg.errors import Aborted
from secagg.sansio import Dropped, Outgoing
from secagg.testing import counter_randomness, plain_sum
from secagg.types import Fault, PartyId, Randomness, Seed, server_id
from secagg_protocols.reports.making import make_report
from secagg_protocols.reports.messages import Head, Report, Sealed, Tag, front
from secagg_protocols.reports.states import ClientState
from tests.ensembles import (
    HELPER,
    LEADER,
    Setting,
    between,
    carried,
    head_of,
    other,
    outcome,
    params_of,
    parsed,
    receipt_of,
)
from tests.networks import inputs_of

RELAY, DIRECT = Setting(params_of(3)), Setting(params_of(3, direct=True))
VICTIM, OWN = PartyId(2), Seed(bytes(range(32)))


def sealed_anew(head: Head, index: int, bound: bytes) -> bytes:
    """A share of the attacker's, made of public data alone."""
    info = RELAY.context.share_info(head.id, bound, index)
    plain = bytes(32 if index else RELAY.layout.packed_size)
    return hpke.seal(RELAY.committee.servers[index].sealing, plain, info)


def resealed(data: bytes, index: int, bound: bytes) -> tuple[Head, tuple[bytes, ...]]:
    """The head of a report and its shares, with one of them put in its place."""
    report = parsed(RELAY, data)
    shares = [bytes(share.data) for share in report.shares]
    shares[index] = sealed_anew(report.head, index, bound)
    return report.head, tuple(shares)


def keeps_the_signature(data: bytes, index: int) -> bytes:
    """Another manifest, under the key and the signature that are there."""
    head, shares = resealed(data, index, parsed(RELAY, data).head.front)
    made = Report.of(RELAY.context.id, head.id, b"", shares, OWN)
    spliced = replace(made.head, key=head.key, signature=head.signature)
    return _encoded(spliced, shares)


def keeps_the_key(data: bytes, index: int) -> bytes:
    """The key that is there, under a signature of the attacker's."""
    head, shares = resealed(data, index, parsed(RELAY, data).head.front)
    made = Report.of(RELAY.context.id, head.id, b"", shares, OWN)
    return _encoded(replace(made.head, key=head.key), shares)


def signs_itself(data: bytes, index: int) -> bytes:
    """A key of the attacker's, which signs all: the client's shares are bound to another."""
    head, shares = resealed(data, index, front(sign.public_key(OWN), b""))
    return Report.of(RELAY.context.id, head.id, b"", shares, OWN).encode(RELAY.context.id)


def _encoded(head: Head, shares: Sequence[bytes]) -> bytes:
    sealed = tuple(Sealed(head, index, share) for index, share in enumerate(shares))
    return Report(sealed).encode(RELAY.context.id)


SPLICES: list[tuple[Callable[[bytes, int], bytes], Fault]] = [
    (keeps_the_signature, Fault.INVALID_SIGNATURE),
    (keeps_the_key, Fault.INVALID_SIGNATURE),
    (signs_itself, Fault.REJECTED),
]


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize(("splice", "fault"), SPLICES)
def test_a_share_put_in_the_place_of_another(
    splice: Callable[[bytes, int], bytes], fault: Fault, index: int
) -> None:
    """The report is in no sum, its bearer is dropped, and its client is not told that it is in."""
    wire = carried(VICTIM, LEADER, Tag.REPORT, lambda data: (splice(data, index),))
    network = RELAY.network(wire=wire)
    end = outcome(network, RELAY)  # and exact over the others
    assert end.kind == "without" and end.dropped == {VICTIM}
    drops = [e for _, e in network.events if isinstance(e, Dropped)]
    assert [e.fault for e in drops] == [fault]
    client = network.clients[VICTIM]
    assert client._state is not ClientState.STORED  # type: ignore[attr-defined]


def test_shares_of_two_reports_of_one_client_are_not_one_report() -> None:
    """Threat T6: each opens, under the same id even; each is bound to the key of its own."""
    two = [make_report(RELAY.context, vector(1), same_id(seed)) for seed in (b"a", b"b")]
    mixed = (bytes(two[0].shares[0].data), *(bytes(s.data) for s in two[1].shares[1:]))
    for seed in (b"a", b"b"):
        made = Report.of(RELAY.context.id, bytes(16), b"", mixed, key(seed))
        leader = RELAY.member(0)
        helper = RELAY.member(1)
        leader.start(), helper.start()
        leader.receive(VICTIM, made.encode(RELAY.context.id))
        helper.receive(LEADER, made.shares[1].encode(RELAY.context.id))
        opened = [bool(machine._book.pending) for machine in (leader, helper)]
        assert opened == [seed == b"a", seed == b"b"]


@pytest.mark.parametrize("index", [0, 1])
def test_a_share_spliced_on_the_way_to_one_server(index: int) -> None:
    """Direct mode: that server refuses it and says no receipt; the others hold the true report."""
    party = server_id(index)

    def splice(data: bytes) -> tuple[bytes]:
        head = head_of(DIRECT, data)
        share = sealed_anew(head, index, head.front)
        manifest = tuple(
            hash_of(share) if at == index else digest for at, digest in enumerate(head.manifest)
        )
        spliced = replace(head, manifest=manifest)
        return (Sealed(spliced, index, share).encode(DIRECT.context.id),)

    network = DIRECT.network(wire=carried(VICTIM, party, Tag.REPORT_SHARE, splice))
    end = outcome(network, DIRECT)
    assert end.kind == "without"
    client = network.clients[VICTIM]
    assert client._kept.missing == {index} and not client.done  # type: ignore[attr-defined]


@pytest.mark.parametrize("where", ["on the way", "at the leader"])
def test_a_report_that_is_replaced_whole_is_noticed_by_its_client(where: str) -> None:
    """§11: not prevented, as a key names nobody. Receipts do not match, and it says so."""
    made = make_report(RELAY.context, vector(1), same_id(b"it", seen(VICTIM)))
    data = made.encode(RELAY.context.id)
    network = RELAY.network(wire=carried(VICTIM, LEADER, Tag.REPORT, lambda _: (data,)))
    if where == "at the leader":  # which gives a receipt of its own for the true report
        true = receipt_of(RELAY, parsed(RELAY, RELAY.report(VICTIM)[0].data).head, 0)

        def wire(message: object) -> Sequence[bytes]:
            to, tag = message.to, message.data[2]  # type: ignore[attr-defined]
            own = to == VICTIM and tag == Tag.RECEIPT and message.data[51] == 0  # type: ignore[attr-defined]
            relayed = carried(VICTIM, LEADER, Tag.REPORT, lambda _: (data,))
            return (true,) if own else relayed(message)  # type: ignore[arg-type]

        network.wire = wire  # type: ignore[assignment]
    total = network.run()
    inputs = inputs_of(4) | {VICTIM: vector(1)}
    assert [lane.tolist() for lane in total.vector] == plain_sum(RELAY.layout, inputs, inputs)
    victim = network.clients[VICTIM]
    assert victim._state is ClientState.ENDED  # type: ignore[attr-defined]
    assert list(network.refusals) == [VICTIM]


@pytest.mark.parametrize("index", [1, 2])
def test_a_leader_that_splices_is_named_by_the_helper(index: int) -> None:
    def splice(data: bytes) -> tuple[bytes]:
        head = head_of(RELAY, data)
        share = sealed_anew(head, index, head.front)
        manifest = tuple(
            hash_of(share) if at == index else digest for at, digest in enumerate(head.manifest)
        )
        spliced = replace(head, manifest=manifest)
        return (Sealed(spliced, index, share).encode(RELAY.context.id),)

    wire: Wire = between(LEADER, server_id(index), Tag.REPORT_SHARE, splice)
    end = outcome(RELAY.network(between=wire), RELAY)
    assert end.kind == "abort"


def test_a_report_signed_for_another_task() -> None:
    """Threat T6: the signature is bound to the task, as all else is."""
    elsewhere = parsed(other(RELAY, epoch=1), other(RELAY, epoch=1).report(0)[0].data)
    leader = RELAY.member(0)
    leader.start()
    leader.receive(PartyId(0), elsewhere.encode(RELAY.context.id))
    drops = [(e.party, e.fault) for e in leader.events() if isinstance(e, Dropped)]
    assert drops == [(PartyId(0), Fault.INVALID_SIGNATURE)]


# Receipts: of every server, for ever the same, and of nothing that was rejected


@pytest.mark.parametrize("setting", [RELAY, DIRECT], ids=["relay", "direct"])
@pytest.mark.parametrize("silent", [0, 1, 2])
def test_a_client_is_stored_with_all_receipts(setting: Setting, silent: int) -> None:
    """Whichever is missing: until it comes, the client is not done."""
    client = setting.client(VICTIM, inputs_of(4)[VICTIM])
    client.start()
    head = head_of(setting, client.outgoing()[0].data)
    bearers = [server_id(i) if setting.params.direct else LEADER for i in range(3)]
    for index in {0, 1, 2} - {silent}:
        client.receive(bearers[index], receipt_of(setting, head, index))
    assert client._state is ClientState.WANT_RECEIPTS
    client.receive(bearers[silent], receipt_of(setting, head, silent))
    assert client._state is ClientState.STORED


def receipts_to(machine: object, party: PartyId) -> list[bytes]:
    sent: list[Outgoing] = machine.outgoing()  # type: ignore[attr-defined]
    return [m.data for m in sent if m.to == party and m.data[2] == Tag.RECEIPT]


@pytest.mark.parametrize("after", ["inclusion", "lock", "abort", "restart", "another batch"])
def test_receipts_are_the_same_whenever_asked(after: str) -> None:
    """A3 and §9: of every server, through the leader, also once it has forgotten its helpers."""
    network = RELAY.network()
    network.start()
    for party in network.clients:
        network.repeat(party)
    leader: Any = network.server
    if after == "lock":
        network.call(LEADER, leader.close_phase)
    elif after == "abort":
        leader.lost(HELPER)
    elif after != "inclusion":
        rows = [(w.key, w.value) for w in leader.writes() if w.value is not None]
        setting = RELAY if after == "restart" else other(RELAY, batch=1)
        leader = setting.member(0)
        leader.restore(rows)
        leader.start()
    leader.outgoing()
    report = network.queued(VICTIM)[0]
    for _ in range(2):
        leader.receive(PartyId(77), report)
        expected = [receipt_of(RELAY, head_of(RELAY, report), index) for index in range(3)]
        assert sorted(receipts_to(leader, PartyId(77))) == sorted(expected)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("later", [False, True], ids=["this batch", "a later one"])
def test_nobody_signs_for_what_it_has_rejected(index: int, later: bool) -> None:
    """A3: neither in the batch that rejected it nor in any other of the epoch."""
    said = spoilt(index)[index]
    machine = DIRECT.member(index)
    machine.start()
    machine.receive(VICTIM, said)
    assert not receipts_to(machine, VICTIM)
    if later:
        rows = [(w.key, w.value) for w in machine.writes()]
        machine = other(DIRECT, batch=1).member(index)
        machine.restore(rows)
        machine.start()
    for party in (VICTIM, PartyId(3)):
        machine.receive(party, said)
        assert not receipts_to(machine, party)


def spoilt(index: int) -> list[bytes]:
    """A report, rightly signed, of which one share does not open."""
    shares = [bytes(size) for size in DIRECT.shape.sealed]
    report = Report.of(DIRECT.context.id, bytes(16), b"", tuple(shares), OWN)
    return [share.encode(DIRECT.context.id) for share in report.shares]


def test_an_abort_is_not_for_clients_whose_reports_wait() -> None:
    """§9.4: what is pending goes to the next batch, so its client is not told that it has ended,
    over whichever link it waits; also where a restart has forgotten which it was."""
    leader, restored = RELAY.member(0), RELAY.member(0)
    leader.start()
    (report,) = RELAY.report(VICTIM)
    leader.receive(VICTIM, report.data)
    restored.restore([(w.key, w.value) for w in leader.writes()])
    restored.start()
    for machine, others in ((leader, {0, 1}), (restored, {1, 2})):
        machine.receive(PartyId(3), report.data)
        machine.outgoing()
        machine.lost(HELPER)
        told = {m.to for m in machine.outgoing() if m.data[2] == Tag.ABORT}
        assert told == others | {server_id(1), server_id(2)}
        with pytest.raises(Aborted):
            machine.result()


@pytest.mark.parametrize("how", ["its report", "a new link", "a link that is gone"])
def test_a_receipt_is_not_for_who_has_the_id_of_one_that_asked(how: str) -> None:
    """Rule A3: a repeat takes no place, so its sender's id is soon another client's."""
    leader, later = RELAY.member(0), PartyId(3)
    leader.start()
    (report,) = RELAY.report(VICTIM)
    leader.receive(VICTIM, report.data)
    leader.receive(later, report.data)
    if how == "its report":
        leader.receive(later, RELAY.report(later)[0].data)
    elif how == "a new link":
        leader.reconnected(later)
    else:
        leader.lost(later)
    leader.outgoing()
    helper = RELAY.member(1)
    helper.start()
    helper.receive(LEADER, parsed(RELAY, report.data).shares[1].encode(RELAY.context.id))
    for verdict in helper.outgoing():
        leader.receive(HELPER, verdict.data)
    assert {m.to for m in leader.outgoing() if m.data[2] == Tag.RECEIPT} == {VICTIM}


# What is made here


def vector(value: int) -> tuple[object, ...]:
    lanes = RELAY.layout.zeros()
    for lane in lanes:
        lane += lane.dtype.type(value)
    return lanes


def hash_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def same_id(seed: bytes, id: bytes = bytes(16)) -> Randomness:
    draw = counter_randomness(seed)
    return lambda size: id if size == 16 else draw(size)


def key(seed: bytes) -> Seed:
    return Seed(counter_randomness(seed)(32))


def seen(party: PartyId) -> bytes:
    return parsed(RELAY, RELAY.report(party)[0].data).head.id
