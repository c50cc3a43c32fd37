"""A report to several servers is charged before it leaves, once, and for good (40 §9.9-§9.12)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secagg
from secagg.budget import Budget
from secagg.drive.outbound import charged, keep_safe
from secagg.drive.reporting import Reporter
from secagg.effects import Charge, Claim, Effects, Peer, Post, Step, Unpaid
from secagg.errors import BudgetSpent, LinkClosed, LinkTimeout, PolicyRefused
from secagg.plans.disclosure import Counting
from secagg.plans.task import Task
from secagg.rounds.base import Outbox
from secagg.rounds.greeting import callees
from secagg.rounds.paid import Paid
from secagg.rounds.report import ReportRounds
from secagg.store.memory import MemoryLedger
from secagg.transport.opening import Backoff
from secagg.types import PartyId, server_id
from secagg.wire.frame import HEAD_SIZE, Message
from tests.budget import budget_plans as plans
from tests.rounds.several import KEYS, TASK, Servers

PLAN = secagg.plan(
    clients=3,
    corrupt=0,
    dropout=0,
    servers=3,
    direct=True,
    fields={"update": secagg.Integer(4, 1000, 2000)},
    privacy=secagg.Privacy(2.0, plans.DELTA, 4),
)
NOISY = Task(PLAN, KEYS.committee)
PEERS = [peer for peer, _ in sorted(callees(NOISY).items(), key=lambda one: -one[1])]
INPUT = {"update": np.ones(4, int)}


@pytest.fixture
def budget(tmp_path: Path) -> Budget:
    return Budget(tmp_path / "spent.db", epsilon=2.0, delta=plans.DELTA)


def rounds() -> ReportRounds:
    made = ReportRounds(NOISY, INPUT, counting=Counting())
    made.attempt(60.0, 0.0)
    return made


def turn(of: ReportRounds, budget: Budget | None) -> list[Post]:
    """What a driver does: what then leaves."""
    effects = of.take()
    refused = charged(effects, budget)
    for refusal in refused.values():
        of.refused(refusal, 0.0)
    return [post for post in effects.posts if not post.needs & refused.keys()]


def test_a_report_is_charged_once_however_often_it_is_said(budget: Budget) -> None:
    one, servers, parties = rounds(), Servers(NOISY), callees(NOISY)
    assert one.take().charges == (), "nothing has left yet"
    for link in range(2):
        for peer in PEERS:
            one.joined(peer, float(link))
            posts = turn(one, budget)
            assert [post.peer for post in posts] == [peer]
            assert budget.spending().charged == 1
        for peer in PEERS if not link else ():
            one.left(peer, 0.0)
    one.attempt(60.0, 9.0)
    for post in posts:
        for said in servers.hear(parties[post.peer], PartyId(0), post.frame.encode()[HEAD_SIZE:]):
            one.received(post.peer, Message(NOISY.nonce(), said).encode(), 9.0)
    found = budget.spending()
    assert (found.charged, found.refunded, found.plans[0].settled) == (1, 0, 0)


def test_a_report_that_the_budget_has_no_room_for_does_not_leave(tmp_path: Path) -> None:
    """And may be tried again, where there is room by then."""
    one = rounds()
    with Budget(tmp_path / "small.db", epsilon=0.3, delta=plans.DELTA) as small:
        one.joined(PEERS[0], 0.0)
        assert turn(one, small) == []
        one.joined(PEERS[1], 0.0)
        assert one.over and turn(one, small) == []
        with pytest.raises(BudgetSpent, match=r"spent is an epsilon of 0 of 0\.3"):
            one.outcome()
    with Budget(tmp_path / "large.db", epsilon=2.0, delta=plans.DELTA) as large:
        one.attempt(60.0, 1.0)
        assert not one.over
        one.left(PEERS[0], 1.0)
        one.joined(PEERS[0], 1.0)
        assert len(turn(one, large)) == 1 and large.spending().charged == 1
    with pytest.raises(LinkTimeout):
        one.tick(99.0)
        one.outcome()


def test_another_report_of_the_same_task_is_refused(budget: Budget) -> None:
    """40 §9.9: both could be in one sum."""
    first, second = rounds(), rounds()
    first.joined(PEERS[0], 0.0)
    assert turn(first, budget)
    second.joined(PEERS[0], 0.0)
    assert turn(second, budget) == []
    with pytest.raises(BudgetSpent, match="in this round already, or may be"):
        second.outcome()
    assert budget.spending().charged == 1


def test_a_plan_without_noise_has_no_report_under_a_budget(budget: Budget) -> None:
    with pytest.raises(PolicyRefused, match="has no noise, and this client has a budget"):
        Reporter(TASK, {"update": np.zeros(4)}, budget=budget)


def test_a_reporter_raises_what_its_budget_says(tmp_path: Path) -> None:
    """With a link that takes everything and says nothing: nothing is sent."""
    sent: list[bytes] = []

    class Silent:
        identity = None

        async def send(self, raw: bytes) -> None:
            sent.append(raw)

        async def receive(self) -> bytes:
            await asyncio.sleep(60)
            raise LinkClosed("late")

        async def close(self) -> None: ...

    async def opener() -> Any:
        return Silent()

    with Budget(tmp_path / "small.db", epsilon=0.3, delta=plans.DELTA) as small:
        reporter = Reporter(NOISY, INPUT, budget=small)
        openers = {server_id(index): opener for index in range(3)}
        with pytest.raises(BudgetSpent):
            asyncio.run(reporter.deliver(openers, timeout=20.0))
        assert small.spending().rows == 1
    assert not [raw for raw in sent if len(raw) > 200], "hellos, and no report"


# What stands between rounds and a budget


def test_claims_of_what_does_not_leave_are_not_made(tmp_path: Path) -> None:
    """A named input would be spent for a round that it was never in."""
    peer, ledger, key = Peer("server"), MemoryLedger(), bytes([7]) * 32
    unpaid, other, paid = Claim(bytes([1]) * 32, key), Claim(bytes([2]) * 32, key), bytes([3]) * 32
    frame = Message(bytes(16), b"")
    disclosure = Counting().disclosure(plans.vector())
    effects = Effects(
        charges=(Charge(key, Step.CHARGE, disclosure), Charge(key, Step.LEAVE)),
        claims=(unpaid, other),
        posts=(
            Post(peer, frame, frozenset({key, unpaid.key})),
            Post(peer, frame, frozenset({other.key, paid})),
        ),
    )
    with Budget(tmp_path / "small.db", epsilon=0.01, delta=1e-9) as small:
        refused = asyncio.run(keep_safe(effects, None, ledger, small))
    assert [*refused] == [key] and isinstance(refused[key], Unpaid)
    assert ledger.claimed(unpaid.key) is None and ledger.claimed(other.key) == other.digest


def test_claims_behind_a_refused_one_are_not_made() -> None:
    """03 §3.3: what needs both does not leave, so it spends nothing."""
    ledger, digest = MemoryLedger(), bytes([9]) * 32
    first, second, free = (Claim(bytes([n]) * 32, digest) for n in (1, 2, 3))
    ledger.claim(first.key, bytes(32))
    frame = Message(bytes(16), b"")
    posts = tuple(
        Post(Peer("server"), frame, frozenset(needs))
        for needs in ({first.key}, {first.key, second.key}, {free.key})
    )
    effects = Effects(claims=(first, second, free), posts=posts)
    assert [*asyncio.run(keep_safe(effects, None, ledger, None))] == [first.key]
    assert ledger.claimed(second.key) is None and ledger.claimed(free.key) == digest


def test_links_that_come_while_the_budget_is_asked_bring_nothing_out(tmp_path: Path) -> None:
    """40 §9.9, with a real driver and budget: whatever opens and drops its links when it likes."""
    sent: list[bytes] = []
    opened: list[float] = []

    class Late:
        identity = None

        def __init__(self, life: float) -> None:
            self._life = life

        async def send(self, raw: bytes) -> None:
            sent.append(raw)

        async def receive(self) -> bytes:
            await asyncio.sleep(self._life)
            raise LinkClosed("late")

        async def close(self) -> None: ...

    def opener(delay: float, life: float) -> Callable[[], Any]:
        async def open_link() -> Any:
            await asyncio.sleep(delay)
            opened.append(delay)
            return Late(life)

        return open_link

    class Busy(Budget):
        """Another process is at its file."""

        def enter(self, charge: Charge) -> None:
            time.sleep(0.2)
            super().enter(charge)

    with Busy(tmp_path / "small.db", epsilon=0.3, delta=plans.DELTA) as small:
        reporter = Reporter(NOISY, INPUT, budget=small)
        delays = {server_id(0): (0.0, 0.02), server_id(1): (0.05, 9.0), server_id(2): (0.1, 9.0)}
        openers = {party: opener(*how) for party, how in delays.items()}
        backoff = Backoff(0.01, 0.02)
        with pytest.raises(BudgetSpent):
            asyncio.run(reporter.deliver(openers, timeout=20.0, backoff=backoff))
        assert small.spending().rows == 1
    assert len({*opened}) == 3 and len(opened) > 3
    assert not [raw for raw in sent if len(raw) > 200], "hellos, and no report"


Tell = Callable[[Paid], None]


@pytest.mark.parametrize(
    ("tell", "steps"),
    [
        (lambda paid: paid.settles(), []),
        (lambda paid: (paid.opens(14), paid.settles()), [(Step.SETTLE, 12)]),
        (lambda paid: (paid.opens(14), paid.settles(), paid.settles()), [(Step.SETTLE, 12)]),
        (lambda paid: (paid.opens(2), paid.settles()), []),
        (lambda paid: (paid.opens(14), paid.disowns(), paid.settles()), []),
        (lambda paid: (paid.ends(left=True), paid.ends(left=False)), [(Step.REFUND, 0)]),
        (lambda paid: paid.ends(left=True), []),
        (lambda paid: (paid.leaves(), paid.leaves()), [(Step.LEAVE, 0)]),
    ],
)
def test_what_a_budget_is_told(tell: Tell, steps: list[Any]) -> None:
    """40 §9.11: less the corrupt ones, once, and not for an answer that may not leave."""
    outbox = Outbox()
    paid = Paid(outbox, Counting().disclosure(plans.vector()), 2)
    paid.name(bytes(32), bytes(16), PartyId(0), bytes(16))
    tell(paid)
    assert outbox.take().charges == (), "nothing is told of what was never charged"
    paid.begin()
    tell(paid)
    first, *found = outbox.take().charges
    assert first.step is Step.CHARGE and first.disclosure is not None
    assert len(first.session) == 32 and first.session != first.key
    assert [(one.step, one.honest) for one in found] == steps


def test_each_life_has_a_charge_of_its_own() -> None:
    """40 §9.9: another session, party, offer or life is another key."""
    given = [bytes(32), bytes(16), PartyId(0), bytes(16)]
    others = [bytes([1]) * 32, bytes([1]) * 16, PartyId(1), bytes([1]) * 16]
    keys = set()
    for at in range(5):
        paid = Paid(Outbox(), Counting().disclosure(plans.vector()), 0)
        paid.name(*[other if at == i else one for i, (one, other) in enumerate(zip(given, others))])  # type: ignore[arg-type]  # noqa: B905
        paid.begin()
        keys.add(paid.needs[0].key)
    assert len(keys) == 5
