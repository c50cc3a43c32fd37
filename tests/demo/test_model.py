"""The classifier: its gradient against finite differences, its training against the data."""

from __future__ import annotations

import numpy as np
import pytest

from secagg.demo import data, model
from secagg.demo.model import LAYERS, LENGTH, Samples, Training


@pytest.fixture
def samples() -> Samples:
    generator = np.random.default_rng(5)
    return Samples(generator.random((12, model.INPUTS)), generator.integers(0, 10, 12))


def test_the_gradient_is_that_of_the_loss(samples: Samples) -> None:
    """Central differences in every layer, 40 elements of it."""
    generator = np.random.default_rng(7)
    start = model.initial(generator) + generator.normal(0, 0.1, LENGTH)
    analytic = model.gradient(start, samples)
    starts = np.cumsum([0, *(int(np.prod(shape)) for shape in LAYERS.shapes)])
    for first, last in zip(starts, starts[1:], strict=False):
        for i in generator.integers(first, last, 40):
            step = np.zeros(LENGTH)
            step[i] = 1e-5
            ahead, behind = model.loss(start + step, samples), model.loss(start - step, samples)
            assert analytic[i] == pytest.approx((ahead - behind) / 2e-5, rel=1e-5, abs=1e-9)


def test_an_update_is_the_difference_and_repeats_itself(samples: Samples) -> None:
    start = model.initial(np.random.default_rng(1))
    kept = start.copy()
    given = model.update(start, samples, Training(), np.random.default_rng(2))
    again = model.update(start, samples, Training(), np.random.default_rng(2))
    other = model.update(start, samples, Training(), np.random.default_rng(3))
    assert start.tobytes() == kept.tobytes()
    assert given.tobytes() == again.tobytes() != other.tobytes()
    assert model.loss(start + given, samples) < model.loss(start, samples) / 2


def test_one_step_of_training_is_the_gradient(samples: Samples) -> None:
    start = model.initial(np.random.default_rng(1))
    once = Training(epochs=1, batch=len(samples), rate=0.5)
    given = model.update(start, samples, once, np.random.default_rng(2))
    np.testing.assert_allclose(given, -0.5 * model.gradient(start, samples), rtol=0, atol=1e-12)


def test_accuracy_counts_what_is_right() -> None:
    """A model without weights, whose biases alone choose class 3."""
    layers = {
        name: np.zeros(shape) for name, shape in zip(LAYERS.names, LAYERS.shapes, strict=True)
    }
    layers["output.bias"][3] = 1.0
    samples = Samples(np.zeros((4, model.INPUTS)), np.array([3, 3, 1, 3]))
    assert model.accuracy(LAYERS.flatten(layers), samples) == 0.75


def test_federated_averaging_in_the_clear_learns_the_digits() -> None:
    generator = np.random.default_rng(1)
    training, held_out = data.load(generator)
    split = data.dirichlet_split(training.labels, 16, 0.5, generator)
    parts = [training.take(rows) for rows in split]
    trained = model.initial(generator)
    assert model.accuracy(trained, held_out) < 0.3
    for _ in range(6):
        updates = [model.update(trained, part, Training(), generator) for part in parts]
        trained = trained + np.average(updates, axis=0, weights=[len(part) for part in parts])
    assert model.accuracy(trained, held_out) >= 0.93
