"""scikit-learn's bundled handwritten digits, without the second that importing it takes.

E. Alpaydin and C. Kaynak, UCI Optical Recognition of Handwritten Digits.
"""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from secagg.errors import MissingExtra

_FILE = Path("datasets", "data", "digits.csv.gz")
"""In scikit-learn's folder: 1,797 rows of 64 pixels, 0 to 16, and the digit."""


def digits() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """float64[1797, 64] in [0, 1] and int64[1797]. Raises MissingExtra without scikit-learn."""
    file = _file()
    if file is None:
        pixels, labels = _asked()
    else:
        with gzip.open(file, "rt", encoding="ascii") as lines:
            table = np.loadtxt(lines, delimiter=",")
        pixels, labels = table[:, :-1], table[:, -1]
    return pixels / 16.0, labels.astype(np.int64)


def _file() -> Path | None:
    """None where it is not to be seen: then scikit-learn itself is asked."""
    try:
        found = find_spec("sklearn")
    except ImportError:
        return None
    folders = (found and found.submodule_search_locations) or ()
    return next((Path(one, _FILE) for one in folders if Path(one, _FILE).is_file()), None)


def _asked() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as missing:
        raise MissingExtra(
            "the digits come with scikit-learn, which is not installed: pip install 'secagg[demo]'"
        ) from missing
    pixels, labels = load_digits(return_X_y=True)
    return pixels, labels.astype(np.float64)
