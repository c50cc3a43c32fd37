"""Softmax regression in plain numpy, for all users at once: what each would compute by itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from secagg.frontier.data import CLASSES, Floats, Labels

Weights = npt.NDArray[np.float64]
"""float64[inputs, CLASSES]; the last input is always 1."""

_TOGETHER = 100
"""Users whose copies of a model are in memory at a time."""


def probabilities(inputs: Floats, weights: npt.NDArray[np.floating]) -> Floats:
    """Of every class: [..., n, CLASSES]."""
    scores = inputs @ weights.astype(np.float32)
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


def trained(
    inputs: Floats, labels: Labels, start: Weights, rate: float, steps: int
) -> Iterator[Floats]:
    """Each user's update, flat: its model after so many steps of full-batch descent, less the one
    it began with. inputs: [users, samples, inputs]."""
    right = np.eye(CLASSES, dtype=np.float32)[labels]
    scale, begin = np.float32(rate / inputs.shape[1]), start.astype(np.float32)
    for first in range(0, len(inputs), _TOGETHER):
        some, goal = inputs[first : first + _TOGETHER], right[first : first + _TOGETHER]
        change = np.zeros((len(some), *start.shape), np.float32)
        for _ in range(steps):
            off = probabilities(some, begin + change) - goal
            change -= scale * (some.transpose(0, 2, 1) @ off)
        yield from change.reshape(len(some), -1)


def each_example(inputs: Floats, labels: Labels, start: Weights) -> Floats:
    """One user's steps downwards, a row for each of its samples: [samples, inputs * CLASSES]."""
    off = np.eye(CLASSES, dtype=np.float32)[labels] - probabilities(inputs, start)
    return (inputs[:, :, None] * off[:, None, :]).reshape(len(inputs), -1)
