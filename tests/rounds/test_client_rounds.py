"""A client's rounds on a clock that is a number (secagg/rounds/client.py, part.py)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from secagg import registry
from secagg.effects import Claim, Peer, Work
from secagg.errors import (
    InputError,
    LocalProtocolError,
    PolicyRefused,
    RangeError,
    RemoteProtocolError,
    WireError,
)
from secagg.plans.plan import Plan
from secagg.protocol import Phase
from secagg.rounds.client import PATIENCE, ClientRounds
from secagg.rounds.offer import Consent, Contribution, Outcome
from secagg.rounds.quota import Limits
from secagg.types import AbortReason, Fault, PartyId
from secagg.wire.frame import HEAD_SIZE, Announce, Message, Over
from tests.rounds.world import (
    LENGTH,
    SERVER,
    SOON,
    World,
    levels,
    nonce,
    plainly,
    real,
    total,
    toy,
    vector,
)

NAMES = ["a", "b", "c"]


class Evil:
    """A server played by hand, and the rounds of its one client."""

    def __init__(self, plan: Plan, **more: Any) -> None:
        self.plan, self.now = plan, 0.0
        consent = more.pop("consent", Consent(plan))
        self.rounds = ClientRounds(consent, **more)
        self.rounds.joined(SERVER, self.now)

    def announce(self, number: int, who: int = 0, payload: bytes = b"") -> None:
        deadlines = (1000,) * len(self.plan.phase_names)
        frame = Announce(nonce(number), PartyId(who), deadlines, self.plan.encode(), payload)
        self.hear(frame)

    def hear(self, frame: Announce | Message | Over | bytes) -> None:
        raw = frame if isinstance(frame, bytes) else frame.encode()
        self.rounds.received(SERVER, raw, self.now)

    def give(self, number: int = 1, **more: Any) -> None:
        (offer,) = (o for o in self.rounds.owed() if o.nonce == nonce(number))
        given = Contribution({"update": np.array(vector("me"))}, **more)
        self.rounds.contribute(offer, given, self.now)

    def decline(self, number: int = 1) -> None:
        (offer,) = (o for o in self.rounds.owed() if o.nonce == nonce(number))
        self.rounds.decline(offer, self.now)

    def over(self, number: int, reason: AbortReason | None = None, **more: Any) -> Outcome:
        self.hear(Over(nonce(number), reason, 2, 1, **more))
        (outcome,) = self.rounds.outcomes()
        return outcome


def test_an_offer_is_asked_once_and_owed_until_it_is_answered() -> None:
    evil = Evil(real(4))
    evil.announce(1, 2, b"task")
    (offer,) = evil.rounds.asked()
    assert (offer.round, offer.party, offer.payload) == (1, 2, b"task")
    assert evil.rounds.asked() == [] and evil.rounds.owed() == [offer]
    assert evil.rounds.running == {nonce(1)}
    evil.give()
    assert evil.rounds.owed() == [] and evil.rounds.clipped(offer) == {}
    evil.announce(2)
    (other,) = evil.rounds.asked()
    assert (other.round, evil.rounds.owed()) == (2, [other])
    evil.rounds.decline(other, evil.now)
    assert evil.rounds.owed() == []
    outcome = evil.over(1)
    assert outcome.included and evil.rounds.running == {nonce(2)}
    assert evil.rounds.clipped(offer) == {}
    evil.rounds.contribute(offer, plainly("late", offer), evil.now)
    evil.rounds.decline(offer, evil.now)


def test_a_client_speaks_until_its_last_word_and_runs_until_the_servers() -> None:
    """Whatever that is: the only answer there is, or that it takes no part."""
    for plan, end in ((toy(2), Evil.give), (real(4), Evil.decline)):
        evil = Evil(plan)
        evil.announce(1)
        assert evil.rounds.speaking == evil.rounds.running == {nonce(1)}
        end(evil)
        assert evil.rounds.speaking == frozenset() and evil.rounds.running == {nonce(1)}
        evil.over(1)
        assert evil.rounds.running == frozenset()


def test_the_deadlines_of_an_announcement_bind_the_server_too() -> None:
    """Whoever waits for ever cannot be told from one that is lost."""
    evil = Evil(real(4), patience=7.0)
    evil.announce(1)
    due = 4 * 1.0 + 7.0
    assert evil.rounds.take().due == due
    evil.rounds.tick(due - 0.001)
    assert evil.rounds.outcomes() == []
    evil.rounds.tick(due)
    (outcome,) = evil.rounds.outcomes()
    assert (outcome.reason, outcome.included) == (AbortReason.LOST, False)
    assert "7 seconds after the last of its own deadlines" in outcome.detail
    effects = evil.rounds.take()
    assert effects.let_go == (SERVER,) and effects.due == math.inf
    assert ClientRounds(Consent()).take().due == math.inf and PATIENCE == 300.0


def test_a_server_that_is_gone_needs_no_letting_go() -> None:
    evil = Evil(real(4), durable=True)
    evil.announce(1)
    evil.rounds.left(SERVER, evil.now)
    evil.rounds.tick(10**6)
    assert evil.rounds.take().let_go == ()
    assert evil.rounds.outcomes()[0].reason is AbortReason.LOST


def test_a_client_has_one_link_to_its_server() -> None:
    evil = Evil(toy(2))
    with pytest.raises(LocalProtocolError, match="one link"):
        evil.rounds.joined(Peer("other"), 0.0)
    assert evil.rounds.ready(SERVER)


def test_a_lost_link_ends_its_rounds_and_what_has_left_may_be_in_a_sum() -> None:
    evil = Evil(toy(2))
    evil.announce(1)
    evil.announce(2)
    evil.give(1)
    evil.rounds.left(SERVER, evil.now)
    first, second = evil.rounds.outcomes()
    assert (first.round, first.included, first.spent) == (1, None, True)
    assert (second.round, second.included, second.spent) == (2, False, False)
    for outcome in (first, second):
        assert (outcome.reason, outcome.why) == (AbortReason.LOST, "lost")
        assert outcome.detail == "the link is gone"


def test_a_servers_fault_ends_that_round_only() -> None:
    """Row 49."""
    evil = Evil(toy(2))
    evil.announce(1)
    evil.announce(2)
    evil.hear(Message(nonce(1), b"garbage"))
    (outcome,) = evil.rounds.outcomes()
    assert (outcome.reason, outcome.contributors) == (AbortReason.PEER_FAULT, 0)
    assert outcome.detail and evil.rounds.running == {nonce(2)}
    posts = [post.frame for post in evil.rounds.take().posts]
    assert len(posts) == 1 and isinstance(posts[0], Message)  # its abort, and nothing else
    evil.hear(Over(nonce(1), None, 2, 0))
    evil.hear(Message(nonce(9), b"of no round"))
    assert evil.rounds.outcomes() == []


def test_a_nonce_is_not_announced_twice() -> None:
    """Row 44, and 01-wire.md §6."""
    evil = Evil(toy(2))
    evil.announce(1)
    with pytest.raises(RemoteProtocolError, match="twice"):
        evil.announce(1)
    evil.over(1, AbortReason.CANCELLED)
    with pytest.raises(RemoteProtocolError, match="twice"):
        evil.announce(1)


def test_a_client_keeps_so_many_nonces_and_then_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 44: none may come twice, and their number is the server's to choose."""
    monkeypatch.setattr("secagg.rounds.client.MOST_ROUNDS", 3)
    evil = Evil(toy(2))
    for number in (1, 2, 3):
        evil.announce(number)
        evil.over(number, AbortReason.CANCELLED)
    with pytest.raises(RemoteProtocolError, match="has announced 3 rounds"):
        evil.announce(4)
    with pytest.raises(RemoteProtocolError, match="twice"):
        evil.announce(1)


def test_after_a_new_link_the_same_announcement_is_heard_once_more() -> None:
    evil = Evil(real(4), durable=True)
    evil.announce(1)
    evil.rounds.left(SERVER, evil.now)
    evil.rounds.joined(SERVER, evil.now)
    evil.announce(1)
    assert evil.rounds.running == {nonce(1)} and evil.rounds.outcomes() == []
    with pytest.raises(RemoteProtocolError, match="twice"):
        evil.announce(1, who=1)


def test_rounds_at_once_are_limited_at_the_last() -> None:
    evil = Evil(toy(2), limits=Limits(rounds=2))
    evil.announce(1)
    evil.announce(2)
    with pytest.raises(RemoteProtocolError, match="more than 2 rounds at once"):
        evil.announce(3)
    evil.over(1)
    evil.announce(4)


def test_what_the_application_must_hear() -> None:
    evil = Evil(toy(2), limits=Limits(frame=200))
    with pytest.raises(WireError):
        evil.hear(b"\x07garbage")
    with pytest.raises(WireError, match="limit is 200"):
        evil.announce(1, payload=bytes(200))
    other = Evil(toy(2), consent=Consent(toy(3)))
    with pytest.raises(PolicyRefused, match="pinned"):
        other.announce(1)


def test_an_input_that_does_not_fit_costs_its_round() -> None:
    """Case 07: the caller hears of it, and the server that it was the input."""
    world = World()
    bad = world.client(
        "bad",
        lambda offer: Contribution({"update": np.full(LENGTH, 1001 if offer.round == 1 else 5)}),
    )
    for name in NAMES:
        world.client(name)
    opened = world.open(real(4))
    assert levels(world.result(opened)) == total(NAMES)
    assert world.end(opened).report.faults == {0: Fault.BAD_INPUT}
    (error,) = bad.errors
    assert isinstance(error, RangeError)
    (outcome,) = bad.told
    assert (outcome.reason, outcome.included, outcome.why) == (None, False, "bad-input")
    assert outcome.detail == str(error) and not outcome.spent
    assert world.result(world.open(real(4))).count == 4


def test_another_payload_than_the_announced_one() -> None:
    """Row 36, C2."""
    world = World()
    wrong = world.client("w", lambda offer: Contribution(plainly("w", offer).fields, payload=b"x"))
    none = world.client("n", lambda offer: plainly("n", offer))
    opened = world.open(toy(3), b"task", inline=False)
    assert world.end(opened).report.faults == {0: Fault.QUIT, 1: Fault.BAD_INPUT, 2: Fault.LOST}
    for client in (wrong, none):
        assert isinstance(client.errors[0], InputError)


def test_leaving_before_the_link_is_closed() -> None:
    world = World()
    leaving = world.client("leaving", silent=True)
    for name in NAMES:
        world.client(name)
    opened = world.open(real(4))
    leaving.rounds.withdraw(world.now)
    world.settle()
    assert levels(world.result(opened)) == total(NAMES)
    assert leaving.told[0].why == "quit" and world.end(opened).report.faults == {0: Fault.QUIT}


def test_what_was_clipped_stays_on_this_side() -> None:
    from secagg.fields import FixedPoint
    from secagg.plans.choose import plan

    fields = {"u": FixedPoint(3, 1.0, 16)}
    agreed = plan(clients=1, fields=fields, corrupt=0, dropout=0, protocol="plainsum")
    evil = Evil(agreed)
    evil.announce(1)
    (offer,) = evil.rounds.owed()
    evil.rounds.contribute(offer, Contribution({"u": [9.0, 0.5, -9.0]}), evil.now)
    assert evil.rounds.clipped(offer) == {"u": 2}
    assert evil.over(1).clipped == {"u": 2}


def test_phases_and_bytes_are_in_the_outcome() -> None:
    evil = Evil(toy(2))
    evil.announce(1)
    evil.now = 3.0
    evil.give()
    outcome = evil.over(1)
    assert outcome.report.phases == {"upload": 3.0}
    assert (outcome.report.bytes_up, outcome.report.bytes_down) == (evil.plan.upload_bytes, 0)


def test_what_no_link_takes_is_not_sent() -> None:
    """Neither counted while nobody is there, nor forgotten: what is said again counts again."""
    evil = Evil(real(4), durable=True)
    evil.rounds.left(SERVER, evil.now)
    evil.announce(1)
    (offer,) = evil.rounds.owed()
    for _ in range(2):
        evil.rounds.joined(SERVER, evil.now)
        evil.rounds.left(SERVER, evil.now)
    evil.rounds.decline(offer, evil.now)
    said = [len(post.frame.encode()) - HEAD_SIZE for post in evil.rounds.take().posts]
    assert len(said) == 2 and len({*said}) == 1
    assert evil.over(1).report.bytes_up == sum(said)


# Claims


def claims_of(rounds: ClientRounds) -> tuple[Claim, ...]:
    effects = rounds.take()
    needed = {key for post in effects.posts for key in post.needs}
    assert needed == {claim.key for claim in effects.claims}, "no claim is made for nothing"
    return effects.claims


def test_what_carries_the_input_waits_for_its_claims() -> None:
    """One for the wording, and one for the name, the name first."""
    evil = Evil(toy(2))
    evil.announce(1)
    evil.give()
    assert len(claims_of(evil.rounds)) == 1
    evil.announce(2, payload=b"task")
    evil.give(2)
    name, wording = claims_of(evil.rounds)
    evil.announce(3)
    evil.give(3, name="visit 7")
    given, _ = claims_of(evil.rounds)
    assert len({name.key, wording.key, given.key}) == 3


@pytest.mark.parametrize(("carries", "claims"), [(True, 2), (False, 1)])
def test_the_phase_says_whether_a_message_carries_the_input(
    carries: bool, claims: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever phases and messages are called: a protocol has names that nobody here knows."""
    plan = toy(2)
    (upload,) = plan.phases
    phase = Phase("hand-in", upload.tag, takes_input=carries)
    info = replace(plan.info, phases=lambda params, suite: (phase,), messages={})
    monkeypatch.setattr(registry, "load", lambda name: info)
    evil = Evil(plan)
    evil.announce(1)
    evil.give(name="visit 7")
    assert len(claims_of(evil.rounds)) == claims


def test_an_input_is_summed_once_under_its_name() -> None:
    """protocol_spent: the difference of two sums is one client's input, so there is no second."""
    world = World()
    for name in NAMES:
        world.client(name, lambda offer, name=name: Contribution(plainly(name, offer).fields))
    everybody = world.open(toy(3), b"task")
    assert levels(world.result(everybody)) == total(NAMES)
    again = world.open(toy(3), b"task")
    with pytest.raises(Exception, match="3 quit"):
        world.result(again)
    for client in world.clients.values():
        outcome = client.told[1]
        assert (outcome.included, outcome.why, outcome.spent) == (False, "spent", True)
        assert "difference of two sums" in outcome.detail
    assert world.result(world.open(toy(3), b"another task")).count == 3


def test_an_input_without_a_name_is_not_compared() -> None:
    world = World()
    world.client("a")
    for _ in range(2):
        assert world.result(world.open(toy(1, 0))).count == 1


def test_a_named_input_may_be_tried_again_where_nothing_was_summed() -> None:
    """Its claim is another attempt's; the round before had too few clients."""
    world = World()
    a = world.client("a", lambda offer: Contribution({"update": vector("a")}, name="a's"))
    world.client("b")
    silent = world.client("silent", silent=True)
    failed = world.open(real(3, 0))
    world.wait(SOON)
    assert world.end(failed).error is not None
    assert (a.told[0].included, a.told[0].spent) == (False, False)
    silent.give = lambda offer: plainly("silent", offer)
    assert world.result(world.open(real(3, 0))).count == 3
    assert (a.told[1].included, a.told[1].spent) == (True, True)
    world.open(real(3, 0))
    assert (a.told[2].why, a.told[2].spent) == ("spent", True)


def test_one_who_has_answered_has_spent_it_whatever_the_server_says() -> None:
    """plainsum's upload is the answer itself."""
    evil = Evil(toy(2))
    evil.announce(1)
    evil.give(1, name="x")
    assert evil.over(1, AbortReason.BELOW_THRESHOLD).spent
    evil.announce(2)
    evil.give(2, name="x")
    assert evil.over(2, AbortReason.BELOW_THRESHOLD).why == "spent"


def test_a_name_is_in_one_round_at_a_time() -> None:
    evil = Evil(real(4))
    evil.announce(1)
    evil.announce(2)
    evil.give(1, name="x")
    evil.give(2, name="x")
    outcome = evil.over(2, standing=Fault.QUIT)
    assert (outcome.included, outcome.why, outcome.spent) == (False, "in-use", False)
    assert "another round" in outcome.detail


def test_a_claim_that_the_ledger_refuses_makes_a_dropout() -> None:
    """Its rows were put back, or it runs twice: nothing leaves a second time in other words."""
    world = World()
    twice = world.client("twice", lambda offer: Contribution({"update": vector("x")}, name="x"))
    for name in NAMES:
        world.client(name)
    assert world.result(world.open(real(4))).count == 4
    forgetful = ClientRounds(Consent())
    forgetful.joined(SERVER, world.now)
    twice.rounds = forgetful
    opened = world.open(real(4))
    assert levels(world.result(opened)) == total(NAMES, 2)
    outcome = twice.told[-1]
    assert (outcome.included, outcome.why, outcome.spent) == (False, "spent", True)
    assert "claimed already" in outcome.detail
    forgetful.refused(Claim(bytes(32), bytes(32)), world.now)  # of no round of its


def test_a_refused_claim_costs_its_own_round_only() -> None:
    evil = Evil(toy(2))
    for number in (1, 2):
        evil.announce(number)
        evil.give(number)
    first, second = evil.rounds.take().claims
    evil.rounds.refused(second, evil.now)
    refused, other = evil.over(2, standing=Fault.QUIT), evil.over(1)
    assert refused.why == "spent" and "claimed already" in refused.detail
    assert other.included and other.detail == ""
    assert first.key != second.key


def test_what_a_claim_holds_back_is_not_sent() -> None:
    """Refused once or for each of its two claims, the message is not counted; the last word is."""
    evil = Evil(toy(2))
    evil.announce(1)
    evil.give(name="visit 7")
    effects = evil.rounds.take()
    for claim in effects.claims:
        evil.rounds.refused(claim, evil.now)
    held = {claim.key for claim in effects.claims}
    posts = [*effects.posts, *evil.rounds.take().posts]
    left = [len(post.frame.encode()) - HEAD_SIZE for post in posts if not post.needs & held]
    assert len(held) == 2 and len(left) == len(posts) - 1
    assert evil.over(1).report.bytes_up == sum(left)


def test_a_client_hands_out_no_work() -> None:
    rounds = ClientRounds(Consent())
    work = Work(lambda: 1, 1)
    rounds.finished(work, 1, 0.0)
    rounds.failed(work, ZeroDivisionError(), 0.0)
    rounds.flushed(SERVER, 1, 0.0)
    assert rounds.take().posts == ()


@pytest.mark.parametrize("carried", [False, True])
def test_what_is_carried_with_its_rows_is_not_kept_to_be_said_again(carried: bool) -> None:
    """Of frames that leave together with the rows, no row has any: else it would be said again."""
    evil = Evil(real(4), durable=True, carried=carried)
    evil.announce(1)
    said = evil.rounds.take()
    (post,) = said.posts
    assert isinstance(post.frame, Message)
    kept = [write.value for write in said.writes if write.value is not None]
    assert any(post.frame.data in value for value in kept) == (not carried)

    again = ClientRounds(Consent(evil.plan), durable=True, carried=carried)
    again.restore([(write.key, value) for write, value in zip(said.writes, kept, strict=True)], 1.0)
    again.joined(SERVER, 1.0)
    assert again.take().posts == (() if carried else said.posts)


def test_what_no_link_has_carried_is_said_when_there_is_one() -> None:
    evil = Evil(real(4), durable=True, carried=True)
    evil.rounds.left(SERVER, evil.now)
    evil.announce(1)
    assert evil.rounds.take().posts == ()
    evil.rounds.joined(SERVER, evil.now)
    assert len(evil.rounds.take().posts) == 1
