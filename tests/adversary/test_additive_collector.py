"""What a collector believes, and what it cannot know (threat T13, row 65; specs/20-additive.md §8).

A server can add any constant to the sum; only what it does to the count lane is noticed. Everything
else about a total is signed: the batch, the set, the count, and whose it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from secagg.crypto import hpke, sign
from secagg.errors import Aborted, BelowThreshold, IntegrityError, ParameterError
from secagg.fields import Integer
from secagg.mask import add_streams
from secagg.party import Client, Collector
from secagg.plans.choose import plan
from secagg.plans.task import Task
from secagg.sansio import Aborted as AbortedEvent
from secagg.sansio import Dropped, Outgoing
from secagg.testing import Network, counter_randomness
from secagg.types import COLLECTOR, AbortReason, Fault, PartyId, Seed, server_id
from secagg.wire.codec import Writer
from secagg.wire.vector import write_vector
from secagg_protocols.reports import messages
from secagg_protocols.reports.collector import Collector as Machine
from secagg_protocols.reports.messages import Included, Statement, Tag, Total
from tests.ensembles import HELPER, LEADER, TINY, Setting, keys_of, other, params_of, told

SETTING = Setting(params_of(3, clients=4), TINY)
LOG = told(SETTING)
TOTALS = [LOG.of(Tag.TOTAL, server_id(index))[0] for index in range(3)]


def collector(setting: Setting = SETTING) -> Any:
    one = setting.collector()
    one.start()
    assert [m.to for m in one.outgoing()] == [server_id(i) for i in range(3)]
    one.events()
    return one


def made(
    index: int,
    included: Included,
    *,
    value: int = 0,
    named: int | None = None,
    sealed_as: int | None = None,
    signer: int | None = None,
    agreed: Sequence[bytes] | None = None,
    setting: Setting = SETTING,
) -> bytes:
    """A total that says whatever a test wants. agreed: the signatures under its set; by default
    those of every server."""
    named = index if named is None else named
    sealed_as = index if sealed_as is None else sealed_as
    signer = index if signer is None else signer
    batch = setting.context.batch(setting.batch)
    packed = write_vector(Writer(), TINY, (np.array([value], np.uint8),)).finish()
    info = setting.context.total_info(setting.batch, included, sealed_as)
    sealed = hpke.seal(setting.committee.collector, packed, info)
    signed = Total.to_sign(batch, named, included, sealed)
    signature = sign.sign(setting.keys.servers[signer].signing, signed)
    agreed = signatures(included) if agreed is None else agreed
    return Total(Statement(included, tuple(agreed)), sealed, signature).encode(batch)


def signatures(included: Included, *, batch: int = 0) -> list[bytes]:
    stated = included.to_sign(SETTING.context.batch(batch))
    return [sign.sign(server.signing, stated) for server in SETTING.keys.servers]


def refused(one: Any, party: PartyId, fault: Fault) -> None:
    drops = [e for e in one.events() if isinstance(e, Dropped)]
    assert [(e.party, e.fault) for e in drops] == [(party, fault)]
    with pytest.raises(Aborted, match=f"server {server_id(0) - party}"):
        one.result()
    assert not any(lane.any() for lane in one._sum)  # nothing of a partial sum is left


SET = Included(4, bytes(32))


def test_totals_add_up_in_any_order() -> None:
    results = []
    for order in ((0, 1, 2), (2, 0, 1)):
        one = collector()
        for index in order:
            one.receive(server_id(index), TOTALS[index])
        results.append([lane.tolist() for lane in one.result().vector])
        assert one.result().reports == 4
    assert results[0] == results[1]


def test_made_totals_are_like_real_ones() -> None:
    """Else the refusals below would be for another reason. 1 + 2 + 7 = 2 modulo 8."""
    one = collector()
    for index, value in enumerate((1, 2, 7)):
        one.receive(server_id(index), made(index, SET, value=value))
    assert one.result().vector[0].tolist() == [2]


def test_totals_are_swapped_between_servers() -> None:
    """Threat T6 between roles: each is bound to its server."""
    for index, other_index in ((0, 1), (1, 2), (2, 0)):
        one = collector()
        one.receive(server_id(index), TOTALS[other_index])
        refused(one, server_id(index), Fault.INVALID_SIGNATURE)


def test_a_total_for_another_index() -> None:
    """Named, sealed or signed for another: each alone is refused."""
    cases: list[tuple[dict[str, int], Fault]] = [
        ({"named": 2}, Fault.INVALID_SIGNATURE),
        ({"signer": 2}, Fault.INVALID_SIGNATURE),
        ({"sealed_as": 2}, Fault.REJECTED),
    ]
    for changes, fault in cases:
        one = collector()
        one.receive(HELPER, made(1, SET, **changes))  # type: ignore[arg-type]
        refused(one, HELPER, fault)


STRANGE = (Included(4, bytes([1]) * 32), Included(3, bytes(32)))


@pytest.mark.parametrize("liar", [0, 1, 2])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_total_of_another_set_names_who_brings_it(liar: int, place: int) -> None:
    """Rule A11: in whatever order they come. It has the signatures of all other liars, and an
    honest server's under the set that this has signed: under another there is none."""
    order = [index for index in range(3) if index != liar]
    order.insert(place, liar)
    honest = order[0] if place else order[1]
    for strange in STRANGE:
        agreed = signatures(strange)
        agreed[honest] = signatures(SET)[honest]
        one = collector()
        for index in order:
            if index == liar:
                one.receive(server_id(index), made(index, strange, agreed=agreed))
                break
            one.receive(server_id(index), made(index, SET))
        refused(one, server_id(liar), Fault.INVALID_SIGNATURE)


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_a_total_needs_every_servers_signature(lacking: int) -> None:
    """Rule A11: also where the set is that of the others; whoever has locked it has them all."""
    good = signatures(SET)
    for bad in (bytes(64), good[(lacking + 1) % 3], signatures(SET, batch=1)[lacking]):
        agreed = [bad if index == lacking else s for index, s in enumerate(good)]
        for before in ([], [0, 2]):
            one = collector()
            for index in before:
                one.receive(server_id(index), made(index, SET))
            one.receive(HELPER, made(1, SET, agreed=agreed))
            refused(one, HELPER, Fault.INVALID_SIGNATURE)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_sets_that_every_server_has_signed_name_nobody(order: tuple[int, int]) -> None:
    """Rule A11: an honest server signs one set a batch, so that all of them lie, or none can be
    told from the others."""
    one = collector()
    one.receive(server_id(order[0]), made(order[0], SET))
    one.receive(server_id(order[1]), made(order[1], STRANGE[0]))
    events = one.events()
    assert not [e for e in events if isinstance(e, Dropped)]
    assert [e.reason for e in events if isinstance(e, AbortedEvent)] == [AbortReason.INTEGRITY]
    with pytest.raises(Aborted, match="no server alone is to blame"):
        one.result()
    assert not any(lane.any() for lane in one._sum)


@pytest.mark.parametrize("count", [0, 2, 5, (1 << 32) - 1])
def test_a_count_that_no_batch_has(count: int) -> None:
    """Rule A11: below the minimum and above n, even where all servers sign it."""
    one = collector()
    for index in range(3):
        one.receive(server_id(index), made(index, Included(count, bytes(32)), value=1))
    with pytest.raises(BelowThreshold, match=f"{count} reports"):
        one.result()


def test_a_total_of_another_batch_or_task() -> None:
    """Threat T6."""
    for elsewhere in (other(SETTING, batch=1), other(SETTING, epoch=1)):
        one = collector()
        one.receive(HELPER, told(elsewhere).of(Tag.TOTAL, HELPER)[0])
        refused(one, HELPER, Fault.MALFORMED)


def test_a_server_that_says_two_totals() -> None:
    """The first one counts; whatever it says then is ignored (row 25)."""
    one = collector()
    one.receive(LEADER, made(0, SET, value=1))
    for again in (made(0, SET, value=5), made(0, SET, value=1), b""):
        one.receive(LEADER, again)
    for index in (1, 2):
        one.receive(server_id(index), made(index, SET, value=1))
    assert one.result().vector[0].tolist() == [3]


def test_a_missing_server_is_named() -> None:
    """Row 65: no partial result."""
    for missing in range(3):
        one = collector()
        for index in {0, 1, 2} - {missing}:
            one.receive(server_id(index), TOTALS[index])
        assert one.waiting_for == {server_id(missing)}
        one.close_phase()
        refused(one, server_id(missing), Fault.LATE)


def test_an_extra_server_is_ignored() -> None:
    """Row 65: nobody but the committee has a total."""
    one = collector()
    for stranger in (server_id(3), COLLECTOR, PartyId(0)):
        one.receive(stranger, TOTALS[0])
    for index in range(3):
        one.receive(server_id(index), TOTALS[index])
    assert one.result().reports == 4


def test_another_collectors_key() -> None:
    """Rows 53 and 54: a total opens for the collector of the committee, and for nobody else."""
    stranger = keys_of(2, seed=b"stranger").collector
    with pytest.raises(ParameterError, match="secret key of the collector"):
        Machine(SETTING.context, 0, stranger)


# A batch that is open


def early(*said: tuple[PartyId, int]) -> Any:
    """A collector that has asked, and what servers have said before the lock."""
    one = SETTING.collector()
    one.start()
    for party, count in said:
        one.receive(party, messages.open_batch(SETTING.context.batch(0), count))
    return one


def test_who_asks_too_early_hears_how_far_the_batch_is() -> None:
    """Rule A12. From each server in its own words, and nobody is at fault."""
    machine = SETTING.member(0)
    machine.start()
    machine.receive(PartyId(0), SETTING.report(0)[0].data)
    machine.outgoing()
    machine.receive(COLLECTOR, messages.bare(Tag.COLLECT, SETTING.context.batch(0)))
    (answer,) = machine.outgoing()
    assert answer.data == messages.open_batch(SETTING.context.batch(0), 0)
    assert not machine.answered
    for count, kind in ((1, BelowThreshold), (3, Aborted)):
        one = early((LEADER, count), (LEADER, count))
        one.close_phase()
        with pytest.raises(kind, match=f"is open: server 0 has {count} reports? so far.* has 3"):
            one.result()
        assert not [e for e in one.events() if isinstance(e, Dropped)]


def test_an_open_batch_is_asked_again_and_collected_once_it_is_locked() -> None:
    one = early((LEADER, 2), (HELPER, 2))
    one.reconnected(LEADER)
    assert one.outgoing()[-1].to == LEADER and one.waiting_for == {LEADER, HELPER, server_id(2)}
    for message in told(SETTING).said:
        if message[1].to == COLLECTOR:
            one.receive(message[0], message[1].data)
    assert one.result().count == 4


def test_the_word_of_an_open_batch_is_whole_and_of_this_batch() -> None:
    batch, other_batch = SETTING.context.batch(0), SETTING.context.batch(1)
    good = messages.open_batch(batch, 1)
    for bad in (good[:-1], good + bytes(1), messages.open_batch(other_batch, 1)):
        one = early()
        one.receive(LEADER, bad)
        drops = [e for e in one.events() if isinstance(e, Dropped)]
        assert [(e.party, e.fault) for e in drops] == [(LEADER, Fault.MALFORMED)]


# What nobody notices, and the one part that somebody does


def summed(tamper: Callable[[Any], None]) -> Collector:
    """A plan with a count lane, three votes of 1, and a server that changes its sum."""
    made_plan = plan(
        clients=3, fields={"vote": Integer(2, max=1)}, protocol="additive", servers=2, dropout=0
    )
    keys = keys_of(2, seed=b"plan")
    task = Task(made_plan, keys.committee)
    servers = made_plan.info.family.machines(task.batch(), keys, expander=add_streams)
    network = Network(servers, {})
    network.start()
    for party in map(PartyId, range(3)):
        client = Client(
            made_plan,
            party,
            nonce=bytes(16),
            payload_digest=task.payload_digest,
            committee=keys.committee,
            randomness=counter_randomness(bytes([party])),
        )
        client.set_input({"vote": np.array([1, 0])}, payload_digest=task.payload_digest)
        client.start()
        for message in client.outgoing():
            network.hand_over(party, message)
    tamper(servers[HELPER])
    totals: list[tuple[PartyId, bytes]] = []

    def wire(sender: PartyId, message: Outgoing) -> Sequence[bytes]:
        if message.to == COLLECTOR:
            totals.append((sender, message.data))
        return (message.data,)

    network.between = wire
    network.run()
    one = Collector(
        made_plan,
        payload_digest=task.payload_digest,
        committee=keys.committee,
        secret=Seed(keys.collector.expose()),
    )
    one.start()
    for sender, data in totals:
        one.receive(sender, data)
    return one


def _add(server: Any, element: int, constant: int) -> None:
    lane = server._tally.total[0]
    lane[element] += lane.dtype.type(constant)


def test_an_honest_server_adds_nothing() -> None:
    total = summed(lambda server: None).aggregate()
    assert total.sum["vote"].tolist() == [3, 0]
    assert total.count == 3


def test_a_constant_in_a_field_is_not_noticed() -> None:
    """The limit that the guarantee states: one lying server changes the sum, unseen."""
    total = summed(lambda server: _add(server, 1, 2)).aggregate()
    assert total.sum["vote"].tolist() == [3, 2]


def test_a_constant_in_the_count_lane_is_noticed() -> None:
    """Row 59: the sum is withheld."""
    one = summed(lambda server: _add(server, -1, 1))
    with pytest.raises(IntegrityError):
        one.aggregate()
    with pytest.raises(IntegrityError):
        one.result()


def test_a_server_that_has_no_total_says_so() -> None:
    """An abort in place of a total ends the collection, named."""
    one = collector()
    one.receive(HELPER, messages.abort(SETTING.context.batch(0), AbortReason.CANCELLED))
    with pytest.raises(Aborted, match="server 1"):
        one.result()


def test_a_batch_with_too_few_reports_is_nobodys_fault() -> None:
    """Rule A11: unless a total shows that every server has signed the set."""
    few = messages.abort(SETTING.context.batch(0), AbortReason.BELOW_THRESHOLD)
    one = collector()
    one.receive(HELPER, few)
    assert not [e for e in one.events() if isinstance(e, Dropped)]
    with pytest.raises(BelowThreshold, match="server 1 says"):
        one.result()
    late = collector()
    late.receive(LEADER, TOTALS[0])
    late.receive(HELPER, few)
    refused(late, HELPER, Fault.QUIT)
