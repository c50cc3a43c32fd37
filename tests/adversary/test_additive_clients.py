"""Clients of additive sums that lie: each costs itself its place and nobody else anything.

Threats T10, T12, T13; rows 9-12, 19-21, 24, 26, 37, 53, 54, 57, 64, 89, in both modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from secagg.crypto import hpke, sign
from secagg.mask import add_streams
from secagg.sansio import Dropped, Outgoing
from secagg.testing import Carried, Network
from secagg.types import SERVER, Fault, PartyId, Seed, server_id
from secagg.wire.codec import Writer
from secagg.wire.header import write_header
from secagg.wire.vector import write_vector
from secagg_protocols.reports.messages import Head, Report, Tag, front
from tests.ensembles import LEADER, Outcome, Setting, assert_exact, other, outcome, params_of
from tests.networks import LAYOUT, inputs_of

RELAY, DIRECT = Setting(params_of(3, clients=5)), Setting(params_of(3, clients=5, direct=True))
MODES = pytest.mark.parametrize("setting", [RELAY, DIRECT], ids=["relay", "direct"])
LIAR = PartyId(1)
ID = bytes(range(16))
ONE_TIME = Seed(bytes(range(32)))
FRONT = front(sign.public_key(ONE_TIME), b"")


def plaintexts(setting: Setting) -> list[bytes]:
    packed = write_vector(Writer(), setting.layout, setting.layout.zeros()).finish()
    return [packed] + [bytes(32)] * (setting.params.servers - 1)


def sealed(setting: Setting, index: int, plaintext: bytes, *, as_index: int | None = None) -> bytes:
    """To server `index`, under the info of `as_index`."""
    info = setting.context.share_info(ID, FRONT, index if as_index is None else as_index)
    return hpke.seal(setting.committee.servers[index].sealing, plaintext, info)


def honest_shares(setting: Setting) -> list[bytes]:
    return [sealed(setting, i, plain) for i, plain in enumerate(plaintexts(setting))]


def report_of(setting: Setting, shares: Sequence[bytes], id: bytes = ID) -> Report:
    return Report.of(setting.context.id, id, b"", tuple(shares), ONE_TIME)


def sent(setting: Setting, report: Report, task: bytes | None = None) -> list[Outgoing]:
    """As a client of this mode says it."""
    task = setting.context.id if task is None else task
    if setting.params.direct:
        return [Outgoing(server_id(s.index), s.encode(task)) for s in report.shares]
    return [Outgoing(LEADER, report.encode(task))]


def ends(setting: Setting, said: Sequence[Outgoing], *, before: bool = True) -> tuple[Outcome, int]:
    """(what comes of the batch, how often the liar is dropped); it says this and nothing else."""

    def silent(message: Carried) -> Sequence[bytes]:
        return () if message.sender == LIAR and before else (message.data,)

    network = setting.network(wire=silent)
    network.start()
    if not before:
        network.repeat(LIAR)
    for message in said:
        network.hand_over(LIAR, message)
    end = outcome(network, setting)
    return end, len([e for _, e in network.events if isinstance(e, Dropped) and e.party == LIAR])


def fault_of(network: Network) -> list[Fault]:
    found = [e for who, e in network.events if who == SERVER and isinstance(e, Dropped)]
    return [e.fault for e in found if e.party == LIAR]


@MODES
def test_a_made_report_is_like_a_real_one(setting: Setting) -> None:
    """Else all below would be refused for another reason. It is summed: row 89, and T12's limit."""
    network = setting.network(wire=lambda m: () if m.sender == LIAR else (m.data,))
    network.start()
    for message in sent(setting, report_of(setting, honest_shares(setting))):
        network.hand_over(LIAR, message)
    total = network.run()
    assert total.contributors == set(range(5))
    keys = [setting.context.scheme.stream_keys(Seed(bytes(32)), ID, i) for i in (1, 2)]
    expected = LAYOUT.zeros()
    for one in keys:
        for lane, key in zip(expected, one, strict=True):
            add_streams(lane, key, b"\x01")
    inputs = inputs_of(5)
    for lane, segment, number in zip(expected, LAYOUT.segments, range(2), strict=True):
        for party in set(range(5)) - {LIAR}:
            lane += inputs[PartyId(party)][number]
        assert (lane & lane.dtype.type(segment.group.mask)).tolist() == total.vector[
            number
        ].tolist()


@MODES
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_share_that_does_not_open(setting: Setting, index: int) -> None:
    """Rule A4, rows 53 and 54: at any one server, whatever is wrong with it inside."""
    wrong = plaintexts(setting)[index]
    bad = [
        bytes(48 + len(wrong)),  # no ciphertext at all
        sealed(setting, index, wrong, as_index=(index + 1) % 3),
        sealed(other(setting, epoch=9), index, wrong),
    ]
    if index:
        bad.append(sealed(setting, (index % 2) + 1, wrong))  # to the other helper
    else:
        bad.append(sealed(setting, 0, wrong[:4] + b"\xff" + wrong[5:]))  # padding that is set
    for one in bad:
        shares = honest_shares(setting)
        shares[index] = one
        end, drops = ends(setting, sent(setting, report_of(setting, shares)))
        assert end.kind == "without" and drops == 1
        assert end.total is not None and end.total.dropped == {LIAR}


@MODES
def test_shares_that_are_swapped(setting: Setting) -> None:
    """Each opens at the other helper only."""
    first, *rest = honest_shares(setting)
    end, drops = ends(setting, sent(setting, report_of(setting, [first, *reversed(rest)])))
    assert end.kind == "without" and drops == 1


@MODES
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_manifest_that_is_not_of_the_shares(setting: Setting, index: int) -> None:
    """Rule A2."""
    report = report_of(setting, honest_shares(setting))
    manifest = list(report.head.manifest)
    manifest[index] = bytes(32)
    task, said = setting.context.id, list[Outgoing]()
    head = Head.sign(task, ID, b"", tuple(manifest), ONE_TIME)
    if setting.params.direct:
        for share in report.shares:
            writer = head.write(write_header(Tag.REPORT_SHARE, task)).raw(share.data)
            said.append(Outgoing(server_id(share.index), writer.finish()))
    else:
        writer = head.write(write_header(Tag.REPORT, task))
        for share in report.shares:
            writer.raw(share.data)
        said.append(Outgoing(LEADER, writer.finish()))
    end, _ = ends(setting, said)
    assert end.kind == "without"
    assert end.total is not None and end.total.dropped == {LIAR}


@pytest.mark.parametrize("index", [1, 2])
def test_manifests_that_differ_between_servers(index: int) -> None:
    """Rules A2 and A4, row 57: consistent at each server, and not with one another."""
    said = sent(DIRECT, report_of(DIRECT, honest_shares(DIRECT)))
    said[index] = sent(DIRECT, report_of(DIRECT, honest_shares(DIRECT)))[index]  # sealed again
    end, drops = ends(DIRECT, said)
    assert end.kind == "without" and drops == 1


@MODES
def test_a_second_report(setting: Setting) -> None:
    """Rule A3, rows 9 and 26: the first stands, and its sender is dropped."""
    network = setting.network()
    network.start()
    network.repeat(LIAR)
    for message in sent(setting, report_of(setting, honest_shares(setting))):
        network.hand_over(LIAR, message)
    assert fault_of(network) == [Fault.EQUIVOCATION]
    assert outcome(network, setting).kind == "exact"


@MODES
def test_other_bytes_under_the_same_id(setting: Setting) -> None:
    """Rule A3, row 26: sealed again is another report already."""
    network = setting.network()
    network.start()
    network.repeat(LIAR)
    first = network.queued(LIAR)[0][35:51]
    again = report_of(setting, [bytes(size) for size in setting.shape.sealed], first)
    for message in sent(setting, again):
        network.hand_over(LIAR, message)
    assert Fault.EQUIVOCATION in fault_of(network)
    assert outcome(network, setting).kind == "exact"


@MODES
def test_another_clients_report(setting: Setting) -> None:
    """Row 25 over another link: summed once, and its place is one; the copier has its own still."""
    network = setting.network()
    network.start()
    network.repeat(PartyId(0))
    for message in network._up[PartyId(0)]:
        network.hand_over(LIAR, message)
    assert LIAR in network.server.waiting_for
    end = outcome(network, setting)
    assert end.total is not None and end.total.contributors >= set(range(5)) - {LIAR}
    assert_exact(end.total, setting)


@MODES
def test_what_is_not_for_clients_to_say(setting: Setting) -> None:
    """Rows 6 and 24: every kind of message that servers say, to each server."""
    batch = setting.context.batch(0)
    for tag in set(Tag) - {Tag.REPORT, Tag.REPORT_SHARE}:
        for binding in (batch, setting.context.id):
            for index in range(3):
                body = write_header(tag, binding).raw(bytes(16)).finish()
                end, drops = ends(setting, [Outgoing(server_id(index), body)])
                assert end.kind == "without", tag
                assert drops >= 1


@MODES
def test_the_other_modes_report(setting: Setting) -> None:
    elsewhere = DIRECT if setting is RELAY else RELAY
    for message in sent(elsewhere, report_of(setting, honest_shares(setting)), setting.context.id):
        end, _ = ends(setting, [message])
        assert end.kind == "without"


@MODES
def test_a_report_after_the_close(setting: Setting) -> None:
    """Row 37: late, and not summed."""
    network = setting.network()
    network.present.discard(LIAR)
    before = network.run()
    for message in sent(setting, report_of(setting, honest_shares(setting))):
        network.hand_over(LIAR, message)
    after = network.result()
    assert after.contributors == before.contributors == set(range(5)) - {LIAR}
    for one, two in zip(before.vector, after.vector, strict=True):
        assert np.array_equal(one, two)
    assert_exact(after, setting)


@pytest.mark.parametrize("opens", [False, True])
def test_a_flood_of_reports(opens: bool) -> None:
    """T10 and T14: a client that talks to helpers only takes one place there, and no store."""
    network = DIRECT.network()
    network.start()
    flood = [report_of(DIRECT, _garbage(number), bytes([number]) * 16) for number in range(50)]
    if opens:
        flood.insert(0, report_of(DIRECT, honest_shares(DIRECT)))
    for share in (share for report in flood for share in report.shares[1:]):
        said = Outgoing(server_id(share.index), share.encode(DIRECT.context.id))
        network.hand_over(LIAR, said)
    helper: Any = network.servers[server_id(1)]
    assert len(helper._book) == 1
    end = outcome(network, DIRECT)
    assert end.total is not None and end.total.contributors >= set(range(5)) - {LIAR}


def _garbage(number: int) -> list[bytes]:
    return [bytes([number]) * size for size in DIRECT.shape.sealed]
