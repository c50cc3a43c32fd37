"""What rounds tell, what they add up to, and what is still allowed (40 §9)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import secagg
from secagg.budget.accounts import Accounts, State
from secagg.budget.entries import Charged, Chosen, Left, Opened, Refunded, Settled, decode, encode
from secagg.dp import Claim, loss
from secagg.dp.filters import Way
from secagg.effects import Charge, Step
from secagg.errors import BudgetSpent, ParameterError, PolicyRefused, WireError
from secagg.plans.disclosure import Counting, Disclosure
from secagg.plans.plan import Plan
from secagg.plans.privacy import blocks
from tests.budget import budget_plans as plans
from tests.budget.budget_plans import DELTA, key

SERVER = Counting()


def accounts(epsilon: float = 2.0, delta: float = DELTA, **counting: Any) -> Accounts:
    return Accounts(Opened(bytes(16), Claim(epsilon, delta), Counting(**counting)))


def enter(made: Accounts, number: int, step: Step, plan: Plan | None = None, **more: Any) -> int:
    """How many rows it takes."""
    disclosure = None if plan is None else made.opened.counting.disclosure(plan)
    found = made.entries(Charge(key(number), step, disclosure, **more))
    for entry in found:
        made.take(decode(encode(entry, 7))[0])
    return len(found)


def spent(made: Accounts) -> float:
    return made.spending(0, b"").spent


# What is told


def test_a_round_costs_its_worst() -> None:
    """40 §9.2: one round, with the fewest honest shares."""
    plan = plans.vector()
    disclosure = SERVER.disclosure(plan)
    assert plan.privacy is not None and disclosure.honest == plan.privacy.honest == 14
    assert disclosure.blocks == tuple(blocks(plan.schema, 14))
    assert disclosure.plan == plan.digest()
    assert (disclosure.trust, disclosure.rounds) == ("distributed", 10)
    more = disclosure.with_honest(18)
    assert more.honest == 18 and more.plan == disclosure.plan
    assert disclosure.with_honest(13) is disclosure and disclosure.with_honest(14) is disclosure


@pytest.mark.parametrize("trust", ["central", "local"])
def test_noise_of_one_party_does_not_grow_with_survivors(trust: Any) -> None:
    disclosure = Counting(against="readers").disclosure(plans.vector(trust=trust))
    assert disclosure.honest == 1 and disclosure.with_honest(20) is disclosure


def test_what_a_budget_does_not_count_is_refused() -> None:
    """40 §9.4."""
    for counting in (SERVER, Counting(against="readers")):
        with pytest.raises(PolicyRefused, match="has no noise, and this client has a budget"):
            counting.disclosure(plans.exact())
    central = plans.vector(trust="central")
    with pytest.raises(PolicyRefused, match="the server add the noise.*against='readers'"):
        SERVER.disclosure(central)
    found = Counting(against="readers").disclosure(central)
    assert loss(found.blocks, DELTA, 10).epsilon == pytest.approx(2.0, abs=1e-6)
    assert SERVER.disclosure(plans.vector(trust="local")).trust == "local"


def test_a_budget_of_clients_counts_all_examples_of_one() -> None:
    """40 §9.3."""
    plan = plans.vector(unit="example", examples=60)
    (own,) = Counting(unit="example").disclosure(plan).blocks
    (all_of_them,) = SERVER.disclosure(plan).blocks
    assert all_of_them == replace(own, squared=3600 * own.squared)
    assert loss([own], DELTA, 10).epsilon == pytest.approx(2.0, abs=1e-6)
    assert loss([all_of_them], DELTA, 10).epsilon > 300


def test_a_budget_of_examples_counts_a_client_s_vector_twice() -> None:
    """40 §9.3: exchanging one example may turn it into any other."""
    (own,), (exchanged,) = (
        SERVER.disclosure(plans.vector()).blocks,
        Counting(unit="example").disclosure(plans.vector()).blocks,
    )
    assert exchanged == replace(own, squared=4 * own.squared)


def test_a_cost_that_has_no_number_is_refused() -> None:
    fields = {"update": secagg.Vector(64, norm=1.0, bits=30)}
    plan = plans.made(fields, 900.0, 1, unit="example", examples=1 << 20)
    assert Counting(unit="example").disclosure(plan)
    with pytest.raises(PolicyRefused, match="no number that a budget counts"):
        SERVER.disclosure(plan)


def test_a_cost_is_its_bytes() -> None:
    from secagg.wire.codec import Reader

    for plan in (plans.vector(), plans.counts(), plans.both()):
        disclosure = SERVER.disclosure(plan)
        reader = Reader(disclosure.encode())
        assert Disclosure.read(reader) == disclosure
        reader.finish()
    raw = bytearray(SERVER.disclosure(plans.vector()).encode())
    for at, value, match in ((32, 3, "trust"), (41, 4, "kind")):
        with pytest.raises(WireError, match=match):
            Disclosure.read(Reader(bytes(raw[:at]) + bytes([value]) + bytes(raw[at + 1 :])))


@pytest.mark.parametrize("wrong", [{"unit": "row"}, {"against": "everybody"}])
def test_what_nobody_counts(wrong: Any) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        Counting(**wrong)


# Steps


def test_a_plan_s_own_budget_has_room_for_its_rounds_and_no_more() -> None:
    """40 §9.7, and what the refusal says."""
    for plan in (plans.vector(), plans.counts(), plans.both()):
        made = accounts()
        for number in range(10):
            enter(made, number, Step.CHARGE, plan)
        assert spent(made) == pytest.approx(2.0, abs=1e-5) and spent(made) <= 2.0
        with pytest.raises(BudgetSpent, match=r"spent is an epsilon of 2 of 2 .* by 10 rounds; 0"):
            enter(made, 10, Step.CHARGE, plan)
        assert made.charged(plan.digest()) == 10


def test_a_charge_is_made_once() -> None:
    """40 §9.9."""
    made = accounts()
    assert enter(made, 1, Step.CHARGE, plans.vector()) == 2, "the filter, and the charge"
    assert enter(made, 1, Step.CHARGE, plans.vector()) == 0
    assert enter(made, 2, Step.CHARGE, plans.vector()) == 1
    for _ in range(2):
        enter(made, 1, Step.LEAVE)
        assert enter(made, 1, Step.CHARGE, plans.vector()) == 0, "said again from rows"
    enter(made, 1, Step.SETTLE, honest=18)
    assert enter(made, 1, Step.CHARGE, plans.vector()) == 0
    assert made.charged(plans.vector().digest()) == 2


def test_one_session_has_one_charge() -> None:
    """40 §9.9: until it is given back; the same data twice in one sum move it twice as far."""
    made = accounts()
    enter(made, 1, Step.CHARGE, plans.vector(), session=key(9))
    assert enter(made, 1, Step.CHARGE, plans.vector(), session=key(9)) == 0
    with pytest.raises(BudgetSpent, match="in this round already, or may be"):
        enter(made, 2, Step.CHARGE, plans.vector(), session=key(9))
    with pytest.raises(BudgetSpent, match="in this round already"):
        enter(made, 9, Step.CHARGE, plans.vector())
    enter(made, 1, Step.REFUND)
    assert enter(made, 2, Step.CHARGE, plans.vector(), session=key(9)) == 2
    enter(made, 2, Step.LEAVE)
    enter(made, 2, Step.SETTLE, honest=18)
    with pytest.raises(BudgetSpent, match="in this round already"):
        enter(made, 3, Step.CHARGE, plans.vector(), session=key(9))


def test_what_has_left_is_never_given_back() -> None:
    """Row 118; 40 §9.10, §9.12."""
    made = accounts()
    enter(made, 1, Step.CHARGE, plans.vector())
    enter(made, 1, Step.LEAVE)
    before = spent(made)
    assert enter(made, 1, Step.REFUND) == 0 and spent(made) == before > 0
    assert enter(made, 1, Step.LEAVE) == 0, "the same message again"


def test_what_has_not_left_is_given_back_and_charged_anew() -> None:
    """40 §9.12."""
    made = accounts()
    enter(made, 1, Step.CHARGE, plans.vector())
    enter(made, 2, Step.CHARGE, plans.vector())
    one = spent(made)
    assert enter(made, 2, Step.REFUND) == 1 and enter(made, 2, Step.REFUND) == 0
    assert spent(made) < one
    with pytest.raises(BudgetSpent, match="never charged to this budget, or is refunded"):
        enter(made, 2, Step.LEAVE)
    assert enter(made, 2, Step.CHARGE, plans.vector()) == 1 and spent(made) == one
    with pytest.raises(BudgetSpent):
        enter(made, 9, Step.LEAVE)
    assert enter(made, 9, Step.REFUND) == 0 == enter(made, 9, Step.SETTLE, honest=99)


def test_a_sum_with_more_noise_settles_a_charge() -> None:
    """40 §9.11: to no fewer shares, once, and only after the input has left."""
    made = accounts()
    enter(made, 1, Step.CHARGE, plans.vector())
    worst = spent(made)
    assert enter(made, 1, Step.SETTLE, honest=18) == 0
    enter(made, 1, Step.LEAVE)
    assert enter(made, 1, Step.SETTLE, honest=14) == 0, "as many as the worst case"
    assert enter(made, 1, Step.SETTLE, honest=18) == 1
    shares = SERVER.disclosure(plans.vector()).with_honest(18)
    assert spent(made) == pytest.approx(loss(shares.blocks, DELTA).epsilon) and spent(made) < worst
    assert enter(made, 1, Step.SETTLE, honest=20) == 0
    found = made.spending(5, bytes(32))
    assert [(one.charged, one.settled) for one in found.plans] == [(1, 1)]


def test_settled_rounds_leave_room_for_another() -> None:
    """With fewer drops than planned, a plan's own budget has room for more than its rounds."""
    made, plan = accounts(), plans.vector()
    for number in range(12):
        enter(made, number, Step.CHARGE, plan)
        enter(made, number, Step.LEAVE)
        enter(made, number, Step.SETTLE, honest=18)
    assert spent(made) <= 2.0
    with pytest.raises(BudgetSpent):
        enter(made, 12, Step.CHARGE, plan)


def test_several_plans_add_up() -> None:
    """40 §9.5, §9.8: less than the sum of their epsilons, and named."""
    made = accounts(4.0)
    for number, plan in enumerate([plans.vector(1.0, 1), plans.counts(1.0, 1), plans.both(1.0, 1)]):
        enter(made, number, Step.CHARGE, plan)
    found = made.spending(0, b"")
    assert 1.4 < found.spent < 2.2 and found.accounting == "mixed-rdp"
    assert found.charged == 3 and len(found.plans) == 3 and 0 < found.used < 1


def test_a_budget_that_one_plan_takes_all_of_counts_its_noise_alone() -> None:
    """40 §9.7."""
    made = accounts()
    enter(made, 1, Step.CHARGE, plans.vector())
    with pytest.raises(BudgetSpent, match="counts Gaussian noise alone"):
        enter(made, 2, Step.CHARGE, plans.counts())
    enter(made, 1, Step.REFUND)
    assert enter(made, 2, Step.CHARGE, plans.counts()) == 2, "nothing was released: chosen anew"


def test_spending_is_for_json() -> None:
    made = accounts()
    empty = made.spending(1, bytes(32)).as_dict()
    assert (empty["spent"], empty["accounting"], empty["used"], empty["plans"]) == (0, None, 0, [])
    enter(made, 1, Step.CHARGE, plans.vector())
    found = made.spending(3, bytes([1]) * 32).as_dict()
    assert found["head"] == "01" * 32 and found["rows"] == 3 and found["unit"] == "client"
    assert found["plans"][0]["plan"] == plans.vector().digest().hex()


# Rows


def test_rows_are_their_bytes() -> None:
    """40 §9.13."""
    opened = Opened(bytes(range(16)), Claim(2.0, 1e-5), Counting("example", "readers"))
    for entry in (
        opened,
        Chosen(Way(20)),
        Chosen(Way(0, 4, 2.0**-40)),
        Charged(key(3), key(8), SERVER.disclosure(plans.both())),
        Left(key(3)),
        Settled(key(3), 17),
        Refunded(key(3)),
    ):
        content = encode(entry, 1_700_000_000)
        assert decode(content) == (entry, 1_700_000_000)
        with pytest.raises(WireError):
            decode(content + b"\0")
        with pytest.raises(WireError):
            decode(content[:-1])
    assert decode(encode(Left(key(3)), -5))[1] == 0
    with pytest.raises(WireError, match="kind 7"):
        decode(b"\7" + bytes(40))
    with pytest.raises(WireError, match="order"):
        decode(encode(Chosen(Way(20)), 0)[:9] + (65).to_bytes(8) + bytes(9))
    with pytest.raises(WireError, match="unit"):
        decode(encode(opened, 0)[:-2] + b"\2\0")
    with pytest.raises(WireError, match="delta"):
        decode(encode(opened, 0)[:25] + bytes(16) + b"\0\0")


def test_rows_that_nothing_would_have_written() -> None:
    """Impossible sequences, of which each would count less than the truth."""
    disclosure = SERVER.disclosure(plans.vector())
    for rows in (
        [Opened(bytes(16), Claim(2.0, 1e-5), SERVER)],
        [Charged(key(1), key(1), disclosure)],
        [Chosen(Way(20)), Charged(key(1), key(1), disclosure), Charged(key(1), key(1), disclosure)],
        [Chosen(Way(20)), Charged(key(1), key(1), disclosure), Chosen(Way(21))],
        [Chosen(Way(20)), Charged(key(1), key(5), disclosure), Charged(key(2), key(5), disclosure)],
        [Left(key(1))],
        [Chosen(Way(20)), Charged(key(1), key(1), disclosure), Settled(key(1), 18)],
        [Chosen(Way(20)), Charged(key(1), key(1), disclosure), Left(key(1)), Refunded(key(1))],
        [Chosen(Way(20)), Charged(key(1), key(1), disclosure), Refunded(key(1)), Left(key(1))],
    ):
        made = accounts()
        with pytest.raises(WireError, match="no row of that kind belongs here"):
            for row in rows:
                made.take(row)  # type: ignore[arg-type]
    assert {state.value for state in State} == {"charged", "left", "settled"}
