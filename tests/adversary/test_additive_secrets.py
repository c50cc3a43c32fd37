"""Threat T21: no secret byte of additive sums appears in a repr, an event or an error of a run.

Secret are inputs, seeds, stream keys, the leader's shares, sums, and every private key. Sealed and
signed bytes are not.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest

from secagg.crypto.hpke import OpeningKey
from secagg.effects import Write
from secagg.errors import SecAggError
from secagg.layout import Layout, Segment
from secagg.ring import Ring
from secagg.types import AbortReason, PartyId, Seed
from secagg.wire.codec import Reader
from secagg.wire.header import read_header
from secagg.wire.vector import PackedVector, read_vector
from secagg_protocols.additive.sharing import SeedShare, shape_of
from secagg_protocols.reports.book import Pending, Row, State
from secagg_protocols.reports.messages import Report, Tag, Total
from secagg_protocols.reports.seals import Seals
from tests.adversary.test_secrets import _spellings
from tests.deployment import Deployment
from tests.ensembles import HELPER, LEADER, Setting, other, params_of
from tests.networks import inputs_of

LAYOUT = Layout((Segment(Ring(8), 40), Segment(Ring(64), 6)))
SETTINGS = [Setting(params_of(3, direct=direct), LAYOUT) for direct in (False, True)]


def secrets_of(run: Deployment) -> Iterator[bytes]:
    keys = run.setting.keys
    yield keys.collector.expose()
    for one in keys.servers:
        yield from (one.opening.expose(), one.signing.expose())
    for vector in inputs_of(4, LAYOUT).values():
        yield from (lane.tobytes() for lane in vector)
    for server in run.servers.values():
        yield from opened_by(server)


def shown(run: Deployment) -> Iterator[object]:
    yield from (run.collector, run.setting.keys, run.setting.keys.servers, run.setting.context)
    yield from run.clients.values()
    for party, machine in run.servers.items():
        member: Any = machine
        yield from (member, member._book, *member._book.pending.values(), *member.events())
        yield from (member._seals, member._seals._opening, member._seals._signing)
        yield from (Row.decode(*row) for row in run.stores[party].rows() if Row.owns(row[0]))
        yield from (Write(*row) for row in run.stores[party].rows())


class Watched(Deployment):
    """Notes secrets, and what is shown, before every step."""

    def __init__(self, setting: Setting) -> None:
        self.secrets: set[bytes] = set()
        self.texts: list[str] = []
        super().__init__(setting)

    def _step(self, party: PartyId, act: Any) -> None:
        self.secrets |= set(secrets_of(self))
        self.texts += [repr(thing) for thing in shown(self)]
        super()._step(party, act)


@pytest.mark.parametrize("setting", SETTINGS, ids=["relay", "direct"])
def test_nothing_secret_is_shown_during_a_batch(setting: Setting) -> None:
    run = Watched(setting)
    run.run()
    assert run.collector.result().reports == 4
    secrets = {secret for secret in run.secrets if len(set(secret)) > 1}  # a zero sum is none
    assert len(secrets) > 30
    everything = "\n".join(set(run.texts))
    assert len(everything) > 3000
    for secret in secrets:
        for spelling in _spellings(secret):
            assert spelling not in everything


def test_dataclasses_hide_their_contents() -> None:
    """Those that a traceback or a log could show."""
    canary = b"CANARYcanaryCANARYcanaryCANARY12"
    lane = read_vector(Reader(canary), Layout((Segment(Ring(8), 32),)))
    keyed = SeedShare([canary], lambda *a, **k: None)
    report = Report.of(bytes(32), bytes(16), b"", (canary, canary), Seed(canary))
    things = [
        lane,
        keyed,
        report,
        Pending(bytes(32), lane, relayed=report.shares),
        Pending(bytes(32), keyed),
        Row(bytes(16), State.PENDING, 0, bytes(32), canary),
        Write(b"key", canary),
        Seed(canary),
    ]
    for thing in things:
        assert "canary" not in repr(thing).lower()


def test_errors_name_sizes_and_never_contents() -> None:
    """What a peer sends does not come back in an event, an error or an abort."""
    canary = b"CANARYcanaryCANARY" * 30
    setting = SETTINGS[0]
    texts = []
    for tag in Tag:
        for party, sender in ((LEADER, HELPER), (LEADER, PartyId(1)), (HELPER, LEADER)):
            machine = setting.reported({}).servers[party]
            machine.events(), machine.outgoing()
            for binding in (setting.context.id, setting.context.batch(0)):
                machine.receive(sender, bytes([1, 1, tag]) + binding + canary)
            texts += [str(e) for e in machine.events()]
            texts += [repr(bytes(m.data)) for m in machine.outgoing()]
        client = setting.client(0, inputs_of(4, LAYOUT)[PartyId(0)])
        client.start(), client.outgoing()
        try:
            client.receive(LEADER, bytes([1, 1, tag]) + setting.context.id + canary)
        except SecAggError as error:
            texts.append(str(error))
        collector = setting.collector()
        collector.start(), collector.outgoing()
        collector.receive(LEADER, bytes([1, 1, tag]) + setting.context.batch(0) + canary)
        texts += [str(e) for e in collector.events()]
        collector.abort(AbortReason.LOST)
        try:
            collector.result()
        except SecAggError as error:
            texts.append(str(error))
    assert len(texts) > 60
    assert not any("canary" in text.lower() for text in texts)


class Kept(Watched):
    """Notes the secrets of every server by themselves."""

    def _step(self, party: PartyId, act: Any) -> None:
        for server in self.servers.values():
            self.secrets |= set(opened_by(server))
        Deployment._step(self, party, act)


def opened_by(machine: Any) -> Iterator[bytes]:
    """Shares and sum, as they are now."""
    yield from (lane.tobytes() for lane in machine._tally.total)
    for pending in machine._book.pending.values():
        if isinstance(pending.share, SeedShare):
            yield from pending.share.keys
        else:
            yield from (bytes(piece) for piece in pending.share.segments)


def graph_of(root: object) -> list[object]:
    """All that is reachable from a machine, but for modules, classes and their functions."""
    seen: dict[int, object] = {}
    todo = [root]
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType):
            continue
        seen[id(one)] = one
        todo += gc.get_referents(one)
    return list(seen.values())


def holds_nothing(machine: Any, secrets: set[bytes]) -> None:
    reached = graph_of(machine)
    held = (np.ndarray, PackedVector, SeedShare, Pending, OpeningKey)
    assert [type(one) for one in reached if isinstance(one, held)] == []
    buffers = [bytes(one) for one in reached if isinstance(one, bytes | bytearray | memoryview)]
    assert len(buffers) > 10
    assert not [one for one in buffers if any(secret in one for secret in secrets)]


@pytest.mark.parametrize("setting", SETTINGS, ids=["relay", "direct"])
@pytest.mark.parametrize("end", ["lock", "abort", "too few", "restart"])
def test_a_batch_that_is_over_holds_no_share_and_no_sum(setting: Setting, end: str) -> None:
    """Rule A13: of what a server has opened and added, nothing can be reached from its machine once
    the batch is over, with reports decided on and reports pending."""
    run = Kept(setting)
    run.upload()
    if end in ("lock", "restart"):
        run.finish()
        assert run.collector.result().reports == 4
    leader: Any = run.servers[LEADER]
    for party, machine in list(run.servers.items()):
        if end == "abort":
            machine.abort(AbortReason.CANCELLED)
        elif end == "too few":
            leader.abort(AbortReason.BELOW_THRESHOLD) if machine is leader else None
            machine.lost(LEADER)
        if end == "restart":
            run.replace(party, list(run.stores[party].rows()))
    secrets = {secret for secret in run.secrets if len(set(secret)) > 1}
    assert len(secrets) > 10
    for party, machine in run.servers.items():
        machine.outgoing(), machine.events()
        run.stores[party].commit(machine.writes())
        holds_nothing(machine, secrets)
        assert not any(key[:1] == b"s" for key, _ in run.stores[party].rows())


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_pending_report_is_not_opened_into_a_batch_that_is_over(
    index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart either: it is opened in the batch that may sum it."""
    setting = SETTINGS[1]
    machine = setting.member(index)
    machine.start()
    machine.receive(PartyId(0), setting.report(0)[index].data)
    secrets = {one for one in opened_by(machine) if len(set(one)) > 1}
    assert secrets
    machine.abort(AbortReason.CANCELLED)
    machine.outgoing(), machine.events()
    rows = [(write.key, write.value) for write in machine.writes() if write.value is not None]
    again = setting.member(index)
    with monkeypatch.context() as patched:
        patched.delattr(Seals, "unseal")
        again.restore(rows)
        with pytest.raises(AttributeError):
            other(setting, batch=1).member(index).restore(rows)
    again.start()
    again.outgoing(), again.events()
    for one in (machine, again):
        assert one.pending == 1
        holds_nothing(one, secrets)


def test_the_walk_finds_what_is_there() -> None:
    """Else the tests above would pass for another reason."""
    machine = SETTINGS[0].member(0)
    machine.start()
    machine.receive(PartyId(0), SETTINGS[0].report(0)[0].data)
    with pytest.raises(AssertionError):
        holds_nothing(machine, set())


def test_the_collector_has_nothing_of_one_server_alone() -> None:
    """A partial sum does not outlive a refusal."""
    run = Deployment(SETTINGS[0]).run()
    collector = run.setting.collector()
    collector.start()
    collector.receive(LEADER, run.collected(LEADER))
    assert any(lane.any() for lane in collector._sum)
    collector.lost(HELPER)
    assert not any(lane.any() for lane in collector._sum)
    with pytest.raises(SecAggError):
        collector.result()
    reader = Reader(run.collected(HELPER))
    read_header(reader)
    total = Total.read(reader, shape_of(LAYOUT, 3))
    assert bytes(total.sealed).hex() not in repr(total)
