"""From the numbers of Flower's own SecAggPlusWorkflow to those of `SecAgg`."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any

from secagg.arguments import integer, real
from secagg.errors import ParameterError

log = logging.getLogger("flwr.secagg")

_SAID = (
    "secagg: in the place of SecAggPlusWorkflow's numbers: dropout=%s is what num_shares and "
    "reconstruction_threshold let go; clip=%s is clipping_range, but of changes and no longer of "
    "weights, so %s or less usually loses nothing and is as much more precise; bits=%d are of "
    "quantization_range; num_shares and modulus_range follow from the plan"
)


def from_flower(
    *,
    num_shares: int | float,
    reconstruction_threshold: int | float,
    max_weight: float = 1000.0,
    clipping_range: float = 8.0,
    quantization_range: int = 1 << 22,
    modulus_range: int = 1 << 32,
    timeout: float | None = None,
) -> dict[str, Any]:
    """The keyword arguments of `SecAgg` that ask for what SecAggPlusWorkflow was asked for:
    `SecAgg(FedAvg(), **from_flower(num_shares=3, reconstruction_threshold=2))`.

    dropout: what the threshold let go, 1 - reconstruction_threshold / num_shares. bits: of
    quantization_range. Of num_shares itself nothing is left, nor of modulus_range: degree and
    threshold follow from the threat, and rings are made wide enough. clipping_range was of weights
    and is of differences here, where a tenth of it or less loses nothing and gains as much
    precision. What stands for what is logged. Raises ParameterError.
    """
    shares, threshold = _number("num_shares", num_shares), reconstruction_threshold
    needed = _number("reconstruction_threshold", threshold)
    if isinstance(threshold, float):
        needed *= 1 if isinstance(num_shares, float) else shares
    share = needed / shares if not isinstance(threshold, float) else Fraction(str(threshold))
    if not 0 < share <= 1:
        raise ParameterError(
            "reconstruction_threshold is at most num_shares, or a fraction of them up to 1"
        )
    levels = integer("quantization_range", quantization_range, 4, 1 << 32)
    integer("modulus_range", modulus_range, 2, 1 << 62)
    made: dict[str, Any] = {
        "clip": real("clipping_range", clipping_range),
        "bits": (levels - 1).bit_length(),
        "max_weight": integer(
            "max_weight", round(real("max_weight", max_weight)), 1, (1 << 32) - 1
        ),
        "dropout": 1 - share,
    }
    if timeout is not None:
        made["timeouts"] = real("timeout", timeout)
    log.info(_SAID, made["dropout"], made["clip"], made["clip"] / 10, made["bits"])
    return made


def _number(name: str, value: int | float) -> Fraction:
    if isinstance(value, float):
        if not 0 < value <= 1:
            raise ParameterError(f"{name} is a number of nodes, or a fraction in (0, 1]")
        return Fraction(str(value))
    return Fraction(integer(name, value, 1, 1 << 20))
