"""What rounds cost, and which claims are accepted (specs/40-privacy.md §4)."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal, localcontext

import numpy as np
import pytest

from secagg.dp import Accounting, Block, Claim, accepts, gaussian, loss, rdp, require, would_do
from secagg.dp.exact import CONTEXT
from secagg.dp.mechanisms import renyi
from secagg.errors import ParameterError
from secagg.noise import Kind, Noise

WIDE = Block(Noise(Kind.GAUSSIAN, 2.0**27), 1970, 32767**2, 800)
LONE = Block(Noise(Kind.GAUSSIAN, 0.5), 1, 1, 1)
COUNT = Block(Noise(Kind.SKELLAM, 0.0179), 1, 1, 1000)


def inflated(levels: int, length: int) -> int:
    """The square of a rounded vector's norm (§2.3), to a digit or so."""
    root = length**0.5
    return int(min((levels + root) ** 2, levels**2 + length / 4 + levels + root / 2))


@pytest.mark.parametrize(
    "blocks, accounting",
    [
        ([WIDE], Accounting.REDUCTION),
        ([WIDE, replace(WIDE, length=10)], Accounting.REDUCTION),
        ([COUNT], Accounting.SKELLAM),
        ([WIDE, COUNT], Accounting.MIXED),
        ([WIDE, Block(Noise(Kind.SKELLAM, 1000.0), 1, 5, 100)], Accounting.MIXED),
        # no room for a smoothing of 1, so no Gaussian to be rounded from
        ([LONE], Accounting.GAUSSIAN),
        # eta of 4 2^30 rounds at the smallest smoothing is beyond epsilon: r^2 = 2 or 4 does it
        ([replace(WIDE, length=1 << 30)], Accounting.REDUCTION),
    ],
)
def test_the_bound_that_wins_is_named(blocks: list[Block], accounting: Accounting) -> None:
    assert loss(blocks, 1e-5, 10).accounting is accounting


@pytest.mark.parametrize("blocks", [[WIDE], [COUNT], [WIDE, COUNT]], ids=["real", "count", "both"])
@pytest.mark.parametrize("delta", [1e-15, 1e-5, 0.01])
def test_a_loss_is_the_least_claim_that_is_accepted(blocks: list[Block], delta: float) -> None:
    found = loss(blocks, delta, 3).epsilon
    assert accepts(blocks, Claim(found, delta, 3))
    assert not accepts(blocks, Claim(math.nextafter(found, 0), delta, 3))


def test_a_loss_grows_with_rounds_blocks_and_certainty_and_falls_with_shares() -> None:
    base = loss([WIDE], 1e-5).epsilon
    assert loss([WIDE], 1e-5, 2).epsilon > base
    assert loss([WIDE, WIDE], 1e-5).epsilon == loss([WIDE], 1e-5, 2).epsilon
    assert loss([WIDE], 1e-6).epsilon > base
    assert loss([replace(WIDE, shares=801)], 1e-5).epsilon < base
    assert loss([WIDE, COUNT], 1e-5).epsilon > max(base, loss([COUNT], 1e-5).epsilon)


def test_divergences_add_up_at_each_order_by_the_lower_bound_of_each_block() -> None:
    """§4.4, order by order; at the best one, blocks of this plan take different bounds."""
    narrow = [replace(COUNT, noise=Noise(Kind.SKELLAM, 0.0005 * 4**k)) for k in range(8)]
    for blocks in ([COUNT], [WIDE], [narrow[1]], [WIDE, COUNT, *narrow]):
        for delta, rounds in ((1e-3, 1), (1e-15, 40)):
            found = []
            for order in rdp.ORDERS:
                lines = [
                    [float(x.slope) * order + float(x.constant) for x in renyi(b)] for b in blocks
                ]
                price = math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
                found.append(rounds * sum(map(min, lines)) + price)
            with localcontext(CONTEXT):
                ours = float(rdp.epsilon(blocks, Decimal(delta), rounds))
            assert ours == pytest.approx(min(found), rel=1e-9)


def test_orders_reach_what_the_smallest_epsilon_takes() -> None:
    """With the best order, and not the best of a list, an epsilon is smaller by a 500th at most."""
    rho = 1e-15
    block = Block(Noise(Kind.GAUSSIAN, 2.0**50), 1, round(2 * rho * 2**50), 1)
    delta, rho = 1e-15, block.squared / 2**51
    orders = np.geomspace(1e6, 1e10, 100_001)
    best = (
        orders * rho + np.log1p(-1 / orders) - (np.log(delta) + np.log(orders)) / (orders - 1)
    ).min()
    with localcontext(CONTEXT):
        found = float(rdp.epsilon([block], Decimal(delta), 1))
    assert best <= found * (1 + 1e-9) and found < best * 1.002


def test_a_delta_may_need_no_epsilon() -> None:
    assert loss([replace(WIDE, squared=1)], 0.5).epsilon == 0


def test_a_reduction_pays_for_what_it_smooths() -> None:
    """Just above the Gaussian mechanism of the whole variance, just below that of r^2 less."""
    whole = Decimal(WIDE.squared) / (800 * 2**27)
    found = loss([WIDE], 1e-5).epsilon
    with localcontext(CONTEXT):
        delta = Decimal(1e-5)
        assert gaussian.epsilon(delta, whole) < found
        assert found < gaussian.epsilon(delta, whole * (1 + Decimal(4) / (800 * 2**27)))


@pytest.mark.parametrize(
    "clients, epsilon, published, skellam",
    [(100, 1, 1.18, 1.18), (100, 3, 1.155, 1.16), (100, 6, 1.14, 1.15)]
    + [(1000, 1, 1.19, 1.19), (1000, 3, 1.17, 1.17), (1000, 6, 1.155, 1.155)],
)
def test_variance_over_the_central_gaussian(
    clients: int, epsilon: float, published: float, skellam: float
) -> None:
    """A mean of 256 dimensions in a ring of 16 bits at delta 1e-5: with the reduction the noise of
    a Gaussian mechanism or 1 % more, by the published bounds a sixth more."""
    delta, length = Decimal(1e-5), 256
    with localcontext(CONTEXT):
        central = least(lambda v: gaussian.epsilon(delta, 1 / Decimal(v)) <= epsilon)
        levels = 8192 / math.sqrt(clients**2 / length + central)  # what fits, at 4 deviations
        whole = central * levels**2

        def block(kind: Kind, variance: float) -> list[Block]:
            return [Block(Noise(kind, variance), length, inflated(levels, length), clients)]

        ours = least(lambda v: loss(block(Kind.GAUSSIAN, v), float(delta)).epsilon <= epsilon, 6.25)
        theirs = least(lambda v: rdp.epsilon(block(Kind.GAUSSIAN, v), delta, 1) <= epsilon, 6.25)
        other = least(lambda v: rdp.epsilon(block(Kind.SKELLAM, v), delta, 1) <= epsilon)
    assert 1 < clients * ours / whole < (1.002 if clients == 100 else 1.013)
    assert clients * theirs / whole == pytest.approx(published, abs=0.008)
    assert clients * other / whole == pytest.approx(skellam, abs=0.008)


def least(enough, low=2.0**-20):  # type: ignore[no-untyped-def]
    high = 2.0**30
    while high > low * 1.0001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@pytest.mark.parametrize("epsilon", [2.0**-20, 1e-6, 1e3, 1024])
@pytest.mark.parametrize("delta", [2.0**-64, 0.999])
def test_the_extremes_of_a_claim_are_judged(epsilon: float, delta: float) -> None:
    for blocks in ([WIDE], [COUNT]):
        found = accepts(blocks, Claim(epsilon, delta, 1 << 20))
        assert found == (loss(blocks, delta, 1 << 20).epsilon <= epsilon)


def test_numpys_numbers_are_taken_for_what_they_are() -> None:
    claim = Claim(np.float32(0.5), np.float64(1e-5), np.int64(3))  # type: ignore[arg-type]
    assert claim == Claim(0.5, 1e-5, 3) and type(claim.epsilon) is float


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"epsilon": 0}, "epsilon must be from 9.54e-07 to 1024, not 0"),
        ({"epsilon": 5e-324}, "epsilon must be from"),
        ({"epsilon": 1025}, "not 1025; from 0.1 to 10"),
        ({"epsilon": math.nan}, "epsilon must be a finite number"),
        ({"epsilon": math.inf}, "epsilon must be a finite number"),
        ({"epsilon": "1"}, "epsilon must be a number, not a str"),
        ({"delta": 0}, "this noise has none of 0, and 1 promises nothing; take less than one over"),
        ({"delta": 1}, "delta must be from 5.42e-20 to below 1, not 1"),
        ({"delta": -1e-5}, "delta must be from"),
        ({"delta": 1e-20}, "delta must be from"),
        ({"delta": math.nan}, "delta must be a finite number"),
        ({"rounds": 0}, "rounds must be an integer from 1 to 1048576, not 0"),
        ({"rounds": (1 << 20) + 1}, "rounds must be an integer from 1 to 1048576"),
        ({"rounds": 1.0}, "rounds must be an integer"),
        ({"rounds": True}, "rounds must be an integer"),
    ],
)
def test_what_is_no_claim(changed: dict[str, float], said: str) -> None:
    """Row 108."""
    good: dict[str, float] = {"epsilon": 1.0, "delta": 1e-5, "rounds": 1}
    with pytest.raises(ParameterError, match=said):
        Claim(**(good | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("delta, rounds", [(0, 1), (1, 1), (1e-5, 0), (1e-5, 1 << 21)])
def test_a_loss_of_what_is_no_claim(delta: float, rounds: int) -> None:
    with pytest.raises(ParameterError):
        loss([WIDE], delta, rounds)


def test_half_the_deviation_that_was_claimed_is_refused_with_what_would_do() -> None:
    """Row 109: each number that is named is accepted, and the next one is not."""
    claim = Claim(loss([WIDE], 1e-5, 10).epsilon, 1e-5, 10)
    require([WIDE], claim)
    half = replace(WIDE, noise=Noise(Kind.GAUSSIAN, WIDE.noise.variance / 4))
    with pytest.raises(ParameterError) as refused:
        require([half], claim)
    text = str(refused.value)
    assert "the noise does not keep epsilon 1.19933 at delta 1e-05 over 10 rounds; " in text
    assert text.endswith("epsilon=2.595 or rounds=2 or 3200 honest clients would do")
    assert accepts([half], replace(claim, epsilon=2.595))
    assert accepts([half], replace(claim, rounds=2)) > accepts([half], replace(claim, rounds=3))
    enough, few = (replace(half, shares=shares) for shares in (3200, 3199))
    assert accepts([enough], claim) > accepts([few], claim)


def test_a_refusal_without_a_way_out_names_none() -> None:
    hopeless = Block(Noise(Kind.SKELLAM, 2.0**-20), 1, (1 << 64) - 1, 1)
    with pytest.raises(ParameterError) as refused:
        require([hopeless], Claim(1, 1e-5))
    assert str(refused.value).endswith("over 1 rounds")


def test_more_honest_clients_are_no_way_out_where_one_party_adds_all_noise() -> None:
    """And their shares, which a narrow discrete Gaussian does not have, are not tried."""
    for block in (replace(WIDE, shares=1), LONE):
        with pytest.raises(ParameterError) as refused:
            require([block], Claim(0.01, 1e-5, 10))
        assert "does not keep epsilon 0.01" in str(refused.value)
        assert "honest" not in str(refused.value)


def test_a_refusal_of_very_many_blocks_looks_for_an_epsilon_alone() -> None:
    """A plan of a thousand fields must not cost its readers seconds to refuse."""
    claim = Claim(10, 1e-5, 100)
    assert set(would_do([WIDE] * 64, claim)) == {"epsilon", "rounds", "honest"}
    assert set(would_do([WIDE] * 65, claim)) == {"epsilon"}
