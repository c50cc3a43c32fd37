"""The network that the other tests stand on does what its schedule says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from secagg.errors import BelowThreshold, LocalProtocolError
from secagg.sansio import Dropped, Ignored, PhaseEntered
from secagg.testing import Act, Carried, Network, Schedule, counter_randomness, plain_sum
from secagg.types import SERVER, Fault, PartyId
from secagg_protocols.plainsum import PROTOCOL, PlainSumParams
from tests.networks import LAYOUT, inputs_of, session_of

PARTY = PartyId(2)
EXPECTED: dict[Act, tuple[bool, Fault | None]] = {
    Act.GONE: (False, Fault.LOST),
    Act.SILENT: (False, Fault.LATE),
    Act.LEAVES: (True, Fault.LOST),
    Act.DEAF: (True, None),
    Act.LATE: (False, Fault.LATE),
    Act.DUPLICATE: (True, None),
    Act.REPLAY: (True, None),
    Act.CORRUPT: (False, Fault.MALFORMED),
    Act.ECHO: (True, None),
}


def network(schedule: Schedule | None = None) -> Network:
    return Network.of(PROTOCOL, session_of(PlainSumParams(5, 3)), inputs_of(5), schedule=schedule)


def server_events(one: Network) -> list[object]:
    return [event for who, event in one.events if who == SERVER]


@pytest.mark.parametrize("act", list(Act))
def test_every_act(act: Act) -> None:
    contributes, fault = EXPECTED[act]
    one = network(Schedule({("upload", PARTY): act}))
    assert (PARTY in one.run().contributors) == contributes
    faults = {e.party: e.fault for e in server_events(one) if isinstance(e, Dropped)}
    assert faults == ({PARTY: fault} if fault else {})
    ignored = [e for e in server_events(one) if isinstance(e, Ignored)]
    assert bool(ignored) == (act in (Act.LATE, Act.DUPLICATE, Act.REPLAY))
    assert (PARTY in one.present) == (act not in (Act.GONE, Act.SILENT, Act.LEAVES, Act.DEAF))


def test_order_and_deadline() -> None:
    order = [PartyId(i) for i in (4, 1)]
    one = network(Schedule(order={"upload": order}, close_after={"upload": 3}))
    assert one.run().contributors == {4, 1, 0}
    assert [m.sender for m in one.sent] == [4, 1, 0, 2, 3]


def test_one_bit_flips() -> None:
    honest, flipped = network(), network(Schedule({("upload", PARTY): Act.CORRUPT}, flip=13))
    honest.run(), flipped.run()
    pairs = [
        (a.data, b.data) for a, b in zip(honest.sent, flipped.sent, strict=True) if a.data != b.data
    ]
    ((before, after),) = pairs
    assert int.from_bytes(before) ^ int.from_bytes(after) == 1 << 8 * (len(before) - 2) + 5


def test_a_wire_replaces_messages() -> None:
    def deaf(message: Carried) -> Sequence[bytes]:
        return () if message.sender in (0, 1, 2) else (message.data,)

    one = network()
    one.wire = deaf
    with pytest.raises(BelowThreshold):
        one.run()
    assert len(one.sent) == 5 + 2  # the log holds what was sent, not what arrived


def test_everything_is_logged_in_order() -> None:
    one = network()
    one.run()
    assert server_events(one)[0] == PhaseEntered("upload")
    assert {who for who, _ in one.events} == {SERVER, *range(5)}


def test_counter_randomness_repeats_and_never_rests() -> None:
    one, two, other = (counter_randomness(s) for s in (b"a", b"a", b"b"))
    first = [one(32) for _ in range(4)]
    assert first == [two(32) for _ in range(4)]
    assert len({*first, other(32)}) == 5


def test_plain_sum_wraps_like_the_ring() -> None:
    inputs = inputs_of(5)
    sums = plain_sum(LAYOUT, inputs, [PartyId(1), PartyId(3)])
    assert sums[0][2] == (int(inputs[PartyId(1)][0][2]) + int(inputs[PartyId(3)][0][2])) % 32
    assert plain_sum(LAYOUT, inputs, []) == [[0] * 7, [0] * 3]


@pytest.mark.parametrize("act", [Act.DUPLICATE, Act.GONE])
def test_a_phase_that_never_comes_is_not_waited_for(act: Act) -> None:
    """The session has ended, with a sum or without."""
    everyone = Schedule({("upload", PartyId(i)): act for i in range(5)})
    with pytest.raises(LocalProtocolError, match="'unmask'"):
        network(everyone).run_until("unmask")
