"""Rounds whose clients sign: who is asked, what is written down, and what a client remembers
(T8, T19)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secagg.earlier import Memory, Stage
from secagg.effects import Peer
from secagg.errors import (
    Aborted,
    BelowThreshold,
    InputError,
    ParameterError,
    PolicyRefused,
    RemoteProtocolError,
)
from secagg.plans.task import Task
from secagg.policy import Policy
from secagg.roster import Roster, SignedRoster
from secagg.rounds.client import ClientRounds
from secagg.rounds.enrolled import Host
from secagg.rounds.hosting import written_in
from secagg.rounds.offer import Consent, Contribution
from secagg.store.memory import MemoryLedger
from secagg.types import AbortReason, Fault, PartyId, Role, Seed
from secagg.wire.frame import Announce, Over, decode_frame
from tests.rounds.enrolled import (
    ADMIN,
    CAST,
    HOST,
    SIGNED,
    WITHOUT_CHANGE,
    active,
    at,
    key_of,
    member,
    membership,
    named,
    world_of,
)
from tests.rounds.world import LENGTH, World, levels, real, total, vector

SIX = (1, 2, 4, 5, 7, 8)


def test_a_cohort_is_of_places_and_the_sum_is_theirs() -> None:
    """Links in any order: a party is its place, and its identity is the roster's key."""
    world = world_of(8, 1, 5, 2, 7, 4)
    result = world.result(world.open(active()))
    assert result.contributors == at(*SIX) and result.dropped == at()
    assert levels(result) == total(SIX)
    assert result.members == {place: key_of(place) for place in SIX}
    for client in world.clients.values():
        (told,) = client.told
        assert (told.included, told.party) == (True, int(client.peer.name)) and told.spent
        (taken,) = _memory(client, WITHOUT_CHANGE)
        assert taken.stage is Stage.CONFIRMED and taken.survivors == sum(1 << p for p in SIX)


def _memory(client, policy):  # type: ignore[no-untyped-def]
    key = key_of(int(client.peer.name))
    return [*Memory.read(client.notes, SIGNED.admin, key, policy)._slots.values()]


def test_announced_are_the_place_and_five_deadlines() -> None:
    world = world_of(*SIX)
    made = active()
    limits = dict(zip(made.phase_names, (1, 2, 3, 4, 5), strict=True))
    world.open(made, deadlines=limits)
    announced = [decode_frame(raw, limit=1 << 30) for peer, raw in world.posted if peer.name == "7"]
    (frame,) = [one for one in announced if isinstance(one, Announce)]
    assert (frame.party, frame.deadlines) == (7, (1000, 2000, 3000, 4000, 5000))


def test_nobody_is_asked_who_has_not_proved_a_place() -> None:
    """Deny by default: a link without an identity, or of a key that no roster has, is no
    candidate, whatever the selection would pick."""
    world = world_of(*SIX[:5])
    stranger = world.client("stranger", silent=True)
    other = world.client("other", silent=True, identity=b"\x01" * 32)
    result = world.result(world.open(active(), select=lambda plan, everybody: everybody))
    assert result.contributors == at(*SIX[:5]) and not stranger.told and not other.told
    assert not [peer for peer, _ in world.posted if peer in (stranger.peer, other.peer)]


def test_too_few_members_begin_no_round() -> None:
    world = world_of(1, 2, 3)
    for place in ("x", "y", "z"):
        world.client(place)
    with pytest.raises(BelowThreshold, match="3 members of the roster"):
        world.open(active())
    assert not world.posted and not world.server.running


def test_a_server_without_the_roster_opens_nothing() -> None:
    world = World()
    with pytest.raises(ParameterError, match="has no roster"):
        world.open(active())
    small = Roster(0, 1 << 40, CAST.roster.server, CAST.roster.keys[:8])
    other = World(host=Host(SignedRoster.sign(small, ADMIN), CAST.server))
    with pytest.raises(ParameterError, match="roster of 9"):
        other.open(active())
    with pytest.raises(ParameterError, match="not the identity of the server"):
        Host(SIGNED, CAST.members[0])


def test_a_task_names_the_roster() -> None:
    """Another administrator's, or an older one than the task's, is not announced."""
    world = world_of(*SIX)
    later = SignedRoster.sign(replace(CAST.roster, epoch=1), ADMIN)
    another = SignedRoster.sign(CAST.roster, Seed(b"somebody".ljust(32)))
    for roster in (later, another):
        with pytest.raises(ParameterError, match="the task's roster"):
            world.server.open(Task(active(), roster), deadlines=1, now=world.now)
    world.server.open(Task(active(), SIGNED), deadlines=1, now=world.now)


def test_a_member_that_leaves_is_lost_at_once() -> None:
    """Rule V9: nobody waits for a link that takes nothing up again."""
    world = world_of(*SIX)
    silent = world.clients["4"]
    silent.give = None
    opened = world.open(active())
    silent.leave()
    result = world.result(opened)
    assert result.contributors == at(1, 2, 5, 7, 8)
    assert world.end(opened).report.faults == {4: Fault.LOST}
    silent.join()
    assert [one.reason for one in silent.told] == [AbortReason.LOST]


def test_a_member_whose_links_prove_it_takes_nothing_up_again() -> None:
    """Rule V9, specs/50-service.md §2.10: its input had left, and its name is spent."""
    world = World(host=HOST)
    for place in SIX:
        member(world, place, returning=True)
    away = world.clients["4"]
    for place in SIX[:2]:
        world.clients[str(place)].give = None
    world.open(active())
    away.leave()
    away.join()
    (told,) = away.told
    assert (told.reason, told.included, told.spent) == (AbortReason.LOST, None, True)


def test_what_is_written_down_is_committed_before_it_is_said() -> None:
    """Rule R2: a piece of the transcript is a row of the same turn as what reveals it, or of an
    earlier one, in a namespace of its own; and goes when the application has the whole."""
    world = world_of(*SIX, durable=True)
    opened = world.open(active(), hold=True)
    (end,) = world.ends
    rows = {k: v for k, v in world.store.items() if k.startswith(written_in(opened))}
    assert b"".join(rows[key] for key in sorted(rows)) == end.report.transcript
    assert end.report.transcript[0] == 1 and len(rows) == 8, "a version and seven records"
    assert end.report.evidence == ()
    world.server.tell(opened, world.now)
    world.settle()
    assert not [key for key in world.store if key.startswith(written_in(opened))]


def test_a_round_that_is_taken_up_is_lost_and_keeps_its_transcript() -> None:
    """Suite 2 does not resume: the end says so, to members that come back too."""
    world = world_of(*SIX, durable=True)
    for client in world.clients.values():
        client.give = None
    opened = world.open(active())
    before = {k: v for k, v in world.store.items() if k.startswith(written_in(opened))}
    assert before, "U1 and U2 are fixed"
    world.restart()
    end = world.end(opened)
    assert isinstance(end.error, Aborted) and end.error.reason is AbortReason.LOST
    assert end.report.transcript == b"".join(before[key] for key in sorted(before))
    assert not [key for key in world.store if key.startswith(written_in(opened))]
    assert not world.server.running
    for client in world.clients.values():
        assert [(one.reason, one.included, one.spent) for one in client.told] == [
            (AbortReason.LOST, False, False)
        ]


def test_an_input_has_a_name_where_clients_sign() -> None:
    """Rule V6: without one it is refused before anything masked leaves; a payload names it too."""
    world = world_of(*SIX[:5])

    def nameless(offer):  # type: ignore[no-untyped-def]
        return Contribution({"update": np.zeros(LENGTH, int)})

    unnamed = member(world, 8, nameless)
    result = world.result(world.open(active()))
    assert result.contributors == at(*SIX[:5])
    assert isinstance(unnamed.errors[0], InputError) and "has a name" in str(unnamed.errors[0])
    world = world_of(*SIX)
    for client in world.clients.values():
        client.give = nameless
    assert len(world.result(world.open(active(), b"a task")).contributors) == 6


def test_an_input_leaves_once_whatever_the_server_says() -> None:
    """No retry: the round had no sum and the server says so, and the name stays spent."""
    world = world_of(*SIX, policy=Policy(change=False))
    for place in SIX[:3]:
        world.clients[str(place)].give = None
    for place in SIX[3:]:
        world.clients[str(place)].give = lambda offer, p=place: Contribution(  # type: ignore[misc]
            {"update": np.array(vector(p))}, name="always"
        )
    opened = world.open(active())
    world.wait(100)
    assert isinstance(world.end(opened).error, BelowThreshold)
    for place in SIX[3:]:
        (told,) = world.clients[str(place)].told
        assert told.spent and told.included is False
    again = world.open(active())
    world.wait(100)
    assert isinstance(world.end(again).error, BelowThreshold)
    told = world.clients["8"].told[1]
    assert told.why == "spent"


def test_survivors_that_differ_by_one_are_not_signed() -> None:
    """Threat T8, rule V7: the second round leaves one out, and nobody that has a memory signs."""
    world = world_of(*SIX)
    world.result(world.open(active()))
    world.clients["8"].leave()
    opened = world.open(active())
    assert isinstance(world.end(opened).error, BelowThreshold)
    for place in SIX[:5]:
        told = world.clients[str(place)].told[1]
        assert told.why == "policy" and told.spent and "change" in told.detail
    allowed = world_of(*SIX, policy=WITHOUT_CHANGE)
    allowed.result(allowed.open(active()))
    allowed.clients["8"].leave()
    assert len(allowed.result(allowed.open(active())).contributors) == 5


def test_after_a_round_that_is_unknown_no_input_leaves() -> None:
    """specs/14-roster.md §6.2: it is refused before the masked input, and the name stays free."""
    world = world_of(*SIX)
    for place in SIX[:3]:
        world.clients[str(place)].give = None
    world.open(active())
    world.wait(100)
    told = world.clients["8"].told[0]
    assert told.spent, "its masked input has left"
    for place in SIX[:3]:
        world.clients[str(place)].give = lambda offer, p=place: Contribution(  # type: ignore[misc]
            {"update": np.array(vector(p))}, name=f"{p}"
        )
    world.open(active())
    world.wait(100)
    told = world.clients["8"].told[1]
    assert told.why == "policy" and not told.spent and "unknown" in told.detail


def test_a_sum_is_of_what_has_left() -> None:
    """Row 49: a server that says of an input which it has never had that it is in a sum lies, and
    the input stays free."""
    rounds = ClientRounds(Consent(), member=membership(8, MemoryLedger()))
    server, made = Peer("server", None, Role.SERVER), active()
    rounds.joined(server, 0.0)
    deadlines = (1000,) * len(made.phase_names)
    announced = Announce(bytes(16), PartyId(8), deadlines, made.encode(), b"")
    rounds.received(server, announced.encode(), 0.0)
    (offer,) = rounds.asked()
    rounds.contribute(offer, named(8, offer), 0.0)
    rounds.received(server, Over(offer.nonce, None, 6, 0).encode(), 0.0)
    (outcome,) = rounds.outcomes()
    assert (outcome.included, outcome.spent) == (False, False)
    assert outcome.reason is AbortReason.PEER_FAULT and "has never left" in outcome.detail


def test_a_used_name_is_no_round_that_counts() -> None:
    """The ledger knows another use: nothing has left, and the next round is not refused for it."""
    world = world_of(*SIX)
    names = iter(("same", "same", "other"))
    for place in SIX:
        values = {"update": np.array(vector(place))}
        world.clients[str(place)].give = lambda offer, v=values: Contribution(v, name="x")  # type: ignore[misc]
    one = world.clients["8"]
    one.give = lambda offer: Contribution({"update": np.zeros(LENGTH, int)}, name=next(names))
    world.result(world.open(active()))
    fresh = membership(8, one.notes)
    one.leave()
    del world.clients["8"]
    again = world.client("8", one.give, identity=key_of(8), member=fresh, notes=one.notes)
    again.ledger = one.ledger
    for place in SIX[:5]:
        world.clients[str(place)].give = None
    world.open(active())
    world.wait(100)
    assert again.told[0].why == "spent"
    stages = [one.stage for one in _memory(again, Policy())]
    assert stages == [Stage.CONFIRMED, Stage.KEPT]


def test_a_client_takes_part_as_what_it_is_or_not_at_all() -> None:
    world = world_of(*SIX[:5])
    nobody = world.client("8", identity=key_of(8))
    world.open(active())
    assert isinstance(nobody.errors[0], PolicyRefused) and "identity" in str(nobody.errors[0])
    elsewhere = world_of(*SIX[:5])
    fresh = elsewhere.client("7", silent=True, identity=key_of(7))
    fresh.leave()
    notes = fresh.notes
    wrong = elsewhere.client("8", identity=key_of(7), member=membership(8, notes), notes=notes)
    elsewhere.open(active())
    assert isinstance(wrong.errors[0], RemoteProtocolError) and "party 7" in str(wrong.errors[0])


def test_floors_and_ends_of_a_roster_are_asked_before_anything_is_said() -> None:
    world = world_of(*SIX[:4])
    strict = member(world, 7, policy=Policy(clients=100))
    late = world.client("8", identity=key_of(8))
    late.leave()
    notes = late.notes
    over = world.client(
        "8", identity=key_of(8), member=membership(8, notes, until=0.0), notes=notes
    )
    opened = world.open(active())
    assert "clients" in str(strict.errors[0]) and "is over" in str(over.errors[0])
    assert not [claim for claim in (*strict.ledger, *over.ledger)]
    world.wait(100)
    assert world.result(opened).contributors == at(*SIX[:4])


def test_a_member_takes_no_plan_whose_clients_sign_nothing() -> None:
    """Unless its policy says so: a server could else ask for the weaker one."""
    world = world_of(*SIX[:4])
    world.open(real(4))
    assert all("suite" in str(one.errors[0]) for one in world.clients.values())
    both = world_of(*SIX[:4], policy=Policy(suites=(1, 2)))
    assert levels(both.result(both.open(real(4)))) == total(SIX[:4])


def test_a_client_whose_rows_are_carried_does_not_sign() -> None:
    """Nothing of a session is taken up again: a process for each message cannot be in one."""
    with pytest.raises(ParameterError, match="one process"):
        ClientRounds(Consent(), carried=True, member=membership(1, MemoryLedger()))


def test_the_host_knows_places_by_key() -> None:
    assert [HOST.place(key_of(place)) for place in (0, 8)] == [0, 8]
    assert HOST.place(None) is None and HOST.place(CAST.roster.server) is None
