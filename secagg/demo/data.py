"""The demo's data: scikit-learn's bundled handwritten digits, dealt out unevenly to the clients.

1797 real images of 8 x 8 pixels (see digits.py). Only the parent process reads them; a client sees
its own samples and no others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from secagg.demo.digits import digits
from secagg.demo.model import CLASSES, Samples
from secagg.errors import ParameterError

HELD_OUT = 0.25
"""The fraction of samples that no client has: what the accuracy is measured on."""

MIN_SAMPLES = 8
"""Of one client. The split is drawn again until each has as many: a client without data would
have weight 0, which is not a contribution."""

_DRAWS = 200


def load(generator: np.random.Generator) -> tuple[Samples, Samples]:
    """Training and held-out samples, shuffled. Raises MissingExtra without scikit-learn."""
    samples = Samples(*digits())
    order = generator.permutation(len(samples))
    held_out = round(HELD_OUT * len(samples))
    return samples.take(order[held_out:]), samples.take(order[:held_out])


def dirichlet_split(
    labels: npt.NDArray[np.int64], clients: int, alpha: float, generator: np.random.Generator
) -> Sequence[npt.NDArray[np.int64]]:
    """The rows of each client: a partition of range(len(labels)).

    Each class is dealt by proportions drawn from Dirichlet(alpha, ..., alpha), the usual model of
    clients that do not hold alike data (Hsu, Qi and Brown, 2019): the smaller alpha, the fewer
    classes a client has. Raises ParameterError where so many clients cannot have MIN_SAMPLES each.
    """
    for _ in range(_DRAWS):
        parts = _draw(labels, clients, alpha, generator)
        if min(map(len, parts)) >= MIN_SAMPLES:
            return parts
    raise ParameterError(
        f"{len(labels)} samples do not reach {clients} clients with {MIN_SAMPLES} each at "
        f"alpha = {alpha:g}; take fewer clients"
    )


def _draw(
    labels: npt.NDArray[np.int64], clients: int, alpha: float, generator: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    hands: list[list[npt.NDArray[np.int64]]] = [[] for _ in range(clients)]
    for label in range(CLASSES):
        rows = generator.permutation(np.flatnonzero(labels == label))
        shares = generator.dirichlet(np.full(clients, alpha))
        cuts = np.rint(np.cumsum(shares)[:-1] * len(rows)).astype(np.int64)
        for hand, part in zip(hands, np.split(rows, cuts), strict=True):
            hand.append(part)
    return [np.sort(np.concatenate(hand)) for hand in hands]
