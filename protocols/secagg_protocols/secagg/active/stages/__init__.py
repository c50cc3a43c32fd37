"""The stages of a server in active mode, as those of suite 1 but for what is signed
(specs/12-active.md §6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from secagg_protocols.secagg.active.stages.agree import Consistency
from secagg_protocols.secagg.active.stages.base import After, Fixed, Given, Joined, Recorded
from secagg_protocols.secagg.active.stages.join import Advertise, Share
from secagg_protocols.secagg.active.stages.mask import Mask
from secagg_protocols.secagg.active.stages.open import Recover, Unmask, WrongSecret, WrongShare
from secagg_protocols.secagg.stages import Stage
from secagg_protocols.secagg.states import ServerState

AFTER: Mapping[ServerState, Callable[..., Stage]] = {
    ServerState.ADVERTISE_KEYS: Share,
    ServerState.SHARE_KEYS: Mask,
    ServerState.MASKED_INPUT: Consistency,
    ServerState.CONSISTENCY: Unmask,
    ServerState.UNMASK: Recover,
}
"""By the state of a stage, what makes the next one; the first takes the server's key besides."""

__all__ = [
    "AFTER",
    "Advertise",
    "After",
    "Fixed",
    "Given",
    "Joined",
    "Mask",
    "Recorded",
    "Recover",
    "Unmask",
    "WrongSecret",
    "WrongShare",
]
