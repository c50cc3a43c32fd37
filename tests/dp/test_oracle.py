"""Against dp-accounting, where it is installed (the extra `dp`)."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest

import secagg
from secagg.dp import Accounting, Block, loss, rdp
from secagg.dp.exact import CONTEXT
from secagg.noise import Kind, Noise
from secagg.plans.label import label_of
from secagg.plans.privacy import blocks

dp_accounting = pytest.importorskip("dp_accounting", reason="the extra dp")

CONFIGURATIONS = 200
ORDERS = [*range(2, 64), *(m << k for k in range(3, 20) for m in range(8, 16))]


def drawn(rng: np.random.Generator) -> tuple[list[Block], float, int]:
    """One to four blocks of vectors and counts, whose rounds cost from nearly nothing to 100."""
    shares, rounds = int(rng.integers(2, 2000)), int(10 ** rng.uniform(0, 3))
    blocks = []
    for _ in range(rng.integers(1, 5)):
        deviation = 10 ** rng.uniform(0, 2) * rounds**0.5
        kind = Kind(rng.integers(1, 3))
        squared = int(10 ** rng.uniform(0, 9)) + (1 if kind is Kind.SKELLAM else 10**5)
        variance = squared * deviation**2 / shares
        variance = max(variance, 6.25 if kind is Kind.GAUSSIAN else 1e-4)
        blocks.append(Block(Noise(kind, variance), int(10 ** rng.uniform(0, 6)), squared, shares))
    return blocks, 10 ** rng.uniform(-12, -2), rounds


def theirs_by_renyi(blocks: list[Block], delta: float, rounds: int) -> float:
    """Each bound as the zero-concentrated event that it is: the better of two is not one."""
    best = np.inf
    for flat in (False, True):
        accountant = dp_accounting.rdp.RdpAccountant(ORDERS)
        for block in blocks:
            mu, squared = block.shares * block.noise.variance, block.squared
            rho, xi = squared / (2 * mu), 0.0
            if block.noise.kind is Kind.SKELLAM:
                l1 = min(block.length * squared, squared**2) ** 0.5
                steep = squared / (2 * mu**2), (6 * l1 - squared) / (4 * mu**2)
                rho, xi = (rho, 3 * l1 / (2 * mu)) if flat else (rho + steep[0], steep[1])
            accountant.compose(dp_accounting.ZCDpEvent(rho, max(0, xi)), rounds)
        best = min(best, accountant.get_epsilon(delta))
    return float(best)


def test_200_configurations() -> None:
    """Within 1e-3. Where several blocks take different ones of their two bounds, ours is lower."""
    rng, seen = np.random.default_rng(40), dict.fromkeys(Accounting, 0)
    for _ in range(CONFIGURATIONS):
        blocks, delta, rounds = drawn(rng)
        found = loss(blocks, delta, rounds)
        seen[found.accounting] += 1
        renyi = theirs_by_renyi(blocks, delta, rounds)
        with localcontext(CONTEXT):
            own = max(0.0, float(rdp.epsilon(blocks, Decimal(delta), rounds)))
        assert own <= renyi * 1.001 + 1e-9
        if found.accounting is Accounting.REDUCTION:
            strength = sum(b.squared / (b.shares * b.noise.variance) for b in blocks) * rounds
            exact = dp_accounting.get_epsilon_gaussian(strength**-0.5, delta)
            assert found.epsilon == pytest.approx(exact, rel=1e-3 + smoothed(blocks), abs=1e-6)
        elif len(blocks) == 1:
            assert own == pytest.approx(renyi, rel=1e-3, abs=1e-6)
            assert found.epsilon == pytest.approx(own, rel=1e-12, abs=1e-12)
    assert seen[Accounting.REDUCTION] > 20 and seen[Accounting.SKELLAM] > 20
    assert seen[Accounting.MIXED] > 20


def smoothed(blocks: list[Block]) -> float:
    """What a smoothing of at most 4 may cost, which is ours and not the oracle's."""
    return 8 / min(block.shares * block.noise.variance for block in blocks)


def test_both_numbers_of_a_label() -> None:
    """40 §8.1, within 1e-3: the noise of N clients is one Gaussian mechanism of their variance."""
    rng = np.random.default_rng(41)
    for trust in ("distributed", "local", "central") * 8:
        clients, epsilon = int(rng.integers(20, 200)), float(10 ** rng.uniform(-1, 1))
        plan = secagg.plan(
            clients=clients,
            corrupt=0.1,
            dropout=0.1,
            fields={"update": secagg.Vector(int(rng.integers(1, 300)), norm=1.0, bits=16)},
            privacy=secagg.Privacy(epsilon, 1e-5, int(rng.integers(1, 20)), trust=trust),
        )
        contributors = clients - plan.threat.dropped
        label = label_of(plan.threat, plan.schema, contributors)
        assert label is not None
        known = {"distributed": plan.threat.corrupted, "local": contributors - 1, "central": 0}
        shares = 1 if trust == "central" else contributors
        one = blocks(plan.schema, 1)[0]

        def theirs(shares: int, one: Block = one, rounds: int = label.rounds) -> float:
            strength = rounds * one.squared / (shares * one.noise.variance)
            return float(dp_accounting.get_epsilon_gaussian(strength**-0.5, 1e-5))

        if trust != "central":
            server = theirs(shares - known[trust])
            assert label.epsilon_server == pytest.approx(server, rel=1e-3)
        readers = theirs(shares - (trust != "central"))
        assert label.epsilon_release == pytest.approx(readers, rel=1e-3)
