"""What a model is worth: not its accuracy alone, since noise is not borne by all classes alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from secagg.frontier.data import CLASSES, Floats, Labels
from secagg.shown import short

_BINS = 15
"""Of confidence, as the calibration error is usually reported with (Guo et al. 2017)."""


@dataclass(frozen=True, slots=True)
class Measures:
    """accuracy: the fraction that is right; per_class: of each class's samples. macro_f1: the mean
    over classes of the harmonic mean of precision and recall. calibration_error: how far, in the
    mean, the model's confidence is from its accuracy (expected calibration error, 15 bins)."""

    accuracy: float
    per_class: tuple[float, ...]
    macro_f1: float
    calibration_error: float

    __repr__ = short

    @property
    def worst_class(self) -> float:
        return min(self.per_class)


def measured(probabilities: Floats, labels: Labels) -> Measures:
    """probabilities: [n, CLASSES]; every class has a sample among the labels, or counts as 0."""
    guesses = probabilities.argmax(axis=1)
    table = np.bincount(labels * CLASSES + guesses, minlength=CLASSES**2)
    table = table.reshape(CLASSES, CLASSES)  # by label, then by guess
    hits, held, said = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
    return Measures(
        accuracy=float(hits.sum() / max(1, len(labels))),
        per_class=tuple((hits / np.maximum(1, held)).tolist()),
        macro_f1=float((2 * hits / np.maximum(1, held + said)).mean()),
        calibration_error=_calibration(probabilities.max(axis=1), guesses == labels),
    )


def _calibration(confidence: Floats, right: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    off = np.bincount(bins, weights=right - confidence.astype(np.float64), minlength=_BINS)
    return float(np.abs(off).sum() / max(1, len(right)))
