"""The model, its training, and who has which images; nothing here knows who adds anything up."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_digits

Arrays = dict[str, np.ndarray[Any, Any]]


def images(part: int, parts: int) -> tuple[Arrays, Arrays]:
    """Those of one node, to learn from and to be asked about. Each has another number of them."""
    data = load_digits()
    order = np.random.default_rng(1).permutation(len(data.target))
    cuts = np.cumsum(np.arange(parts, 2 * parts)) / sum(range(parts, 2 * parts)) * len(order)
    mine = np.split(order, cuts[:-1].astype(int))[part]
    seen, asked = mine[: len(mine) * 4 // 5], mine[len(mine) * 4 // 5 :]
    return tuple({"x": data.data[i] / 16, "y": data.target[i]} for i in (seen, asked))  # type: ignore[return-value]


def start() -> Arrays:
    return {"w": np.zeros((64, 10), np.float32), "b": np.zeros(10, np.float32)}


def trained(model: Arrays, data: Arrays, steps: int = 20) -> tuple[Arrays, float]:
    """After some steps of gradient descent, and its loss."""
    w, b = model["w"].copy(), model["b"].copy()
    truth = np.eye(10)[data["y"]]
    for _ in range(steps):
        p = _guess({"w": w, "b": b}, data)
        w -= (0.5 * data["x"].T @ (p - truth) / len(truth)).astype(np.float32)
        b -= (0.5 * (p - truth).mean(axis=0)).astype(np.float32)
    return {"w": w, "b": b}, float(-np.log((p * truth).sum(axis=1)).mean())


def accuracy(model: Arrays, data: Arrays) -> float:
    return float((_guess(model, data).argmax(axis=1) == data["y"]).mean())


def _guess(model: Arrays, data: Arrays) -> np.ndarray[Any, Any]:
    scores = data["x"] @ model["w"] + model["b"]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))
