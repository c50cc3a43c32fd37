"""Rounds that charge a client's budget: before a key leaves, and never below the truth (40 §9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secagg
from secagg.budget import Budget, verify
from secagg.drive.service import Service
from secagg.effects import Charge, Claim, Effects, Step, Unpaid
from secagg.errors import (
    BelowThreshold,
    BudgetSpent,
    LocalProtocolError,
    ParameterError,
    PolicyRefused,
    StorageError,
)
from secagg.integrations.given import perform
from secagg.plans.plan import Plan
from secagg.rounds.base import Outbox
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent
from secagg.rounds.paid import Paid
from secagg.rounds.part import BUDGET
from secagg.store.memory import MemoryLedger, MemoryStore
from secagg.transport import memory
from secagg.types import AbortReason
from tests.budget import budget_plans as plans
from tests.rounds.kills import Scene, Town, deaths
from tests.rounds.world import SERVER, SOON, Client, World, plainly, real, toy

SHARE_KEYS, MASKED_INPUT, UNMASK_ANSWER = 3, 5, 7
Make = Callable[..., Budget]


@cache
def noisy(clients: int = 4, trust: Any = "distributed", **more: Any) -> Plan:
    """Four phases; of four, three survive, of whom one may be corrupt."""
    asked = secagg.Privacy(2.0, plans.DELTA, 4, trust=trust)
    fields = {"update": secagg.Integer(4, 1000, 2000)}
    kept = {"corrupt": 0.25, "dropout": 0.25, "protocol": "secagg"} | more
    return secagg.plan(clients=clients, fields=fields, privacy=asked, **kept)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Budgets, each with a file of its own."""
    made: list[Budget] = []
    numbers = count()

    def one(name: str = "", epsilon: float = 2.0, **more: Any) -> Budget:
        path = tmp_path / f"{next(numbers)}{name}.db"
        made.append(Budget(path, epsilon=epsilon, delta=plans.DELTA, **more))
        return made[-1]

    yield one
    for budget in made:
        budget.close()


def played(world: World, plan: Plan, **more: Any) -> None:
    world.open(plan, **more)
    world.wait(SOON * 10)


def four(world: World, make: Make, **more: Any) -> list[Client]:
    return [world.client(name, budget=make(name), **more) for name in "abcd"]


@pytest.mark.parametrize("goes", [False, True])
def test_an_answer_that_is_refused_settles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goes: bool
) -> None:
    """40-privacy §9.11: also where the link goes while its claim is made."""
    world = World()
    clients = [
        world.client(name, budget=Budget(tmp_path / name, epsilon=2.0, delta=plans.DELTA))
        for name in "abcd"
    ]
    first, step, seen = clients[0], Client.step, []

    def stepped(self: Client) -> bool:
        part = next(iter(self.rounds._parts.values()), None)
        if self is not first or seen or part is None or not part.paid._opened:
            return step(self)
        answer = self.rounds.take()
        assert answer.claims and not [c for c in answer.charges if c.step is Step.SETTLE]
        for charge in answer.charges:
            first_budget.enter(charge)
        if goes:
            self.rounds.left(SERVER, world.now)
        for claim in answer.claims:
            self.rounds.refused(claim, world.now)
        seen.extend(self.rounds.take().charges)
        return False

    first_budget = first.budget
    assert first_budget is not None
    monkeypatch.setattr(Client, "step", stepped)
    played(world, noisy())
    assert not [c for c in seen if c.step is Step.SETTLE]
    assert states(first_budget) == (1, 0, 0)


def test_what_settles_waits_for_the_claims_beside_it() -> None:
    """One batch is charged before its claims are made."""
    box, key, claim = Outbox(), b"k" * 32, Claim(b"c" * 32, b"d" * 32)
    for refused in (False, True):
        box.claim(claim)
        box.charge(Charge(key, Step.SETTLE, honest=3))
        assert Step.SETTLE not in [one.step for one in box.take().charges]
        if refused:
            box.withhold(key)
        later = [one.step for one in box.take().charges]
        assert later == ([] if refused else [Step.SETTLE])


def states(budget: Budget) -> tuple[int, int, int]:
    """Charges that stand, that are settled, that are refunded."""
    found = budget.spending()
    return found.charged, sum(plan.settled for plan in found.plans), found.refunded


# One round


def test_a_round_is_charged_and_settled_to_whom_this_client_answered(make: Make) -> None:
    """40 §9.9-§9.11: all four are in the sum, and one of them is not counted."""
    world = World()
    clients = four(world, make)
    played(world, noisy())
    for client in clients:
        assert client.told[0].included and client.budget is not None
        assert states(client.budget) == (1, 1, 0)
        counted = dict(client.budget._accounts._counted)  # type: ignore[union-attr]
        assert [disclosure.honest for disclosure in counted] == [3]


def test_who_dropped_is_not_counted(make: Make) -> None:
    """40 §9.11: a client that is gone before its input leaves the others the worst case."""
    world = World()
    clients = four(world, make)
    clients[3].give = lambda offer: None
    played(world, noisy())
    assert world.ends[0].error is None
    for client in clients[:3]:
        assert client.budget is not None and states(client.budget) == (1, 0, 0)
    assert clients[3].budget is not None and states(clients[3].budget) == (0, 0, 1)


def test_a_spent_budget_declines_before_a_key_leaves(make: Make) -> None:
    """Row 114; 40 §9.9: the server hears that the client leaves, and no more; others go on."""
    world = World()
    clients = four(world, make)
    small = clients[0]
    small.budget = make("small", 0.5)
    said: list[bytes] = []
    hear = world.server.received

    def received(peer: Any, frame: bytes, now: float) -> None:
        if peer == small.peer:
            said.append(frame)
        hear(peer, frame, now)

    world.server.received = received  # type: ignore[method-assign]
    asked: list[Any] = []
    small.give = asked.append
    played(world, noisy())
    (outcome,) = small.told
    assert outcome.why == BUDGET and not outcome.included and not outcome.spent
    assert (
        "spent is an epsilon of 0 of 0.5" in outcome.detail and "100.00% is left" in outcome.detail
    )
    assert len(said) == 1 and len(said[0]) < 80 and asked == []
    assert outcome.report.bytes_up < 80
    assert world.ends[0].error is None and states(small.budget) == (0, 0, 0)


def test_the_next_round_is_declined_once_all_is_spent(make: Make) -> None:
    world = World()
    clients = four(world, make)
    for client in clients:
        client.give = lambda offer, name=str(client.peer.name): plainly(name, offer)
    for _ in range(7):
        played(world, noisy())
    for client in clients:
        whys = [outcome.why for outcome in client.told]
        assert whys[:4] == [""] * 4 and whys[-1] == BUDGET
        assert client.budget is not None and client.budget.spending().spent <= 2.0


def test_a_decline_before_the_input_is_refunded(make: Make) -> None:
    """40 §9.12: and so is a client that has nothing to give, or a bad input."""
    world = World()
    clients = four(world, make)
    for client, give in zip(
        clients,
        (
            lambda offer: None,
            lambda offer: secagg.Contribution({"update": np.full(4, 9000)}),
            lambda offer: secagg.Contribution({"other": np.zeros(4)}),
            None,
        ),
        strict=True,
    ):
        client.give = give
    played(world, noisy())
    for client in clients:
        assert client.budget is not None and states(client.budget) == (0, 0, 1)


@pytest.mark.parametrize(
    ("tag", "kept"), [(SHARE_KEYS, (0, 0, 1)), (MASKED_INPUT, (1, 0, 0))], ids=["before", "after"]
)
def test_a_link_that_is_lost_before_the_input_is_refunded_and_after_it_is_not(
    make: Make, tag: int, kept: tuple[int, int, int]
) -> None:
    """40 §9.12."""
    world = World()
    victim, said = four(world, make)[0], list[bytes]()
    hear = world.server.received

    def received(peer: Any, frame: bytes, now: float) -> None:
        if peer == victim.peer and _tag(frame) == tag:
            said.append(frame)
            victim.reads = False
        hear(peer, frame, now)

    world.server.received = received  # type: ignore[method-assign]
    victim.give = None if tag == SHARE_KEYS else victim.give
    world.open(noisy())
    victim.leave()
    world.wait(SOON * 10)
    assert said and victim.budget is not None and states(victim.budget) == kept


def _tag(frame: bytes) -> int:
    from secagg.wire.frame import HEAD_SIZE
    from secagg.wire.header import TAG_AT

    return frame[HEAD_SIZE + TAG_AT] if len(frame) > HEAD_SIZE + TAG_AT else -1


def test_noise_of_each_client_alone_is_not_settled(make: Make) -> None:
    world = World()
    clients = four(world, make)
    played(world, noisy(trust="local"))
    assert clients[0].budget is not None and states(clients[0].budget) == (1, 0, 0)


def test_one_phase_is_charged_too(make: Make) -> None:
    """The input is in the client's first message: charge, leave and claims come in one turn."""
    asked = secagg.Privacy(2.0, plans.DELTA, 4, trust="local")
    fields = {"update": secagg.Integer(4, 1000, 2000)}
    plan = secagg.plan(clients=4, fields=fields, privacy=asked, protocol="plainsum", corrupt=0)
    world = World()
    clients = [world.client(name, budget=make(name)) for name in "abc"]
    clients.append(world.client("d", budget=make("d", 0.3)))
    for client in clients:
        client.give = lambda offer: secagg.Contribution({"update": np.zeros(4, int)}, name="once")
    played(world, plan)
    assert [states(c.budget)[0] for c in clients if c.budget] == [1, 1, 1, 0]
    assert clients[3].told[0].why == BUDGET and not clients[3].told[0].spent
    assert not clients[3].ledger, "of what did not leave, nothing is claimed"


# What is refused at once


def test_plans_that_a_budget_does_not_count_are_refused(make: Make) -> None:
    """Row 114; 40 §9.4: as with max_epsilon, before anything is said."""
    for plan in (real(4), toy(4), noisy(trust="central")):
        world = World()
        client = world.client("a", budget=make("a"))
        others = [world.client(name) for name in "bcd"]
        played(world, plan)
        assert isinstance(client.errors[0], PolicyRefused) and client.told == []
        assert client.budget is not None and client.budget.spending().rows == 1
        assert others[0].errors == []
    world = World()
    reader = world.client("a", budget=make("a", against="readers"))
    for name in "bcd":
        world.client(name)
    played(world, noisy(trust="central"))
    assert reader.budget is not None and states(reader.budget) == (1, 0, 0)


def test_a_driver_without_a_budget_lets_nothing_leave(make: Make) -> None:
    from secagg.drive.outbound import charged

    budget = make()
    rounds = ClientRounds(Consent(), counting=budget.counting)
    world = World()
    world.client("a", budget=None)
    assert charged(rounds.take(), None) == {}
    with pytest.raises(LocalProtocolError, match="their driver has none"):
        charged(Effects(charges=(Charge(bytes(32), Step.REFUND),)), None)


@pytest.mark.parametrize("epsilon", [2.0, 0.5])
def test_a_framework_s_client_charges_too(make: Make, epsilon: float) -> None:
    """What an adapter does with effects, in one call: nothing is returned that is not paid for."""
    budget, world = make(epsilon=epsilon), World()
    client, announced = world.client("a", silent=True), list[bytes]()
    for name in "bcd":
        world.client(name)
    client.rounds.received = lambda peer, raw, now: announced.append(raw)  # type: ignore[method-assign]
    world.open(noisy())
    carried = ClientRounds(Consent(), durable=True, carried=True, counting=budget.counting)
    carried.joined(SERVER, world.now)
    carried.received(SERVER, announced[0], world.now)
    kept = carried, MemoryStore(), MemoryLedger(), ""
    if epsilon == 2.0:
        assert len(perform(*kept, budget=budget)) == 1 and states(budget) == (1, 0, 0)
    else:
        with pytest.raises(BudgetSpent, match=r"100\.00% is left"):
            perform(*kept, budget=budget)


def test_a_refusal_of_another_round_is_nobody_s(make: Make) -> None:
    world = World()
    clients = four(world, make)
    world.open(noisy())
    clients[0].rounds.refused(Unpaid(bytes(32), "no"), world.now)
    world.wait(SOON * 10)
    assert clients[0].told[0].included


# Deaths


def of_one(make: Make) -> Callable[[str], Budget | None]:
    """Only the victim has one: the others' are of other tests."""
    return lambda name: make(name) if name == "a" else None


def test_a_client_dies_at_every_moment_and_its_budget_is_never_below_the_truth(make: Make) -> None:
    """40 §9.9-§9.12; row 91: with rows and links that come back, what has left stands, and no
    message leaves before its charge."""
    seen = set()
    for town in deaths(Scene(noisy(), victim="a", budget=of_one(make))):
        charges, settled, refunded = states(town.budget("a"))
        left = town.said["a", "server", MASKED_INPUT]
        assert charges >= bool(left) and charges + refunded <= 2
        assert not (settled and not town.said["a", "server", UNMASK_ANSWER])
        assert charges + refunded or not any(one for key, one in town.said.items() if key[0] == "a")
        seen.add((charges, settled, refunded))
    assert {(1, 1, 0), (1, 0, 0)} <= seen


def test_rows_that_are_put_back_give_nothing_back(make: Make) -> None:
    """Row 118; 40 §9.12: what a client's rows have forgotten, its budget has not."""
    refunds = 0
    for back in (1, 2, 3):
        for town in deaths(Scene(noisy(), victim="a", back=back, budget=of_one(make))):
            charges, _, refunded = states(town.budget("a"))
            left = town.said["a", "server", MASKED_INPUT]
            assert charges >= len(left), "what has left is paid for"
            refunds += refunded
    assert refunds


def test_the_same_data_are_in_one_round_once(make: Make) -> None:
    """40 §9.9: of two links with one budget, the second is declined."""
    world, shared = World(), make("shared")
    twins = [world.client(name, budget=shared) for name in "ab"]
    for name in "cd":
        world.client(name, budget=make(name))
    played(world, noisy())
    assert sorted(twin.told[0].why for twin in twins) == ["", BUDGET]
    assert states(shared)[0] == 1 and world.ends[0].error is None


def test_a_client_without_rows_is_in_a_round_once(make: Make) -> None:
    for town in deaths(Scene(noisy(), victim="a", known=False, budget=of_one(make))):
        charges, _, _ = states(town.budget("a"))
        assert charges >= bool(town.said["a", "server", MASKED_INPUT])


def test_an_undisturbed_round_is_settled_for_all(make: Make) -> None:
    town = Town(Scene(noisy(), budget=make)).play()
    assert [states(town.budget(name)) for name in "abcd"] == [(1, 1, 0)] * 4


# Paid


def test_a_client_without_a_budget_charges_nothing() -> None:
    from secagg.rounds.base import Outbox

    outbox = Outbox()
    paid = Paid(outbox, None, 0)
    paid.name(bytes(32), bytes(16), secagg.types.PartyId(0), b"")  # type: ignore[attr-defined]
    paid.begin()
    paid.leaves()
    paid.opens(9)
    paid.ends(left=False)
    paid.settles()
    assert outbox.take() == Effects() and paid.needs == [] and not paid.counts
    assert not paid.refused(Unpaid(b"", "none"))


# Drivers


def give(offer: Any) -> secagg.Contribution:
    return secagg.Contribution({"update": np.ones(4, int)})


async def run(
    budgets: list[Any], plan: Plan, rounds: int = 1, **more: Any
) -> tuple[list[Any], list[Any]]:
    """What the server had of each round, and what each client had in the end."""
    service = Service()
    serving, clients = [], []
    for budget in budgets:
        ours, theirs = memory.pair()
        serving.append(asyncio.create_task(service.on_link(ours)))
        joining = secagg.participate(theirs, give, budget=budget, **more)
        clients.append(asyncio.create_task(joining))
    await service.ready(len(budgets), 20)
    ended = []
    for _ in range(rounds):
        running = service.run_round(plan, deadlines=20)
        ended += await asyncio.gather(running, return_exceptions=True)
    await service.close()
    told = await asyncio.gather(*clients, return_exceptions=True)
    await asyncio.gather(*serving)
    return ended, told


def test_participate_raises_when_the_budget_had_no_room_at_all(make: Make) -> None:
    budgets = [make(str(n), 0.5 if n == 0 else 2.0) for n in range(4)]
    ended, told = asyncio.run(run(budgets, noisy()))
    assert isinstance(told[0], BudgetSpent) and "100.00% is left" in str(told[0])
    assert ended[0].count == 3 and all(one[0].included for one in told[1:])


def test_rounds_before_the_budget_is_spent_are_told(make: Make) -> None:
    """With whatever room settled rounds have left."""
    budgets = [make(str(n), 1.3) for n in range(4)]
    ended, told = asyncio.run(run(budgets, noisy(), rounds=5))
    assert ended[0].count == 4 and isinstance(ended[-1], BelowThreshold)
    for outcomes, budget in zip(told, budgets, strict=True):
        assert outcomes[0].included and outcomes[-1].why == BUDGET
        assert states(budget)[0] == sum(bool(one.included) for one in outcomes)


def test_a_disk_that_fails_lets_nothing_leave(make: Make) -> None:
    """Row 95: the StorageError of the budget is the client's, and the server hears no key."""

    class Full(MemoryLedger):
        full = False

        def claim(self, key: bytes, digest: bytes) -> None:
            if self.full:
                raise StorageError("ledger.db: no room")
            super().claim(key, digest)

    anchor = Full()
    budgets = [make("full", anchor=anchor), *(make(str(n)) for n in range(3))]
    anchor.full = True
    ended, told = asyncio.run(run(budgets, noisy()))
    assert isinstance(told[0], StorageError) and "no room" in str(told[0])
    assert ended[0].count == 3 and not any(isinstance(one, Exception) for one in told[1:])


def test_a_plan_without_noise_ends_the_participation(make: Make) -> None:
    _, told = asyncio.run(run([make(str(n)) for n in range(4)], real(4)))
    assert all(isinstance(one, PolicyRefused) for one in told)
    assert "has no noise, and this client has a budget" in str(told[0])


def test_what_is_no_budget_is_refused() -> None:
    _, theirs = memory.pair()
    with pytest.raises(ParameterError, match="budget must be a Budget, not a str"):
        asyncio.run(secagg.participate(theirs, give, budget="spent.db"))  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="budget must be a Budget"):
        secagg.join("ws://127.0.0.1:9", {"update": [0]}, budget=2.0)  # type: ignore[arg-type]


def test_join_charges_a_budget(make: Make) -> None:
    plan = noisy()
    budgets = [make(str(n), 1.2 if n else 0.5) for n in range(4)]
    results: dict[int, Any] = {}

    def client(number: int, url: str) -> None:
        try:
            results[number] = secagg.join(
                url, {"update": np.ones(4, int)}, plan=plan, rounds=1, budget=budgets[number]
            )
        except BudgetSpent as spent:
            results[number] = spent

    import threading

    with secagg.serve_in_thread(plan) as server:
        threads = [threading.Thread(target=client, args=(n, server.url)) for n in range(4)]
        for thread in threads:
            thread.start()
        server.ready(timeout=20)
        assert server.run_round(deadlines=20).count == 3
        for thread in threads:
            thread.join()
    assert isinstance(results[0], BudgetSpent) and budgets[0].spending().charged == 0
    assert all(results[n][0].included and states(budgets[n])[0] == 1 for n in (1, 2, 3))
    assert verify(budgets[1]._path).spending.charged == 1
    assert AbortReason.CANCELLED  # the word that the server hears
