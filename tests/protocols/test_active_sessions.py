"""Whole sessions of active mode, with and without drops (specs/12-active.md)."""

from __future__ import annotations

import copy
import os
import pickle  # noqa: TID251
from dataclasses import replace

import pytest

from secagg.errors import BelowThreshold, LocalProtocolError, ParameterError, RemoteProtocolError
from secagg.sansio import Agreed, Dropped, Finished, Ignored
from secagg.testing import Act, Schedule
from secagg.types import SERVER, Fault, PartyId, Seed
from secagg_protocols.secagg.active.states import PHASES
from tests.active import COMMITTEE, COMPLETE, REGULAR, WITHOUT_FAULTS, Cast

NAMES = [phase.name for phase in PHASES]
CASTS = WITHOUT_FAULTS | {"roster of nine": Cast(places=9), "nobody corrupt": Cast(corrupted=0)}


@pytest.fixture(params=CASTS)
def cast(request: pytest.FixtureRequest) -> Cast:
    return CASTS[request.param]


def test_a_session_without_faults_sums_all(cast: Cast) -> None:
    network = cast.network()
    total = cast.exact(network)
    assert total.contributors == frozenset(cast.parties) and not total.dropped
    finished = {who for who, event in network.events if isinstance(event, Finished)}
    assert finished == {SERVER, *cast.parties} and not network.refusals


@pytest.mark.parametrize("act", [Act.GONE, Act.SILENT, Act.LEAVES, Act.DEAF, Act.LATE])
@pytest.mark.parametrize("phase", NAMES)
def test_one_that_drops_in_any_phase_leaves_an_exact_sum(cast: Cast, phase: str, act: Act) -> None:
    lost = cast.parties[2]
    total = cast.exact(cast.network(Schedule({(phase, lost): act})))
    summed = NAMES.index(phase) > NAMES.index("masked-input") or (
        phase == "masked-input" and act in (Act.LEAVES, Act.DEAF)
    )
    assert (lost in total.contributors) is summed


@pytest.mark.parametrize("act", [Act.DUPLICATE, Act.REPLAY, Act.ECHO])
def test_what_comes_twice_changes_nothing(cast: Cast, act: Act) -> None:
    """Rows 25, 31: the same bytes again get the same reply."""
    acts = {(phase, party): act for phase in NAMES for party in cast.parties}
    network = cast.network(Schedule(acts))
    assert cast.exact(network).contributors == frozenset(cast.parties)
    assert any(isinstance(event, Ignored) for _, event in network.events)


def test_another_order_of_arrival_gives_the_same_sum(cast: Cast) -> None:
    order = {phase: tuple(reversed(cast.parties)) for phase in NAMES}
    first, second = cast.network().run(), cast.network(Schedule(order=order)).run()
    assert [lane.tolist() for lane in first.vector] == [lane.tolist() for lane in second.vector]


@pytest.mark.parametrize("phase", NAMES)
def test_more_drops_than_planned_end_it_without_a_sum(phase: str) -> None:
    """Rows 39: in each phase, and nothing is revealed."""
    cast = Cast()
    acts = {(phase, party): Act.GONE for party in cast.parties[:3]}
    with pytest.raises(BelowThreshold):
        cast.network(Schedule(acts)).run()


@pytest.mark.parametrize("phase", NAMES)
def test_exactly_enough_is_enough(phase: str) -> None:
    """Row 40: t = 4 of six, and q = 4, in each phase."""
    cast = Cast()
    acts = {(phase, party): Act.GONE for party in cast.parties[:2]}
    assert len(cast.exact(cast.network(Schedule(acts))).contributors) in (4, 6)


def test_whoever_agrees_says_so_once_and_to_whom() -> None:
    """Rule V7: before what follows is sent, and with the places of the roster."""
    cast = Cast(places=9)
    network = cast.network()
    network.run()
    agreed = [(who, e.survivors) for who, e in network.events if isinstance(e, Agreed)]
    assert agreed == [(party, frozenset(cast.parties)) for party in cast.parties]


def test_who_is_no_signer_is_not_waited_for_and_answers_all_the_same() -> None:
    """Rule R4. Its message of the phase would be a fault: it has none."""
    cast = Cast(COMMITTEE)
    network = cast.network().run_until("consistency")
    waiting = network.server.waiting_for
    assert len(waiting) == COMMITTEE.signers
    assert {p for p in cast.parties if network.queued(p)} == waiting
    assert cast.exact(network).contributors == frozenset(cast.parties)


def test_a_signer_or_another_on_a_new_link_is_told_again() -> None:
    """What it has not heard, in each phase; whoever is no signer U3 as well."""
    cast = Cast(COMMITTEE)
    for phase in NAMES[1:]:
        network = cast.network().run_until(phase)
        for party in cast.parties:
            network.server.reconnected(party)
        network.drain(SERVER)
        assert cast.exact(network).contributors == frozenset(cast.parties)


def test_a_machine_is_one_party_in_one_process() -> None:
    """Rule V1; threats 43, 63: not copied, not pickled, not forked, not put back."""
    cast = Cast()
    for machine in (cast.server(), cast.client(cast.parties[0])):
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                duplicate(machine)
        assert machine.writes() == []
        with pytest.raises(LocalProtocolError):
            machine.restore([(b"state", b"")])
        child = os.fork()
        if not child:
            try:
                machine.start()
            except LocalProtocolError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        machine.start()


def test_the_keys_of_the_parties_are_those_of_the_roster() -> None:
    """Rule V1."""
    from secagg.mask import add_streams
    from secagg_protocols.secagg.active.client import ActiveClient
    from secagg_protocols.secagg.active.server import ActiveServer

    cast = Cast()
    other = Seed(bytes(32))
    with pytest.raises(ParameterError, match="identity of the server"):
        ActiveServer("secagg", cast.session, COMPLETE, signing=other, expander=add_streams)
    with pytest.raises(ParameterError, match="identity of member"):
        ActiveClient(
            "secagg",
            cast.session,
            COMPLETE,
            PartyId(0),
            signing=other,
            randomness=bytes,
            expander=add_streams,
        )


def test_more_are_not_asked_than_the_plan_is_for() -> None:
    cast = Cast(REGULAR, places=12)
    with pytest.raises(ParameterError, match="invited"):
        replace_session(cast, invited=None)


def replace_session(cast: Cast, **changed: object) -> object:
    from secagg.mask import add_streams
    from secagg_protocols.secagg.active.server import ActiveServer
    from tests.active import SERVER_SEED

    session = replace(cast.session, **changed)  # type: ignore[arg-type]
    return ActiveServer("secagg", session, cast.params, signing=SERVER_SEED, expander=add_streams)


def test_a_server_has_the_plan_that_its_transcript_begins_with() -> None:
    with pytest.raises(ParameterError, match="transcript"):
        replace_session(Cast(), plan=b"another")


@pytest.mark.parametrize("bit", [0, 300, 999, 1234])
@pytest.mark.parametrize("phase", NAMES)
def test_a_flipped_bit_costs_its_sender_and_never_the_round(phase: str, bit: int) -> None:
    """T1: whatever was changed on the way is not its sender's statement."""
    cast = Cast()
    lost = cast.parties[1]
    network = cast.network(Schedule({(phase, lost): Act.CORRUPT}, flip=bit))
    total = cast.exact(network)
    dropped = [e for who, e in network.events if who == SERVER and isinstance(e, Dropped)]
    assert [event.party for event in dropped] == [lost]
    assert dropped[0].fault in (
        Fault.INVALID_SIGNATURE,
        Fault.MALFORMED,
        Fault.INVALID_KEY,
        Fault.WRONG_PHASE,
    )
    assert (lost in total.contributors) is (NAMES.index(phase) > 2)


def test_a_flipped_bit_down_ends_only_who_received_it() -> None:
    """T1, the other way: each message of the server to one client, in each of many bits."""
    cast = Cast()
    victim = cast.parties[0]
    clean = cast.network()
    clean.run()
    for phase in NAMES[:-1]:
        size = next(len(m.data) for m in clean.sent if m.to == victim and m.phase == phase)
        for bit in (*range(0, 8 * size, 8 * size // 9), 8 * size - 1):

            def flipped(message, phase=phase, bit=bit):  # type: ignore[no-untyped-def]
                if (message.to, message.phase) != (victim, phase):
                    return (message.data,)
                data = bytearray(message.data)
                data[bit // 8] ^= 1 << bit % 8
                return (bytes(data),)

            network = cast.network(wire=flipped)
            total = cast.exact(network)
            assert isinstance(network.refusals[victim], RemoteProtocolError), (phase, bit)
            assert (victim in total.contributors) is (NAMES.index(phase) > 1)


def test_digests_that_are_written_out_are_those_of_the_specification() -> None:
    """specs/12-active.md §3: H with the label first, and every length before its value."""
    from secagg.crypto import labels
    from secagg_protocols.secagg.active.messages import Digests, share_digest

    session, share = bytes(range(32)), bytes(range(40))
    for kind in (b"b", b"s"):
        plain = labels.digest(labels.SHARE_DIGEST, session, 7, 70_000, kind, share)
        assert share_digest(session, 7, 70_000, kind, share) == plain
    both = Digests(bytes(32), bytes(range(32)))
    assert both.digest == labels.digest(labels.DIGESTS, both.b, both.s)
