"""Who was in the training data? A model tells, and one trained with noise does not.

A model fits what it has learnt from better than what it has not. So whoever has the model calls
those with a small loss its members (Yeom et al. 2018). 0.5 is guessing, 1 is knowing. A secure sum
alone does not help: the model is the same, bit for bit.

    python membership.py
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import secagg

CLIENTS, ROUNDS, CLASSES = 100, 5, 10
pixels, labels = load_digits(return_X_y=True)
rng = np.random.default_rng(5)
order = rng.permutation(len(labels))
inputs = np.hstack([pixels[order] / 16, np.ones((len(order), 1))])
# a fifth of the labels are wrong: such can only be learnt by heart
wrong = rng.random(len(order)) < 0.2
labels = np.where(wrong, rng.integers(0, CLASSES, len(order)), labels[order])
members, strangers = slice(0, CLIENTS), slice(CLIENTS, None)


def probabilities(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    scores = rows @ weights
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def step(weights: np.ndarray, rows: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Downwards, of the mean loss."""
    error = np.eye(CLASSES)[right] - probabilities(weights, rows)
    return rows.T @ error / len(rows)


def in_the_clear() -> np.ndarray:
    weights = np.zeros((inputs.shape[1], CLASSES))
    for _ in range(3000):
        weights += step(weights, inputs[members], labels[members])
    return weights


def with_noise(epsilon: float) -> np.ndarray:
    """Every client holds one image; two servers, and noise of all clients in each sum."""
    weights = np.zeros((inputs.shape[1], CLASSES))
    plan = secagg.plan(
        clients=CLIENTS,
        corrupt=0,
        dropout=0,
        servers=2,
        fields={"step": secagg.Vector(weights.size, norm=1.0, bits=16)},
        privacy=secagg.Privacy(epsilon, delta=1e-3, rounds=ROUNDS),
    )
    for number in range(ROUNDS):
        steps = [step(weights, inputs[i : i + 1], labels[i : i + 1]) for i in range(CLIENTS)]
        steps = [one / max(1.0, np.linalg.norm(one)) for one in steps]
        total = secagg.simulate(plan, lambda me, s=steps: {"step": s[me]}, seed=number)
        weights += 2 * total.mean["step"].reshape(weights.shape)
    return weights


def attacked(weights: np.ndarray) -> tuple[float, float]:
    """How often a member has a smaller loss than a stranger, and the accuracy on strangers."""
    fit = probabilities(weights, inputs)[np.arange(len(labels)), labels]
    better = fit[members][:, None] > fit[strangers][None]
    guesses = probabilities(weights, inputs[strangers]).argmax(axis=1)
    return float(better.mean()), float((guesses == labels[strangers])[~wrong[strangers]].mean())


clear, private = attacked(in_the_clear()), attacked(with_noise(2.0))
print(f"without noise: members are told from strangers in {clear[0]:.2f}, accuracy {clear[1]:.2f}")
print(
    f"epsilon 2:     members are told from strangers in {private[0]:.2f}, accuracy {private[1]:.2f}"
)
if not clear[0] > 0.7 > 0.6 > private[0]:
    raise SystemExit("the attack is not as it should be")
