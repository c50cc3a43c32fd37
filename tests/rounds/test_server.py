"""A server's rounds on a clock that is a number (secagg/rounds/server.py, round.py)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from secagg import party
from secagg.effects import Claim, Peer, Work
from secagg.errors import Aborted, BelowThreshold, LocalProtocolError, ParameterError
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.rounds.base import Outbox
from secagg.rounds.hosting import Seating, machine_of
from secagg.rounds.offer import Contribution, Offer
from secagg.rounds.opening import Opening
from secagg.rounds.quota import Limits
from secagg.rounds.round import Round
from secagg.rounds.selection import Candidate, Select, arrival, chosen, sample
from secagg.sansio import Event, Finished
from secagg.types import AbortReason, Fault, PartyId
from secagg.wire.frame import HEAD_SIZE, Announce, Message, Over, decode_frame, payload_digest
from tests.rounds.several import TASK as SEVERAL
from tests.rounds.world import LENGTH, SOON, World, levels, nonce, plainly, real, total, toy, vector

NAMES = ["a", "b", "c", "d"]
LIMIT = 1 << 16


def standings(world: World) -> dict[str, tuple[bool | None, str]]:
    return {name: (c.told[-1].included, c.told[-1].why) for name, c in world.clients.items()}


def frames(world: World, name: str) -> list[Announce | Message | Over]:
    raw = [data for peer, data in world.posted if peer.name == name]
    return [decode_frame(data, limit=LIMIT) for data in raw]


@pytest.mark.parametrize("make", [toy, real])
def test_a_round_is_the_sum_of_everybody(make: Callable[[int], Plan]) -> None:
    world = World()
    for name in NAMES:
        world.client(name)
    opened = world.open(make(4), b"task")
    assert levels(world.result(opened)) == total(NAMES)
    for client in world.clients.values():
        (outcome,) = client.told
        assert (outcome.included, outcome.why, outcome.reason) == (True, "", None)
        assert (outcome.spent, outcome.contributors, outcome.dropped) == (True, 4, 0)
    assert world.server.running == frozenset() and world.due == math.inf


def test_places_are_the_order_of_arrival_and_one_that_nobody_takes_is_lost_at_once() -> None:
    world = World()
    for name in NAMES[:3]:
        world.client(name)
    opened = world.open(toy(4), b"task", deadlines={"upload": 7.5})
    result = world.result(opened)
    assert levels(result) == total(NAMES[:3])
    assert result.report.faults == {3: Fault.LOST} == world.end(opened).report.faults
    for place, name in enumerate(NAMES[:3]):
        announced = frames(world, name)[0]
        assert isinstance(announced, Announce)
        assert (announced.party, announced.deadlines) == (place, (7500,))
        assert (announced.nonce, announced.payload) == (opened, b"task")


def test_a_phase_closes_at_its_deadline_and_not_before() -> None:
    """Rows 37, 39 and 73: whoever is late is told so, and stays."""
    world = World()
    late = world.client("late", silent=True)
    for name in NAMES[:3]:
        world.client(name)
    opened = world.open(toy(4))
    (offer,) = late.rounds.owed()
    assert world.due == world.now + SOON
    world.wait(SOON - 0.001)
    assert world.ends == []
    world.wait(0.001)
    assert levels(world.result(opened)) == total(NAMES[:3])
    assert world.end(opened).report.phases == {"upload": SOON}
    assert standings(world)["late"] == (False, "late")
    assert late.told[0].detail == "left out of the sum: late"
    late.rounds.contribute(offer, plainly("late", offer), world.now)
    world.settle()
    assert len(world.server.here) == world.server.connected == 4


def test_too_few_end_the_round_and_not_the_service() -> None:
    world = World()
    world.client("late", silent=True)
    world.client("a")
    opened = world.open(toy(2, dropout=0))
    world.wait(SOON)
    with pytest.raises(BelowThreshold):
        world.result(opened)
    over = Over(opened, AbortReason.BELOW_THRESHOLD, 0, 1)
    assert frames(world, "a")[-1] == over
    assert frames(world, "late")[-1] == Over(opened, over.reason, 0, 1, Fault.LATE)
    world.clients["late"].give = lambda offer: plainly("late", offer)
    assert levels(world.result(world.open(toy(2, dropout=0)))) == total(["late", "a"], 2)


def test_a_lost_peer_costs_no_deadline() -> None:
    world = World()
    gone = world.client("gone", silent=True)
    for name in NAMES[:3]:
        world.client(name)
    opened = world.open(real(4))
    gone.leave()
    assert levels(world.result(opened)) == total(NAMES[:3])
    assert world.end(opened).report.faults == {0: Fault.LOST}
    world.server.left(gone.peer, world.now)  # as a driver says of every link in the end


def test_two_tasks_at_once_over_the_same_links() -> None:
    """The frames of one find it by its nonce, whoever else is heard meanwhile."""
    world = World()
    slow: dict[int, Offer] = {}
    for name in NAMES:
        client = world.client(name)
        client.give = lambda offer, name=name: plainly(name, offer) if offer.round == 2 else None
    held = world.client("held", silent=True)
    one = world.open(toy(5, dropout=0.2), b"one", select=None)
    two = world.open(real(4), b"two", select=chosen(peers(world)))
    assert {end.nonce for end in world.ends} == {two}
    assert levels(world.result(two)) == total(NAMES, 2)
    assert world.server.running == {one}
    slow |= {o.round: o for o in held.rounds.owed()}
    held.rounds.contribute(slow[1], plainly("held", slow[1]), world.now)
    world.settle()
    with pytest.raises(BelowThreshold):
        world.result(one)


def peers(world: World) -> list[Peer]:
    return [world.clients[name].peer for name in NAMES]


def test_a_cohort_by_lot() -> None:
    world = World(select=sample())
    for name in "abcdefgh":
        world.client(name)
    opened = world.open(toy(4))
    announced = [name for name in "abcdefgh" if frames(world, name)]
    assert len(announced) == 4 == len(world.result(opened).contributors)
    assert levels(world.result(opened)) == total(announced)


def test_more_than_the_plan_has_places_for_are_refused() -> None:
    world = World(select=lambda plan, here: here)
    for name in NAMES:
        world.client(name)
    with pytest.raises(ParameterError, match="4 were picked, for a plan of 3"):
        world.open(toy(3))
    assert world.server.running == frozenset()


def test_nobody_is_picked_twice_or_who_is_not_here() -> None:
    """A peer with two places would be in the sum twice, under two numbers."""
    world = World()
    for name in NAMES[:3]:
        world.client(name)
    gone = replace(world.server.here[0], peer=Peer("gone"))
    for picked, why in (([0, 1, 0], "picked twice"), ([0, 1, gone], "not here")):

        def select(plan: Plan, here: Sequence[Candidate], picked: Any = picked) -> list[Candidate]:
            return [here[one] if isinstance(one, int) else one for one in picked]

        with pytest.raises(ParameterError, match=why):
            world.open(toy(3), select=select)
    assert world.server.running == frozenset()
    assert all(not frames(world, name) for name in NAMES[:3])


def test_silent_peers_cost_one_deadline_and_no_more() -> None:
    """3 silent of 11, for n = 8: three rounds, none waits more than one deadline."""
    world = World()
    for i in range(3):
        world.client(f"silent {i}", silent=True)
    for i in range(8):
        given = Contribution({"update": np.array(vector(i))})
        world.client(f"{i}", lambda offer, given=given: given)
    waited = []
    for number in (1, 2, 3):
        begun = world.now
        opened = world.open(real(8, 0.375))
        while not any(end.nonce == opened for end in world.ends):
            world.wait(SOON)
        waited.append(world.now - begun)
        heard = range(5) if number == 1 else range(8)
        assert levels(world.result(opened)) == total(heard)
    assert waited == [SOON, 0, 0]


def test_a_peer_that_is_silent_past_its_limit_leaves_and_no_other_notices() -> None:
    world = World(limits=Limits(silence=2))
    silent = world.client("silent", silent=True)
    for name in NAMES[:3]:
        world.client(name)
    for missed in (1, 2):
        opened = world.open(toy(4))
        world.wait(SOON)
        assert levels(world.result(opened)) == total(NAMES[:3], missed)
    assert world.let_go == [silent.peer] and not silent.here
    assert {one.peer.name for one in world.server.here} == set(NAMES[:3])
    assert levels(world.result(world.open(toy(4)))) == total(NAMES[:3], 3)


def test_whoever_speaks_in_between_begins_anew() -> None:
    world = World(limits=Limits(silence=2))
    once = world.client("once", lambda offer: plainly("once", offer) if offer.round == 2 else None)
    once.give, speaking = None, once.give
    world.client("a")
    for number in (1, 2, 3, 4):
        once.give = speaking if number == 2 else None
        assert once.here, "missed in all are two before, and never two in a row"
        world.open(toy(2))
        world.wait(SOON)
    missed = {one.peer.name: one.missed for one in world.server.here}
    assert missed == {"a": 0} and world.let_go == [once.peer]


def test_what_is_known_of_candidates() -> None:
    world = World()
    world.client("a", identity=b"A")
    world.client("late", silent=True)
    world.now += 5
    world.client("c")
    first = world.server.here
    assert [(c.peer.name, c.place, c.rounds, c.fault) for c in first] == [
        ("a", 0, 0, None),
        ("late", 1, 0, None),
        ("c", 2, 0, None),
    ]
    assert [c.heard for c in first] == [1000.0, 1000.0, 1005.0]
    opened = world.open(toy(3))
    world.wait(SOON)
    assert [(c.rounds, c.missed, c.fault) for c in world.server.here] == [
        (1, 0, None),
        (1, 1, Fault.LATE),
        (1, 0, None),
    ]
    assert world.server.here[0].identity == b"A"
    assert world.result(opened).members == {0: b"A"}


def test_declining_is_no_silence() -> None:
    """Case 07: one bad input costs one round."""
    world = World()
    bad = world.client("bad", lambda offer: None if offer.round == 1 else plainly("bad", offer))
    for name in NAMES[:3]:
        world.client(name)
    assert levels(world.result(world.open(real(4)))) == total(NAMES[:3])
    assert standings(world)["bad"] == (False, "quit")
    assert world.server.here[0].missed == 1 and world.server.here[0].fault is Fault.QUIT
    assert levels(world.result(world.open(real(4)))) == total([*NAMES[:3], "bad"], 2)
    assert bad.told[1].included and world.server.here[0].missed == 0


@pytest.mark.parametrize("select", [arrival, sample()], ids=["arrival", "sample"])
@pytest.mark.parametrize("how", ["declines", "bad input", "silent"])
def test_who_is_of_no_use_in_any_round_comes_after_all_others(how: str, select: Select) -> None:
    """5 of 13, there first, for n = 8: each round with one of them in it knows one more."""
    world = World(limits=Limits(silence=100))
    bad = Contribution({"update": [0.5] * LENGTH}) if how == "bad input" else None
    for i in range(5):
        world.client(f"bad {i}", lambda offer: bad, silent=how == "silent")
    for i in range(8):
        world.client(f"good {i}")
    whole = 0
    for _ in range(8):
        opened = world.open(real(8), select=select)
        world.wait(4 * SOON)
        whole += world.end(opened).error is None and world.result(opened).count == 8
    assert whole >= 3 and all(world.clients[f"bad {i}"].here for i in range(5))


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x02\x02" + bytes(16),
        b"\x01\x09" + bytes(16),
        Over(bytes(16), None, 1, 1).encode(),
        Announce(bytes(16), PartyId(0), (), b"", b"").encode(),
        bytes(LIMIT + 1),
    ],
    ids=["empty", "version", "kind", "over", "announce", "oversized"],
)
def test_a_frame_that_is_none_costs_its_sender_only(
    bad: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows 1, 2, 6, 7, 22, 48; the log says who, where, and why."""
    world = World(limits=Limits(frame=LIMIT))
    evil = world.client("evil", silent=True)
    world.client("a")
    opened = world.open(toy(2))
    evil.say(bad)
    assert levels(world.result(opened)) == total(["a"])
    assert world.end(opened).report.faults == {0: Fault.LOST}
    assert world.let_go == [evil.peer]
    (said,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert f"party 0 of round {opened.hex()[:8]} in upload" in said
    world.server.received(evil.peer, bad, world.now)  # still talking, and not heard
    assert world.server.ready(world.clients["a"].peer) and not world.server.ready(evil.peer)


@pytest.mark.parametrize("more", [0, 1])
def test_a_frame_above_the_limit_costs_its_sender_only(more: int) -> None:
    """Also one that is well formed otherwise, and of no round that anybody is in."""
    world = World(limits=Limits(frame=LIMIT))
    peer = world.client("a", silent=True)
    peer.say(Message(nonce(99), bytes(LIMIT + more - HEAD_SIZE)).encode())
    assert peer.here == (not more) and world.let_go == [peer.peer] * more


def test_frames_of_other_rounds_and_of_those_who_are_in_none() -> None:
    world = World()
    world.client("a", silent=True)
    outside = world.client("outside", silent=True)
    opened = world.open(toy(1, 0))
    outside.say(Message(opened, b"garbage").encode())
    world.clients["a"].say(Message(nonce(77), b"strange").encode())
    (offer,) = world.clients["a"].rounds.owed()
    world.clients["a"].rounds.contribute(offer, plainly("a", offer), world.now)
    world.settle()
    assert levels(world.result(opened)) == total(["a"])
    assert world.let_go == []


def test_what_is_due_from_a_client_is_what_its_plan_has_next() -> None:
    """Row 79: who is in no round has nothing large to say, and who is in one nothing that would be
    due later; what was due may still be under way when a round is over."""
    small = Limits(stranger=100)
    world, plan = World(limits=small), real(4, length=4096)
    keys, shares, masked, _ = (HEAD_SIZE + size for size in plan.cost.uploads)
    held, *others = (world.client(name, silent=name == "d") for name in "dabc")
    assert world.server.largest(held.peer) == 100
    opened = world.open(plan)
    assert world.server.largest(held.peer) == masked > shares > keys > 100
    world.server.cancel(opened, world.now)
    world.settle()
    assert world.server.largest(held.peer) == masked
    others[0].leave()
    second = world.open(plan)
    assert world.server.largest(held.peer) == masked
    world.server.cancel(second, world.now)
    world.clients["b"].leave()
    world.open(toy(2, length=8))
    assert world.server.largest(held.peer) == 100 < masked
    assert world.server.largest(others[0].peer) == 100, "it has gone"


@pytest.mark.parametrize("phase", [0, 1])
def test_what_is_due_grows_with_the_phases(phase: int) -> None:
    """A client that has not come further has not more to say."""
    world, plan = World(limits=Limits(stranger=10)), real(4, length=4096)
    for name in "abc":
        world.client(name)
    silent = Peer("d", None)
    world.server.joined(silent, world.now)
    world.open(plan)  # everybody waits for its keys
    assert world.server.largest(silent) == HEAD_SIZE + plan.cost.uploads[0]
    if phase:
        world.wait(SOON)
        assert world.server.largest(world.clients["a"].peer) > HEAD_SIZE + plan.cost.uploads[0]


def test_a_flood_is_cut_off_at_its_last_frame() -> None:
    """Row 79: the quota is of one link, and anew with each announcement."""
    world = World(limits=Limits(frames=3))
    flooder = world.client("flooder", silent=True)
    for _ in range(3):
        flooder.say(Message(nonce(9), b"").encode())
    world.open(toy(1, 0))
    for _ in range(3):
        flooder.say(Message(nonce(9), b"").encode())
    assert world.let_go == []
    flooder.say(Message(nonce(9), b"").encode())
    assert world.let_go == [flooder.peer]


def test_a_late_reader_is_let_go_and_holds_nobody() -> None:
    """Row 68: frames wait for it up to the limit, and past that it is gone."""
    world = World(limits=Limits(outbox=3))
    slow = world.client("slow", silent=True)
    world.client("a")
    slow.reads = False
    world.open(toy(2))  # one announcement waits
    world.wait(SOON)  # and the end of that round
    second = world.open(toy(2))  # and another announcement
    assert world.let_go == []
    world.wait(SOON)
    assert world.let_go == [slow.peer]
    assert world.end(second).report.faults == {0: Fault.LATE}


def test_a_late_reader_in_the_middle_of_a_round_is_lost_to_it() -> None:
    """Out of the machine's own call, so not during it."""
    world = World(limits=Limits(outbox=1))
    slow = world.client("slow")
    for name in NAMES[:3]:
        world.client(name)
    slow.reads = False
    opened = world.open(real(4))
    world.wait(SOON)
    assert slow.peer in world.let_go or world.end(opened).report.faults == {0: Fault.LATE}
    assert levels(world.result(opened)) == total(NAMES[:3])


def test_links_in_all_and_of_one_identity(caplog: pytest.LogCaptureFixture) -> None:
    """Row 69: the last link is kept, the next turned away, for nobody is a stranger; a newer one of
    an identity wins."""
    world = World(limits=Limits(links=2))
    world.client("a", identity=b"A")
    world.client("b", identity=b"B")
    turned = world.client("c")
    assert world.let_go == [turned.peer] and len(world.server.here) == 2
    assert "2 links are open" in caplog.text
    again = Peer("b again", b"B")
    world.server.joined(again, world.now)
    assert [one.peer.name for one in world.server.here] == ["a", "b again"]
    world = World(limits=Limits(links_each=2))
    for name in ("x", "y", "z"):
        world.client(name, identity=b"X")
    assert [one.peer.name for one in world.server.here] == ["y", "z"]


def test_a_plan_whose_frames_are_above_the_limit_is_not_announced() -> None:
    """With both numbers; the last that fits does."""
    plan = toy(2)
    needed = HEAD_SIZE + plan.cost.largest_message
    world = World(limits=Limits(frame=needed - 1))
    world.client("a")
    with pytest.raises(ParameterError, match=f"{needed} bytes.*{needed - 1}"):
        world.open(plan)
    assert not world.posted and world.server.running == frozenset()
    world = World(limits=Limits(frame=needed))
    world.client("a", limits=Limits())
    assert levels(world.result(world.open(plan))) == total(["a"])


def test_a_cancelled_round_is_over_for_everybody() -> None:
    world = World()
    world.client("a", silent=True)
    opened = world.open(toy(2))
    world.server.cancel(opened, world.now)
    world.settle()
    assert frames(world, "a")[-1] == Over(opened, AbortReason.CANCELLED, 0, 0)
    with pytest.raises(Aborted, match="cancelled"):
        world.result(opened)
    world.server.cancel(opened, world.now)
    assert len(world.ends) == 1 and world.server.ends() == []


def test_a_held_round_is_told_when_the_application_says_so() -> None:
    """Results are stored before clients hear of them."""
    world = World()
    world.client("a")
    opened = world.open(toy(1, 0), hold=True)
    assert levels(world.result(opened)) == total(["a"])
    assert world.clients["a"].told == [] and world.server.running == {opened}
    world.tick()
    assert len(world.ends) == 1
    world.server.tell(opened, world.now)
    world.settle()
    assert world.clients["a"].told[0].included


def test_nobody_is_told_of_a_round_that_runs() -> None:
    opening = Opening(nonce(1), Task(toy(1, 0)), b"", {"upload": 1.0})
    running = Round(opening, machine_of(opening, Seating({}, ()), None), [], Outbox(), 0.0)
    with pytest.raises(LocalProtocolError, match="still running"):
        running.tell(lambda seat, over: None)


@pytest.mark.parametrize("inline", [True, False])
def test_a_round_is_of_a_task_and_about_its_payload(inline: bool) -> None:
    """And nobody hears of one that is not."""
    world = World()
    heard = world.client("a")
    more: dict[str, Any] = {"deadlines": SOON, "now": world.now, "inline": inline}
    task = Task(toy(1, 0), payload_digest=payload_digest(b"task"))
    with pytest.raises(ParameterError, match=f"{payload_digest(b'').hex()}, and the task is about"):
        world.server.open(task, **more)
    with pytest.raises(ParameterError, match="3 servers has batches and no rounds"):
        world.server.open(SEVERAL, **more)
    with pytest.raises(ParameterError, match="task must be a Task, not a Plan"):
        world.server.open(toy(1, 0), **more)
    world.settle()
    assert not world.server.running and not heard.told
    world.server.open(task, b"task", **more)
    assert len(world.server.running) == 1


def test_a_task_fetched_elsewhere() -> None:
    world = World()
    fetching = lambda offer: Contribution(plainly("a", offer).fields, payload=b"task")  # noqa: E731
    client = world.client("a", fetching)
    opened = world.open(toy(1, 0), b"task", inline=False)
    announced = frames(world, "a")[0]
    assert isinstance(announced, Announce)
    assert announced.payload_digest == payload_digest(b"task")
    assert levels(world.result(opened)) == total(["a"]) and client.errors == []


def test_an_observer_hears_every_event() -> None:
    world, heard = World(), list[Event]()
    world.client("a")
    world.open(toy(1, 0), observer=heard.append)
    assert heard[-1] == Finished()


def test_disputes_are_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    from secagg.sansio import Disputed

    world = World()
    world.client("a")
    events = party.Server.events

    def disputing(self: party.Server) -> list[Event]:
        return [*events(self), Disputed(PartyId(0), PartyId(1))]

    monkeypatch.setattr(party.Server, "events", disputing)
    opened = world.open(toy(1, 0))
    assert world.end(opened).report.disputed == {(0, 1)}


def test_a_sum_that_the_count_lane_disagrees_with_is_withheld(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from secagg.errors import IntegrityError

    def broken(self: party.Server) -> party.Aggregate:
        raise IntegrityError("a mask is missing")

    monkeypatch.setattr(party.Server, "aggregate", broken)
    world = World()
    world.client("a")
    opened = world.open(toy(1, 0))
    assert frames(world, "a")[-1] == Over(opened, AbortReason.INTEGRITY, 0, 0)
    with pytest.raises(IntegrityError):
        world.result(opened)


class Working(party.Server):
    """A server that has work for an executor before it is done."""

    left: Sequence[Callable[[], Any]] = ()
    got: list[object] = []

    def jobs(self) -> Any:
        jobs, self.left = self.left, ()
        return jobs

    def finish(self, job: Any, value: Any, /) -> None:
        self.got.append(value)


def working(monkeypatch: pytest.MonkeyPatch, world: World) -> tuple[bytes, list[Work]]:
    monkeypatch.setattr(party, "Server", Working)
    monkeypatch.setattr(Working, "left", (lambda: 1, lambda: 2))
    monkeypatch.setattr(Working, "got", [])
    world.client("a")
    opened = world.server.open(Task(toy(1, 0)), deadlines=SOON, now=world.now)
    effects = world.server.take()
    assert effects.due == math.inf, "work has no deadline"
    return opened, list(effects.work)


def test_work_goes_out_once_and_its_deadline_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    opened, works = working(monkeypatch, world)
    world.now += 2 * SOON
    world.server.tick(world.now)
    for work in works:
        assert world.server.running == {opened}
        world.server.finished(work, work.job(), world.now)
    assert Working.got == [1, 2]
    world.server.finished(works[0], 1, world.now)  # a second time, and it is not known any more
    assert Working.got == [1, 2]
    assert world.server.take().due <= world.now, "the phase goes on, and its time is over"
    world.tick()
    assert isinstance(world.end(opened).error, BelowThreshold)
    for work in works:
        world.server.finished(work, 1, world.now)
        world.server.failed(work, ZeroDivisionError(), world.now)


def test_work_that_fails_fails_its_round(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    opened, works = working(monkeypatch, world)
    lost = Aborted(AbortReason.LOST, "the executor has lost its workers")
    world.server.failed(works[0], lost, world.now)
    world.server.finished(works[1], 2, world.now)
    world.settle()
    assert world.end(opened).error is lost and Working.got == []
    with pytest.raises(LocalProtocolError, match="not handed out here"):
        world.server.finished(Work(lambda: 1, 7), 1, world.now)


def test_a_bug_ends_its_round_and_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 103: nothing that a broken machine holds is used."""

    def broken(self: party.Server, sender: PartyId, message: bytes) -> None:
        raise ZeroDivisionError("a bug in receive")

    world = World()
    client = world.client("a", silent=True)
    opened = world.open(toy(2))
    monkeypatch.setattr(party.Server, "receive", broken)
    with pytest.raises(ZeroDivisionError):
        client.say(Message(opened, b"anything").encode())
    world.settle()
    assert isinstance(world.end(opened).error, ZeroDivisionError)
    assert frames(world, "a")[-1] == Over(opened, AbortReason.CANCELLED, 0, 0)
    client.say(Message(opened, b"late").encode())


def test_a_server_makes_no_claims() -> None:
    world = World()
    world.server.refused(Claim(bytes(32), bytes(32)), world.now)
    assert world.server.take().claims == ()


def test_a_round_that_is_over_hears_nothing_more() -> None:
    world = World()
    client = world.client("a", silent=True)
    held = world.open(toy(2), hold=True)
    world.wait(SOON)
    assert isinstance(world.end(held).error, BelowThreshold)
    client.say(Message(held, b"late").encode())
    client.leave()
    world.server.tell(held, world.now)
    assert world.server.running == frozenset()


# Whose place it is


def at(world: World, name: str, address: str, identity: bytes | None = None) -> Peer:
    """A link from there, over which nothing is said."""
    peer = Peer(name, identity, address=address)
    world.server.joined(peer, world.now)
    world.settle()
    return peer


def here(world: World) -> list[str]:
    return [str(one.peer.name) for one in world.server.here]


def test_when_all_places_are_taken_a_stranger_makes_room(caplog: pytest.LogCaptureFixture) -> None:
    """Row 69: the oldest of the address that holds most of them, whoever comes; and a line says
    who went, from where and why."""
    world = World(limits=Limits(links=4))
    at(world, "alone", "there")
    for name in ("one", "two", "three"):
        at(world, name, "flood")
    at(world, "new", "elsewhere")
    assert here(world) == ["alone", "two", "three", "new"]
    at(world, "known", "flood", b"K")
    assert here(world) == ["alone", "three", "new", "known"]
    assert [str(peer.name) for peer in world.let_go] == ["one", "two"]
    assert "a client at flood was dropped (in no round): a newer link has its place" in caplog.text


def test_who_has_been_in_a_sum_or_is_asked_now_is_no_stranger() -> None:
    """Whoever was silent when it was asked is one again."""
    world = World(limits=Limits(links=2))
    world.client("a")
    quiet = world.client("quiet", silent=True)
    opened = world.open(toy(2))
    at(world, "x", "there")
    assert here(world) == ["a", "quiet"], "both are asked"
    world.wait(SOON)
    assert levels(world.result(opened)) == total(["a"])
    at(world, "y", "there")
    assert here(world) == ["a", "y"] and world.let_go[-1] == quiet.peer


def test_who_was_silent_once_and_is_asked_again_is_no_stranger() -> None:
    world = World(limits=Limits(links=2))
    world.client("a")
    quiet = world.client("quiet", silent=True)
    world.open(toy(2))
    world.wait(SOON)
    world.open(toy(2))
    at(world, "x", "there")
    assert quiet.peer not in world.let_go


def test_links_of_one_address() -> None:
    """Not counted where nothing is known of it, and only where it has a limit of its own."""
    world = World(limits=Limits(links_address=2))
    for name in "abc":
        at(world, name, "here")
    at(world, "d", "there")
    for name in ("e", "f", "g"):
        world.client(name)
    assert here(world) == ["a", "b", "d", "e", "f", "g"]
    assert [str(peer.name) for peer in world.let_go] == ["c"]


def test_who_was_dropped_from_a_round_why_and_from_where(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world = World()
    peers = [at(world, name, f"192.0.2.{i}") for i, name in enumerate("abc")]
    world.client("waiting for the next")
    opened = world.open(toy(3))
    world.server.received(peers[1], b"nonsense", world.now)
    world.server.left(peers[2], world.now)
    world.wait(SOON)
    seat = f"of round {opened.hex()[:8]} in upload"
    assert f"a client at 192.0.2.1 was dropped (party 1 {seat}): " in caplog.text
    assert f"a client at 192.0.2.2 has left (party 2 {seat})" in caplog.text
    late = f"party 0 at 192.0.2.0 was dropped from round {opened.hex()[:8]} in upload: late"
    assert late in caplog.text


def test_who_is_late_is_so_in_the_phase_that_has_closed(caplog: pytest.LogCaptureFixture) -> None:
    """Not in the one that begins with it, and not in "aborted" where that was the round's end."""
    caplog.set_level("INFO")
    world = World()
    for name in NAMES:
        world.client(name)
    peers = [client.peer for client in world.clients.values()]
    world.server.open(Task(real(4)), deadlines=SOON, now=world.now)
    world.server.tick(world.now + SOON)
    assert len(peers) == sum("in advertise-keys: late" in line for line in caplog.messages)
    caplog.clear()
    world.clients["a"].reads = False
    world.open(real(4))
    world.wait(SOON)
    (line,) = (line for line in caplog.messages if "was dropped" in line)
    assert line.endswith("in advertise-keys: late")


def test_a_report_names_who_sat_where_also_without_a_result() -> None:
    """For whoever wants nothing more to do with one: by identity, or by the peer of its link."""
    world = World()
    for name in "abcde":
        world.client(name, identity=name.encode() * 32 if name < "d" else None)
    opened = world.open(real(5))
    world.server.cancel(opened, world.now)
    world.settle()
    report = world.end(opened).report
    assert report.members == {i: name.encode() * 32 for i, name in enumerate("abc")}
    assert [report.peers[PartyId(i)].name for i in range(5)] == list("abcde")


def test_a_flood_of_clients_is_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    world = World(limits=Limits(links=1))
    for number in range(500):
        at(world, f"{number}", "here")
    assert len(caplog.records) < 20
    world.server.close()
    assert "more lines like this were left out: client-" in caplog.text


def test_a_result_that_was_not_kept_is_none_for_anybody() -> None:
    """Not even for those who hear of it later, from the next process."""
    world = World(durable=True)
    client = world.client("a", identity=b"A")
    opened = world.open(toy(1, 0), hold=True)
    assert levels(world.result(opened)) == total(["a"])
    world.server.tell(opened, world.now, kept=False)
    world.settle()
    assert client.told[0].reason is AbortReason.CANCELLED
    world.restart()
    world.server.joined(client.peer, world.now)
    posted = [
        decode_frame(post.frame.encode(), limit=1 << 20) for post in world.server.take().posts
    ]
    assert [one.reason for one in posted if isinstance(one, Over)] == [AbortReason.CANCELLED]


def test_a_round_without_a_result_is_told_as_it_ended_kept_or_not() -> None:
    world = World()
    client = world.client("a", silent=True)
    opened = world.open(toy(2), hold=True)
    world.wait(SOON)
    world.server.tell(opened, world.now, kept=False)
    world.settle()
    assert client.told[0].reason is AbortReason.BELOW_THRESHOLD


@pytest.mark.parametrize("length", [4, 20_000])
def test_as_many_rounds_at_once_as_a_client_may_be_in(length: int) -> None:
    """Each brings its own allowance of frames and bytes, and one more round is refused before it
    is announced: clients would leave all."""
    plan = toy(2, 0, length)
    world = World(limits=Limits(frame=HEAD_SIZE + plan.cost.largest_message, rounds=20))
    for name in NAMES[:2]:
        world.client(name, lambda offer: Contribution({"update": np.ones(length, np.int64)}))
    task, more = Task(plan), {"deadlines": SOON, "now": world.now}
    opened = [world.server.open(task, **more) for _ in range(20)]
    with pytest.raises(ParameterError, match="in 20 rounds, the most at once: wait until one has"):
        world.server.open(task, **more)
    world.settle()
    for one in opened:
        assert world.result(one).count == 2
    assert not world.let_go
    world.open(plan)


@pytest.mark.parametrize("rounds", [3, 8])
def test_who_comes_back_to_many_rounds_is_not_slow(rounds: int) -> None:
    """An announcement of each and what was said last wait for it at once, before it can read any;
    so do last words and the next announcements, and announcements that are long."""
    world = World(durable=True, limits=Limits(outbox=3, backlog=2000))
    for name in NAMES:
        world.client(name, silent=True, identity=name.encode(), durable=True)
    opened = [world.server.open(Task(real(4)), deadlines=SOON, now=0.0) for _ in range(rounds)]
    world.settle()
    late = world.clients["d"]
    late.leave()
    late.join()
    assert late.here and not world.let_go
    for one in opened:
        world.server.cancel(one, world.now)
    long, digest = bytes(1000), payload_digest(bytes(1000))
    task = Task(real(4), payload_digest=digest)
    for _ in range(rounds):
        world.server.open(task, long, deadlines=SOON, now=world.now)
    world.settle()
    assert not world.let_go


@pytest.mark.parametrize("rounds", [1, 2])
def test_who_comes_back_is_not_slow_for_a_task_above_what_may_wait(rounds: int) -> None:
    """The end of the round before waits beside it, and so do the tasks of others."""
    world = World(limits=Limits(backlog=2000))
    for name in NAMES:
        world.client(name, silent=name == "d", identity=name.encode())
    late = world.clients["d"]
    world.open(toy(4))
    late.leave()
    world.wait(SOON)
    late.join()
    long = bytes(3000)
    for _ in range(rounds):
        task = Task(toy(4), payload_digest=payload_digest(long))
        world.server.open(task, long, deadlines=SOON, now=world.now)
    world.settle()
    assert late.here and not world.let_go
    late.leave()
    late.join()
    assert late.here and not world.let_go


def test_who_is_let_go_while_it_comes_back_ends_no_service() -> None:
    """One frame too many for the first of its rounds: it is gone before the second is said."""
    world = World(limits=Limits(outbox=1))
    for name in NAMES:
        world.client(name, silent=True, identity=name.encode())
    late = world.clients["d"]
    world.open(toy(4))
    late.leave()
    world.wait(SOON)
    late.join()
    for _ in range(2):
        world.open(toy(4))
    assert late.here
    late.leave()
    late.join()
    assert world.let_go == [late.peer] and here(world) == NAMES[:3]


def test_who_is_lost_to_one_round_is_not_there_when_another_ends() -> None:
    """Its loss ends the first; that end lets go of somebody who reads nothing, and that loss ends
    the second, in which it still has its seat."""
    world = World(limits=Limits(outbox=2))

    def but(number: int, name: str) -> None:
        client = world.client(name, lambda offer: plainly(name, offer))
        given = client.answer
        client.answer = lambda offer: None if offer.round == number else given(offer)  # type: ignore[method-assign]

    but(1, "a")
    but(2, "b")
    world.client("c")
    opened = [world.open(toy(3)) for _ in range(2)]
    world.clients["b"].reads = False
    for _ in range(4):  # it was in two rounds, and two frames may wait for each
        world.server._count(world.clients["b"].peer, Over(nonce(99), None, 0, 0))
    world.clients["a"].leave()
    assert sorted(world.result(opened[0]).contributors) == [1, 2]
    assert sorted(world.result(opened[1]).contributors) == [0, 2]
    assert here(world) == ["c"]


def test_a_round_without_a_sum_says_nothing_of_whom_it_did_not_fail_for() -> None:
    """Neither is a stranger proven by one that was cancelled, nor is its silence forgotten."""
    world = World(limits=Limits(silence=2, links=2))
    for name in "xy":
        world.client(name, silent=True)
    world.open(toy(2))
    world.wait(SOON)  # both are late
    world.server.cancel(world.open(toy(2)), world.now)
    world.settle()
    assert [(one.missed, one.fault) for one in world.server.here] == [(1, Fault.LATE)] * 2
    assert world.client("new", silent=True).here and world.let_go == [world.clients["x"].peer]
    world.server.cancel(world.open(toy(2)), world.now)
    world.settle()
    assert world.client("newer", silent=True).here
    world.open(toy(2))
    world.wait(SOON)
    assert here(world) == ["new", "newer"]


def test_of_rounds_side_by_side_one_silence_counts() -> None:
    """Whoever sleeps for one deadline has slept once, however many rounds that ended."""
    world = World(limits=Limits(silence=2))
    silent = world.client("silent", silent=True)
    world.client("a")
    for _ in range(3):
        world.server.open(Task(toy(2)), deadlines=SOON, now=world.now)
    world.settle()
    world.wait(SOON)
    assert len(world.ends) == 3
    assert silent.here and not world.let_go
    world.open(toy(2))
    world.wait(SOON)
    assert world.let_go == [silent.peer]
