"""Any bytes are parameters of additive sums or a SecAggError, never anything else.

What is accepted is written again to the same bytes: there is one encoding only.
"""

from __future__ import annotations

from secagg.errors import SecAggError
from tests import decoders
from tests.ensembles import params_of
from tests.fuzz.engine import main

CORPUS = [decoders.ADDITIVE.params.encode(), params_of(5, direct=True).encode()]


def target(data: bytes) -> None:
    try:
        again = decoders.additive_params(data)
    except SecAggError:
        return
    assert again == data


if __name__ == "__main__":
    main(target, CORPUS)
