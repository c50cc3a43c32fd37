"""The ring sum: exact, private against one party, broken by two (specs/21-ring.md)."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import errors, registry
from secagg.errors import (
    CryptoError,
    InputError,
    LocalProtocolError,
    ParameterError,
    RemoteProtocolError,
)
from secagg.layout import Layout, RingVector, Segment
from secagg.protocol import Session
from secagg.ring import Ring
from secagg.sansio import Aborted, Finished, Ignored, PhaseEntered
from secagg.testing import plain_sum
from secagg.types import SERVER, AbortReason, PartyId
from secagg_protocols.ring import RingParams, RingParty, collude, messages, run
from tests.networks import LAYOUT, PAYLOAD, inputs_of, session_of
from tests.soak import examples

SMALL = Layout((Segment(Ring(2), 1),))
LAYOUTS = st.lists(st.integers(1, 64), min_size=1, max_size=3, unique=True).flatmap(
    lambda widths: st.tuples(*(st.integers(0, 9) for _ in widths)).map(
        lambda sizes: Layout(
            tuple(Segment(Ring(w), n) for w, n in zip(sorted(widths), sizes, strict=True))
        )
    )
)
EXAMPLE = Path(__file__).parents[2] / "examples" / "collusion.py"


def _session(
    clients: int = 4, *, tell: bool = True, layout: Layout = LAYOUT, nonce: bytes = bytes(16)
) -> Session:
    return replace(session_of(RingParams(clients, tell), layout=layout), nonce=nonce)


def _parties(
    session: Session,
    inputs: Sequence[RingVector],
    randomness: Callable[[int], bytes] = os.urandom,
) -> list[RingParty]:
    made = [RingParty(session, PartyId(i), randomness=randomness) for i in range(len(inputs))]
    for party, vector in zip(made, inputs, strict=True):
        party.set_input(vector, PAYLOAD)
    return made


def _inputs(clients: int, layout: Layout, seed: bytes = b"") -> list[RingVector]:
    return list(inputs_of(clients, layout, seed).values())


def _ints(vector: RingVector) -> list[list[int]]:
    return [lane.tolist() for lane in vector]


@settings(max_examples=examples(60), deadline=None)
@given(clients=st.integers(3, 9), layout=LAYOUTS, tell=st.booleans(), seed=st.binary(max_size=4))
def test_the_sum_is_exact(clients: int, layout: Layout, tell: bool, seed: bytes) -> None:
    """§1: for every size, width and layout, and everybody who is told has the same."""
    inputs = _inputs(clients, layout, seed)
    parties = _parties(_session(clients, tell=tell, layout=layout), inputs)
    sent = run(parties)
    everybody = frozenset(map(PartyId, range(clients)))
    expected = plain_sum(layout, dict(zip(sorted(everybody), inputs, strict=True)), everybody)
    for party in parties if tell else parties[:1]:
        total = party.result()
        assert _ints(total.vector) == expected
        assert (total.contributors, total.dropped) == (everybody, frozenset())
        assert [lane.dtype for lane in total.vector] == [s.group.dtype for s in layout.segments]
    assert all(party.done for party in parties)
    assert len(sent) == clients + (clients - 1) * tell
    if not tell:
        with pytest.raises(LocalProtocolError, match="keeps the sum"):
            parties[1].result()


# The attack (§5)


def _between(sent: Sequence[tuple[PartyId, object]], victim: int, clients: int) -> list[bytes]:
    """What two neighbours hold: the victim's message in, and its message out."""
    partials = [m for s, m in sent if m.data[2] == messages.PARTIAL]  # type: ignore[attr-defined]
    by_receiver = {m.to: m.data for m in partials}  # type: ignore[attr-defined]
    return [by_receiver[victim], by_receiver[(victim + 1) % clients]]


@settings(max_examples=examples(40), deadline=None)
@given(clients=st.integers(4, 8), layout=LAYOUTS, victim=st.integers(0, 7), seed=st.binary())
def test_two_neighbours_recover_the_value_between_them(
    clients: int, layout: Layout, victim: int, seed: bytes
) -> None:
    victim %= clients
    session, inputs = _session(clients, layout=layout), _inputs(clients, layout, seed)
    parties = _parties(session, inputs)
    before, after = _between(run(parties), victim, clients)
    found = collude(session, before, after)
    if victim == 0:  # the difference lacks the sum, which everybody is told
        total = parties[1].result().vector
        found = tuple(
            (a + b) & s.group.mask for a, b, s in zip(found, total, layout.segments, strict=True)
        )
    assert _ints(found) == _ints(inputs[victim])


def test_collude_refuses_what_is_no_vector() -> None:
    session = _session()
    abort = messages.abort(session, AbortReason.LOST)
    for before, after in ((abort, _partial(session)), (_partial(session), abort)):
        with pytest.raises(errors.WireError, match="abort"):
            collude(session, before, after)


# One party alone learns the sum and nothing else (§5): counted out in Z_4 with n = 3


def _view(inputs: tuple[int, ...], offset: int, party: int) -> tuple[bytes, ...]:
    vectors = [(np.array([x], np.uint8),) for x in inputs]
    session = _session(3, layout=SMALL)
    machines = _parties(session, vectors, lambda size: bytes([offset]))
    drawn = (bytes([offset]),) if party == 0 else ()
    return (*drawn, *(m.data for _, m in run(machines) if m.to == party))


def test_the_view_of_one_party_depends_on_the_others_through_the_sum_alone() -> None:
    """Every input, every offset, every party: the views of equal sums are distributed equally."""
    seen: dict[tuple[int, int, int], set[tuple[tuple[tuple[bytes, ...], int], ...]]]
    seen = defaultdict(set)
    for inputs in itertools.product(range(4), repeat=3):
        for party in range(3):
            views = Counter(_view(inputs, offset, party) for offset in range(4))
            known = (party, inputs[party], sum(inputs) % 4)
            seen[known].add(tuple(sorted(views.items())))
            assert party == 0 or set(views.values()) == {1}, "four offsets, four views"
    assert len(seen) == 3 * 4 * 4
    assert all(len(distributions) == 1 for distributions in seen.values())


def test_the_offset_is_drawn_once_and_hides_every_bit() -> None:
    """§4 rule 1: a little-endian lane an element, cut to the width; a short draw fails."""
    drawn: list[int] = []

    def randomness(size: int) -> bytes:
        drawn.append(size)
        return bytes(range(1, size + 1))

    session = _session(3)
    zeros = LAYOUT.zeros()
    sent = run(_parties(session, [zeros] * 3, randomness))
    _, first = messages.decode(session, sent[0][1].data)
    assert drawn == [7, 12]
    assert not isinstance(first, AbortReason)
    assert _ints(first) == [[1, 2, 3, 4, 5, 6, 7], [0x04030201, 0x08070605, 0x0C0B0A09]]
    with pytest.raises(CryptoError):
        RingParty(session, PartyId(0), randomness=lambda size: b"")


# State x message (§4 rules 2 to 5)

STATES = ("idle", "no input", "no partial", "total", "done")


def _in_state(state: str, session: Session) -> RingParty:
    """Party 2 of 4."""
    party = RingParty(session, PartyId(2))
    if state != "idle":
        party.start()
    if state in ("no partial", "total", "done"):
        party.set_input(LAYOUT.zeros(), PAYLOAD)
    if state in ("total", "done"):
        party.receive(PartyId(1), _partial(session))
    if state == "done":
        party.receive(PartyId(0), messages.encode(messages.TOTAL, session, LAYOUT.zeros()))
    party.outgoing(), party.events()
    return party


def _partial(session: Session, seed: bytes = b"") -> bytes:
    return messages.encode(messages.PARTIAL, session, _inputs(1, LAYOUT, seed)[0])


def _sent(session: Session) -> dict[str, tuple[PartyId, bytes]]:
    left, initiator, other = PartyId(1), PartyId(0), PartyId(3)
    total = messages.encode(messages.TOTAL, session, LAYOUT.zeros())
    abort = messages.abort(session, AbortReason.CANCELLED)
    foreign = _session(nonce=bytes([1]) * 16)
    return {
        "partial": (left, _partial(session)),
        "other partial": (left, _partial(session, b"other")),
        "not the neighbour": (other, _partial(session)),
        "total": (initiator, total),
        "not the initiator": (left, total),
        "abort": (other, abort),
        "another session": (left, _partial(foreign)),
        "too short": (left, _partial(session)[:-1]),
        "too long": (left, _partial(session) + b"\0"),
        "empty": (left, b""),
        "unknown tag": (left, total[:2] + b"\x09" + total[3:]),
        "unknown reason": (left, abort[:-1] + b"\xff"),
        "outsider": (PartyId(4), _partial(session)),
        "server": (SERVER, abort),
        "myself": (PartyId(2), _partial(session)),
    }


OUTSIDE = {"outsider", "server", "myself"}
TAKEN = {("idle", "partial"), ("idle", "other partial"), ("no input", "partial")}
TAKEN |= {("no input", "other partial"), ("no partial", "partial")}
TAKEN |= {("no partial", "other partial"), ("total", "total")}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", _sent(_session()))
def test_every_message_in_every_state(state: str, name: str) -> None:
    """Rows 2, 3, 6, 24 to 26, 48: taken, ignored with an event, or the end with a fault."""
    session = _session()
    party = _in_state(state, session)
    sender, message = _sent(session)[name]
    if state == "done" or name in OUTSIDE or (state, name) == ("total", "partial"):
        party.receive(sender, message)
        assert [type(e) for e in party.events()] == [Ignored] and not party.outgoing()
        assert party.done == (state == "done")
    elif (state, name) in TAKEN:
        party.receive(sender, message)
        assert not any(isinstance(e, Ignored | Aborted) for e in party.events())
    elif name == "abort":
        party.receive(sender, message)
        assert party.events() == [Aborted(AbortReason.CANCELLED, "party 3 ended the round")]
        assert party.done and not party.outgoing()
    else:
        with pytest.raises(RemoteProtocolError):
            party.receive(sender, message)
        assert party.done and party.events() == [Aborted(AbortReason.PEER_FAULT)]
        assert {o.to for o in party.outgoing()} == {0, 1, 3}
        with pytest.raises(errors.Aborted, match="peer-fault"):
            party.result()


def test_a_partial_sum_that_comes_before_its_time_waits() -> None:
    """§4 rule 2: before start and before the input; it is passed on with them, once."""
    session = _session()
    party = _in_state("idle", session)
    party.receive(PartyId(1), _partial(session))
    party.set_input(LAYOUT.zeros(), PAYLOAD)
    assert party.outgoing() == []
    party.start()
    (passed,) = party.outgoing()
    assert (passed.to, passed.data, passed.commit) == (3, _partial(session), True)
    assert party.events() == [PhaseEntered("pass"), PhaseEntered("total")]


def test_the_initiator_takes_nothing_before_it_has_passed_on() -> None:
    session = _session()
    for message in (_partial(session), messages.encode(messages.TOTAL, session, LAYOUT.zeros())):
        initiator = RingParty(session, PartyId(0))
        initiator.start()
        with pytest.raises(RemoteProtocolError):
            initiator.receive(PartyId(3), message)
        assert initiator.done


@pytest.mark.parametrize("lost", range(4))
def test_one_lost_party_ends_the_round_for_everybody(lost: int) -> None:
    """Row 41, §4 rule 5: whoever notices tells all others; nobody gets a sum."""
    session = _session()
    parties = _parties(session, _inputs(4, LAYOUT))
    alive = [i for i in range(4) if i != lost]
    for i in alive:
        parties[i].start()
    parties[alive[0]].lost(PartyId(lost))
    for message in parties[alive[0]].outgoing():
        if message.to in alive:
            parties[message.to].receive(PartyId(alive[0]), message.data)
    for i in alive:
        assert parties[i].done
        if Aborted(AbortReason.LOST) not in parties[i].events():
            with pytest.raises(errors.Aborted, match="lost"):
                parties[i].result()
        parties[i].lost(PartyId(lost))
        assert not any(isinstance(e, Finished) for e in parties[i].events())


def test_losing_a_stranger_changes_nothing() -> None:
    party = _in_state("no partial", _session())
    party.lost(SERVER)
    assert not party.done and not party.events()


@settings(max_examples=examples(150), deadline=None)
@given(position=st.integers(0), bit=st.integers(0, 7))
def test_flipped_bits_end_the_session_or_are_another_vector(position: int, bit: int) -> None:
    """The head and the padding are checked; the ring has no integrity for the rest (§1)."""
    session = _session()
    message = bytearray(_partial(session))
    message[position % len(message)] ^= 1 << bit
    party = _in_state("no partial", session)
    try:
        party.receive(PartyId(1), bytes(message))
    except RemoteProtocolError:
        assert party.done
    else:
        assert position % len(message) >= 35
        (passed,) = party.outgoing()
        assert passed.data == message


def test_misuse_by_the_caller() -> None:
    session = _session()
    party = _in_state("no partial", session)
    with pytest.raises(LocalProtocolError):
        party.start()
    with pytest.raises(LocalProtocolError):
        party.set_input(LAYOUT.zeros(), PAYLOAD)
    with pytest.raises(LocalProtocolError, match="running"):
        party.result()
    fresh = RingParty(session, PartyId(1))
    with pytest.raises(InputError):
        fresh.set_input(LAYOUT.zeros()[:1], PAYLOAD)
    with pytest.raises(InputError, match="payload"):
        fresh.set_input(LAYOUT.zeros(), bytes(32))
    assert fresh.done


@pytest.mark.parametrize("clients", [0, 1, 2, 1 << 21])
def test_rings_that_protect_nobody(clients: int) -> None:
    with pytest.raises(ParameterError):
        RingParams(clients)


def test_numbers_may_be_numpys_and_are_kept_as_pythons() -> None:
    made = RingParams(np.int64(4))
    assert (type(made.clients), type(made.tell), made) == (int, bool, RingParams(4, True))
    for wrong in (4.0, "4", True):
        with pytest.raises(ParameterError, match="clients"):
            RingParams(wrong)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="tell"):
        RingParams(4, 1)


@pytest.mark.parametrize("me", [-1, 4])
def test_a_party_has_a_place(me: int) -> None:
    with pytest.raises(ParameterError):
        RingParty(_session(), PartyId(me))


def test_no_plan_may_choose_it() -> None:
    """§1: it has no server."""
    assert "ring" not in registry.available()


def test_parameters_encode_as_the_spec_says() -> None:
    """§2."""
    params = RingParams(5, tell=False)
    assert params.encode() == bytes([0, 0, 0, 5, 0])
    assert RingParams(5).encode() == bytes([0, 0, 0, 5, 1])
    assert {params.threshold, params.min_clients, params.min_survivors, params.clients} == {5}


def test_the_example_breaks_the_ring_and_not_the_shares() -> None:
    """examples/collusion.py, as a reader runs it."""
    root = EXAMPLE.parents[1]
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'protocols'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "subtract two messages: Cleo earns 6,340." in done.stdout
    assert done.stdout.count("sum: 22,540") == 2
    rows = re.findall(r"^ +(\d and \d) +(\S+), (\S+) +(\S+) +(\S+) +(\S+)$", done.stdout, re.M)
    held = {row[0]: [int(x.replace(",", "")) for x in row[1:]] for row in rows}
    assert list(held) == ["0 and 1", "0 and 2", "1 and 2"]
    for first, second, *thirds in held.values():
        sums = [(first + second + third) % (1 << 20) for third in thirds]
        assert sums == [1_500, 6_340, 25_000]
    assert held["0 and 1"][3] == held["0 and 2"][1], "the middle one is the true share of server 2"
    assert "Of 1,048,576 salaries, 1,048,576 have" in done.stdout
