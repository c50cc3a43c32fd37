"""How much privacy noise buys: mechanisms, their composition, and the noise for a promise.

Numbers only, and none of them a float where something is decided (specs/40-privacy.md §4-§6): a
plan's reader computes again what its maker has claimed, and both must say the same. What is done
in a round is a tuple of `Block`s; `accepts` judges a claim about them, `loss` finds the least that
can be claimed, and `noises` the least noise for a claim.
"""

from __future__ import annotations

from secagg.dp.calibration import Shape, kind, noises
from secagg.dp.headroom import integer_bound, vector_bound
from secagg.dp.mechanisms import Block
from secagg.dp.release import Accounting, Claim, Loss, accepts, kept_by, loss, require, would_do

__all__ = [
    "Accounting",
    "Block",
    "Claim",
    "Loss",
    "Shape",
    "accepts",
    "integer_bound",
    "kept_by",
    "kind",
    "loss",
    "noises",
    "require",
    "vector_bound",
    "would_do",
]
