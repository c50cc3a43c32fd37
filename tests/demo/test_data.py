"""The digits and their split."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.demo import digits
from secagg.demo.data import MIN_SAMPLES, dirichlet_split, load
from secagg.errors import MissingExtra, ParameterError

LABELS = np.tile(np.arange(10), 60)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.sampled_from([0.5, 1.0, 10.0]), st.integers(0, 1000))
def test_the_split_is_a_partition(clients: int, alpha: float, seed: int) -> None:
    parts = dirichlet_split(LABELS, clients, alpha, np.random.default_rng(seed))
    assert len(parts) == clients
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(LABELS)))
    assert min(map(len, parts)) >= MIN_SAMPLES


def test_a_small_alpha_deals_unevenly() -> None:
    def missing(alpha: float) -> int:
        parts = dirichlet_split(LABELS, 10, alpha, np.random.default_rng(3))
        return sum(10 - len(set(LABELS[part].tolist())) for part in parts)

    assert missing(100.0) == 0 < missing(0.3)


def test_too_many_clients_for_the_data() -> None:
    with pytest.raises(ParameterError, match="fewer clients"):
        dirichlet_split(LABELS, 100, 0.5, np.random.default_rng(0))


def test_the_digits_are_all_there_and_nobody_holds_a_held_out_one() -> None:
    training, held_out = load(np.random.default_rng(1))
    assert (len(training), len(held_out)) == (1348, 449)
    assert training.images.shape == (1348, 64) and training.images.dtype == np.float64
    images = np.concatenate([training.images, held_out.images])
    assert (images.min(), images.max()) == (0.0, 1.0)
    labels = np.concatenate([training.labels, held_out.labels])
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_they_are_those_of_scikit_learn_with_its_file_and_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file is looked for where all releases have it; another one may have it elsewhere."""
    file = digits._file()
    assert file is not None
    pixels, labels = digits.digits()
    monkeypatch.setattr(digits, "_FILE", Path("elsewhere"))
    assert digits._file() is None
    asked, said = digits.digits()
    assert pixels.dtype == asked.dtype == np.float64 and labels.dtype == said.dtype == np.int64
    assert np.array_equal(pixels, asked) and np.array_equal(labels, said)


def test_without_scikit_learn_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"pip install 'secagg\[demo\]'"):
        load(np.random.default_rng(1))
