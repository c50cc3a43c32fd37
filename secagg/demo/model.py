"""A classifier of handwritten digits in plain numpy: 64 inputs, one hidden layer, 10 classes.

A model is one flat float64 vector, the form in which it travels and is averaged; LAYERS says what
lies where. Training is deterministic: the same start, data and generator give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from secagg.structure import Structure

INPUTS, HIDDEN, CLASSES = 64, 32, 10

LAYERS = Structure.of(
    {
        "hidden.weight": np.zeros((INPUTS, HIDDEN)),
        "hidden.bias": np.zeros(HIDDEN),
        "output.weight": np.zeros((HIDDEN, CLASSES)),
        "output.bias": np.zeros(CLASSES),
    }
)
LENGTH = LAYERS.length

Flat: TypeAlias = npt.NDArray[np.float64]
"""A model, an update or a gradient: float64[LENGTH]."""


@dataclass(frozen=True)
class Samples:
    """images: float64[n, 64] in [0, 1]. labels: int64[n], 0 to 9."""

    images: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: npt.NDArray[np.int64]) -> Samples:
        return Samples(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Training:
    """What a client does between receiving a model and giving its update."""

    epochs: int = 10
    batch: int = 16
    rate: float = 0.3


def initial(generator: np.random.Generator) -> Flat:
    """Weights of variance 1 / inputs (LeCun et al., 1998), biases 0."""
    scale = {"hidden.weight": INPUTS**-0.5, "output.weight": HIDDEN**-0.5}
    return LAYERS.flatten(
        {
            name: generator.normal(0.0, scale[name], shape) if name in scale else np.zeros(shape)
            for name, shape in zip(LAYERS.names, LAYERS.shapes, strict=True)
        }
    )


def update(
    model: Flat, samples: Samples, training: Training, generator: np.random.Generator
) -> Flat:
    """The local model after training, less the one it started from: what a client gives."""
    local = model.copy()
    for _ in range(training.epochs):
        order = generator.permutation(len(samples))
        for start in range(0, len(order), training.batch):
            batch = samples.take(order[start : start + training.batch])
            local -= training.rate * gradient(local, batch)
    return local - model


def loss(model: Flat, samples: Samples) -> float:
    """The mean cross-entropy, in nats."""
    logs = _log_probabilities(LAYERS.unflatten(model), samples.images)[1]
    return float(-logs[np.arange(len(samples)), samples.labels].mean())


def gradient(model: Flat, samples: Samples) -> Flat:
    """Of `loss`, by backpropagation."""
    layers = LAYERS.unflatten(model)
    hidden, logs = _log_probabilities(layers, samples.images)
    at_output = np.exp(logs)
    at_output[np.arange(len(samples)), samples.labels] -= 1.0
    at_output /= len(samples)
    at_hidden = (at_output @ layers["output.weight"].T) * (1.0 - hidden**2)
    return LAYERS.flatten(
        {
            "hidden.weight": samples.images.T @ at_hidden,
            "hidden.bias": at_hidden.sum(axis=0),
            "output.weight": hidden.T @ at_output,
            "output.bias": at_output.sum(axis=0),
        }
    )


def accuracy(model: Flat, samples: Samples) -> float:
    """The fraction of samples whose most probable class is their label."""
    logs = _log_probabilities(LAYERS.unflatten(model), samples.images)[1]
    return float((logs.argmax(axis=1) == samples.labels).mean())


def _log_probabilities(
    layers: dict[str, Flat], images: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The hidden layer's values and the log-softmax of the output."""
    hidden = np.tanh(images @ layers["hidden.weight"] + layers["hidden.bias"])
    scores = hidden @ layers["output.weight"] + layers["output.bias"]
    scores -= scores.max(axis=1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return hidden, logs
