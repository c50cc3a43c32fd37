"""Noise of floats gives the input away by its last bits; noise of integers does not.

Laplace noise is usually made as a logarithm of a uniform number, of which there are 2^53. So only
some floats are noise at all, and input + noise is a float that one input can give and the other
cannot (Mironov 2012). The noise of a plan is drawn from exact tables of integers, and added to
integers: every sum that is near one input is near the other.

    python floating_point.py
"""

from __future__ import annotations

import numpy as np

from secagg.noise import Kind, Noise
from secagg.ring import Ring
from secagg.sampler import add_noise

COUNT, GRID, NEAR = 20_000, 2.0**53, 12
SCALE = 1.0  # of a one-bit input: epsilon 1


def laplace(uniform: np.ndarray) -> np.ndarray:
    """By inversion, as libraries did for long. uniform: above 0, below 1."""
    centred = uniform - 0.5
    return -SCALE * np.sign(centred) * np.log(1 - 2 * np.abs(centred))


def distribution(noise: np.ndarray) -> np.ndarray:
    tail = np.exp(-np.abs(noise) / SCALE) / 2
    return np.where(noise < 0, tail, 1 - tail)


def possible(output: np.ndarray, guess: float) -> np.ndarray:
    """Whether guess + noise is this very float for one of the uniform numbers nearby."""
    around = np.rint(distribution(output - guess) * GRID)
    found = np.zeros(len(output), bool)
    for off in range(-NEAR, NEAR + 1):
        uniform = np.clip((around + off) / GRID, 1 / GRID, 1 - 1 / GRID)
        found |= guess + laplace(uniform) == output
    return found


def floats() -> tuple[float, float]:
    """Of all outputs, those that only the true input can give, and only the wrong one."""
    rng = np.random.default_rng(1)
    secret = rng.integers(0, 2, COUNT)
    output = secret + laplace(rng.integers(1, int(GRID), COUNT) / GRID)
    zero, one = possible(output, 0.0), possible(output, 1.0)
    told = zero != one
    right = np.where(secret == 1, one, zero)
    return float((told & right).mean()), float((told & ~right).mean())


def integers() -> float:
    """The same of a plan's noise, for an input of one bit: of a million draws of each."""
    noise, ring = Noise(Kind.SKELLAM, 4.0), Ring(32)
    drawn = []
    for secret in (0, 1):
        lane = np.full(1_000_000, secret, np.uint32)
        add_noise(lane, noise, ring, bytes([secret]) * 32)
        drawn.append(lane.view(np.int32))
    common = np.intersect1d(*drawn)
    return float(np.mean([~np.isin(one, common) for one in drawn]))


right, wrong = floats()
print(
    f"floats:   {right:.1%} of the outputs can come of the true input only, {wrong:.1%} are wrong"
)
print(f"integers: {integers():.4%} of the outputs were seen of one input only")
if not (right > 0.3 and wrong == 0 and integers() < 1e-4):
    raise SystemExit("the outputs are not as they should be")
